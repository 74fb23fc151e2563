"""The verb `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.names import as_typed
from aerostat.cli.options import READ, Force, JsonFlag, Read


def one_format() -> Any:
    """Return the type of an option that takes a format: one of the names in the list of formats.

    Types are looked at when a verb is added to the command line, and again when it is called or its help is
    shown. The list is not needed for the first, and it would load numpy for every verb.
    """
    if "convert" not in app:
        return str
    from aerostat.datasets.formats import FORMATS

    return Literal[tuple(format_.name for format_ in FORMATS)]


@app.command(sort_key=2, usage="Usage: aerostat convert SRC DST [OPTIONS]")
def convert(
    src: Path,
    dst: Path,
    /,
    *,
    reading: Read = READ,
    to: one_format() | None = None,  # type: ignore[valid-type]
    area: Literal["polygon", "box"] = "polygon",
    with_images: Literal["copy", "link"] | None = None,
    force: Force = False,
    json_: JsonFlag = False,
) -> None:
    """Convert annotations from one format to another.

    The format of SRC is recognised from its content. Images stay where they are unless --with-images brings
    them along.

    Parameters
    ----------
    src:
        Annotation file, data set folder, or zip archive of one.
    dst:
        File to write, or a folder for several splits or for a format with one file per image.
    to:
        Format to write; by default the one that DST names, as via.json and boxes.csv do, else COCO.
    area:
        "polygon" as COCO means it, or "box" as the usual balloon converter writes it.
    with_images:
        Bring the images into DST, a new or empty folder: "copy" them, or "link" them, which takes no space.
    """
    from aerostat.datasets.convert import convert as convert_annotations

    options = reading.chosen()
    done = convert_annotations(src, dst, options, to=to, area=area, force=force, with_images=with_images)
    if json_:
        print(console.document(done.to_dict()))
    else:
        console.tell(*(as_typed(line, ["convert"]) for line in done.lines()))
