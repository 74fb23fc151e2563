"""Checks of outlines and run-length masks: masks that cannot be used, holes, tiny parts.

A finding gives the number of objects of a split; few objects are named. The work is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks
from aerostat.lint.listing import SHOWN_FINDINGS, Finding, box_text, of_object
from aerostat.lint.split_masks import SplitMasks
from aerostat.text import counted

MIN_PART = 4.0
"""Area in square pixels below which a part beside a larger one is tiny: a slip of the pen."""

MAX_TRACED = 1_000_000
"""Run lengths and columns of the masks of a split that are traced for holes and parts: half a second."""

MAX_COMPARED = 1 << 24
"""Pairs of a point and an edge, over a split, in the search for outlines within outlines: about a second."""

_PAIRS_OF_A_CALL = 1000  # pairs that take as long as looking at an outline at all
_POINTS = 8  # of an outline that are looked at, to tell whether it lies within another
_Rows = NDArray[np.int64]


def check_outlines(data: Dataset, masks: Mapping[str, SplitMasks] | None = None) -> list[Finding]:
    """Return masks that cannot be used, outlines within outlines, masks with holes, and tiny parts.

    Args:
        data: as it was read.
        masks: of each split; None decodes them.
    """
    found: list[Finding] = []
    for split in data.splits.values():
        mine = SplitMasks.of(split) if masks is None else masks[split.name]
        nested, several, tiny = _outlines(split)
        with_holes, tiny_in_masks = _traced(mine)
        tiny = np.union1d(tiny, tiny_in_masks)
        found += _several(
            *(split, np.asarray(mine.broken, np.int64), "mask-unusable"),
            "has run lengths that are broken or of another size, or no pixel",
        )
        found += _several(
            *(split, nested, "outline-within-outline"),
            f"has an outline inside another one, as if it were a hole, of {several} with several outlines",
        )
        found += _several(split, with_holes, "mask-with-holes", "has a mask with holes")
        found += _several(
            split, tiny, "outline-tiny-part", f"has a part below {MIN_PART:g} pixels beside a larger one"
        )
    return found


def _several(split: Split, rows: _Rows, code: str, wrong: str) -> list[Finding]:
    """Return findings about the first objects of some; the first finding says how many there are."""
    instances, total = split.images.instances, len(rows)
    found = []
    for place, row in enumerate(rows[:SHOWN_FINDINGS].tolist()):
        what = f"{split.classes[instances.labels[row]]} at {box_text(instances.boxes_xyxy[row])}"
        text = f"{what} {wrong}"
        if place == 0 and total > SHOWN_FINDINGS:
            text = f"{counted(total, 'object')} like this, first {text}"
        found.append(of_object(split, row, code, text))
    return found


def _traced(masks: SplitMasks) -> tuple[_Rows, _Rows]:
    """Return the rows of objects whose masks have holes, and of those with tiny parts."""
    holes, tiny = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    left = MAX_TRACED
    for rows, group in masks.groups:
        boxes = group.boxes_xyxy()
        # A run is cut into a span for each column that it passes.
        spans = np.diff(group.offsets) + (boxes[:, 2] - boxes[:, 0]).astype(np.int64)
        few = np.flatnonzero(spans <= left)
        few = few[np.cumsum(spans[few]) <= left]
        left -= int(spans[few].sum())
        if not len(few):
            continue
        with_holes, with_tiny = _rings(group[few])
        holes.append(rows[few[with_holes]])
        tiny.append(rows[few[with_tiny]])
    return np.sort(np.concatenate(holes)), np.sort(np.concatenate(tiny))


def _rings(masks: Masks) -> tuple[_Rows, _Rows]:
    """Return the numbers of masks with holes, and of masks with a tiny part beside a larger one."""
    rings = masks.rings()
    areas = _areas(rings.points, rings.offsets[1:])
    outer = ~rings.hole
    largest = np.zeros(len(masks))
    np.maximum.at(largest, rings.mask[outer], areas[outer])
    tiny = outer & (areas < MIN_PART) & (largest[rings.mask] >= MIN_PART)
    return np.unique(rings.mask[rings.hole]), np.unique(rings.mask[tiny])


def _outlines(split: Split) -> tuple[_Rows, int, _Rows]:
    """Return the rows of objects with an outline within their largest one, and of those with tiny parts.

    The number between them is that of the objects with several outlines.
    """
    instances = split.images.instances
    rows = np.flatnonzero((instances.outline_counts > 1) & ~instances.crowd)
    outlines = instances.chosen(rows).outlines()
    sound = np.asarray([len(outline) > 2 for outline in outlines], np.bool_)
    owner = np.repeat(np.arange(len(rows)), instances.outline_counts[rows])[sound]
    outlines = [outline for outline, good in zip(outlines, sound, strict=True) if good]
    if not outlines:
        return np.zeros(0, np.int64), len(rows), np.zeros(0, np.int64)
    points, stops = np.concatenate(outlines), np.cumsum([len(outline) for outline in outlines])
    areas = _areas(points, stops)
    order = np.lexsort((areas, owner))
    largest = order[np.flatnonzero(np.diff(owner[order], append=-1))]  # of each object that has one
    whole = largest[np.searchsorted(owner[largest], owner)]  # for each outline
    tiny = (areas < MIN_PART) & (areas[whole] >= MIN_PART)
    starts = np.concatenate([[0], stops[:-1]])
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    may_lie = (low >= low[whole]).all(1) & (high <= high[whole]).all(1) & (whole != np.arange(len(whole)))
    nested, left = list[int](), MAX_COMPARED
    candidates = np.flatnonzero(may_lie)
    cheapest_first = np.argsort(np.diff(stops, prepend=0)[whole[candidates]], kind="stable")
    for place in candidates[cheapest_first].tolist():
        around = outlines[whole[place]]
        left -= _POINTS * len(around) + _PAIRS_OF_A_CALL
        if left < 0:
            break
        if _lies_within(outlines[place], around):
            nested.append(int(owner[place]))
    return rows[np.unique(np.asarray(nested, np.int64))], len(rows), rows[np.unique(owner[tiny])]


def _lies_within(outline: NDArray[np.float64], around: NDArray[np.float64]) -> bool:
    """Return whether the middles of some edges of an outline all lie within another one."""
    chosen = np.linspace(0, len(outline), min(len(outline), _POINTS), endpoint=False).astype(np.int64)
    middles = (outline[chosen] + outline[(chosen + 1) % len(outline)]) / 2
    return bool(polygons.contains(around, middles).all())


def _areas(points: NDArray[np.float64], stops: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the area (m,) of polygons that stand one after the other in `points`; none is empty."""
    if not len(stops):
        return np.zeros(0)
    starts = np.concatenate([[0], stops[:-1]])
    x, y = (points - np.repeat(points[starts], stops - starts, axis=0)).T
    cross = np.zeros(len(points))
    cross[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    cross[stops - 1] = 0.0  # the last edge leads to the first point, which is the origin
    areas: NDArray[np.float64] = np.abs(np.add.reduceat(cross, starts)) / 2
    return areas
