"""Masks of detections as pictures for other programs: a map of numbers, and objects cut out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.results.detections import Detections

MAX_NUMBER = (1 << 16) - 1
"""Detections that a map of 16 bits can number."""


def label_map(detections: Detections, image_size: tuple[int, int] | None = None) -> NDArray[np.uint16]:
    """Return a map (H, W) uint16: the number of the detection that each pixel belongs to, 0 for none.

    Numbers count the detections from 1 in their order. Where masks overlap, the better score counts; of
    equal scores the earlier detection. An empty mask has its number, which no pixel has.

    >>> found = Detections([[0, 0, 2, 1]], [0.9], [0], ("kite",), masks=[[[1, 1, 0]]])
    >>> label_map(found).tolist()
    [[1, 1, 0]]

    Args:
        detections: with masks.
        image_size: (width, height) of an image without detections, if they do not state it.

    Raises:
        InputError: there are detections without masks, more than 65535, or no size.
    """
    size = image_size if detections.masks is None else detections.masks.image_size
    size = size or detections.image_size
    if size is None:
        raise InputError("Expected `image_size` for detections that do not state it, found none.")
    if len(detections) > MAX_NUMBER:
        raise InputError(f"Expected at most {MAX_NUMBER} detections for a map, found {len(detections)}.")
    labels = np.zeros((size[1], size[0]), np.uint16)
    if not len(detections):
        return labels
    patches = list(_patches(detections))
    for place in np.argsort(-detections.scores, kind="stable")[::-1].tolist():
        patch, (x, y) = patches[place]
        labels[y : y + patch.shape[0], x : x + patch.shape[1]][patch] = place + 1
    return labels


def cut_outs(detections: Detections, image_bgr: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the number of each detection from 1, and its pixels (h, w, 4) BGRA: all else is transparent.

    The picture is cut to the box around the mask. A detection with an empty mask has none.

    Args:
        detections: with masks.
        image_bgr: (H, W, 3) uint8, the image that they were found on.

    Raises:
        InputError: there are detections without masks, or the image has another size.
    """
    size = (image_bgr.shape[1], image_bgr.shape[0])
    if detections.masks is not None and detections.masks.image_size != size:
        raise InputError(
            f"Expected an image of the size of the masks {detections.masks.image_size}, found {size}."
        )
    for number, (patch, (x, y)) in enumerate(_patches(detections), start=1):
        if patch.size:
            part = image_bgr[y : y + patch.shape[0], x : x + patch.shape[1]]
            alpha = np.where(patch, 255, 0).astype(np.uint8)
            yield number, np.dstack([part * patch[:, :, None], alpha])


def _patches(detections: Detections) -> Iterator[tuple[NDArray[np.bool_], tuple[int, int]]]:
    if detections.masks is None:
        if len(detections):
            raise InputError("Expected detections with masks, found some without: the model gives none.")
        return iter(())
    return detections.masks.spans().patches()
