"""The shapes of a LabelMe file as objects: https://github.com/wkentaro/labelme, versions 1 to 6."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box
from aerostat.datasets.formats import placed_masks
from aerostat.datasets.formats.assembly import Findings, Size, StatedObject
from aerostat.datasets.formats.exact_box import CORNERS_KEY
from aerostat.datasets.formats.placed_masks import Rle
from aerostat.datasets.formats.written_form import box_beside
from aerostat.errors import InputError, clause
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks
from aerostat.images.read import decode_image
from aerostat.text import shown

NO_OBJECTS = ("__ignore__", "_background_")
"""Labels of LabelMe's own converters for what is no object."""

DIFFICULT = "difficult"
"""Flag of a shape by which Pascal VOC's mark of a difficult object is kept."""

_OUTLINES = ("polygon", "linestrip", "oriented_rectangle", "rotation", "quadrilateral")
_NO_EXTENT = ("point", "points", "line")


@dataclass(frozen=True, slots=True)
class _Part:
    """What one shape adds to its object: an outline, a mask, or the box alone."""

    bounds_xyxy: Box
    outline: NDArray[np.float64] | None = None
    rle: Rle | None = None


@dataclass(slots=True)
class _Group:
    """The shapes that are one object."""

    name: str | None
    record: str
    parts: list[_Part]
    box: object = None
    difficult: bool = False


def objects_of(
    shapes: Sequence[Any], size: Size | None, file_name: str, findings: Findings
) -> list[StatedObject]:
    """Return the objects that shapes state; shapes of one label and one `group_id` are one object.

    Args:
        shapes: of one file, as JSON has them.
        size: (width, height) of the image as the file states it.
        file_name: of the image.
        findings: gets what is wrong, and what is not read.
    """
    groups: dict[object, _Group] = {}
    for number, shape in enumerate(shapes):
        record = f"shape {number}"
        if not isinstance(shape, dict):
            findings.add(file_name, "malformed record", f"{record} is {shown(shape)}; dropped", record)
            continue
        label = shape.get("label")
        if label in NO_OBJECTS:
            findings.unread[f"shapes labelled {label}"] += 1
            continue
        name = label if isinstance(label, str) and label.strip() else None
        try:
            part = _part_of(shape, size)
        except (ValueError, TypeError, OverflowError, InputError) as error:
            why = clause(error) if isinstance(error, InputError) else str(error)
            findings.add(file_name, "malformed record", f"{record} {why}; dropped", record)
            continue
        key: object = number
        group_id = shape.get("group_id")
        if isinstance(group_id, (int, str)) and not isinstance(group_id, bool) and name is not None:
            key = (group_id, name)
        group = groups.setdefault(key, _Group(name, record, []))
        group.parts.append(part)
        group.box = group.box or shape.get(CORNERS_KEY)
        _count_unread(shape, group, findings)
    _count_mixed(groups, findings)
    return [_object_of(group, size) for group in groups.values()]


def _part_of(shape: dict[str, Any], size: Size | None) -> _Part:
    """Return what a shape draws.

    Raises:
        ValueError, TypeError, OverflowError, InputError: nothing with an extent.
    """
    kind = shape.get("shape_type") or "polygon"  # versions before 4 have polygons only
    if kind in _NO_EXTENT:
        raise ValueError(f"is a {kind}, which has no extent")
    points = _points(shape.get("points"))
    if kind == "mask":
        return _mask_of(shape.get("mask"), points, size)
    if kind == "rectangle" and len(points) >= 2:
        return _Part(polygons.bounds(points))
    if kind == "circle" and len(points) == 2:
        (x, y), (on_x, on_y) = points.tolist()
        radius = math.hypot(on_x - x, on_y - y)
        outline = polygons.ellipse(x, y, radius, radius)
        return _Part(polygons.bounds(outline), outline)
    if kind in _OUTLINES:
        return _Part(polygons.bounds(points), points)
    raise ValueError(f"is no shape (the shape type {shown(kind, 30)} with {len(points)} points)")


def _points(stated: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(stated, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"is no shape (its points are {shown(stated, 40)})")
    if not np.isfinite(points).all():
        raise ValueError("is no shape (a coordinate is not finite)")
    return points


def _mask_of(stated: Any, points: NDArray[np.float64], size: Size | None) -> _Part:
    """Return the mask that a picture shows; its first pixel is at the first point."""
    if size is None:
        raise ValueError("is a mask, and the file states no size of the image")
    if not isinstance(stated, str):
        raise ValueError("is a mask without a picture")
    try:
        content = base64.b64decode(stated)
    except (binascii.Error, ValueError):
        raise ValueError("is a mask whose picture is not base64") from None
    picture = decode_image(content, "the picture of the mask")
    x, y = points.min(axis=0).tolist()
    if abs(x) > 1e9 or abs(y) > 1e9:
        raise ValueError("is a mask far outside of the image")
    rle = placed_masks.placed(picture.max(axis=2) > 0, (math.floor(x), math.floor(y)), size)
    left, top, right, bottom = Masks.from_coco([rle], size).boxes_xyxy()[0].tolist()
    if left >= right:
        raise ValueError("is a mask without a pixel in the image")
    return _Part((left, top, right, bottom), rle=rle)


def _object_of(group: _Group, size: Size | None) -> StatedObject:
    parts = group.parts
    lefts, tops, rights, bottoms = zip(*(part.bounds_xyxy for part in parts), strict=True)
    x1, y1, x2, y2 = min(lefts), min(tops), max(rights), max(bottoms)
    outlines = [part.outline for part in parts if part.outline is not None]
    masks = [part.rle for part in parts if part.rle is not None]
    if len(parts) > 1:  # a part that is a rectangle is one of the outlines
        outlines = [
            _corners(p.bounds_xyxy) if p.outline is None else p.outline for p in parts if p.rle is None
        ]
    box: Box | None = (x1, y1, x2, y2)
    rle = masks[0] if masks else None
    if masks and size is not None and len(parts) > 1:
        rle, outlines = placed_masks.union(masks, outlines, size), []
    if outlines or masks:
        box = box_beside(group.box, (x1, y1, x2, y2)) or (None if outlines else box)
    return StatedObject(group.name, group.record, box, outlines, rle, difficult=group.difficult)


def _corners(box_xyxy: Box) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box_xyxy
    return np.asarray([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)


def _count_unread(shape: dict[str, Any], group: _Group, findings: Findings) -> None:
    flags = shape.get("flags")
    ticked = [key for key, value in flags.items() if value] if isinstance(flags, dict) else []
    if DIFFICULT in ticked or shape.get(DIFFICULT) is True:
        group.difficult = True
    findings.unread["flags"] += sum(key != DIFFICULT for key in ticked)
    for key in ("description", "attributes"):
        findings.unread[f"{key.removesuffix('s')}s"] += bool(shape.get(key))
    findings.unread["scores"] += shape.get("score") is not None


def _count_mixed(groups: Iterable[object], findings: Findings) -> None:
    """Count the group ids that shapes of several labels have; such shapes are one object for each label."""
    ids = [key[0] for key in groups if isinstance(key, tuple)]
    findings.unread["groups of shapes with several labels as one object"] += len(ids) - len(set(ids))
