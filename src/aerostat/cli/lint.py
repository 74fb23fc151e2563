"""The verb `lint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import Classes, Flag, JsonFlag, app, document, split_names


@app.command(sort_key=3, usage="Usage: aerostat lint DATA [OPTIONS]")
def lint(
    data: Path,
    /,
    *,
    classes: Classes = None,
    class_attribute: str | None = None,
    images: Path | None = None,
    pixels: Annotated[bool, Parameter(show_default=False)] = True,
    strict: Flag = False,
    json_: JsonFlag = False,
) -> int:
    """Look for everything that is known to be wrong with annotated images.

    Names file and record, and says what training does about it. The exit code is 1 if there are errors.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    images:
        Folder of the images, if they are not beside their annotations.
    pixels:
        Decode the images, as is done by default, or look at headers and annotations alone.
    strict:
        Take warnings for errors.
    json_:
        Print one JSON document, with all findings.
    """
    from aerostat.datasets.origin import ReadOptions
    from aerostat.lint.lint import lint_path

    options = ReadOptions(split_names(classes), class_attribute, images)
    report = lint_path(data, options, pixels=pixels)
    if json_:
        print(document(report.to_dict()))
    else:
        console.stdout().print(report.render())
    return int(report.fails(strict))
