"""Masks as COCO has them, from the pictures and runs that annotation tools store, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.geometry import run_lengths
from aerostat.geometry.masks import Masks
from aerostat.geometry.run_lengths import Counts

Rle = dict[str, Any]
"""COCO's run-length object, ``{"size": [h, w], "counts": ...}``."""


def placed(part: NDArray[np.bool_], place: tuple[int, int], size: tuple[int, int]) -> Rle:
    """Return the mask of an image from a part of it.

    Args:
        part: (h, w), True inside.
        place: x, y of its first pixel in the image; what lies outside of the image is left out.
        size: (width, height) of the image.
    """
    boundaries = run_lengths.boundaries_of(part.T, place, size)
    return _coco(run_lengths.counts_between(boundaries, size[0] * size[1]), size)


def from_rows(starts: NDArray[np.int64], stops: NDArray[np.int64], size: tuple[int, int], most: int) -> Rle:
    """Return a mask from runs of pixels that are counted row by row, in work that follows the result.

    Args:
        starts: (n,) first pixel of each run, ascending.
        stops: (n,) pixel behind the last one.
        size: (width, height) of the image.
        most: numbers that the result may take.

    Raises:
        ValueError: it would take more.
    """
    width, height = size
    first, last = starts // width, (stops - 1) // width
    counts = last - first + 1
    if counts.sum() > most:
        raise ValueError("a mask of more rows than its data can draw")
    run = np.repeat(np.arange(len(starts)), counts)
    row = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts) + first[run]
    left = np.maximum(starts[run] - row * width, 0)
    right = np.minimum(stops[run] - row * width, width)
    # A pixel changes where it differs from the one above it: a side of a run is there in one row only.
    keys = np.concatenate([row * (width + 1) + left, row * (width + 1) + right])
    keys, times = np.unique(np.concatenate([keys, keys + width + 1]), return_counts=True)
    keys = keys[times % 2 == 1]
    row, left, right = keys[::2] // (width + 1), keys[::2] % (width + 1), keys[1::2] % (width + 1)
    lengths = right - left
    if lengths.sum() > most:
        raise ValueError("a mask of more columns than its data can draw")
    column = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths - left, lengths)
    return _coco(run_lengths.counts_between(column * height + np.repeat(row, lengths), width * height), size)


def dense_of(rle: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask (h, w) of an image of (width, height)."""
    return Masks.from_coco([rle], size)[0]


def union(masks: Sequence[Mapping[str, Any]], outlines: Sequence[Any], size: tuple[int, int]) -> Rle:
    """Return the mask of all pixels in any of the masks or outlines.

    Args:
        masks: of one image; at least one.
        outlines: each (n, 2) x, y in pixels.
        size: (width, height) of the image.
    """
    parts = [Masks.from_coco([mask], size).counts for mask in masks]
    parts += [Masks.from_polygons([[outline]], size).counts for outline in outlines]
    return _coco(run_lengths.union(parts, size[0] * size[1]), size)


def png_of(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask (h, w) as a grey PNG of zeros and ones."""
    done, content = cv2.imencode(".png", mask.astype(np.uint8))
    if not done:
        raise ValueError(f"a mask of {mask.shape} cannot be a PNG")
    return content.tobytes()


def _coco(counts: Counts, size: tuple[int, int]) -> Rle:
    return Masks(size, counts, np.asarray([0, len(counts)])).to_coco()[0]
