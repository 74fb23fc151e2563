"""Fitting annotated shapes into their image: what is clipped, what is dropped, and under which name."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aerostat.data import polygons
from aerostat.data.dataset import ProblemKind

Box = tuple[float, float, float, float]

CLIP_TOLERANCE = 0.5
"""Pixels beyond the border that are clipped without a word: tools disagree by half a pixel where it is."""


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
