"""Writing CVAT for images 1.1, which CVAT imports into a task with images of the same names.

A polygon or a mask stands alone if its bounds are the object's box. Else the object is a group: its box, and
its outlines or its mask, with one `group_id`. Numbers have all their digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aerostat.datasets.formats.cvat_shapes import row_mask
from aerostat.datasets.formats.format import LEFT_OUT, WriteOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.datasets.xml_text import escaped, plain_number
from aerostat.files import replacing
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks


def write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    """Write a split into one XML file.

    Args:
        split: what to write.
        path: the file, replaced whole.
        options: without effect.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _head(split))
        for number, image in enumerate(split.images):
            file.writelines(f"{line}\n" for line in _image(number, image, split.classes, lost))
        file.write("</annotations>\n")
    return +lost  # `+` drops counts of 0


def _head(split: Split) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield "<annotations>"
    yield "  <version>1.1</version>"
    yield "  <meta>"
    yield "    <task>"
    yield f"      <name>{escaped(split.name)}</name>"
    yield f"      <size>{len(split)}</size>"
    yield "      <mode>annotation</mode>"
    yield "      <start_frame>0</start_frame>"
    yield f"      <stop_frame>{max(len(split) - 1, 0)}</stop_frame>"
    yield "      <labels>"
    for name in split.classes:
        yield f"        <label><name>{escaped(name)}</name><type>any</type><attributes></attributes></label>"
    yield "      </labels>"
    yield "    </task>"
    yield "  </meta>"


def _image(number: int, image: ImageRecord, classes: tuple[str, ...], lost: Counter[str]) -> Iterator[str]:
    size = f'width="{image.width}" height="{image.height}"'
    yield f'  <image id="{number}" name="{escaped(image.file_name)}" {size}>'
    for group, instance in enumerate(image.instances, start=1):
        if instance.crowd:
            lost[LEFT_OUT] += 1
            continue
        lost["difficult marks"] += instance.difficult
        shapes = list(_shapes(instance, (image.width, image.height)))
        grouped = f' group_id="{group}"' if len(shapes) > 1 else ""
        for kind, attributes in shapes:
            common = f'label="{escaped(classes[instance.label])}" source="manual" occluded="0"'
            yield f'    <{kind} {common} {attributes} z_order="0"{grouped}></{kind}>'
    yield "  </image>"


def _shapes(instance: Instance, size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield the elements of an object and their attributes."""
    bounds: tuple[float, ...] | None
    mask = Masks.from_coco([instance.rle], size) if instance.rle is not None else None
    if mask is not None:
        bounds = tuple(mask.boxes_xyxy()[0].tolist())
    else:
        bounds = polygons.bounds(np.concatenate(instance.polygons)) if instance.polygons else None
    if bounds != instance.box_xyxy:
        corners = zip(("xtl", "ytl", "xbr", "ybr"), instance.box_xyxy, strict=True)
        yield "box", " ".join(f'{key}="{plain_number(value)}"' for key, value in corners)
    if mask is not None:
        rows = row_mask(mask[0])
        place = f'left="{rows.left}" top="{rows.top}" width="{rows.width}" height="{rows.height}"'
        yield "mask", f'rle="{", ".join(map(str, rows.counts.tolist()))}" {place}'
        return
    for outline in instance.polygons:
        points = ";".join(f"{plain_number(x)},{plain_number(y)}" for x, y in outline.tolist())
        yield "polygon", f'points="{points}"'
