"""Writing Pascal VOC: ``Annotations/NAME.xml``, a list of the images, and a list of the classes.

The elements stand in the order of the VOC devkit, which LabelImg and CVAT write, too. An object has its box
and the mark `difficult`; outlines, masks and crowd regions are counted as lost. The list of the images is
``ImageSets/Main/SPLIT.txt``. The list of the classes, ``labelmap.txt`` of CVAT, keeps their order.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from aerostat.datasets.formats.format import LEFT_OUT, WriteOptions
from aerostat.datasets.formats.voc_layout import DEFAULT_LIST
from aerostat.datasets.records import ONLY_SPLIT, ImageRecord, Instance, Split
from aerostat.datasets.xml_text import escaped, plain_number
from aerostat.files import file_stem, write_text


def write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    """Write a split into a folder.

    Args:
        split: what to write.
        path: the folder; it gets ``Annotations/``, ``ImageSets/Main/`` and ``labelmap.txt``.
        options: without effect.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    places = []
    for image in split.images:
        place = _free_place(image.file_name, taken)
        places.append(place)
        write_text(path / "Annotations" / f"{place}.xml", _document(image, place, split.classes, lost))
    name = DEFAULT_LIST if split.name == ONLY_SPLIT else file_stem(split.name)
    write_text(path / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{place}\n" for place in places))
    lines = ["# label:color_rgb:parts:actions", *(f"{_one_line(name)}:::" for name in split.classes)]
    write_text(path / "labelmap.txt", "".join(f"{line}\n" for line in lines))
    return +lost  # `+` drops counts of 0


def _free_place(file_name: str, taken: Counter[str]) -> str:
    """Return where below ``Annotations`` the file of an image stands, without suffix.

    The folders of the name are kept. Two images that differ in their suffix get different files.
    """
    parts = [part for part in re.split(r"[/\\]+", file_name) if part not in ("", ".", "..")]
    *folders, last = [file_stem(part) for part in parts] or ["unnamed"]
    for name in (last.rpartition(".")[0] or last, last):
        place = "/".join((*folders, name))
        if place.casefold() not in taken:
            taken[place.casefold()] += 1
            return place
    while True:
        numbered = f"{place}.{taken[place.casefold()]}"
        taken[place.casefold()] += 1
        if numbered.casefold() not in taken:
            taken[numbered.casefold()] += 1
            return numbered


def _document(image: ImageRecord, place: str, classes: tuple[str, ...], lost: Counter[str]) -> str:
    above, name = place.rpartition("/")[0], image.file_name.rpartition("/")[2]
    if (f"{above}/{name}" if above else name) != image.file_name:
        name = image.file_name  # a name that leads elsewhere or has other characters stands whole
    objects = [_object(instance, classes, lost) for instance in image.instances]
    return "\n".join(
        [
            "<annotation>",
            f"  <folder>{escaped(above)}</folder>",
            f"  <filename>{escaped(name)}</filename>",
            "  <source><database>Unknown</database></source>",
            f"  <size><width>{image.width}</width><height>{image.height}</height><depth>3</depth></size>",
            "  <segmented>0</segmented>",
            *(text for text in objects if text),
            "</annotation>\n",
        ]
    )


def _object(instance: Instance, classes: tuple[str, ...], lost: Counter[str]) -> str:
    if instance.crowd:
        lost[LEFT_OUT] += 1
        return ""
    lost["outlines"] += bool(instance.polygons)
    lost["masks"] += instance.rle is not None
    corners = zip(("xmin", "ymin", "xmax", "ymax"), instance.box_xyxy, strict=True)
    box = "".join(f"<{key}>{plain_number(value)}</{key}>" for key, value in corners)
    return "\n".join(
        [
            "  <object>",
            f"    <name>{escaped(classes[instance.label])}</name>",
            "    <pose>Unspecified</pose>",
            "    <truncated>0</truncated>",
            f"    <difficult>{int(instance.difficult)}</difficult>",
            f"    <bndbox>{box}</bndbox>",
            "  </object>",
        ]
    )


def _one_line(name: str) -> str:
    return " ".join(name.split())
