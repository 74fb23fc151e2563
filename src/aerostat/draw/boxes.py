"""Boxes, outlines and their labels on a photograph, legible at any image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.draw.palette import Colour, class_colour, text_colour_on
from aerostat.draw.shapes import Outline, Shape, paint_shape, parts_of
from aerostat.draw.text import elide, paint_text, text_mask
from aerostat.errors import InputError

EDGE_OPACITY = 0.5
"""Opacity of the edge around a line of one pixel."""
MAX_TAGGED = 0.08
"""Share of a crowded image that all tags together may cover."""
MAX_OVERLAP = 0.25
"""Share of a tag that other tags may cover; beyond it the tag is left out."""
MAX_HIDDEN, MAX_HIDDEN_ONCE = 0.15, 0.5
"""Share of a box that a tag may cover; the second limit is for the first tag of each class."""
ALWAYS_TAGGED = 4
"""Number of boxes up to which each has a tag."""
ALL_NAMED = 8
"""Number of boxes of one class up to which each may repeat its name."""
MIN_TEXT = 9
"""Smallest legible text, in pixels per em."""


MAX_BOXED = 15
"""Number of objects with masks up to which their boxes are drawn, too."""


@dataclass(frozen=True, slots=True)
class Style:
    """How objects are drawn.

    Args:
        width: of the lines in pixels; None chooses it from the image's size.
        colours: ``class`` gives the objects of a class one colour, ``instance`` each object its own.
        boxes: whether objects with masks have boxes, too; None draws them for few objects.
        numbers: (n,) numbers that choose the colours with ``instance``, such as those of tracks; None counts
            the objects.
    """

    width: int | None = None
    colours: Literal["class", "instance"] = "class"
    boxes: bool | None = None
    numbers: Sequence[int] | None = None


PLAIN = Style()


def line_width(height: int, width: int, count: int = 1) -> int:
    """Return the line width in pixels for an image with `count` boxes: 1 at 100, 2 at 640, 20 at 8000 pixels.

    Many boxes get thinner lines, which hide less.
    """
    return max(1, round(math.ceil(_extent(height, width) / 400) * _crowding(count)))


def edge_width(height: int, width: int, count: int = 1) -> int:
    """Return the width of the edge of a mask: 1 to 600 pixels, 2 to 1200, 3 to 3000, 8 at 8000 pixels.

    It is thinner than the line of a box, because it lies on the object itself.
    """
    extent = _extent(height, width)
    return max(1, round(max(min(3, math.ceil(extent / 600)), extent / 1000) * _crowding(count)))


def text_size(height: int, width: int, count: int = 1) -> int:
    """Return the text size in pixels per em for an image with `count` boxes: smaller for many boxes."""
    return max(MIN_TEXT, round(math.pow(_extent(height, width), 0.85) / 16 * _crowding(count)))


def _extent(height: int, width: int) -> int:
    """Return the longer side, at most three times the shorter: a panorama is viewed closely."""
    return min(max(height, width), 3 * min(height, width))


def _crowding(count: int) -> float:
    return 1.0 if count <= 15 else 0.8 if count <= 40 else 0.65


def draw_boxes(
    image_bgr: NDArray[np.uint8],
    boxes_xyxy: ArrayLike,
    labels: Sequence[int] | NDArray[np.integer],
    classes: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating] | None = None,
    polygons: Sequence[Outline] | None = None,
    *,
    names: Sequence[str] | None = None,
    style: Style = PLAIN,
) -> NDArray[np.uint8]:
    """Return a copy of the image with boxes, filled outlines and label tags.

    Small boxes are drawn over large ones. A tag is placed above, inside or below its box, where it covers
    least of other boxes and tags, and always inside the image. An image too small for text has no tags.

    Up to four boxes all have tags. Of more boxes, a tag is left out if it would hide a box or another tag, if
    it repeats what all others say, or if tags already cover a twelfth of the image. One tag of each class is
    placed first, so that every colour is named if there is room.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        boxes_xyxy: (n, 4) pixels.
        labels: (n,) indices into `classes`.
        classes: class names in any script; if no font has the script, the tag is ``class 3``.
        scores: (n,) in [0, 1], shown as per cent, or None.
        polygons: (n,) outlines in pixel edges, each one polygon (k, 2), several, the `Shape` of a mask, or
            None; None for no outlines.
        names: (n,) shown in place of the class names, or None.
        style: width and colours.

    Raises:
        InputError: the arguments differ in length, a box is not finite, or a label has no class.
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    image = image_bgr.copy()
    _check(boxes, labels, classes, scores, polygons, names)
    if not len(boxes):
        return image
    high, wide = image.shape[:2]
    stroke = style.width or _stroke_for(boxes, line_width(high, wide, len(boxes)))
    size = text_size(high, wide, len(boxes))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = [int(i) for i in np.argsort(-areas, kind="stable")]
    numbers = range(len(boxes)) if style.numbers is None else style.numbers
    colours = {i: class_colour(numbers[i] if style.colours == "instance" else int(labels[i])) for i in order}
    outlines = [None] * len(boxes) if polygons is None else polygons
    masked = {i for i in order if isinstance(outlines[i], Shape) and parts_of(outlines[i])}
    edge = edge_width(high, wide, len(boxes))
    for i in order:
        own_edge = _edge_for(boxes[i], edge) if i in masked else max(1, stroke // 2)
        for shape in parts_of(outlines[i]):
            paint_shape(image, shape, colours[i], own_edge)
    boxed = len(masked) <= MAX_BOXED if style.boxes is None else style.boxes
    for i in order:
        if boxed or i not in masked:
            _rectangle(image, boxes[i], colours[i], max(1, stroke // 2) if i in masked else stroke)
    called = [classes[int(label)] for label in labels] if names is None else names
    texts = [
        elide(called[i], size, _name_room(wide, size, scores is not None), f"class {int(labels[i])}")
        + ("" if scores is None else f" {round(100 * float(scores[i]))}%")
        for i in range(len(boxes))
    ]
    ranked = _ranked(order, labels, called, scores)
    tags = _placed_tags(boxes, texts, ranked, size, stroke, high, wide)
    for i, spot in reversed(tags):  # the first placed is drawn last, over tags that touch it
        _tag(image, spot, texts[i], size, colours[i])
    return image


def _stroke_for(boxes: NDArray[np.float64], stroke: int) -> int:
    """Return the line width, reduced to a third at most for small boxes, which it would fill."""
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    return max(1, stroke // 3, min(stroke, int(np.median(sides)) // 16))


def _edge_for(box: NDArray[np.float64], edge: int) -> int:
    """Return the width of a mask's edge, reduced for a small object, which it would hide."""
    return max(1, min(edge, int((box[2:] - box[:2]).min()) // 16))


def _ranked(
    order: Sequence[int],
    labels: Sequence[int] | NDArray[np.integer],
    called: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating] | None,
) -> tuple[list[int], list[int]]:
    """Return the boxes in the order in which their tags are placed: one of each name, then the others.

    The best scores come first; without scores the largest boxes, as in `order`. For many boxes of one class
    without scores, the other tags would all be equal and are left out.
    """
    ranked = list(order) if scores is None else sorted(order, key=lambda i: -float(scores[i]))
    first: dict[str, int] = {}
    for i in ranked:
        first.setdefault(called[i], i)
    if scores is None and len({int(label) for label in labels}) == 1 and len(called) > ALL_NAMED:
        return list(first.values()), []
    return list(first.values()), [i for i in ranked if first[called[i]] != i]


def _placed_tags(
    boxes: NDArray[np.float64],
    texts: Sequence[str],
    ranked: tuple[list[int], list[int]],
    size: int,
    stroke: int,
    high: int,
    wide: int,
) -> list[tuple[int, NDArray[np.float64]]]:
    """Return (index of the box, x1, y1, x2, y2 of its tag) for each tag, in the order of placing."""
    tags: list[tuple[int, NDArray[np.float64]]] = []
    placed, left = np.empty((0, 4)), MAX_TAGGED * high * wide
    crowded = len(boxes) > ALWAYS_TAGGED
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1.0)
    for place, i in enumerate([*ranked[0], *ranked[1]]):
        mask = text_mask(texts[i], size)
        tag_w, tag_h = mask.shape[1] + 2 * _padding(size), mask.shape[0] + _padding(size) // 2
        if tag_w > wide or tag_h > high:
            continue
        if crowded and tags and left < tag_w * tag_h:
            break
        spots, moved = _spots(boxes[i], tag_w, tag_h, (stroke + 1) // 2, high, wide)
        covered = _shared_area(spots, placed).sum(axis=1) / (tag_w * tag_h)
        hidden = (_shared_area(spots, boxes) / areas).max(axis=1)
        cost = covered + hidden + 0.5 * moved + 0.01 * np.arange(len(spots))
        if crowded:
            max_hidden = MAX_HIDDEN_ONCE if place < len(ranked[0]) else MAX_HIDDEN
            cost[(covered > MAX_OVERLAP) | (hidden > max_hidden)] = math.inf
        best = int(np.argmin(cost))
        if math.isfinite(cost[best]):
            placed = np.concatenate([placed, spots[best, None]])
            tags.append((i, spots[best]))
            left -= tag_w * tag_h
    return tags


def _spots(
    box: NDArray[np.float64], tag_w: int, tag_h: int, edge: int, high: int, wide: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the possible places of a tag at its box, best first, and the moves that kept them in the image.

    The places (6, 4) are xyxy in whole pixels; the moves (6,) are in sides of the tag.
    """
    x1, y1, x2, y2 = np.rint(box)
    corners = np.asarray(
        [
            (x1 - edge, y1 - tag_h - edge),  # above, left
            (x2 + edge + 1 - tag_w, y1 - tag_h - edge),  # above, right
            (x1 - edge, y2 + edge + 1),  # below, left
            (x1 + edge, y1 + edge),  # inside, top
            (x1 + edge, y2 - tag_h - edge),  # inside, bottom
            (x2 - edge - tag_w, y2 - tag_h - edge),
        ]
    )
    inside = np.clip(corners, 0, (wide - tag_w, high - tag_h))
    moved = np.abs(inside - corners).sum(axis=1) / (tag_w + tag_h)
    return np.concatenate([inside, inside + np.asarray((tag_w, tag_h))], axis=1), moved


def _shared_area(a_xyxy: NDArray[np.float64], b_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas (n, m) of the intersections of `a_xyxy` (n, 4) with `b_xyxy` (m, 4)."""
    wide = np.minimum(a_xyxy[:, None, 2], b_xyxy[:, 2]) - np.maximum(a_xyxy[:, None, 0], b_xyxy[:, 0])
    high = np.minimum(a_xyxy[:, None, 3], b_xyxy[:, 3]) - np.maximum(a_xyxy[:, None, 1], b_xyxy[:, 1])
    shared: NDArray[np.float64] = np.clip(wide, 0, None) * np.clip(high, 0, None)
    return shared


def _check(
    boxes: NDArray[np.float64],
    labels: Sequence[int] | NDArray[np.integer],
    classes: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating] | None,
    polygons: Sequence[Outline] | None,
    names: Sequence[str] | None,
) -> None:
    for name, values in (("labels", labels), ("scores", scores), ("polygons", polygons), ("names", names)):
        if values is not None and len(values) != len(boxes):
            raise InputError(
                f"Expected one value of `{name}` for each of {len(boxes)} boxes to draw, found {len(values)}."
            )
    if not np.isfinite(boxes).all():
        raise InputError(
            f"Expected finite boxes to draw, found {boxes[~np.isfinite(boxes).all(axis=1)][0].tolist()}."
        )
    for label in labels:
        if not 0 <= int(label) < len(classes):
            raise InputError(f"Expected labels from 0 to {len(classes) - 1} to draw, found {int(label)}.")


def _rectangle(image: NDArray[np.uint8], box: NDArray[np.float64], colour: Colour, stroke: int) -> None:
    """Draw a box in its colour on a thin black or white edge, which is visible on any background."""
    high, wide = image.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, (wide - 1, high - 1, wide - 1, high - 1)).astype(int).tolist()
    if stroke > 1:
        cv2.rectangle(image, (x1, y1), (x2, y2), text_colour_on(colour), stroke + max(2, stroke // 2))
    else:
        _shade_around(image, x1, y1, x2, y2, text_colour_on(colour))
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, stroke)


def _shade_around(image: NDArray[np.uint8], x1: int, y1: int, x2: int, y2: int, colour: Colour) -> None:
    """Blend a line of one pixel around a box into the image; an opaque line would dominate the box."""
    high, wide = image.shape[:2]
    left, right, top, bottom = max(x1 - 1, 0), min(x2 + 2, wide), max(y1 - 1, 0), min(y2 + 2, high)
    lines = [image[y, left:right] for y in (y1 - 1, y2 + 1) if 0 <= y < high]
    lines += [image[top:bottom, x] for x in (x1 - 1, x2 + 1) if 0 <= x < wide]
    for line in lines:
        line[:] = np.rint(line * (1 - EDGE_OPACITY) + np.asarray(colour) * EDGE_OPACITY).astype(np.uint8)


def _name_room(wide: int, size: int, scored: bool) -> int:
    """Return the width for a class name in pixels: two fifths of the image, more on a tiny image."""
    available = wide - 2 * _padding(size) - 2 - (text_mask(" 100%", size).shape[1] if scored else 0)
    return min(available, max(12 * size, wide * 2 // 5))


def _padding(size: int) -> int:
    return max(1, round(size * 0.22))


def _tag(image: NDArray[np.uint8], spot: NDArray[np.float64], text: str, size: int, colour: Colour) -> None:
    x1, y1, x2, y2 = spot.astype(int).tolist()
    image[y1:y2, x1:x2] = colour
    paint_text(image, text, x1 + _padding(size), y1 + _padding(size) // 4, size, text_colour_on(colour))
