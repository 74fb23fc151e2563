"""The verb `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.options import READ, Force, JsonFlag, Read


@app.command(sort_key=2, usage="Usage: aerostat convert SRC DST [OPTIONS]")
def convert(
    src: Path,
    dst: Path,
    /,
    *,
    reading: Read = READ,
    from_: Annotated[Literal["via", "coco"] | None, Parameter(name="--from")] = None,
    to: Literal["via", "coco"] | None = None,
    area: Literal["polygon", "box"] = "polygon",
    force: Force = False,
    json_: JsonFlag = False,
) -> None:
    """Convert annotations between VIA and COCO.

    The format of SRC is recognised from its content. Images stay where they are.

    Parameters
    ----------
    src:
        Annotation file, or a data set folder.
    dst:
        File to write, or a folder for several splits.
    from_:
        Refuse a source in another format.
    to:
        Format to write; by default VIA if DST's name has "via" in it, else COCO.
    area:
        "polygon" as COCO means it, or "box" as the usual balloon converter writes it.
    """
    from aerostat.datasets.convert import convert as convert_annotations

    options = reading.chosen(from_format=from_)
    done = convert_annotations(src, dst, options, to=to, area=area, force=force)
    if json_:
        print(console.document(done.to_dict()))
    else:
        console.tell(*done.lines())
