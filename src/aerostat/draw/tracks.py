"""Trails of tracks, lines that they cross and zones that they stay in, on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.boxes import line_width, text_size
from aerostat.draw.palette import Colour, class_colour, text_colour_on
from aerostat.draw.shapes import Shape, paint_shape
from aerostat.draw.text import elide, paint_text, text_mask

Floats = NDArray[np.floating]

PLACE_COLOUR: Colour = (255, 255, 255)
"""Colour of lines and zones: no track has it."""
ZONE_OPACITY = 0.12
"""Opacity of a zone; objects in it have to stay visible."""
_REACH = 1 << 14
"""Pixels beyond the picture up to which OpenCV's fixed-point numbers reach safely."""


def paint_trail(image_bgr: NDArray[np.uint8], points_xy: Floats, number: int) -> None:
    """Draw the way of a track in place: thin at its oldest point, thicker towards the newest.

    Args:
        image_bgr: (H, W, 3) uint8.
        points_xy: (k, 2) pixels, the oldest first; fewer than two draw nothing.
        number: of the track, which chooses the colour.
    """
    if len(points_xy) < 2:
        return
    widest = max(3, line_width(*image_bgr.shape[:2]))
    colour = class_colour(number)
    fixed = _fixed(points_xy)
    thickness = [max(2, round(widest * (place + 1) / (len(fixed) - 1))) for place in range(len(fixed) - 1)]
    for edge, shade in ((2, text_colour_on(colour)), (0, colour)):
        for start, end, wide in zip(fixed, fixed[1:], thickness, strict=False):
            cv2.line(image_bgr, start, end, shade, wide + edge, cv2.LINE_AA, shift=4)


def paint_line(
    image_bgr: NDArray[np.uint8], start_xy: tuple[float, float], end_xy: tuple[float, float]
) -> None:
    """Draw a line in place, with an arrow at its middle from its left to its right side.

    Args:
        image_bgr: (H, W, 3) uint8.
        start_xy, end_xy: points in pixels; left and right are as seen from the first to the second.
    """
    high, wide = image_bgr.shape[:2]
    stroke = max(2, line_width(high, wide))
    middle, way, reach = _arrow(image_bgr, start_xy, end_xy)
    right = np.asarray((-way[1], way[0]))
    tail, head = _fixed(np.stack([middle - right * reach, middle + right * reach]))
    one, other = _fixed(np.stack([np.asarray(start_xy, np.float64), np.asarray(end_xy, np.float64)]))
    for edge, colour in ((2, (0, 0, 0)), (0, PLACE_COLOUR)):
        cv2.line(image_bgr, one, other, colour, stroke + edge, cv2.LINE_AA, shift=4)
        cv2.arrowedLine(image_bgr, tail, head, colour, stroke + edge, cv2.LINE_AA, shift=4, tipLength=0.4)


def paint_line_text(
    image_bgr: NDArray[np.uint8],
    start_xy: tuple[float, float],
    end_xy: tuple[float, float],
    text: str,
) -> None:
    """Write a text on a line in place, beside its arrow; see `paint_line`."""
    middle, way, reach = _arrow(image_bgr, start_xy, end_xy)
    plate = _plate(image_bgr, text)
    if plate is not None:
        centre = middle + way * (np.abs(way) @ plate.sides / 2 + 0.7 * reach)
        plate.paint(image_bgr, centre - plate.sides / 2)


def paint_zone(image_bgr: NDArray[np.uint8], corners_xy: Sequence[tuple[float, float]]) -> None:
    """Draw a zone in place.

    Args:
        image_bgr: (H, W, 3) uint8.
        corners_xy: at least three corners in pixels.
    """
    stroke = max(2, line_width(*image_bgr.shape[:2]) // 2)
    paint_shape(image_bgr, Shape((np.asarray(corners_xy, np.float64),), ZONE_OPACITY), PLACE_COLOUR, stroke)


def paint_zone_text(
    image_bgr: NDArray[np.uint8], corners_xy: Sequence[tuple[float, float]], text: str
) -> None:
    """Write a text in place above the lowest corner of a zone, where tags of boxes are rare."""
    corners = np.asarray(corners_xy, np.float64)
    lowest = corners[np.lexsort((corners[:, 0], -corners[:, 1]))[0]]
    plate = _plate(image_bgr, text)
    if plate is not None:
        plate.paint(image_bgr, lowest - (0, plate.sides[1]))


def _arrow(
    image_bgr: NDArray[np.uint8], start_xy: tuple[float, float], end_xy: tuple[float, float]
) -> tuple[Floats, Floats, float]:
    """Return the middle of a line, its direction of length 1, and half the length of its arrow."""
    start, end = np.asarray(start_xy, np.float64), np.asarray(end_xy, np.float64)
    return (start + end) / 2, (end - start) / np.hypot(*(end - start)), 1.2 * text_size(*image_bgr.shape[:2])


class _Plate(NamedTuple):
    """A text with its background.

    Args:
        text: as it fits into the picture.
        size: of the text in pixels per em.
        padding: around the text in pixels.
        sides: (2,) width and height.
    """

    text: str
    size: int
    padding: int
    sides: NDArray[np.int64]

    def paint(self, image_bgr: NDArray[np.uint8], corner_xy: Floats) -> None:
        """Draw it in place from its upper left corner, moved into the picture."""
        high, wide = image_bgr.shape[:2]
        left, top = np.clip(np.rint(corner_xy), 0, (wide, high) - self.sides).astype(int).tolist()
        image_bgr[top : top + self.sides[1], left : left + self.sides[0]] = PLACE_COLOUR
        place = left + self.padding, top + self.padding // 2
        paint_text(image_bgr, self.text, *place, self.size, text_colour_on(PLACE_COLOUR))


def _plate(image_bgr: NDArray[np.uint8], text: str) -> _Plate | None:
    """Return a text with its background; None if the picture is too small for text."""
    high, wide = image_bgr.shape[:2]
    size = text_size(high, wide)
    padding = max(2, size // 4)
    shown = elide(text, size, wide - 2 * padding)
    mask = text_mask(shown, size)
    sides = np.asarray((mask.shape[1] + 2 * padding, mask.shape[0] + padding))
    return None if (sides > (wide, high)).any() else _Plate(shown, size, padding, sides)


def _fixed(points_xy: Floats) -> list[tuple[int, int]]:
    """Return points in sixteenths of a pixel, as OpenCV counts from the middle of the first pixel."""
    fixed = np.rint((np.clip(points_xy, -_REACH, _REACH) - 0.5) * 16).astype(int)
    return [(int(x), int(y)) for x, y in fixed]
