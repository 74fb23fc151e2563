"""Boxes as x, y, width, height that give back the same corners to the last bit."""

from __future__ import annotations

from aerostat.datasets.clip import Box

CORNERS_KEY = "aerostat_box_xyxy"
"""Where no width gives the corner back in floating point, the corners stand under this key beside the box.

x + width rounds to the even neighbour when it falls between two numbers, so for some corners no width exists:
where x2 - x1 does not do, the sum falls half a step beside x2, and that of the next number half a step to its
other side. Such boxes come from computed outlines, never from numbers with a few decimals.
"""

_AGREE = 1e-6


def width_and_height(box_xyxy: Box) -> tuple[tuple[float, float], dict[str, list[float]]]:
    """Return (width, height) of a box and what must be written beside them to read the same corners."""
    x1, y1, x2, y2 = box_xyxy
    width, height = x2 - x1, y2 - y1
    exact = x1 + width == x2 and y1 + height == y2
    return (width, height), {} if exact else {CORNERS_KEY: list(box_xyxy)}


def stated_box(box_xywh: tuple[float, float, float, float], corners: object) -> Box:
    """Return the corners of a box; what stands beside it under `CORNERS_KEY` counts where it agrees."""
    x, y, width, height = box_xywh
    box = (x, y, x + width, y + height)
    if isinstance(corners, list) and len(corners) == 4 and all(isinstance(c, (int, float)) for c in corners):
        x1, y1, x2, y2 = map(float, corners)
        if all(abs(a - b) <= _AGREE for a, b in zip(box, (x1, y1, x2, y2), strict=True)):
            return x1, y1, x2, y2
    return box
