"""The merge of boxes that overlapping windows and one view of the whole image have found.

Three facts about windows decide, before any overlap of boxes does:

1. A window's own suppression has told its boxes apart, so no two boxes of one view become one.
2. A box that ends at an inner border of its window is cut. Where another window shows all of that box and
   more behind the border, that window has the better view, and the cut box goes whether it is matched or not.
3. What is left of cut boxes belongs to objects larger than the overlap. They are parts of a box that is
   seen whole, else they are joined across the border.

Boxes that are seen whole are never dropped for lying inside another box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import box_area
from aerostat.geometry.windows import CutSides, WindowGrid, cut_sides

OVERVIEW = -1
"""Number of the view of the whole image."""
SAME_IOU = 0.5
"""IoU from which boxes of two views are one object (decision record 0130)."""
PART = 0.8
"""Share of a cut box within a box seen whole, or within another cut box, from which it is a part of it."""
WEAK = 0.3
"""A box takes parts away, or gives its place, only with at least this share of the other's score."""
EDGE_PIXELS = 4.0
"""Input pixels by which a network may miss the border that cuts an object."""
EDGE_SHARE = 0.05
"""Share of a box's side by which it may, too."""
FINE_SIDE = 16.0
"""Input pixels of the overview. What is smaller there and fits into a window is left to the windows."""
PAIRS_AT_ONCE = 1 << 21
"""Pairs of boxes that are compared at a time."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WindowBoxes:
    """Boxes that the views of an image have found.

    Args:
        boxes_xyxy: (n, 4) in pixels of the image.
        scores: (n,).
        labels: (n,).
        numbers: (n,) the window of each box, `OVERVIEW` for the view of the whole image.
        grid: the windows.
        pixels: pixels of the image per pixel of the network's input, in windows and in the overview.
    """

    boxes_xyxy: NDArray[np.floating]
    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    numbers: NDArray[np.integer]
    grid: WindowGrid
    pixels: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class MergedBoxes:
    """One box for each object, best score first.

    Args:
        boxes_xyxy: (m, 4) in pixels of the image.
        scores: (m,), the highest of the boxes that became one.
        best: (m,) the box with the best view of the object.
        parts: for each object the boxes that its own box covers together: one, or several that were joined.
    """

    boxes_xyxy: Floats
    scores: Floats
    best: Ints
    parts: tuple[tuple[int, ...], ...]


def merge_windows(found: WindowBoxes, *, same_iou: float = SAME_IOU) -> MergedBoxes:
    """Return one box for each object that windows and the overview have found.

    Args:
        found: in pixels of the image.
        same_iou: IoU from which boxes of two views are one object.

    Example:
        >>> grid = WindowGrid.cover((180, 100), (100, 100), overlap=0.2)
        >>> boxes = np.asarray([[70.0, 10, 96, 40], [70.0, 10, 100, 40], [80.0, 10, 96, 40]])
        >>> numbers = np.asarray([OVERVIEW, 0, 1])
        >>> ones = np.ones(3)
        >>> merge_windows(WindowBoxes(boxes, ones, ones.astype(int), numbers, grid)).boxes_xyxy.tolist()
        [[70.0, 10.0, 96.0, 40.0]]
    """
    boxes = found.boxes_xyxy.astype(np.float64)
    cut = _cuts(found, boxes)
    is_cut = cut.any
    kept = np.flatnonzero(~cut.better & ~_left_to_windows(found, boxes))
    pairs = _Pairs.of(boxes[kept], found.labels[kept], found.numbers[kept]).at(kept)
    whole = ~is_cut & ~cut.better
    groups = _Groups(found.numbers)
    for one, other in pairs.where(whole[pairs.one] & whole[pairs.other]).best_first(found, boxes, same_iou):
        groups.unite(one, other)
    objects = [_seen_whole(found, members) for members in groups.of(kept[whole[kept]])]
    # Parts of objects that are seen whole elsewhere are no objects of their own.
    absorbed = np.zeros(len(boxes), bool)
    score_of = groups.highest(found.scores)
    for part, around in _directed(pairs, is_cut, whole):
        overlap = _common(boxes[part], boxes[around]) / np.maximum(box_area(boxes[part]), 1e-9)
        strong = score_of[around] >= WEAK * found.scores[part]
        for index in np.flatnonzero((overlap >= PART) & strong).tolist():
            if not groups.has_view(int(around[index]), int(found.numbers[part[index]])):
                absorbed[part[index]] = True
    left = is_cut & ~cut.better & ~absorbed
    facing = pairs.where(left[pairs.one] & left[pairs.other])
    for one, other in facing.across_borders(found, boxes, cut):
        groups.unite(one, other)
    hulls = [_joined(found, boxes, members) for members in groups.of(np.flatnonzero(left))]
    objects += _not_seen_whole(hulls, objects, found, boxes, same_iou)
    objects.sort(key=lambda one: -one.score)
    return MergedBoxes(
        np.asarray([one.box if one.box is not None else boxes[one.best] for one in objects]).reshape(-1, 4),
        np.asarray([one.score for one in objects], np.float64),
        np.asarray([one.best for one in objects], np.int64),
        tuple(one.parts for one in objects),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    best: int
    score: float
    parts: tuple[int, ...]
    views: frozenset[int]
    box: Floats | None = None  # None for that of `best`


def _cuts(found: WindowBoxes, boxes: Floats) -> CutSides:
    """Return how the views show their boxes; the overview cuts nothing."""
    low, high = np.zeros((2, len(boxes), 2), bool)
    better = np.zeros(len(boxes), bool)
    rows = np.flatnonzero(found.numbers != OVERVIEW)
    cut = cut_sides(found.grid, found.numbers[rows], boxes[rows], _slack(found, boxes)[rows])
    low[rows], high[rows], better[rows] = cut.low, cut.high, cut.better
    return CutSides(low, high, better)


def _slack(found: WindowBoxes, boxes: Floats) -> Floats:
    """Return (n, 2) how far from a border a box that it cuts may end."""
    return np.maximum(EDGE_PIXELS * found.pixels[0], EDGE_SHARE * (boxes[:, 2:] - boxes[:, :2]))


def _left_to_windows(found: WindowBoxes, boxes: Floats) -> NDArray[np.bool_]:
    """Return (n,) which boxes of the overview are so small that a window judges their object alone."""
    grid, sides = found.grid, boxes[:, 2:] - boxes[:, :2]
    left = (found.numbers == OVERVIEW) & (sides.max(axis=1, initial=0) < FINE_SIDE * found.pixels[1])
    slack = _slack(found, boxes)
    for axis, starts in enumerate((grid.columns, grid.rows)):
        start, side, length = np.asarray(starts, np.float64), grid.side[axis], grid.image_size[axis]
        first, last = boxes[:, axis] - slack[:, axis], boxes[:, axis + 2] + slack[:, axis]
        place = np.clip(np.searchsorted(start, first, side="left") - 1, 0, None)
        end = start[place] + side
        left &= (end > last) | (end >= length)
    return np.asarray(left)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Pairs of boxes of one label and of two views that have an area in common."""

    one: Ints
    other: Ints

    @classmethod
    def of(cls, boxes: Floats, labels: NDArray[np.integer], numbers: NDArray[np.integer]) -> _Pairs:
        parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for one, other in _overlapping(boxes, labels):
            apart = numbers[one] != numbers[other]
            parts.append((one[apart], other[apart]))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def at(self, places: Ints) -> _Pairs:
        return _Pairs(places[self.one], places[self.other])

    def where(self, chosen: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.one[chosen], self.other[chosen])

    def best_first(self, found: WindowBoxes, boxes: Floats, same_iou: float) -> Iterator[tuple[int, int]]:
        """Yield the pairs that may be one object, the highest IoU first.

        A pixel of the overview is large, so its edges may move towards those of a window's box by one.
        """
        one, other = boxes[self.one], boxes[self.other]
        for mine, its, numbers in (
            (one, other, found.numbers[self.one]),
            (other, one, found.numbers[self.other]),
        ):
            rows = numbers == OVERVIEW
            reach = found.pixels[1]
            mine[rows] += np.clip(its[rows] - mine[rows], -reach, reach)
        overlap = _common(one, other)
        iou = overlap / np.maximum(box_area(one) + box_area(other) - overlap, 1e-9)
        yield from self._sorted(iou, iou >= same_iou)

    def across_borders(self, found: WindowBoxes, boxes: Floats, cut: CutSides) -> Iterator[tuple[int, int]]:
        """Yield the pairs of cut boxes that face each other and agree where both windows look."""
        windows = np.asarray([found.grid.box(number) for number in range(len(found.grid))], np.float64)
        of_one, of_other = windows[found.numbers[self.one]], windows[found.numbers[self.other]]
        faces = np.ones(len(self.one), bool)
        for axis in (0, 1):
            before, after = of_one[:, axis] < of_other[:, axis], of_one[:, axis] > of_other[:, axis]
            faces &= ~before | (cut.high[self.one, axis] & cut.low[self.other, axis])
            faces &= ~after | (cut.low[self.one, axis] & cut.high[self.other, axis])
        seen = np.concatenate(
            [np.maximum(of_one[:, :2], of_other[:, :2]), np.minimum(of_one[:, 2:], of_other[:, 2:])], axis=1
        )
        mine, its = (_clipped(boxes[rows], seen) for rows in (self.one, self.other))
        overlap, smaller = _common(mine, its), np.minimum(box_area(mine), box_area(its))
        iou = overlap / np.maximum(box_area(mine) + box_area(its) - overlap, 1e-9)
        agree = (iou >= SAME_IOU) | (overlap >= PART * np.maximum(smaller, 1e-9))
        yield from self._sorted(iou, faces & agree)

    def _sorted(self, values: Floats, chosen: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(-values[rows], kind="stable")]
        yield from zip(self.one[rows].tolist(), self.other[rows].tolist(), strict=True)


class _Groups:
    """Boxes that became one object: at most one of each view."""

    def __init__(self, numbers: NDArray[np.integer]) -> None:
        self._numbers = numbers
        self._members: dict[int, list[int]] = {}
        self._group = np.arange(len(numbers))

    def _own(self, box: int) -> list[int]:
        return self._members.get(int(self._group[box]), [box])

    def has_view(self, box: int, number: int) -> bool:
        return any(self._numbers[member] == number for member in self._own(box))

    def unite(self, one: int, other: int) -> None:
        """Make two groups one, unless a view would be in it twice."""
        mine, its = self._own(one), self._own(other)
        numbers = {int(self._numbers[member]) for member in mine}
        if any(int(self._numbers[member]) in numbers for member in its):
            return
        group = int(self._group[one])
        self._members[group] = mine + its
        self._group[its] = group

    def of(self, boxes: Ints) -> list[list[int]]:
        """Return the groups of boxes, each once."""
        return [self._own(group) for group in dict.fromkeys(self._group[boxes].tolist())]

    def highest(self, scores: NDArray[np.floating]) -> Floats:
        """Return the highest score (n,) in the group of each box."""
        highest = np.zeros(len(scores))
        np.maximum.at(highest, self._group, scores)
        return highest[self._group]


def _seen_whole(found: WindowBoxes, members: list[int]) -> _Object:
    """Return an object as the best of its views shows it: a window with a fair score, else the overview."""
    scores = found.scores[members]
    highest = float(scores.max())
    fair = [
        i
        for i, member in enumerate(members)
        if found.numbers[member] != OVERVIEW and scores[i] >= WEAK * highest
    ]
    place = max(fair or range(len(members)), key=lambda i: scores[i])
    return _Object(members[place], highest, (members[place],), _views(found, members))


def _joined(found: WindowBoxes, boxes: Floats, members: list[int]) -> _Object:
    """Return an object whose parts were joined: the box around them."""
    best = max(members, key=lambda member: (found.scores[member], -member))
    own = boxes[members]
    hull = np.concatenate([own[:, :2].min(axis=0), own[:, 2:].max(axis=0)])
    return _Object(best, float(found.scores[best]), tuple(sorted(members)), _views(found, members), hull)


def _views(found: WindowBoxes, members: list[int]) -> frozenset[int]:
    return frozenset(found.numbers[members].tolist())


def _not_seen_whole(
    hulls: list[_Object], objects: list[_Object], found: WindowBoxes, boxes: Floats, same_iou: float
) -> list[_Object]:
    """Return the joined objects that are not among those seen whole."""
    if not hulls or not objects:
        return hulls
    around = boxes[[one.best for one in objects]]
    labels = found.labels[[one.best for one in objects]]
    scores = np.asarray([one.score for one in objects])
    left = []
    for hull in hulls:
        assert hull.box is not None
        apart = np.asarray([one.views.isdisjoint(hull.views) for one in objects])
        alike = (labels == found.labels[hull.best]) & (scores >= WEAK * hull.score) & apart
        overlap = _common(np.broadcast_to(hull.box, around.shape), around)
        own = float(box_area(hull.box[None])[0])
        iou = overlap / np.maximum(own + box_area(around) - overlap, 1e-9)
        if not (alike & ((iou >= same_iou) | (overlap >= PART * own))).any():
            left.append(hull)
    return left


def _directed(pairs: _Pairs, cut: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Iterator[tuple[Ints, Ints]]:
    """Yield the cut and the whole box of all pairs of one of each."""
    for one, other in ((pairs.one, pairs.other), (pairs.other, pairs.one)):
        chosen = cut[one] & whole[other]
        yield one[chosen], other[chosen]


def _clipped(boxes: Floats, to: Floats) -> Floats:
    return np.concatenate([np.maximum(boxes[:, :2], to[:, :2]), np.minimum(boxes[:, 2:], to[:, 2:])], axis=1)


def _common(one: Floats, other: Floats) -> Floats:
    """Return the areas (n,) that boxes (n, 4) have in common with others (n, 4), row by row."""
    return np.asarray(box_area(_clipped(one, other)), np.float64)


def _overlapping(boxes: Floats, labels: NDArray[np.integer]) -> Iterator[tuple[Ints, Ints]]:
    """Yield the indices of pairs of boxes of one label with an area in common, some at a time.

    Boxes are sorted by one edge. A box is compared with those that begin within it.
    """
    if not len(boxes):
        return
    sorts = [_runs(boxes, labels, axis) for axis in (0, 1)]
    order, counts = min(sorts, key=lambda sort: int(sort[1].sum()))
    steps = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum() + PAIRS_AT_ONCE, PAIRS_AT_ONCE))
    bounds = np.unique(np.clip([0, *(steps + 1).tolist(), len(order)], 0, len(order)))
    for start, stop in pairwise(bounds.tolist()):
        own = counts[start:stop]
        one = np.repeat(np.arange(start, stop), own)
        other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(own) - own, own)
        one, other = order[one], order[other]
        meet = _common(boxes[one], boxes[other]) > 0
        yield one[meet], other[meet]


def _runs(boxes: Floats, labels: NDArray[np.integer], axis: int) -> tuple[Ints, Ints]:
    """Return an order of the boxes along an axis, and how many of the next begin within each."""
    order = np.lexsort((boxes[:, axis], labels))
    ends = np.empty(len(order), np.int64)
    changes = np.flatnonzero(np.diff(labels[order])) + 1
    for first, end in pairwise([0, *changes.tolist(), len(order)]):
        part = order[first:end]
        ends[first:end] = first + np.searchsorted(boxes[part, axis], boxes[part, axis + 2], "left")
    return order, np.maximum(ends - np.arange(len(order)) - 1, 0)
