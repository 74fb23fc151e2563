"""Annotations beside detections, with one box emphasised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.draw.palette import Colour, class_colour, text_colour_on
from aerostat.draw.shapes import Shape, paint_shape
from aerostat.draw.text import GAP, elide, paint_text, text_mask
from aerostat.errors import InputError

WIDTH = 900
"""Width of the picture in pixels: sharp on a page, and legible on a phone, which shows a third of it."""

_TEXT = 26  # pixels per em, about nine on a phone
_GAP = 12
_TALLEST = 560
_MAX_ZOOM = 4.0
_SEEN = 0.22
"""Share of the image's longer side: of a smaller emphasised box only the surroundings are shown."""
_AROUND = 3.5
"""Side of these surroundings, in sides of the box."""
_SMALLEST_PART = 48.0
_DIMMED = 0.62
"""Brightness outside of the emphasised box."""

_WHITE: Colour = (255, 255, 255)
_INK: Colour = (33, 28, 24)
_MUTED: Colour = (110, 99, 89)


@dataclass(frozen=True, slots=True)
class Side:
    """One half of the picture.

    Args:
        title: above the half.
        boxes_xyxy: (n, 4) pixels of the image, drawn thin, without the emphasised box.
        labels: (n,) that choose their colours.
        focus_xyxy: the emphasised box; None if this side has none.
        focus_label: that chooses its colour.
        focus_text: on its tag.
        ghost_xyxy: a box to compare with, drawn dashed, such as that of the other side.
        ghost_text: on its tag if no box is emphasised, such as "not found"; empty for no tag.
        shapes: masks in pixels of the image, each with the label that chooses its colour; white with None.
    """

    title: str
    boxes_xyxy: ArrayLike = ()
    labels: Sequence[int] = ()
    focus_xyxy: Sequence[float] | None = None
    focus_label: int = 0
    focus_text: str = ""
    ghost_xyxy: Sequence[float] | None = None
    ghost_text: str = ""
    shapes: Sequence[tuple[Shape, int | None]] = ()


def side_by_side(
    image_bgr: NDArray[np.uint8], left: Side, right: Side, caption: str, *, width: int = WIDTH
) -> NDArray[np.uint8]:
    """Return the image twice, with the boxes of one side each, under a caption.

    Of small emphasised boxes only the surroundings are shown, enlarged at most four times.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        left, right: boxes and texts of the halves.
        caption: one line; a long one is shortened in its middle.
        width: of the picture in pixels; the height follows, at most about 700 for 900.

    Raises:
        InputError: the labels of a side differ in number from its boxes, or neither side has a box to show.
    """
    focuses = [box for side in (left, right) for box in (side.focus_xyxy, side.ghost_xyxy) if box is not None]
    if not focuses:
        raise InputError("Expected a box to emphasise on at least one side, found none.")
    window = _window(image_bgr.shape[:2], np.asarray(focuses, np.float64))
    panel_w = (width - _GAP) // 2
    line = text_mask("Ag", _TEXT).shape[0]
    panels = [_panel(image_bgr, window, side, panel_w, width) for side in (left, right)]
    high, top = panels[0].shape[0], 2 * line + _GAP
    sheet = np.full((top + high, width, 3), 255, np.uint8)
    paint_text(sheet, elide(caption, _TEXT, width - 8, missing=GAP), 4, 2, _TEXT, _INK)
    for panel, side, x in zip(panels, (left, right), (0, width - panel_w), strict=True):
        paint_text(
            sheet, elide(side.title, _TEXT - 4, panel_w - 8), x + 4, line + _GAP // 2, _TEXT - 4, _MUTED
        )
        sheet[top:, x : x + panel_w] = panel
    return sheet


def _window(size: tuple[int, int], focuses_xyxy: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Return x1, y1, x2, y2 of the visible part of the image: the whole image, unless the boxes are small."""
    high, wide = size
    x1, y1 = np.clip(focuses_xyxy[:, :2].min(axis=0), 0, (wide, high))
    x2, y2 = np.clip(focuses_xyxy[:, 2:].max(axis=0), 0, (wide, high))
    side = max(x2 - x1, y2 - y1)
    if side >= _SEEN * max(high, wide):
        return 0, 0, wide, high
    shown = max(side * _AROUND, _SMALLEST_PART)
    part_w, part_h = min(wide, round(shown)), min(high, round(shown))
    left = int(np.clip(round((x1 + x2 - part_w) / 2), 0, wide - part_w))
    top = int(np.clip(round((y1 + y2 - part_h) / 2), 0, high - part_h))
    return left, top, left + part_w, top + part_h


def _panel(
    image_bgr: NDArray[np.uint8], window: tuple[int, int, int, int], side: Side, wide: int, width: int
) -> NDArray[np.uint8]:
    """Return one half: the window of the image, resized, with the boxes of a side."""
    x1, y1, x2, y2 = window
    scale = min(wide / (x2 - x1), _TALLEST * width / WIDTH / (y2 - y1), _MAX_ZOOM)
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(image_bgr[y1:y2, x1:x2], size, interpolation=how), np.uint8)
    left = (wide - size[0]) // 2

    def place(boxes: ArrayLike) -> NDArray[np.float64]:
        return (np.asarray(boxes, np.float64).reshape(-1, 4) - (x1, y1, x1, y1)) * scale

    boxes = place(side.boxes_xyxy)
    if len(boxes) != len(side.labels):
        raise InputError(f"Expected a label for each of {len(boxes)} boxes, found {len(side.labels)}.")
    for box, label in zip(boxes, side.labels, strict=True):
        _frame(picture, box, class_colour(int(label)), 2)
    lit = place([box for box in (side.focus_xyxy, side.ghost_xyxy) if box is not None])
    if len(lit):
        around = np.concatenate([lit[:, :2].min(axis=0), lit[:, 2:].max(axis=0)])
        picture = _spotlight(picture, around)
    for shape, of_class in side.shapes:
        rings = tuple((ring - (x1, y1)) * scale for ring in shape.rings)
        colour = _WHITE if of_class is None else class_colour(of_class)
        paint_shape(picture, replace(shape, rings=rings), colour, 2)
    if side.ghost_xyxy is not None:
        _dashes(picture, place(side.ghost_xyxy)[0])
    if side.focus_xyxy is not None:
        _frame(picture, place(side.focus_xyxy)[0], class_colour(side.focus_label), 6)
    panel = np.full((size[1], wide, 3), 238, np.uint8)
    panel[:, left : left + size[0]] = picture
    if len(lit):
        named = side.focus_xyxy is not None
        text, colour = (
            (side.focus_text, class_colour(side.focus_label)) if named else (side.ghost_text, _WHITE)
        )
        _tag(panel, around + np.asarray((left, 0, left, 0)), text, colour)
    return panel


def _spotlight(picture: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the picture darkened outside of a box."""
    high, wide = picture.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, (wide, high, wide, high)).astype(int).tolist()
    dark = np.asarray(cv2.convertScaleAbs(picture, alpha=_DIMMED), np.uint8)
    dark[y1:y2, x1:x2] = picture[y1:y2, x1:x2]
    return dark


def _corners(picture: NDArray[np.uint8], box: NDArray[np.float64], inside: int) -> tuple[int, int, int, int]:
    """Return the corners as whole numbers, moved into the picture."""
    high, wide = picture.shape[:2]
    low, right, bottom = inside, max(inside, wide - 1 - inside), max(inside, high - 1 - inside)
    x1, y1, x2, y2 = np.clip(np.rint(box), low, (right, bottom, right, bottom)).astype(int).tolist()
    return x1, y1, x2, y2


def _outside(picture: NDArray[np.uint8], box: NDArray[np.float64]) -> bool:
    high, wide = picture.shape[:2]
    return bool(box[2] < 0 or box[3] < 0 or box[0] > wide or box[1] > high)


def _frame(picture: NDArray[np.uint8], box: NDArray[np.float64], colour: Colour, stroke: int) -> None:
    """Draw a box, a thick one with a black or white edge; skip it if it lies outside of the picture."""
    if _outside(picture, box):
        return
    x1, y1, x2, y2 = _corners(picture, box, stroke // 2)
    if stroke > 2:
        cv2.rectangle(picture, (x1, y1), (x2, y2), text_colour_on(colour), stroke + 2)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, stroke)


def _dashes(picture: NDArray[np.uint8], box: NDArray[np.float64]) -> None:
    """Draw a box in white dashes on black."""
    if _outside(picture, box):
        return
    x1, y1, x2, y2 = _corners(picture, box, 2)
    cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 0, 0), 5)
    corners = np.asarray([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)], np.float64)
    for start, end in pairwise(corners):
        length = float(np.abs(end - start).sum())
        for at in np.arange(0.0, length, 18.0).tolist():
            first, last = (start + (end - start) * min(p, length) / length for p in (at, at + 10))
            ends = [tuple(np.rint(p).astype(int).tolist()) for p in (first, last)]
            cv2.line(picture, ends[0], ends[1], _WHITE, 3)


def _tag(panel: NDArray[np.uint8], box: NDArray[np.float64], text: str, colour: Colour) -> None:
    """Draw a text on its background above a box, below it, or else inside."""
    high, wide = panel.shape[:2]
    size, pad = _TEXT - 4, 5
    if not text:
        return
    text = elide(text, size, wide - 2 * pad - 8, missing=GAP)
    mask = text_mask(text, size)
    tag_w, tag_h = mask.shape[1] + 2 * pad, mask.shape[0] + 2
    if tag_w > wide or tag_h > high:
        return
    x = int(np.clip(round(box[0]) - 3, 0, wide - tag_w))
    above, below = round(box[1]) - tag_h - 3, round(box[3]) + 4
    if above >= 0:
        y = above
    elif below + tag_h <= high:
        y = below
    else:
        y = int(np.clip(round(box[1]) + 4, 0, high - tag_h))
    panel[y : y + tag_h, x : x + tag_w] = colour
    paint_text(panel, text, x + pad, y + 1, size, text_colour_on(colour))
