"""Drawing a training sample at once: each tile from its image into the window, then colours, then MixUp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.data.image import PAD_VALUE
from aerostat.data.layout import Layout, Span

Image = NDArray[np.uint8]

ALIGNMENT = 1 / 32
"""Tiles lie where they belong to within this many pixels of their image, as with OpenCV's own warps."""
_ALIGNMENT_TRIES = 24

HUES = 180
"""OpenCV keeps the hue of 8-bit images in half degrees."""


def render(
    layout: Layout, images_bgr: Sequence[Image], hsv_gains: tuple[int, int, int], flip: bool, out_bgr: Image
) -> None:
    """Draw a sample, all but MixUp.

    Args:
        layout: where everything lies.
        images_bgr: for each tile its image (h, w, 3) uint8, read at the tile's size.
        hsv_gains: added to hue (modulo 180), saturation and value.
        flip: whether it is mirrored.
        out_bgr: (S, S, 3) uint8, overwritten.
    """
    out_bgr.fill(PAD_VALUE)
    width, height = layout.size
    for tile, image_bgr in zip(layout.tiles, images_bgr, strict=True):
        columns, rows = tile.columns, tile.rows
        drawn = resample(image_bgr, columns, rows)
        left, right = (width - columns.stop, width - columns.start) if flip else (columns.start, columns.stop)
        target = out_bgr[rows.start : rows.stop, left:right]
        if flip:
            cv2.flip(drawn, 1, dst=target)
        else:
            np.copyto(target, drawn)
    jitter_hsv(out_bgr[:height, :width], hsv_gains)


def resample(image_bgr: Image, columns: Span, rows: Span) -> Image:
    """Return what a window shows of an image, interpolated bilinearly; beyond its edge the edge goes on.

    `cv2.resize` samples a picture from its very edge on, so the part that it is given has to begin where an
    edge of the image's pixels lies under an edge of the window's. Such a place is looked for to the left of
    and above what is wanted, and what lies between is thrown away again: a few columns and rows. A warp would
    need no such place, but takes three times as long (1.30 ms for 640 x 640, against 0.42 ms).

    Args:
        image_bgr: (h, w, 3) uint8.
        columns, rows: what to show.

    Returns:
        (rows, columns, 3) uint8, perhaps a view of something larger.
    """
    height, width = image_bgr.shape[:2]
    x, x_from, x_to = _aligned(columns, width)
    y, y_from, y_to = _aligned(rows, height)
    part = image_bgr[max(y_from, 0) : min(y_to, height), max(x_from, 0) : min(x_to, width)]
    beyond = max(-y_from, 0), max(y_to - height, 0), max(-x_from, 0), max(x_to - width, 0)
    if any(beyond):
        part = np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    if columns.scale == 1 and rows.scale == 1:
        resized = part
    else:
        scaled = cv2.resize(
            part, None, fx=1 / columns.scale, fy=1 / rows.scale, interpolation=cv2.INTER_LINEAR
        )
        resized = np.asarray(scaled, np.uint8)
    x, y = columns.start - x, rows.start - y
    return resized[y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]


def _aligned(span: Span, length: int) -> tuple[int, int, int]:
    """Return where to begin in the window, and which pixels of the image to take, perhaps beyond its ends.

    Args:
        span: what to show.
        length: pixels of the image.
    """
    scale = span.scale
    # Enlarging, the first pixels of the window would lie between the first pixel of the image and the one
    # before; unless there is none before.
    skipped = math.ceil(max(1 / scale - 1, 0) / 2)
    best, least = span.start, math.inf
    for first in range(span.start, span.start - skipped - _ALIGNMENT_TRIES, -1):
        exact = first * scale + span.origin
        error = abs(exact - round(exact))
        if error < least and (first <= span.start - skipped or round(exact) == 0):
            best, least = first, error
            if error <= ALIGNMENT:
                break
    begin, count = round(best * scale + span.origin), span.stop - best
    if (length - begin) / scale > count - 0.49:  # to the last pixel, of which OpenCV goes on by itself
        return best, begin, min(begin + math.ceil(count * scale) + 1, length)
    return best, begin, begin + math.ceil(count * scale) + 1


def jitter_hsv(image_bgr: Image, gains: tuple[int, int, int]) -> None:
    """Add `gains` to hue (modulo 180), saturation and value (clipped) of an image, in place (YOLOX).

    Saturating sums do what a table would, at an eighth of its price. Only a hue that turns back past 0 needs
    the table: those that go past 180 are taken for what they mean when colours are converted back.

    Args:
        image_bgr: (H, W, 3) uint8.
        gains: of hue, saturation and value.
    """
    if not any(gains):
        return
    hsv = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2HSV)
    hue, *others = gains
    if 0 <= hue <= 255 - HUES:
        more: Any = (hue, *(min(max(gain, 0), 255) for gain in others), 0)
        less: Any = (0, *(min(max(-gain, 0), 255) for gain in others), 0)
        if any(more):
            cv2.add(hsv, more, dst=hsv)
        if any(less):
            cv2.subtract(hsv, less, dst=hsv)
    else:
        table = np.arange(256)[:, None] + gains
        table[:, 0] %= HUES
        cv2.LUT(hsv, table.clip(0, 255).astype(np.uint8)[None], dst=hsv)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=image_bgr)


def mix(first_bgr: Image, second_bgr: Image, out_bgr: Image) -> None:
    """Write the mean of two images, rounded down (YOLOX's MixUp).

    Eight bytes are added at a time: what two numbers share, and half of what they do not.

    Args:
        first_bgr, second_bgr, out_bgr: (S, S, 3) uint8, contiguous; the third is overwritten and none of the
            others.
    """
    words: Any = np.uint64 if first_bgr.size % 8 == 0 else np.uint8
    low_bits = words(np.iinfo(words).max // 255 * 127)
    first, second, out = (image.reshape(-1).view(words) for image in (first_bgr, second_bgr, out_bgr))
    np.bitwise_xor(first, second, out=out)
    np.right_shift(out, 1, out=out)
    np.bitwise_and(out, low_bits, out=out)
    np.add(out, first & second, out=out)
