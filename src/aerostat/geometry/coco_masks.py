"""COCO's run-length objects, ``{"size": [h, w], "counts": ...}``, as counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aerostat.errors import InputError
from aerostat.geometry import run_lengths
from aerostat.geometry.run_lengths import Counts

CocoMask = Mapping[str, Any]


def decode(
    objects: Sequence[CocoMask], image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], list[Counts]]:
    """Return the (width, height) of the masks, and the counts of each; see `Masks.from_coco`.

    Raises:
        InputError: an object is broken or has another size, or there is neither an object nor a size.
    """
    if image_size is None:
        if not objects:
            raise InputError("Expected `image_size` for masks without any object, found none.")
        image_size = _coco_size(objects[0], 0)
    masks = []
    for index, one in enumerate(objects):
        if _coco_size(one, index) != tuple(image_size):
            raise InputError(
                f"Expected masks of one size (height, width) {[image_size[1], image_size[0]]}, found "
                f"{one['size']} for mask {index}."
            )
        masks.append(_coco_counts(one, index))
    return image_size, masks


def _coco_size(one: CocoMask, index: int) -> tuple[int, int]:
    """Return (width, height) of a COCO run-length object."""
    try:
        height, width = one["size"]
        return int(width), int(height)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f'Expected run lengths as {{"size": [h, w], "counts": ...}}, found no size for mask {index}.'
        ) from None


def _coco_counts(one: CocoMask, index: int) -> Counts:
    counts = one.get("counts")
    try:
        if isinstance(counts, str):
            return run_lengths.decompress(counts.encode("ascii"))
        if isinstance(counts, bytes):
            return run_lengths.decompress(counts)
        numbers = np.asarray(counts)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers) or numbers.min() < 0:
            raise ValueError("its counts are not a list of whole numbers from 0")
        return numbers.astype(np.uint32)
    except (UnicodeEncodeError, ValueError, OverflowError) as error:
        why = "it is not ASCII text" if isinstance(error, UnicodeEncodeError) else error
        raise InputError(
            f"Expected run lengths as COCO writes them, found mask {index} broken: {why}."
        ) from None
