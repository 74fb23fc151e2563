"""Run lengths of masks, as COCO stores them: encoding, compressed strings, outlines and overlaps.

A mask of (width, height) pixels is read column by column, from top to bottom. Its counts are the lengths of
its runs, alternately of zeros and of ones; the first run is of zeros and may have length 0. The formats are
those of pycocotools (https://github.com/cocodataset/cocoapi, common/maskApi.c), with which the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.polygons import Polygon, clip

Counts = NDArray[np.uint32]

MAX_PIXELS = (1 << 32) - 1
"""Of an image: counts are stored in 32 bits, as by pycocotools."""

_UPSAMPLING = 5.0
"""Steps per pixel along an outline (`rleFrPoly` in maskApi.c)."""
_MAX_MARGIN = 100_000.0
"""Pixels around the image within which outlines are walked to the same step as by pycocotools."""
_STEPS_AT_ONCE = 1 << 20
"""Steps along an outline in memory at a time."""
_MAX_CHUNKS = 7
"""Characters of one number of a compressed string; seven hold 35 bits."""


def counts_of(mask: NDArray[np.bool_]) -> Counts:
    """Return the counts of a dense mask (h, w)."""
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.concatenate([[0], changes]) if len(pixels) and pixels[0] else changes
    return counts_between(starts, len(pixels))


def counts_between(boundaries: NDArray[np.integer], pixels: int) -> Counts:
    """Return the counts of a mask that changes its value at sorted boundaries; two at one place cancel.

    Args:
        boundaries: (k,) places from 0; those at or behind the end change nothing.
        pixels: number of pixels of the mask.
    """
    places, times = np.unique(boundaries, return_counts=True)
    places = places[(times % 2 == 1) & (places < pixels)]
    return np.diff(np.concatenate([[0], places, [pixels]])).astype(np.uint32)


def boundaries_of(
    columns: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Return where a part of a mask changes its value, for `counts_between`.

    Args:
        columns: (w, h) the part, column by column; all pixels outside of it are outside of the mask.
        corner: x and y of the part in the image; what lies outside of the image is cut off.
        size: (width, height) of the image.

    Returns:
        Sorted places in the image, counted column by column.
    """
    (x, y), (image_width, height) = corner, size
    columns = columns[max(0, -x) : max(0, image_width - x), max(0, -y) : max(0, height - y)]
    width, tall = columns.shape
    padded = np.zeros((width, tall + 2), np.bool_)
    padded[:, 1:-1] = columns
    # numpy finds few places among many several times faster along one axis than along two
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), tall + 1)
    places: NDArray[np.int64] = (column + max(0, x)) * height + (row + max(0, y))
    return places


def canonical(counts: Counts) -> Counts:
    """Return the counts of the same mask in which only the first run may have length 0."""
    ends = np.cumsum(counts, dtype=np.int64)
    return counts_between(ends[:-1], int(ends[-1]))


def dense(counts: Counts, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of `counts` for an image of `size` = (width, height)."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[0], size[1]).T


def union(masks: Sequence[Counts], pixels: int) -> Counts:
    """Return the counts of the pixels that are in any of the masks."""
    if len(masks) == 1:
        return masks[0]
    places = [np.zeros(0, np.int64)]
    steps = [np.zeros(0, np.int64)]
    for counts in masks:
        ends = np.cumsum(counts, dtype=np.int64)[:-1]
        places.append(ends)
        steps.append(1 - 2 * (np.arange(len(ends)) % 2))
    unique, where = np.unique(np.concatenate(places), return_inverse=True)
    depth = np.cumsum(np.bincount(where, np.concatenate(steps), len(unique)))
    covered = np.concatenate([[False], depth > 0])
    return counts_between(unique[covered[1:] != covered[:-1]], pixels)


def rasterise(polygon: Polygon, size: tuple[int, int]) -> Counts:
    """Return the counts of the pixels inside an outline, to the pixel as pycocotools has them.

    The outline is walked in steps of a fifth of a pixel. Where it passes the middle of a column, a run
    begins or ends.

    Args:
        polygon: (k, 2) x, y in pixels, finite; parts outside of the image are cut off.
        size: (width, height) of the image.
    """
    width, height = size
    places = np.zeros(0, np.int64)
    for x, y in _walks(_near(polygon, size)):
        moved = np.flatnonzero(x[1:] != x[:-1]) + 1
        left = np.where(x[moved] < x[moved - 1], x[moved], x[moved] - 1)
        column = (left + 0.5) / _UPSAMPLING - 0.5
        in_middle = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
        top = np.minimum(y[moved], y[moved - 1])[in_middle]
        row = np.ceil(np.clip((top + 0.5) / _UPSAMPLING - 0.5, 0, height))
        found = column[in_middle].astype(np.int64) * height + row.astype(np.int64)
        if len(places):  # two at one place cancel, so that there are never more than pixels
            found, times = np.unique(np.concatenate([places, found]), return_counts=True)
            found = found[times % 2 == 1]
        places = found
    return counts_between(np.sort(places), width * height)


def _near(polygon: Polygon, size: tuple[int, int]) -> Polygon:
    """Return an outline without the parts that are so far from the image that the walk would take long."""
    if not len(polygon) or np.abs(polygon).max() <= max(size) + _MAX_MARGIN:
        return polygon
    width, height = size
    return clip(polygon + _MAX_MARGIN, width + 2 * _MAX_MARGIN, height + 2 * _MAX_MARGIN) - _MAX_MARGIN


def _walks(polygon: Polygon) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield x and y of the points along a closed outline in fifths of a pixel, some of them at a time.

    Neighbours are at most one step apart. Each part begins with the last point of the part before it.
    """
    corners = (_UPSAMPLING * polygon + 0.5).astype(np.int64)  # towards zero, as in C
    start, end = corners, np.roll(corners, -1, axis=0)
    steps = np.cumsum(np.abs(end - start).max(axis=1, initial=0) + 1)
    last: NDArray[np.int64] = np.zeros((2, 0), np.int64)
    begin = 0
    while begin < len(corners):
        done = steps[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(steps, done + _STEPS_AT_ONCE, "right")))
        x, y = np.concatenate([last, _walk(start[begin:stop], end[begin:stop])], axis=1)
        yield x, y
        last = np.stack([x[-1:], y[-1:]])
        begin = stop


def _walk(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the points (2, n) along edges (e, 2) from their starts to their ends."""
    reach = np.abs(end - start)
    steep = reach[:, 0] < reach[:, 1]
    main = steep.astype(np.int64)  # the axis along which an edge is longer
    rows = np.arange(len(start))
    backwards = start[rows, main] > end[rows, main]
    first, last = (np.where(backwards[:, None], a, b) for a, b in ((end, start), (start, end)))
    length = reach.max(axis=1)
    side = 1 - main
    rise = (last - first)[rows, side] / np.maximum(length, 1)
    edge = np.repeat(rows, length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(backwards[edge], length[edge] - step, step)
    along = first[edge, main[edge]] + step
    across = (first[edge, side[edge]] + rise[edge] * step + 0.5).astype(np.int64)
    return np.stack([np.where(steep[edge], across, along), np.where(steep[edge], along, across)])


def compress(counts: Counts, offsets: NDArray[np.int64]) -> list[bytes]:
    """Return COCO's compressed string of each mask.

    Each count from the fourth one on is stored as the difference from the last but one. A number is written
    in groups of five bits, the lowest first, each as one character.

    Args:
        counts: of all masks, one after the other.
        offsets: (n + 1,) where the counts of each mask begin.
    """
    values = counts.astype(np.int64)
    place = np.arange(len(values)) - np.repeat(offsets[:-1], np.diff(offsets))
    later = np.flatnonzero(place > 2)
    values[later] -= counts[later - 2]
    characters = np.zeros((len(values), _MAX_CHUNKS), np.uint8)
    used = np.zeros((len(values), _MAX_CHUNKS), bool)
    rows = np.arange(len(values))
    for chunk in range(_MAX_CHUNKS):
        used[rows, chunk] = True
        five = values[rows] & 31
        values[rows] >>= 5
        more = np.where(five & 16, values[rows] != -1, values[rows] != 0)
        characters[rows, chunk] = five + 32 * more + 48
        rows = rows[more]
    lengths = np.concatenate([[0], np.cumsum(used.sum(axis=1))])[offsets]
    text = characters[used].tobytes()
    return [text[start:stop] for start, stop in pairwise(lengths)]


def decompress(text: bytes) -> Counts:
    """Return the counts that a compressed string stands for.

    Raises:
        ValueError: the string is broken; the message says why.
    """
    characters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(characters):
        raise ValueError("it is empty")
    wrong = np.flatnonzero((characters < 0) | (characters > 63))
    if len(wrong):
        raise ValueError(f"byte {text[wrong[0]]} at {wrong[0]} is not one of its 64 characters")
    last = np.flatnonzero(characters < 32)
    if not len(last) or last[-1] != len(characters) - 1:
        raise ValueError("its end is missing")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _MAX_CHUNKS:
        raise ValueError(f"a number in it has more than {_MAX_CHUNKS} characters")
    shift = 5 * (np.arange(len(characters)) - np.repeat(first, lengths))
    values = np.add.reduceat((characters & 31) << shift, first)
    values -= np.where(characters[last] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.max() > MAX_PIXELS:
        raise ValueError("a run in it has an impossible length")
    return values.astype(np.uint32)
