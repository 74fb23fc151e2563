"""The edges of the outlines of one image, in columns.

A polygon is a part. So is a run-length mask, of which the borders between pixels of one row are enough: holes
need no special care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.mask_columns import ColumnSpans
from aerostat.geometry.masks import Masks
from aerostat.geometry.run_lengths import Counts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The outlines of the n objects of an image, in its own pixels.

    Args:
        ends: (4, e) x0, y0, x1, y1 of each edge, part by part; no edge runs along a row.
        parts: (e,) the part of each edge, ascending.
        owners: (e,) the object of each edge, ascending.
        bounds: (n, 4) x1, y1, x2, y2 around the edges of each object; zeros without edges.
        known: (n,) whether the object has an outline.
        single: whether no object has several parts.
    """

    ends: Floats
    parts: Ints
    owners: Ints
    bounds: Floats
    known: NDArray[np.bool_]
    single: bool

    @classmethod
    def of(cls, parts: Sequence[Floats], owners: Sequence[int], count: int) -> Edges:
        """Return the edges of parts (k, 4), of which each has an owner among `count` objects, ascending."""
        known = np.zeros(count, np.bool_)
        known[list(owners)] = True
        lengths = [len(part) for part in parts]
        joined = np.concatenate([np.zeros((0, 4)), *parts])
        crossed = joined[:, 1] != joined[:, 3]  # a row crosses no edge that runs along it
        ends = np.ascontiguousarray(joined[crossed].T)
        owner = np.repeat(np.asarray(owners, np.int64), lengths)[crossed]
        bounds = np.zeros((count, 4))
        if len(owner):
            present, begin = np.unique(owner, return_index=True)
            for axis in (0, 1):
                pair = ends[axis::2]
                bounds[present, axis] = np.minimum.reduceat(pair.min(0), begin)
                bounds[present, axis + 2] = np.maximum.reduceat(pair.max(0), begin)
        number = np.repeat(np.arange(len(parts)), lengths)[crossed]
        return cls(ends, number, owner, bounds, known, len(set(owners)) == len(owners))


def borders_of(mask: Mapping[str, Any], image_size: tuple[int, int]) -> Floats | None:
    """Return the borders (e, 4) between the pixels of each row of a run-length mask; None if it is broken."""
    try:
        counts = Masks.from_coco([mask], image_size).counts
    except InputError:
        return None
    return _vertical_borders(counts, image_size)


def _vertical_borders(counts: Counts, image_size: tuple[int, int]) -> Floats:
    """Return as edges (e, 4) where neighbouring columns of a mask differ.

    A mask and the same mask one column further differ where a border is. Both change their value at known
    places; places where one of them changes are where the difference does.
    """
    width, height = image_size
    changes = np.cumsum(counts, dtype=np.int64)[:-1]
    if len(changes) % 2:  # the last run of ones reaches the end
        changes = np.append(changes, width * height)
    places, times = np.unique(np.concatenate([changes, changes + height]), return_counts=True)
    places = places[times % 2 == 1]
    starts, stops = places[0::2], places[1::2]
    runs = np.zeros(len(starts), np.int64), starts, stops
    pieces = ColumnSpans.of_runs(runs, (width + 1, height), 1)  # the last border is right of the image
    return np.stack([pieces.column, pieces.top, pieces.column, pieces.bottom], 1).astype(np.float64)
