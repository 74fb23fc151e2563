"""Writing LabelMe files: one for each image, in the folders that the names of the images have."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aerostat.datasets.formats import placed_masks
from aerostat.datasets.formats.exact_box import CORNERS_KEY
from aerostat.datasets.formats.format import LEFT_OUT, WriteOptions
from aerostat.datasets.formats.labelme_shapes import DIFFICULT, NO_OBJECTS
from aerostat.datasets.formats.written_form import form_of
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.files import write_bytes, write_text
from aerostat.images.location import path_of, read_bytes

LABELS_FILE = "labels.txt"
"""The list of labels, one a line, that LabelMe takes on its start."""

_VERSION = "5.5.0"

_MAX_PATH = 1000
"""Bytes of a path below the folder; systems take 1,024 to 4,096 in all. A longer one loses its folders."""


def write_labelme(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    """Write a split as one JSON file for each image, and its classes as ``labels.txt``.

    `imagePath` leads from the file to the image. An object of several outlines is one shape each with a
    `group_id` of their own.

    Args:
        split: what to write.
        path: the folder.
        options: of writing; scores stand beside the shapes.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    first = 0
    for image in split.images:
        place = path.joinpath(*_file_name(image.file_name, taken))
        scores = None if options.scores is None else options.scores[first : first + len(image.instances)]
        first += len(image.instances)
        document = {
            "version": _VERSION,
            "flags": {},
            "shapes": _shapes(image, split.classes, scores, lost),
            **_image(image, place),
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        content = json.dumps(document, ensure_ascii=False, indent=2)
        write_bytes(place, content.encode("utf-8", "surrogatepass"))
    _write_labels(split.classes, path, lost)
    return lost


def _file_name(image_name: str, taken: Counter[str]) -> list[str]:
    """Return the path of the file of an image below the folder; a name that leads elsewhere loses folders."""
    parts = [part for part in re.split(r"[\\/]", image_name) if part not in ("", ".")]
    if ".." in parts or re.match(r"[\\/]|[A-Za-z][A-Za-z0-9+.-]*:", image_name):
        parts = parts[-1:]
    parts = [_fit_for_every_system(part) for part in parts] or ["_"]
    if len("/".join(parts).encode()) > _MAX_PATH:
        parts = parts[-1:]
    *folders, last = parts
    stem = last.rpartition(".")[0] or last
    for name in (stem, last):  # `a.jpg` and `a.png` must not share a file
        key = "/".join((*folders, name)).casefold()
        taken[key] += 1
        if taken[key] == 1:
            return [*folders, f"{name}.json"]
    return [*folders, f"{last}#{taken[key]}.json"]


def _fit_for_every_system(part: str) -> str:
    """Return a part of a path without characters that some system refuses; a name has at most 255 bytes."""
    text = re.sub(r'[<>:"|?*#\x00-\x1f\ud800-\udfff]', "_", part).rstrip(". ")
    return text.encode()[:200].decode("utf-8", "ignore") or "_"


def _image(image: ImageRecord, place: Path) -> dict[str, Any]:
    """Return the keys that say where the image is."""
    file = path_of(image.location)
    if file is not None:
        try:
            name = os.path.relpath(file.absolute(), place.absolute().parent)
        except ValueError:  # another drive
            name = str(file.absolute())
        return {"imagePath": name.replace(os.sep, "/"), "imageData": None}
    if image.location.name.endswith("#imageData"):
        return {
            "imagePath": image.file_name,
            "imageData": base64.b64encode(read_bytes(image.location)).decode("ascii"),
        }
    return {"imagePath": image.file_name, "imageData": None}


def _shapes(
    image: ImageRecord, classes: Sequence[str], scores: Sequence[float] | None, lost: Counter[str]
) -> list[dict[str, Any]]:
    shapes = []
    group = 0
    for number, instance in enumerate(image.instances):
        if instance.crowd:
            lost[LEFT_OUT] += 1
            continue
        drawn = _drawn(instance, (image.width, image.height), lost)
        group += len(drawn) > 1
        score = {} if scores is None else {"score": float(scores[number])}
        for shape in drawn:
            shapes.append(
                {
                    "label": classes[instance.label],
                    "points": shape.pop("points"),
                    "group_id": group if len(drawn) > 1 else None,
                    "description": "",
                    "flags": {DIFFICULT: True} if instance.difficult else {},
                    "mask": None,
                    **shape,
                    **score,
                }
            )
    return shapes


def _drawn(instance: Instance, size: tuple[int, int], lost: Counter[str]) -> list[dict[str, Any]]:
    """Return type and points of the shapes of an object."""
    form = form_of(instance, size, lost)
    beside = {} if form.box_xyxy is None else {CORNERS_KEY: list(form.box_xyxy)}
    if form.kind == "outlines":
        return [
            {"shape_type": "polygon", "points": outline.tolist(), **beside} for outline in instance.polygons
        ]
    if form.kind == "mask" and instance.rle is not None:
        mask = placed_masks.dense_of(instance.rle, size)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        (x1, x2), (y1, y2) = columns[[0, -1]].tolist(), rows[[0, -1]].tolist()
        picture = base64.b64encode(placed_masks.png_of(mask[y1 : y2 + 1, x1 : x2 + 1])).decode("ascii")
        points = [[float(x1), float(y1)], [float(x2), float(y2)]]
        return [{"shape_type": "mask", "points": points, "mask": picture, **beside}]
    x1, y1, x2, y2 = instance.box_xyxy
    return [{"shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}]


def _write_labels(classes: Sequence[str], folder: Path, lost: Counter[str]) -> None:
    """Write the classes, one a line, if lines can hold them."""
    fitting = [name for name in classes if name == name.strip() and len(name.splitlines()) == 1]
    if len(fitting) < len(classes):
        lost["class names that no line of labels.txt holds"] += len(classes) - len(fitting)
        return
    text = "".join(f"{name}\n" for name in (*NO_OBJECTS, *classes))
    write_text(folder / LABELS_FILE, text)
