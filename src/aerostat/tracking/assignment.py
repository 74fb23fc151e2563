"""Best assignment of boxes to boxes by IoU, each box to at most one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.boxes import box_area

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_PAIRS_AT_ONCE = 1 << 20
"""Pairs of boxes that are compared at a time, so that memory does not grow with the square of the boxes."""


class Pairs(NamedTuple):
    """Pairs of rows and columns, each with its gain.

    Args:
        rows, columns: (k,) indices.
        gains: (k,) how much a pair is worth, above 0.
    """

    rows: Indices
    columns: Indices
    gains: Floats

    def take(self, index: NDArray[np.bool_] | Indices) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.rows[index], self.columns[index], self.gains[index])


def require_solver() -> None:
    """Refuse to go on without the package lap.

    Raises:
        InputError: it is not installed.
    """
    _solver()


def overlapping_pairs(
    a_xyxy: Floats,
    b_xyxy: Floats,
    min_iou: float,
    a_labels: NDArray[np.integer] | None = None,
    b_labels: NDArray[np.integer] | None = None,
) -> Pairs:
    """Return the pairs of boxes of one class whose IoU is at least `min_iou` and above 0, with their IoU.

    Args:
        a_xyxy, b_xyxy: boxes (n, 4) and (m, 4).
        min_iou: in [0, 1].
        a_labels, b_labels: (n,) and (m,); None pairs boxes of all classes.

    Example:
        >>> a = np.asarray([[0.0, 0, 10, 10], [50, 0, 60, 10]])
        >>> overlapping_pairs(a, a + 1, 0.5).rows.tolist()
        [0, 1]
    """
    order = np.argsort(b_xyxy[:, 0], kind="stable")
    b, widest = b_xyxy[order], float(np.max(b_xyxy[:, 2] - b_xyxy[:, 0], initial=0.0))
    # Only boxes of b whose left edge lies within reach can overlap a box of a.
    start = np.searchsorted(b[:, 0], a_xyxy[:, 0] - widest, side="left")
    stop = np.searchsorted(b[:, 0], a_xyxy[:, 2], side="right")
    counts = np.maximum(stop - start, 0)
    found = [_pairs_of(a_xyxy, b, first, start, counts, min_iou) for first in _blocks(counts)]
    if not found:
        empty = np.zeros(0, np.int64)
        return Pairs(empty, empty, np.zeros(0))
    rows, columns, iou = (np.concatenate(part) for part in zip(*found, strict=True))
    pairs = Pairs(rows, order[columns], iou)
    if a_labels is not None and b_labels is not None:
        pairs = pairs.take(a_labels[pairs.rows] == b_labels[pairs.columns])
    return pairs.take(np.lexsort((pairs.columns, pairs.rows)))


def _blocks(counts: Indices) -> list[slice]:
    """Return runs of rows that have about `_PAIRS_AT_ONCE` pairs each."""
    ends = np.cumsum(counts)
    blocks, first = [], 0
    while first < len(counts):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")), first + 1)
        blocks.append(slice(first, last))
        first = last
    return blocks


def _pairs_of(
    a_xyxy: Floats, b_xyxy: Floats, rows: slice, start: Indices, counts: Indices, min_iou: float
) -> tuple[Indices, Indices, Floats]:
    """Return the pairs of a run of rows with neighbours in `b_xyxy`, which is sorted, and their IoU."""
    many = counts[rows]
    row = np.repeat(np.arange(rows.start, rows.stop), many)
    before = np.repeat(np.cumsum(many) - many, many)
    column = np.arange(len(row)) - before + np.repeat(start[rows], many)
    a, b = a_xyxy[row], b_xyxy[column]
    sides = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    overlap = sides[:, 0] * sides[:, 1]
    union = box_area(a) + box_area(b) - overlap
    iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    near = (iou >= min_iou) & (iou > 0)
    return row[near], column[near], iou[near]


def best_assignment(pairs: Pairs) -> tuple[Indices, Indices]:
    """Return rows and columns (k,) of the assignment with the greatest sum of gains.

    Every row and column has at most one partner. Pairs that share no row or column, even through others, are
    solved apart, so that the work follows the crowding and not the number of boxes.

    Raises:
        InputError: the package lap is not installed.

    Example:
        >>> pairs = Pairs(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.9, 0.6, 0.8]))
        >>> [each.tolist() for each in best_assignment(pairs)]
        [[0, 1], [1, 0]]
    """
    solve = _solver()
    rows: list[int] = []
    columns: list[int] = []
    for group in _groups(pairs):
        if len(group.rows) == 1:
            rows.append(int(group.rows[0]))
            columns.append(int(group.columns[0]))
            continue
        own_rows, row = np.unique(group.rows, return_inverse=True)
        own_columns, column = np.unique(group.columns, return_inverse=True)
        cost = np.zeros((len(own_rows), len(own_columns)))
        cost[row, column] = -group.gains
        _, partner, _ = solve(cost, extend_cost=True)
        for i, j in enumerate(partner.tolist()):
            if j >= 0 and cost[i, j] < 0:
                rows.append(int(own_rows[i]))
                columns.append(int(own_columns[j]))
    order = np.argsort(np.asarray(rows, np.int64), kind="stable")
    return np.asarray(rows, np.int64)[order], np.asarray(columns, np.int64)[order]


def _groups(pairs: Pairs) -> list[Pairs]:
    """Return the pairs in groups that share no row and no column."""
    if not len(pairs.rows):
        return []
    parent = list(range(int(pairs.rows.max()) + int(pairs.columns.max()) + 2))
    offset = int(pairs.rows.max()) + 1

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row, column in zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True):
        one, other = root(row), root(column + offset)
        parent[max(one, other)] = min(one, other)
    roots = np.asarray([root(row) for row in pairs.rows.tolist()])
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    return [pairs.take(part) for part in np.split(order, cuts)]


def _solver() -> Callable[..., tuple[float, NDArray[Any], NDArray[Any]]]:
    try:
        from lap import lapjv
    except ImportError:
        raise InputError(
            "Tracking needs the package lap, which is not installed: pip install 'aerostat[tracking]'."
        ) from None
    solver: Callable[..., tuple[float, NDArray[Any], NDArray[Any]]] = lapjv
    return solver
