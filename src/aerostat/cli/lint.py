"""The verb `lint`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.names import as_typed
from aerostat.cli.options import READ, JsonFlag, Read, Switch


@app.command(sort_key=3, usage="Usage: aerostat lint DATA [OPTIONS]")
def lint(
    data: Path,
    /,
    *,
    reading: Read = READ,
    pixels: Switch = True,
    json_: JsonFlag = False,
) -> int:
    """Check annotated images for errors.

    The first line says how many validation images have near-copies in training. Each finding names file and
    record, and what training does about it. The exit code is 1 if there are errors.

    Parameters
    ----------
    data:
        Data set folder, zip archive of one, or one split's annotation file.
    pixels:
        Decode the images, which is the default, or check headers and annotations only.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.lint.lint import lint_path

    report = lint_path(data, reading.chosen(strict=False), pixels=pixels)
    if json_:
        print(console.document(report.to_dict()))
    else:
        wording = partial(as_typed, words=["lint"])
        console.stdout().print(report.render("--json names all", COMMANDS.repair, wording))
    return int(report.fails(reading.strict))
