"""The pixels of a training sample: tiles from their images, colours, MixUp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.images.letterbox import PAD_VALUE
from aerostat.pipeline.layout import Layout, Span

Image = NDArray[np.uint8]

ALIGNMENT = 1 / 32
"""Error of a tile's place, at most, in pixels of its image; in pixels of the window twice as much."""
ALIGNMENT_TRIES = 64
"""Pixels before a tile that are tried as its start. With 64, 95 % of photographs at the published draws
have a start, 12 pixels before the tile on average; with 24, 78 %."""

HUES = 180
"""Values of the hue of 8-bit images in OpenCV, which counts half degrees."""


def render(
    layout: Layout, images_bgr: Sequence[Image], hsv_gains: tuple[int, int, int], flip: bool, out_bgr: Image
) -> None:
    """Draw a sample, without MixUp, into `out_bgr`.

    Args:
        layout: of the sample.
        images_bgr: for each tile its image (h, w, 3) uint8, read at the tile's size.
        hsv_gains: added to hue (modulo 180), saturation and value.
        flip: whether the sample is mirrored.
        out_bgr: (S, S, 3) uint8, overwritten.
    """
    out_bgr.fill(PAD_VALUE)
    width, height = layout.size
    if any(hsv_gains):
        grey = jitter_hsv(np.full((1, 1, 3), PAD_VALUE, np.uint8), hsv_gains)
        cv2.rectangle(out_bgr, (0, 0), (width - 1, height - 1), grey[0, 0].tolist(), cv2.FILLED)
    for tile, image_bgr in zip(layout.tiles, images_bgr, strict=True):
        columns, rows = tile.columns, tile.rows
        drawn = resample(image_bgr, columns, rows, hsv_gains)
        left, right = (width - columns.stop, width - columns.start) if flip else (columns.start, columns.stop)
        target = out_bgr[rows.start : rows.stop, left:right]
        if flip:
            cv2.flip(drawn, 1, dst=target)
        else:
            np.copyto(target, drawn)


def resample(
    image_bgr: Image, columns: Span, rows: Span, hsv_gains: tuple[int, int, int] = (0, 0, 0)
) -> Image:
    """Return the part of an image that a window shows, interpolated bilinearly.

    The edge of the image is repeated beyond it.

    `cv2.resize` samples from the edge of its input, so that input must begin where an edge of an image pixel
    meets an edge of a window pixel. Such a place is searched to the left of and above the part; the columns
    and rows between are dropped. Without such a place the image is warped, which takes three times as long
    (1.30 ms for 640 x 640, against 0.42 ms).

    Colours change where there are fewer pixels: before an enlargement, after a reduction.

    Args:
        image_bgr: (h, w, 3) uint8.
        columns, rows: part to show.
        hsv_gains: see `jitter_hsv`.

    Returns:
        (rows, columns, 3) uint8; it may be a view of a larger array.
    """
    x, y = _aligned(columns), _aligned(rows)
    if x is None or y is None:
        return jitter_hsv(_warp(image_bgr, columns, rows), hsv_gains)
    part = _part(image_bgr, _pixels(columns, x, image_bgr.shape[1]), _pixels(rows, y, image_bgr.shape[0]))
    enlarged = False
    if columns.scale != 1 or rows.scale != 1:
        height, width = part.shape[:2]
        if (round(height / rows.scale), round(width / columns.scale)) == (height, width):
            # OpenCV copies an image whose size does not change, and ignores the scale.
            return jitter_hsv(_warp(image_bgr, columns, rows), hsv_gains)
        enlarged = columns.scale * rows.scale < 1
        if enlarged:
            part = jitter_hsv(part, hsv_gains)
        scaled = cv2.resize(
            part, None, fx=1 / columns.scale, fy=1 / rows.scale, interpolation=cv2.INTER_LINEAR
        )
        part = np.asarray(scaled, np.uint8)
    shown = part[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return shown if enlarged else jitter_hsv(shown, hsv_gains)


def _aligned(span: Span) -> int | None:
    """Return the last pixel of the window up to the span's first whose edge meets an edge in the image.

    An enlargement interpolates the first pixels after it with the pixel before it, unless the image begins
    there; the span must not contain these pixels.
    """
    scale, origin = span.scale, span.origin
    skipped = math.ceil(max(1 / scale - 1, 0) / 2)
    tolerance = min(ALIGNMENT, 2 * ALIGNMENT * scale)
    for first in range(span.start, span.start - skipped - ALIGNMENT_TRIES, -1):
        exact = first * scale + origin
        nearest = round(exact)
        if abs(exact - nearest) <= tolerance and (nearest == 0 or first <= span.start - skipped):
            return first
    return None


def _pixels(span: Span, first: int, length: int) -> tuple[int, int]:
    """Return start and stop of the image pixels that a resize from pixel `first` of the window needs.

    They may lie beyond the ends of the image, which has `length` pixels. At the far end `cv2.resize` repeats
    the edge, if its input suffices for all pixels of the span.
    """
    begin, count = round(first * span.scale + span.origin), span.stop - first
    end = begin + math.ceil(count * span.scale) + 1
    return (begin, min(end, length)) if (length - begin) / span.scale > count - 0.49 else (begin, end)


def _part(image_bgr: Image, columns: tuple[int, int], rows: tuple[int, int]) -> Image:
    """Return a part of an image; the edge is repeated where the part leaves the image."""
    height, width = image_bgr.shape[:2]
    (left, right), (top, bottom) = columns, rows
    part = image_bgr[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if not any(beyond):
        return part
    return np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE), np.uint8)


def _warp(image_bgr: Image, columns: Span, rows: Span) -> Image:
    """Return what `resample` returns, from any start."""
    # OpenCV measures from centre to centre; the centre of pixel j lies j + 0.5 from the edge.
    x, y = ((span.start + 0.5) * span.scale + span.origin - 0.5 for span in (columns, rows))
    warped = cv2.warpAffine(
        image_bgr,
        np.asarray([[columns.scale, 0, x], [0, rows.scale, y]], np.float64),
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def jitter_hsv(image_bgr: Image, gains: tuple[int, int, int]) -> Image:
    """Return the image with `gains` added to hue (modulo 180), saturation and value (clipped; YOLOX).

    Saturating sums give what a table would, in an eighth of its time. Only a hue that falls below 0 needs the
    table; OpenCV understands a hue above 180.

    Args:
        image_bgr: (H, W, 3) uint8.
        gains: of hue, saturation and value.
    """
    if not any(gains):
        return image_bgr
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
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)


def mix(first_bgr: Image, second_bgr: Image, out_bgr: Image) -> None:
    """Write the mean of two images, rounded down (YOLOX's MixUp).

    Eight bytes are averaged at a time: (a & b) + ((a ^ b) >> 1).

    Args:
        first_bgr, second_bgr: (S, S, 3) uint8, contiguous.
        out_bgr: (S, S, 3) uint8, contiguous, overwritten; another array than the first two.
    """
    words: Any = np.uint64 if first_bgr.size % 8 == 0 else np.uint8
    low_bits = words(np.iinfo(words).max // 255 * 127)
    first, second, out = (image.reshape(-1).view(words) for image in (first_bgr, second_bgr, out_bgr))
    np.bitwise_xor(first, second, out=out)
    np.right_shift(out, 1, out=out)
    np.bitwise_and(out, low_bits, out=out)
    np.add(out, first & second, out=out)
