"""Outlines of the objects of one image as edges in columns, and their masks on a coarse grid; no torch.

Coordinates are edges of pixels: pixel (i, j) reaches from j to j + 1 in x and from i to i + 1 in y. A point
is inside of a part if a line from it to the left crosses an odd number of the part's edges. An object covers
what any of its parts covers. A polygon is a part. So is a run-length mask, of which the borders between
pixels of one row are enough: holes need no special care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.masks import Masks
from aerostat.geometry.run_lengths import Counts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER = -1
"""Of `Outlines.covers_from`: the object hides no other."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The outlines of n objects.

    Args:
        edges: (e, 4) x0, y0, x1, y1, part by part.
        parts: (e,) the part of each edge, ascending.
        owners: (m,) the object of each part, ascending.
        known: (n,) whether the object has an outline.
        limits: (n, 4) x1, y1, x2, y2 outside of which nothing of the object is visible.
        covers_from: (n,) the object lies on top of those from this number up to itself; `NEVER` for none.
    """

    edges: Floats
    parts: Ints
    owners: Ints
    known: NDArray[np.bool_]
    limits: Floats
    covers_from: Ints

    def __len__(self) -> int:
        return len(self.known)

    @property
    def nbytes(self) -> int:
        """The memory that the outlines take, in bytes."""
        return self.edges.nbytes + self.parts.nbytes + self.owners.nbytes + 49 * len(self.known)

    @classmethod
    def of(
        cls,
        polygons: Sequence[Sequence[NDArray[np.floating]]],
        masks: Mapping[int, Mapping[str, Any]],
        image_size: tuple[int, int],
    ) -> Outlines:
        """Return the outlines of n objects. A broken outline costs only itself.

        Args:
            polygons: for each object its outlines, each (k, 2); one of fewer than three points, or with a
                number that is not finite, is left out.
            masks: COCO's run-length objects by the number of their object; one that is broken or of another
                size is left out, and so is one of an object with polygons.
            image_size: (width, height) of the image.
        """
        edges, owners = [], []
        for number, outlines in enumerate(polygons):
            for outline in outlines:
                points = np.asarray(outline, np.float64)
                if len(points) >= 3 and np.isfinite(points).all():
                    edges.append(np.concatenate([points, np.roll(points, -1, axis=0)], 1))
                    owners.append(number)
            if not outlines and number in masks:
                borders = _borders_of(masks[number], image_size)
                if borders is not None:
                    edges.append(borders)
                    owners.append(number)
        return cls._of_parts(edges, owners, len(polygons))

    @classmethod
    def _of_parts(cls, edges: Sequence[Floats], owners: Sequence[int], count: int) -> Outlines:
        parts = np.repeat(np.arange(len(edges)), [len(part) for part in edges])
        known = np.zeros(count, np.bool_)
        known[list(owners)] = True
        joined = np.concatenate([np.zeros((0, 4)), *edges])
        crossed = joined[:, 1] != joined[:, 3]  # a row crosses no edge that runs along it
        limits = np.tile([-np.inf, -np.inf, np.inf, np.inf], (count, 1))
        return cls(
            joined[crossed],
            parts[crossed],
            np.asarray(owners, np.int64),
            known,
            limits,
            np.full(count, NEVER, np.int64),
        )

    def chosen(self, rows: Ints) -> Outlines:
        """Return the objects at these numbers, which ascend."""
        if np.array_equal(rows, np.arange(len(self))):
            return self
        place = np.full(len(self), -1, np.int64)
        place[rows] = np.arange(len(rows))
        owners = place[self.owners]
        kept_part = owners >= 0
        number = np.cumsum(kept_part) - 1
        kept_edge = kept_part[self.parts]
        return Outlines(
            self.edges[kept_edge],
            number[self.parts[kept_edge]],
            owners[kept_part],
            self.known[rows],
            self.limits[rows],
            self.covers_from[rows],
        )

    def moved(self, scale: tuple[float, float], shift: tuple[float, float]) -> Outlines:
        """Return the outlines with every x and y multiplied by `scale`, then moved by `shift`."""
        factors, offsets = np.asarray(scale * 2, np.float64), np.asarray(shift * 2, np.float64)
        return replace(self, edges=self.edges * factors + offsets, limits=self.limits * factors + offsets)

    def mirrored(self, width: float) -> Outlines:
        """Return the outlines of the image mirrored left to right; `width` is that of the image."""
        edges, limits = self.edges.copy(), self.limits.copy()
        edges[:, 0::2] = width - edges[:, 0::2]
        limits[:, 0::2] = width - limits[:, 2::-2]
        return replace(self, edges=edges, limits=limits)

    def within(self, box_xyxy: tuple[float, float, float, float]) -> Outlines:
        """Return the outlines of which nothing outside of a box is visible."""
        limits = self.limits.copy()
        limits[:, :2] = np.maximum(limits[:, :2], box_xyxy[:2])
        limits[:, 2:] = np.minimum(limits[:, 2:], box_xyxy[2:])
        return replace(self, limits=limits)

    def with_on_top(self, other: Outlines) -> Outlines:
        """Return the objects of both, those of `other` on top of these."""
        joined = Outlines.joined([self, other])
        covers = joined.covers_from.copy()
        covers[len(self) :] = 0
        return replace(joined, covers_from=covers)

    @classmethod
    def joined(cls, several: Sequence[Outlines]) -> Outlines:
        """Return the objects of several images of one size, which do not hide each other."""
        parts = np.cumsum([0, *(len(one.owners) for one in several)]).tolist()
        objects = np.cumsum([0, *(len(one) for one in several)]).tolist()
        moved = [
            np.where(one.covers_from == NEVER, NEVER, one.covers_from + first)
            for one, first in zip(several, objects, strict=False)
        ]
        return cls(
            np.concatenate([np.zeros((0, 4)), *(one.edges for one in several)]),
            _shifted([one.parts for one in several], parts),
            _shifted([one.owners for one in several], objects),
            np.concatenate([np.zeros(0, np.bool_), *(one.known for one in several)]),
            np.concatenate([np.zeros((0, 4)), *(one.limits for one in several)]),
            np.concatenate([np.zeros(0, np.int64), *moved]),
        )


def _shifted(numbers: Sequence[Ints], starts: Sequence[int]) -> Ints:
    return np.concatenate(
        [np.zeros(0, np.int64), *(each + start for each, start in zip(numbers, starts, strict=False))]
    )


def _borders_of(mask: Mapping[str, Any], image_size: tuple[int, int]) -> Floats | None:
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
    # A run that goes on at the top of the next column is one piece in each column.
    pieces = (stops - 1) // height - starts // height + 1
    run = np.repeat(np.arange(len(starts)), pieces)
    column = starts[run] // height + np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    top = np.maximum(starts[run], column * height) - column * height
    bottom = np.minimum(stops[run], (column + 1) * height) - column * height
    return np.stack([column, top, column, bottom], 1).astype(np.float64)


def rasterise(
    outlines: Outlines, boxes_xyxy: NDArray[np.floating], size: tuple[int, int], stride: int
) -> MaskTargets:
    """Return the masks of a sample on the cells of a stride.

    Args:
        outlines: of n objects, in pixels of the sample.
        boxes_xyxy: (n, 4) whose centres take the place of an unknown centre of mass.
        size: (width, height) of the sample in pixels.
        stride: pixels between neighbouring cells.

    Example:
        >>> square = Outlines.of([[np.asarray([(0, 0), (8, 0), (8, 4), (0, 4)])]], {}, (16, 8))
        >>> targets = rasterise(square, np.asarray([[0, 0, 8, 4]]), (16, 8), 4)
        >>> targets.windows.tolist(), targets.bits.tolist(), targets.centres.tolist()
        ([[0, 0, 2, 1]], [1, 1], [[4.0, 2.0]])
    """
    first = stride // 2 + 0.5  # place of the first cell's sample
    edges = (outlines.edges - first) / stride
    owner = outlines.owners[outlines.parts] if len(outlines.parts) else np.zeros(0, np.int64)
    windows = _windows(outlines, edges, owner, (size[0] // stride, size[1] // stride), first, stride)
    bits = _bits(outlines, edges, owner, windows)
    _cover(outlines.covers_from, windows, bits)
    windows[:, 2:] -= windows[:, :2]
    flat = np.concatenate([np.zeros(0, np.uint8), *(one.ravel() for one in bits)])
    centres = _centres(windows, flat, np.asarray(boxes_xyxy, np.float64).reshape(-1, 4), stride)
    return MaskTargets(stride, windows, flat, outlines.known.copy(), centres)


def _windows(
    outlines: Outlines, edges: Floats, owner: Ints, cells: tuple[int, int], first: float, stride: int
) -> Ints:
    """Return the cells x1, y1, x2, y2 (n, 4) that each object may cover."""
    bounds = np.tile([np.inf, np.inf, -np.inf, -np.inf], (len(outlines), 1))
    if len(owner):
        present, begin = np.unique(owner, return_index=True)
        for axis in (0, 1):
            pair = edges[:, axis::2]
            bounds[present, axis] = np.minimum.reduceat(pair.min(1), begin)
            bounds[present, axis + 2] = np.maximum.reduceat(pair.max(1), begin)
    limits = (outlines.limits - first) / stride
    windows = np.zeros((len(outlines), 4), np.int64)
    for axis in (0, 1):
        low = np.maximum(bounds[:, axis], limits[:, axis])
        high = np.minimum(bounds[:, axis + 2], limits[:, axis + 2])
        windows[:, axis] = np.ceil(np.clip(low, 0, cells[axis]))
        windows[:, axis + 2] = np.ceil(np.clip(high, 0, cells[axis]))
    windows[(windows[:, 2:] <= windows[:, :2]).any(1)] = 0
    return windows


def _bits(outlines: Outlines, edges: Floats, owner: Ints, windows: Ints) -> list[NDArray[np.uint8]]:
    """Return the cells (h, w) of each object's window."""
    sides = windows[:, 2:] - windows[:, :2]
    part_sides = sides[outlines.owners]
    # A column behind the last one takes the crossings at the right of the window.
    lengths = part_sides[:, 1] * (part_sides[:, 0] + 1)
    starts = np.cumsum(lengths) - lengths
    low = np.ceil(np.minimum(edges[:, 1], edges[:, 3]))
    high = np.ceil(np.maximum(edges[:, 1], edges[:, 3]))
    top = np.clip(low, windows[owner, 1], windows[owner, 3]).astype(np.int64)
    rows = np.clip(high, windows[owner, 1], windows[owner, 3]).astype(np.int64) - top
    edge = np.repeat(np.arange(len(edges)), rows)
    row = top[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows)
    x0, y0, x1, y1 = edges.T
    crossing = x0[edge] + (row - y0[edge]) * ((x1 - x0) / (y1 - y0))[edge]
    mine, part = owner[edge], outlines.parts[edge]
    width = sides[mine, 0]
    column = np.clip(np.ceil(crossing) - windows[mine, 0], 0, width).astype(np.int64)
    places = starts[part] + (row - windows[mine, 1]) * (width + 1) + column
    # Every row of a part is crossed an even number of times, so the sum is even again at its end.
    inside = (np.cumsum(np.bincount(places, minlength=int(lengths.sum()))) & 1).astype(np.uint8)
    found = [np.zeros((h, w), np.uint8) for w, h in sides.tolist()]
    for number, start, length in zip(
        outlines.owners.tolist(), starts.tolist(), lengths.tolist(), strict=True
    ):
        if length:
            mask = found[number]
            mask |= inside[start : start + length].reshape(mask.shape[0], -1)[:, :-1]
    return found


def _cover(covers_from: Ints, windows: Ints, bits: Sequence[NDArray[np.uint8]]) -> None:
    """Take what lies on top of other objects out of them, in place."""
    for above in np.flatnonzero(covers_from != NEVER).tolist():
        for below in range(int(covers_from[above]), above):
            x1, y1 = np.maximum(windows[above, :2], windows[below, :2]).tolist()
            x2, y2 = np.minimum(windows[above, 2:], windows[below, 2:]).tolist()
            if x1 < x2 and y1 < y2:
                (ax, ay), (bx, by) = windows[above, :2].tolist(), windows[below, :2].tolist()
                hidden = bits[below][y1 - by : y2 - by, x1 - bx : x2 - bx]
                hidden &= 1 - bits[above][y1 - ay : y2 - ay, x1 - ax : x2 - ax]


def _centres(windows: Ints, bits: NDArray[np.uint8], boxes_xyxy: Floats, stride: int) -> NDArray[np.float32]:
    """Return the centres of mass (n, 2); those of the boxes where no cell is set."""
    lengths = windows[:, 2] * windows[:, 3]
    starts = np.cumsum(lengths) - lengths
    place = np.flatnonzero(bits)
    owner = np.searchsorted(starts + lengths, place, side="right")
    row, column = np.divmod(place - starts[owner], np.maximum(windows[owner, 2], 1))
    counts = np.bincount(owner, minlength=len(windows))
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    present = counts > 0
    for axis, cells in ((0, column), (1, row)):
        sums = np.bincount(owner, cells + windows[owner, axis], minlength=len(windows))
        centres[present, axis] = sums[present] / counts[present] * stride + stride // 2
    return centres.astype(np.float32)
