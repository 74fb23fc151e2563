"""Boxes, outlines and their labels on a photograph, legible at any image size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.draw.palette import Colour, class_colour, text_colour_on
from aerostat.draw.text import elide, paint_text, text_mask
from aerostat.errors import InputError

Outline = NDArray[np.floating] | Sequence[NDArray[np.floating]] | None
"""The outline of one object: one polygon (n, 2), several, or none."""

FILL_OPACITY = 0.22
SMALLEST_TEXT = 9
"""Pixels per em under which nobody reads a label."""


def line_width(height: int, width: int) -> int:
    """Return the line width in pixels for an image: 1 at 100, 2 at 640, 20 at 8000 pixels."""
    return max(1, round(max(height, width) / 400))


def text_size(height: int, width: int, count: int = 1) -> int:
    """Return pixels per em for labels on an image with `count` boxes: smaller where there is a crowd."""
    crowding = 1.0 if count <= 15 else 0.8 if count <= 40 else 0.65
    return max(SMALLEST_TEXT, round(math.pow(max(height, width), 0.85) / 16 * crowding))


def draw_boxes(
    image_bgr: NDArray[np.uint8],
    boxes_xyxy: ArrayLike,
    labels: Sequence[int] | NDArray[np.integer],
    classes: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating] | None = None,
    polygons: Sequence[Outline] | None = None,
    *,
    width: int | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of the image with boxes, filled outlines and a label tag on each.

    Small boxes are drawn over large ones. A tag stands above its box where there is room, else inside it or
    below it, wherever it covers least of the tags already placed, and always wholly inside the image; on an
    image too small for any text there are none.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        boxes_xyxy: (n, 4) pixels.
        labels: (n,) indices into `classes`.
        classes: class names in any script; where no font here has a script, the tag says ``class 3``.
        scores: (n,) in [0, 1], shown as per cent, or None.
        polygons: (n,) outlines in pixels, each one polygon (k, 2), several, or None; or None for none at all.
        width: of the lines in pixels; chosen from the image's size if None.

    Raises:
        InputError: the arguments differ in length, a box is not finite, or a label has no class.
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    image = image_bgr.copy()
    _check(boxes, labels, classes, scores, polygons)
    if not len(boxes):
        return image
    high, wide = image.shape[:2]
    stroke = line_width(high, wide) if width is None else max(1, width)
    size = text_size(high, wide, len(boxes))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = [int(i) for i in np.argsort(-areas, kind="stable")]
    colours = {i: class_colour(int(labels[i])) for i in order}
    for i in order:
        for polygon in _polygons(polygons[i] if polygons is not None else None):
            _fill(image, polygon, colours[i], stroke)
    for i in order:
        _rectangle(image, boxes[i], colours[i], stroke)
    placed = np.empty((0, 4))
    # the best scores choose their places first, and are drawn last, over the tags they had to touch
    ranked = order[::-1] if scores is None else sorted(order, key=lambda i: -float(scores[i]))
    tags: list[tuple[NDArray[np.float64], str, int]] = []
    for i in ranked:
        fallback = f"class {int(labels[i])}"
        text = elide(classes[int(labels[i])], size, _name_room(wide, size, scores is not None), fallback)
        text += "" if scores is None else f" {round(100 * float(scores[i]))}%"
        spot = _place(boxes[i], text, size, stroke, high, wide, placed)
        if spot is not None:
            placed = np.concatenate([placed, spot[None]])
            tags.append((spot, text, i))
    for spot, text, i in reversed(tags):
        _tag(image, spot, text, size, colours[i])
    return image


def _check(
    boxes: NDArray[np.float64],
    labels: Sequence[int] | NDArray[np.integer],
    classes: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating] | None,
    polygons: Sequence[Outline] | None,
) -> None:
    for name, values in (("labels", labels), ("scores", scores), ("polygons", polygons)):
        if values is not None and len(values) != len(boxes):
            raise InputError(
                f"Expected one of {name} for each of {len(boxes)} boxes to draw, found {len(values)}."
            )
    if not np.isfinite(boxes).all():
        raise InputError(
            f"Expected finite boxes to draw, found {boxes[~np.isfinite(boxes).all(axis=1)][0].tolist()}."
        )
    for label in labels:
        if not 0 <= int(label) < len(classes):
            raise InputError(f"Expected labels from 0 to {len(classes) - 1} to draw, found {int(label)}.")


def _polygons(outline: Outline) -> list[NDArray[np.floating]]:
    if outline is None:
        return []
    if isinstance(outline, np.ndarray) and outline.ndim == 2:
        return [outline]
    return [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in outline]


def _fill(image: NDArray[np.uint8], polygon: NDArray[np.floating], colour: Colour, stroke: int) -> None:
    """Fill a polygon half transparently and draw its outline; only the part it covers is touched."""
    if len(polygon) < 3 or not np.isfinite(polygon).all():
        return
    high, wide = image.shape[:2]
    x1, y1 = np.clip(np.floor(polygon.min(0)) - stroke, 0, (wide, high)).astype(int)
    x2, y2 = np.clip(np.ceil(polygon.max(0)) + stroke + 1, 0, (wide, high)).astype(int)
    if x1 >= x2 or y1 >= y2:
        return
    points = [np.rint((np.clip(polygon, -(2**14), 2**14) - (x1, y1)) * 16).astype(np.int32)]
    part = image[y1:y2, x1:x2]
    filled = cv2.fillPoly(part.copy(), points, colour, cv2.LINE_AA, shift=4)
    cv2.addWeighted(filled, FILL_OPACITY, part, 1 - FILL_OPACITY, 0, dst=filled)
    cv2.polylines(filled, points, True, colour, max(1, stroke // 2), cv2.LINE_AA, shift=4)
    part[:] = filled


def _rectangle(image: NDArray[np.uint8], box: NDArray[np.float64], colour: Colour, stroke: int) -> None:
    """Draw a box in its colour on a thin black or white edge, so that it shows on any background."""
    high, wide = image.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, (wide - 1, high - 1, wide - 1, high - 1)).astype(int).tolist()
    if stroke > 1:
        cv2.rectangle(image, (x1, y1), (x2, y2), text_colour_on(colour), stroke + max(2, stroke // 2))
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, stroke)


def _name_room(wide: int, size: int, scored: bool) -> int:
    """Return the pixels that a class name may take: two fifths of the image, more only on a tiny one."""
    most = wide - 2 * _padding(size) - 2 - (text_mask(" 100%", size).shape[1] if scored else 0)
    return min(most, max(12 * size, wide * 2 // 5))


def _padding(size: int) -> int:
    return max(1, round(size * 0.22))


def _place(
    box: NDArray[np.float64],
    text: str,
    size: int,
    stroke: int,
    high: int,
    wide: int,
    placed: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Return the tag's x1, y1, x2, y2, whole pixels inside the image, or None if it cannot fit."""
    mask = text_mask(text, size)
    tag_w, tag_h = mask.shape[1] + 2 * _padding(size), mask.shape[0] + _padding(size) // 2
    if tag_w > wide or tag_h > high:
        return None
    x1, y1, x2, y2 = np.rint(box)
    edge = (stroke + 1) // 2
    spots = [
        (x1 - edge, y1 - tag_h - edge),  # above, left
        (x2 + edge + 1 - tag_w, y1 - tag_h - edge),  # above, right
        (x1 - edge, y2 + edge + 1),  # below, left
        (x1 + edge, y1 + edge),  # inside, top
        (x1 + edge, y2 - tag_h - edge),  # inside, bottom
        (x2 - edge - tag_w, y2 - tag_h - edge),
    ]
    corners = np.clip(np.asarray(spots), 0, (wide - tag_w, high - tag_h))
    moved = np.abs(corners - np.asarray(spots)).sum(axis=1) / (tag_w + tag_h)
    rectangles = np.concatenate([corners, corners + np.asarray((tag_w, tag_h))], axis=1)
    lap_w = np.minimum(rectangles[:, None, 2], placed[:, 2]) - np.maximum(
        rectangles[:, None, 0], placed[:, 0]
    )
    lap_h = np.minimum(rectangles[:, None, 3], placed[:, 3]) - np.maximum(
        rectangles[:, None, 1], placed[:, 1]
    )
    covered = (np.clip(lap_w, 0, None) * np.clip(lap_h, 0, None)).sum(axis=1) / (tag_w * tag_h)
    best: NDArray[np.float64] = rectangles[np.argmin(covered + 0.5 * moved + 0.01 * np.arange(len(spots)))]
    return best


def _tag(image: NDArray[np.uint8], spot: NDArray[np.float64], text: str, size: int, colour: Colour) -> None:
    x1, y1, x2, y2 = spot.astype(int).tolist()
    image[y1:y2, x1:x2] = colour
    paint_text(image, text, x1 + _padding(size), y1 + _padding(size) // 4, size, text_colour_on(colour))
