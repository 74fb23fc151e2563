"""Fitting annotated shapes into their image: what is clipped, what is dropped, and under which name."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.problems import ProblemKind
from aerostat.geometry import polygons

Box = tuple[float, float, float, float]

CLIP_TOLERANCE = 0.5
"""Pixels beyond the border that are clipped without a report: tools differ by half a pixel."""


def box_area(box_xyxy: Box) -> float:
    """Return the area of a box whose corners are in order."""
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])


def fit_box(box_xyxy: Box, width: float, height: float) -> tuple[Box | None, ProblemKind | None]:
    """Return the box clipped to the image, or None if nothing of it is left, and what had to be done."""
    x1, y1, x2, y2 = box_xyxy
    if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height and x1 < x2 and y1 < y2:
        return box_xyxy, None
    if not all(map(math.isfinite, box_xyxy)):
        return None, "malformed record"
    if x1 >= x2 or y1 >= y2:
        return None, "degenerate box"
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return None, "outside the image"
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    return clipped, "clipped" if beyond > CLIP_TOLERANCE else None


def fit_polygon(
    polygon: NDArray[np.float64], width: float, height: float, check_crossing: bool = True
) -> tuple[NDArray[np.float64] | None, ProblemKind | None]:
    """Return the polygon clipped to the image, None if it encloses nothing there, and what had to be done."""
    x1, y1, x2, y2 = polygons.bounds(polygon)
    if not all(map(math.isfinite, (x1, y1, x2, y2))):  # NaN anywhere is NaN here
        return None, "malformed record"
    if polygons.area(polygon) <= 0:
        return None, "degenerate polygon"
    problem: ProblemKind | None = None
    if check_crossing and polygons.crosses_itself(polygon):
        problem = "self-crossing polygon"
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    if beyond > 0:
        polygon = polygons.clip(polygon, width, height)
        if polygons.area(polygon) <= 0:
            return None, "outside the image"
        if beyond > CLIP_TOLERANCE:
            problem = "clipped"
    return polygon, problem


_CERTAIN_AREA = 1e-6
_MAX_POINTS = 10_000


def fit_as_they_are(
    points: NDArray[np.float64],
    stops: NDArray[np.int64],
    sizes: NDArray[np.float64],
    check_crossing: bool = True,
) -> NDArray[np.bool_]:
    """Return for each polygon whether `fit_polygon` returns it unchanged and without a problem.

    False is no certain answer: a polygon with a tiny area or with more than 10,000 points, where rounding
    adds up, is False, too. A caller asks `fit_polygon` about those, and gets the same results as for all.

    Args:
        points: (n, 2) x, y of all polygons, one after the other.
        stops: (m,) where each polygon ends in `points`; none is empty.
        sizes: (m, 2) width, height of the image of each.
        check_crossing: whether an outline that crosses itself is a problem.

    Returns:
        (m,), of booleans.
    """
    counts = np.diff(stops, prepend=0)
    if not len(counts):
        return np.zeros(0, np.bool_)
    starts = stops - counts
    x, y = np.ascontiguousarray(points.T)
    left, right = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    top, bottom = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    inside = (left >= 0) & (top >= 0) & (right <= sizes[:, 0]) & (bottom <= sizes[:, 1])  # NaN is not
    # As in `polygons.area`, seen from the first point. No product is above that of the extents, so rounding
    # adds up to less than 4 n^2 times 1.1e-16 of it, and what is enclosed here is enclosed.
    x, y = x - np.repeat(x[starts], counts), y - np.repeat(y[starts], counts)
    cross = np.zeros_like(x)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers beyond 1e154, which lie in no image
        cross[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
        cross[stops - 1] = 0.0
        extent = (right - left) * (bottom - top)
        enclosing = np.abs(np.add.reduceat(cross, starts)) > _CERTAIN_AREA * extent
    fits: NDArray[np.bool_] = inside & enclosing & (counts <= _MAX_POINTS)
    if check_crossing:
        fits &= ~polygons.crossing(points, stops)
    return fits
