"""The shapes of CVAT: from an element to boxes, outlines and masks, and between two key frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box
from aerostat.datasets.xml_text import Element, number
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks
from aerostat.geometry.run_lengths import counts_between

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = frozenset(("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton"))
"""Names of the elements that are shapes."""

_KEYS = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "cuboid": tuple(
        f"{axis}{corner}{face}" for face in "12" for corner in ("tl", "bl", "tr", "br") for axis in "xy"
    ),
}

FREE_STEPS = 1 << 24
STEPS_PER_BYTE = 50
"""Work and memory that the masks of a file may take: counts of four bytes each for its first 16 million, and
fifty for each of its bytes. A mask of one rectangle over a whole photograph takes about as many."""


@dataclass(frozen=True, slots=True)
class RowMask:
    """A mask as CVAT states it: run lengths of a part of the image, row by row, zeros first.

    Args:
        left, top, width, height: of the part, in pixels.
        counts: run lengths (k,).
    """

    left: int
    top: int
    width: int
    height: int
    counts: Ints


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape as CVAT states it.

    Args:
        kind: name of its element.
        numbers: corners of a box, centre and half axes of an ellipse, or points, one after the other.
        rotation: in degrees about the centre, clockwise as the picture is seen.
        mask: of a mask.
    """

    kind: str
    numbers: Floats
    rotation: float = 0.0
    mask: RowMask | None = None


def parse_shape(element: Element) -> Shape:
    """Return the shape of an element.

    Raises:
        ValueError: a number is missing or none, or the shape has no extent; the text says which.
    """
    kind = element.tag
    if kind == "points":
        raise ValueError("it is a set of points, which has no extent; draw a box or a polygon")
    if kind == "mask":
        return Shape(kind, np.zeros(0), mask=_row_mask(element))
    rotation = number(element.get("rotation", "0"), "rotation") % 360.0
    if kind in _KEYS:
        numbers = np.asarray([number(element.get(key), key) for key in _KEYS[kind]], np.float64)
        return Shape(kind, numbers, rotation)
    text = element.get("points")
    if not text:
        raise ValueError("points is missing")
    try:
        pairs = np.asarray([pair.split(",") for pair in text.split(";")], np.float64)
    except ValueError:
        raise ValueError("points is no list of x,y;x,y") from None
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise ValueError("points is no list of x,y;x,y with finite numbers")
    return Shape(kind, pairs.ravel(), rotation)


def box_of(shape: Shape) -> Box | None:
    """Return the box of a box that is not turned, and the box around a cuboid; None for any other shape."""
    if shape.kind == "cuboid":
        return polygons.bounds(shape.numbers.reshape(-1, 2))
    if shape.kind != "box" or shape.rotation:
        return None
    x1, y1, x2, y2 = shape.numbers.tolist()
    return x1, y1, x2, y2


def outline_of(shape: Shape) -> Floats | None:
    """Return the outline (n, 2) of a polygon, a polyline, an ellipse, or a box that is turned."""
    if shape.kind == "ellipse":
        cx, cy, rx, ry = shape.numbers.tolist()
        if rx < 0 or ry < 0:
            raise ValueError("the ellipse has a negative axis")
        return polygons.ellipse(cx, cy, rx, ry, math.radians(shape.rotation))
    if shape.kind in ("polygon", "polyline"):
        points = shape.numbers.reshape(-1, 2)
    elif shape.kind == "box" and shape.rotation:
        x1, y1, x2, y2 = shape.numbers.tolist()
        points = np.asarray([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    else:
        return None
    if not shape.rotation:
        return points
    x1, y1, x2, y2 = polygons.bounds(points)
    return turned(points, (x1 + x2) / 2, (y1 + y2) / 2, shape.rotation)


def turned(points: Floats, cx: float, cy: float, degrees: float) -> Floats:
    """Return points (n, 2) turned about a centre, clockwise as the picture is seen; y points down.

    >>> turned(np.asarray([(3.0, 1.0)]), 1.0, 1.0, 90.0).tolist()
    [[1.0, 3.0]]
    """
    quarters, rest = divmod(degrees, 90.0)
    if rest:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    else:  # a quarter turn moves corners onto corners, without rounding
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    x, y = points[:, 0] - cx, points[:, 1] - cy
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1)


# ------------------------------------------------------------------------------------ between key frames


def between(start: Shape, end: Shape, share: float) -> Shape | None:
    """Return the shape between two key frames; None for masks, which stand on the frames that state them.

    Boxes, ellipses and cuboids move linearly and turn the short way, as in CVAT. Polygons and polylines with
    the same number of points move point by point. CVAT pairs points by their place along the outline, which
    is the same while the outline keeps its form. Where two shapes cannot be paired, the first one stays.

    Args:
        start: shape at the earlier key frame.
        end: shape at the later one.
        share: how far the frame lies between them, from 0 to 1.

    >>> start, end = Shape("box", np.asarray([0.0, 0, 10, 10])), Shape("box", np.asarray([8.0, 4, 18, 30]))
    >>> between(start, end, 0.25).numbers.tolist()
    [2.0, 1.0, 12.0, 15.0]
    """
    if start.kind == "mask":
        return None
    if start.kind != end.kind or len(start.numbers) != len(end.numbers):
        return start
    numbers = start.numbers + (end.numbers - start.numbers) * share
    turn = (end.rotation - start.rotation + 180.0) % 360.0 - 180.0
    return Shape(start.kind, numbers, (start.rotation + turn * share) % 360.0)


# ------------------------------------------------------------------------------------ masks


def _row_mask(element: Element) -> RowMask:
    left, top, width, height = (_whole(element.get(key), key) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1:
        raise ValueError(f"the mask has {width} x {height} pixels at {left}, {top}")
    text = element.get("rle") or ""
    try:
        counts = np.asarray([int(run) for run in text.split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError("rle is no list of whole numbers") from None
    if (counts < 0).any() or sum(counts.tolist()) > width * height:
        raise ValueError(f"rle is not one of {width} x {height} pixels")
    return RowMask(left, top, width, height, counts)


def _whole(text: str | None, name: str) -> int:
    value = number(text, name)
    if not value.is_integer() or abs(value) > 1 << 16:
        raise ValueError(f"{name} is no whole number of pixels")
    return int(value)


@dataclass(slots=True)
class MaskBudget:
    """What the masks of a file may still take.

    Args:
        path: of the file, for the refusal.
        steps: left.
    """

    path: object
    steps: int

    def take(self, steps: int) -> None:
        """Take steps.

        Raises:
            InputError: there are not as many left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise InputError(
                f"{self.path} holds masks that unfold to far more than the file, as one made to fill the "
                "memory does; export it again."
            )


def coco_mask(mask: RowMask, size: tuple[int, int], budget: MaskBudget) -> dict[str, Any]:
    """Return a mask as COCO has it, ``{"size": [h, w], "counts": ...}`` of the whole image.

    Args:
        mask: of a part of the image.
        size: (width, height) of the image.
        budget: of the file.

    Raises:
        ValueError: the mask reaches out of the image, or has no pixels.

    >>> pair = RowMask(1, 0, 2, 1, np.asarray([0, 2]))  # two pixels beside each other in the first row
    >>> Masks.from_coco([coco_mask(pair, (3, 2), MaskBudget("", 100))])[0].astype(int).tolist()
    [[0, 1, 1], [0, 0, 0]]
    """
    width, height = size
    if mask.left + mask.width > width or mask.top + mask.height > height:
        raise ValueError(f"the mask reaches out of the image of {width} x {height}")
    budget.take(len(mask.counts) + mask.height + mask.width)
    row, column = _edges(mask)
    # Each edge of a row begins or ends a part of the columns that change from the row above to this one, and
    # again from this one to the row below. Two edges at one place cancel.
    stride = mask.width + 1
    keys = np.concatenate([row * stride + column, (row + 1) * stride + column])
    unique, times = np.unique(keys, return_counts=True)
    first, last = unique[times == 1].reshape(-1, 2).T
    lengths = last - first
    changes = int(lengths.sum())
    if not changes:
        raise ValueError("the mask has no pixels")
    budget.take(changes)
    within = np.arange(changes) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = np.repeat(first % stride, lengths) + within
    places = (mask.left + columns) * height + mask.top + np.repeat(first // stride, lengths)
    counts = counts_between(places, width * height)
    return Masks((width, height), counts, np.asarray([0, len(counts)])).to_coco()[0]


def _edges(mask: RowMask) -> tuple[Ints, Ints]:
    """Return the row and the column (k,) of each edge of a mask: where a row begins or ends to be inside."""
    width, pixels = mask.width, mask.width * mask.height
    toggles, times = np.unique(np.cumsum(mask.counts), return_counts=True)
    toggles = toggles[times % 2 == 1]
    starts = np.arange(mask.height) * width
    inside_first = np.searchsorted(toggles, starts, side="right") % 2 == 1
    inside_last = np.searchsorted(toggles, starts + width, side="left") % 2 == 1
    inner = toggles[(toggles % width != 0) & (toggles < pixels)]
    rows = np.arange(mask.height)
    row = np.concatenate([rows[inside_first], inner // width, rows[inside_last]])
    column = np.concatenate(
        [np.zeros(int(inside_first.sum()), np.int64), inner % width, np.full(int(inside_last.sum()), width)]
    )
    return row, column


def row_mask(dense: NDArray[np.bool_]) -> RowMask:
    """Return a dense mask (h, w) with at least one pixel as CVAT states it.

    >>> row_mask(np.asarray([[False, False, False], [False, True, True]])).counts.tolist()
    [0, 2]
    """
    rows, columns = np.flatnonzero(dense.any(axis=1)), np.flatnonzero(dense.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    flat = dense[top:bottom, left:right].ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes]) if flat[0] else changes
    counts = counts_between(starts, len(flat)).astype(np.int64)
    return RowMask(int(left), int(top), int(right - left), int(bottom - top), counts)


def bounds_of(mask: RowMask) -> Box | None:
    """Return the box around the pixels of a mask; None if it has none."""
    row, column = _edges(mask)
    if not len(row):
        return None
    left, right = int(column.min()) + mask.left, int(column.max()) + mask.left
    return float(left), float(int(row.min()) + mask.top), float(right), float(int(row.max()) + mask.top + 1)
