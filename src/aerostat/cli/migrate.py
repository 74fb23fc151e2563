"""The verb `migrate`."""

from __future__ import annotations

import logging
from pathlib import Path

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import Force, JsonFlag
from aerostat.cli.refusals import require_free

_log = logging.getLogger(__name__)


@app.command(sort_key=4.7, usage="Usage: aerostat migrate CONFIG [OPTIONS]")
def migrate(
    config: Path, /, *, out: Path | None = None, force: Force = False, json_: JsonFlag = False
) -> None:
    """Turn an RTMDet config of MMDetection 3 or MMYOLO into a recipe.

    The config is parsed, never executed. A table says what is taken over, adapted, unsupported, and without
    effect in the original. `aerostat train CONFIG` does the same and trains.

    Parameters
    ----------
    config:
        The .py file, with or without bases. Published RTMDet configs that are missing on disk are known.
    out:
        Write the recipe to this TOML file.
    """
    from aerostat.cli.commands import command
    from aerostat.files import write_text
    from aerostat.migration import migrate as migrate_config

    if out is not None:
        require_free(out, force, "--out")
    found = migrate_config(config)
    if out is not None:
        write_text(out, found.to_toml())
    if json_:
        print(document({**found.to_dict(), "out": None if out is None else str(out)}))
        return
    console.tell(*found.render(), "")
    if out is not None:
        console.tell(f"wrote {out}", command("train", config, "--recipe", out))
    else:
        console.tell(command("train", config))
