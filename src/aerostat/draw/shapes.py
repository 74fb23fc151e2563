"""Outlines and masks on a photograph: a translucent fill and a crisp edge, within the object's box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.palette import Colour, text_colour_on
from aerostat.geometry.mask_outlines import simplified
from aerostat.geometry.masks import Masks

Floats = NDArray[np.floating]

FILL_OPACITY = 0.22
"""Opacity of a filled outline."""
MASK_OPACITY = 0.38
"""Opacity of a filled mask; it is the result, and has to be seen on any photograph."""
SMOOTHING = 0.75
"""Pixels by which a drawn edge may leave out the steps of the pixels; a slanted edge has steps of 0.71."""
_PIXELS_AT_ONCE = 1 << 20
"""Pixels that are blended at a time, so that a mask of a whole photograph takes little memory."""
_REACH = 1 << 14
"""Pixels beyond a part up to which OpenCV's fixed-point numbers reach safely."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What is drawn of one object: rings that are filled together, by the even-odd rule.

    Args:
        rings: each (k, 2) x, y in pixel edges; holes are rings within others.
        opacity: of the fill.
    """

    rings: tuple[Floats, ...]
    opacity: float = MASK_OPACITY


Outline = Floats | Sequence[Floats] | Shape | None
"""The outline of one object: one polygon (n, 2), several, the shape of a mask, or None."""


def shapes_of(
    masks: Masks, scale: tuple[float, float] = (1.0, 1.0), opacity: float = MASK_OPACITY
) -> list[Shape]:
    """Return the shapes of masks, with straight edges in place of steps of less than a pixel.

    Args:
        masks: of one image.
        scale: factors (x, y) from that image to the picture.
        opacity: of the fill.
    """
    tolerance = SMOOTHING / min(1.0, max(*scale, 1e-6))
    rings = simplified(masks.rings(), tolerance)
    found: list[list[Floats]] = [[] for _ in range(len(masks))]
    factors = np.asarray(scale, np.float64)
    for number, mask in enumerate(rings.mask.tolist()):
        found[mask].append(rings.ring(number) * factors)
    return [Shape(tuple(mine), opacity) for mine in found]


def parts_of(outline: Outline) -> list[Shape]:
    """Return what is filled on its own: each polygon, or all rings of a mask together."""
    if outline is None:
        return []
    if isinstance(outline, Shape):
        return [outline] if outline.rings else []
    if isinstance(outline, np.ndarray) and outline.ndim == 2:
        return [Shape((outline,), FILL_OPACITY)]
    return [Shape((np.asarray(ring, np.float64).reshape(-1, 2),), FILL_OPACITY) for ring in outline]


def paint_shape(image_bgr: NDArray[np.uint8], shape: Shape, colour: Colour, stroke: int) -> None:
    """Fill a shape translucently and draw its edge, in place; the work follows the box around it.

    Args:
        image_bgr: (H, W, 3) uint8.
        shape: rings in pixels; one of fewer than three points, or with a number that is not finite, is
            left out.
        colour: of fill and edge.
        stroke: width of the edge in pixels. An edge of two pixels and more has a thin black or white rim,
            which is visible on any background.
    """
    rings = [ring for ring in shape.rings if len(ring) >= 3 and np.isfinite(ring).all()]
    if not rings:
        return
    high, wide = image_bgr.shape[:2]
    points = np.concatenate(rings)
    x1, y1 = np.clip(np.floor(points.min(0)) - stroke - 1, 0, (wide, high)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(points.max(0)) + stroke + 2, 0, (wide, high)).astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
        return
    part = image_bgr[y1:y2, x1:x2]
    for top, band in _bands(part):
        fixed = _fixed(rings, x1, y1 + top, band.shape[1::-1])
        filled = cv2.fillPoly(band.copy(), fixed, colour, cv2.LINE_AA, shift=4)
        cv2.addWeighted(filled, shape.opacity, band, 1 - shape.opacity, 0, dst=band)
    # A line of an odd width along pixel edges would be blurred; half a pixel further it is crisp.
    half = 0.5 * (stroke % 2)
    fixed = _fixed(rings, x1 - half, y1 - half, part.shape[1::-1])
    if stroke > 1:
        cv2.polylines(part, fixed, True, text_colour_on(colour), stroke + 2, cv2.LINE_AA, shift=4)
    cv2.polylines(part, fixed, True, colour, stroke, cv2.LINE_AA, shift=4)


def _bands(part: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the first row and the pixels of bands of a part."""
    rows = max(1, _PIXELS_AT_ONCE // part.shape[1])
    for top in range(0, part.shape[0], rows):
        yield top, part[top : top + rows]


def _fixed(rings: Sequence[Floats], x: float, y: float, sides: tuple[int, int]) -> list[NDArray[np.int32]]:
    """Return rings in sixteenths of a pixel from (x, y). OpenCV counts from the middle of the first pixel.

    Args:
        rings: in pixel edges.
        x, y: of the first pixel of the part that is painted.
        sides: width and height of that part; what lies far beyond it is cut off.
    """
    corner, reach = np.asarray((x, y)) + 0.5, np.asarray(sides) + _REACH
    return [np.rint(np.clip(ring - corner, -_REACH, reach) * 16).astype(np.int32) for ring in rings]
