"""The regions of a Label Studio annotation as objects: rectangles, polygons, ellipses and brushes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box
from aerostat.datasets.formats import brush_runs
from aerostat.datasets.formats.assembly import Findings, Size, StatedObject, pixels
from aerostat.datasets.formats.exact_box import CORNERS_KEY
from aerostat.datasets.formats.written_form import box_beside
from aerostat.errors import InputError, clause
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks

POINTS_KEY = "aerostat_points"
"""Where per cent do not give the points of a polygon back in floating point, they stand under this key."""

PER_CENT: Size = (100, 100)
"""The size of an image whose size is not stated: coordinates stay per cent of it."""

_EXACT = 1e-6
"""Pixels by which exact numbers may differ from those in per cent; more, and the region was edited."""

_OTHER_TYPES = frozenset(
    ("choices", "textarea", "rating", "number", "taxonomy", "relation", "datetime", "ranker", "pairwise")
)


@dataclass(slots=True)
class _Region:
    """The results of one id: what is drawn, and its labels."""

    record: str
    value: Mapping[str, Any] | None = None
    own_labels: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        """The one label; None if there is none or several."""
        names = dict.fromkeys(self.own_labels or self.labels)
        return next(iter(names)) if len(names) == 1 else None


def stated_size(results: Sequence[Any]) -> Size | None:
    """Return (width, height) of the image that the first result with a size states."""
    for result in results:
        if isinstance(result, dict):
            size = result.get("original_width"), result.get("original_height")
            if all(type(side) is int and 0 < side < 1 << 16 for side in size):
                return size  # type: ignore[return-value]
    return None


def objects_of(
    results: Sequence[Any], size: Size | None, file_name: str, findings: Findings
) -> list[StatedObject]:
    """Return the objects that the results of one image state.

    Args:
        results: as JSON has them; those of one `id` are one region with its labels and answers.
        size: (width, height) of the image as the results state it. Without it the coordinates of the objects
            are per cent.
        file_name: of the image.
        findings: gets what is wrong, and what is not read.
    """
    objects = []
    for region in _regions(results, file_name, findings):
        if region.value is None:
            findings.unread["labels without a region"] += 1
            continue
        if _kind(region.value) == "keypoint":
            findings.unread["key points"] += 1
            continue
        try:
            objects.append(_object_of(region, region.value, size))
        except (ValueError, TypeError, KeyError, OverflowError, InputError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            why = clause(error) if isinstance(error, InputError) else why
            detail = f"{region.record} is no region ({why}); dropped"
            findings.add(file_name, "malformed record", detail, region.record)
    return objects


def _regions(results: Sequence[Any], file_name: str, findings: Findings) -> list[_Region]:
    regions: dict[object, _Region] = {}
    for number, result in enumerate(results):
        if not isinstance(result, dict):
            record = f"result {number}"
            findings.add(file_name, "malformed record", f"{record} is no object; dropped", record)
            continue
        value = result.get("value")
        labels = _labels(value) if isinstance(value, dict) else []
        drawn = is_drawn(result)
        if not drawn and not labels:
            kind = result.get("type")
            known = isinstance(kind, str) and kind in _OTHER_TYPES
            findings.unread[f"results of the type {kind}" if known else "results of other types"] += 1
            continue
        stated = result.get("id")
        key = stated if isinstance(stated, str) and stated else number
        region = regions.setdefault(key, _Region(f"region {str(key)[:40]}"))
        if drawn and region.value is None:
            region.value, region.own_labels = value, labels
            findings.unread["scores"] += result.get("score") is not None
            findings.unread["notes"] += bool(result.get("meta"))
            findings.unread["turned pictures"] += bool(result.get("image_rotation"))
        else:
            region.labels += labels
    return list(regions.values())


def is_drawn(result: Any) -> bool:
    """Return whether a result draws on an image."""
    value = result.get("value") if isinstance(result, dict) else None
    return isinstance(value, dict) and _kind(value) is not None


def _labels(value: Mapping[str, Any]) -> list[str]:
    """Return the labels that a result gives, such as under ``rectanglelabels`` or ``labels``."""
    lists = (found for key, found in value.items() if key.endswith("labels") and isinstance(found, list))
    return [name for found in lists for name in found if isinstance(name, str) and name.strip()]


def _kind(value: Mapping[str, Any]) -> str | None:
    """Return what a value draws on an image."""
    if "rle" in value:
        return "brush"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    if "x" in value and "y" in value:
        return "rectangle" if "height" in value and "width" in value else "keypoint"
    return None


def _object_of(region: _Region, value: Mapping[str, Any], size: Size | None) -> StatedObject:
    kind = _kind(value)
    side = size or PER_CENT
    turned = kind in ("rectangle", "ellipse") and _rotation(value) % 360 != 0
    if size is None and (turned or kind == "brush"):
        raise ValueError("its result states no original_width and original_height")
    if kind == "brush":
        rle = brush_runs.decode(value["rle"], side)
        left, top, right, bottom = Masks.from_coco([rle], side).boxes_xyxy()[0].tolist()
        if left >= right:
            raise ValueError("a brush without a pixel")
        bounds = left, top, right, bottom
        return StatedObject(
            region.name, region.record, box_beside(value.get(CORNERS_KEY), bounds) or bounds, rle=rle
        )
    if kind == "rectangle" and not turned:
        return StatedObject(region.name, region.record, _box(value, side))
    if kind == "rectangle":
        outline = _turned_corners(value, side)
    elif kind == "ellipse":
        x, y, rx, ry = (pixels(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
        width, height = side
        angle = math.radians(_rotation(value))
        outline = polygons.ellipse(
            x * width / 100, y * height / 100, rx * width / 100, ry * height / 100, angle
        )
    else:
        outline = _points(value, side)
    box = box_beside(value.get(CORNERS_KEY), polygons.bounds(outline))
    return StatedObject(region.name, region.record, box, [outline])


def _rotation(value: Mapping[str, Any]) -> float:
    """Return the degrees by which a region is turned clockwise."""
    stated = value.get("rotation")
    return 0.0 if stated is None else pixels(stated)


def _box(value: Mapping[str, Any], size: Size) -> Box:
    """Return the box of a rectangle in pixels; exact corners beside it count where they agree."""
    x, y, width, height = (pixels(value[key]) for key in ("x", "y", "width", "height"))
    box = corners_of((x, y, width, height), size)
    exact = box_beside(value.get(CORNERS_KEY), box) or box
    return exact if all(abs(a - b) <= _EXACT for a, b in zip(exact, box, strict=True)) else box


def corners_of(per_cent: tuple[float, float, float, float], size: Size) -> Box:
    """Return the corners in pixels of a rectangle (x, y, width, height) in per cent of a size."""
    x, y, width, height = per_cent
    return x * size[0] / 100, y * size[1] / 100, (x + width) * size[0] / 100, (y + height) * size[1] / 100


def _turned_corners(value: Mapping[str, Any], size: Size) -> NDArray[np.float64]:
    """Return the corners of a rectangle that is turned clockwise about its top left corner."""
    x, y, width, height = (
        pixels(value[key]) * side / 100
        for key, side in zip(("x", "y", "width", "height"), (*size, *size), strict=True)
    )
    angle = math.radians(_rotation(value))
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = np.asarray([width * cos, width * sin]), np.asarray([-height * sin, height * cos])
    corner = np.asarray([x, y])
    return np.stack([corner, corner + across, corner + across + down, corner + down])


def _points(value: Mapping[str, Any], size: Size) -> NDArray[np.float64]:
    outline = points_of(_pairs(value["points"]), size)
    if POINTS_KEY in value:
        try:
            exact = _pairs(value[POINTS_KEY])
        except ValueError:
            return outline
        if exact.shape == outline.shape and np.abs(exact - outline).max() <= _EXACT:
            return exact
    return outline


def points_of(per_cent: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Return points (n, 2) in pixels from per cent of a size."""
    return per_cent * np.asarray(size, np.float64) / 100


def _pairs(stated: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(stated, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError("its points are no pairs of numbers")
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not finite")
    return points
