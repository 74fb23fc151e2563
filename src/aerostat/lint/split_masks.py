"""The run-length masks of a split, decoded once for all checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.instances import Rle
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.geometry.masks import Masks

MAX_MASKS = 20_000
"""Masks of a split that are decoded; one takes 50 microseconds."""

_Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class SplitMasks:
    """Masks of the objects of a split; of very many, some that are spread over it.

    Args:
        groups: rows (k,) of objects, ascending, and their masks, for each size of images.
        broken: rows whose run lengths are broken, of another size, or without a pixel.
    """

    groups: tuple[tuple[NDArray[np.int64], Masks], ...]
    broken: tuple[int, ...]

    @classmethod
    def of(cls, split: Split) -> SplitMasks:
        """Return the masks of a split, without crowd regions."""
        instances, places = split.images.instances, split.images.places
        masks = [(row, mask) for row, mask in instances.masks().items() if not instances.crowd[row]]
        of_size: defaultdict[tuple[int, int], list[_Row]] = defaultdict(list)
        for row, mask in masks[:: -(-len(masks) // MAX_MASKS) or 1]:
            width, height = split.images.sizes[places[row]].tolist()
            of_size[width, height].append((row, mask.as_found() if isinstance(mask, Rle) else mask))
        groups, broken = [], list[int]()
        for size, rows in of_size.items():
            sound, wrong = _decoded(rows, size)
            broken += wrong
            groups += [sound] if len(sound[0]) else []
        return cls(tuple(groups), tuple(sorted(broken)))


def _decoded(
    rows: Sequence[_Row], size: tuple[int, int]
) -> tuple[tuple[NDArray[np.int64], Masks], list[int]]:
    """Return the rows with a mask of pixels and their masks, and the rows with another one."""
    number = np.asarray([row for row, _ in rows], np.int64)
    try:
        masks = Masks.from_coco([mask for _, mask in rows], size)
    except (InputError, ValueError, TypeError):
        readable = np.asarray([_is_readable(mask, size) for _, mask in rows])
        number, wrong = number[readable], number[~readable].tolist()
        masks = Masks.from_coco([mask for (_, mask), good in zip(rows, readable, strict=True) if good], size)
    else:
        wrong = []
    filled = masks.area() > 0
    return (number[filled], masks[filled]), [*wrong, *number[~filled].tolist()]


def _is_readable(mask: Mapping[str, Any], size: tuple[int, int]) -> bool:
    try:
        Masks.from_coco([mask], size)
    except (InputError, ValueError, TypeError):
        return False
    return True
