"""The verb `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import Classes, Flag, JsonFlag, app, document, split_names


@app.command(sort_key=2, usage="Usage: aerostat convert SRC DST [OPTIONS]")
def convert(
    src: Path,
    dst: Path,
    /,
    *,
    classes: Classes = None,
    class_attribute: str | None = None,
    from_: Annotated[Literal["via", "coco"] | None, Parameter(name="--from")] = None,
    to: Literal["via", "coco"] | None = None,
    area: Literal["polygon", "box"] = "polygon",
    images: Path | None = None,
    strict: Flag = False,
    force: Flag = False,
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
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    from_:
        Refuse a source in another format.
    to:
        Format to write; by default VIA if DST's name has "via" in it, else COCO.
    area:
        "polygon" as COCO means it, or "box" as the usual balloon converter writes it.
    images:
        Folder of the images, if they are not beside their annotations.
    strict:
        Refuse a source of which anything would be dropped.
    force:
        Replace files that exist.
    json_:
        Print one JSON document.
    """
    from aerostat.datasets.convert import convert as convert_annotations
    from aerostat.datasets.origin import ReadOptions

    options = ReadOptions(split_names(classes), class_attribute, images, strict, from_)
    done = convert_annotations(src, dst, options, to=to, area=area, force=force)
    if json_:
        print(document(done.to_dict()))
    else:
        console.tell(*done.lines())
