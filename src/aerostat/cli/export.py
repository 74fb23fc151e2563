"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from aerostat.cli.app import Flag, app, require_free
from aerostat.errors import InputError
from aerostat.wording import listed


@app.command(sort_key=9, usage="Usage: aerostat export WEIGHTS [OPTIONS]")
def export(
    weights: str,
    /,
    *,
    to: Literal["openmmlab"] = "openmmlab",
    out: Path | None = None,
    force: Flag = False,
) -> None:
    """Write weights for other tools.

    That is, for now, an OpenMMLab .pth that MMDetection loads.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    to:
        The only format so far is openmmlab.
    out:
        File to write; by default the weights' own name with .pth.
    force:
        Replace a file that exists.
    """
    from aerostat.model.checkpoint import in_published_order, load_weights
    from aerostat.model.openmmlab import write_pth
    from aerostat.predict import weights_path

    source = weights_path(weights)
    loaded = load_weights(source)
    target = out or source.with_suffix(".pth")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the file to export; choose another --out.")
    require_free(target, force, "--out")
    if loaded.header.kind != "detector":
        raise InputError(f"{source} holds a pretrained backbone, no detector; there is nothing to export.")
    state = in_published_order(loaded, source)
    write_pth(target, state, loaded.header.classes, {"input_size": loaded.header.input_size})
    print(f"wrote {target}: rtmdet-{loaded.header.size}, classes {listed(loaded.header.classes)}")
