"""Class-wise greedy non-maximum suppression in numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import Floats


def nms(
    boxes_xyxy: Floats,
    scores: Floats,
    labels: NDArray[np.integer] | None = None,
    iou_threshold: float = 0.65,
    max_kept: int | None = None,
) -> NDArray[np.int64]:
    """Return the indices of the boxes that greedy non-maximum suppression keeps, best score first.

    A box is dropped if its IoU with a better kept box of the same label exceeds `iou_threshold`. A kept box
    is compared only with boxes whose left (or top) edge is so near that the IoU can exceed the threshold. The
    cost therefore grows with the crowding of the image, not with the square of the candidates.

    Args:
        boxes_xyxy: (n, 4) pixels.
        scores: (n,); equal scores keep their order.
        labels: (n,) or None for suppression across all labels.
        iou_threshold: in [0, 1].
        max_kept: number of boxes to keep at most; None for all.

    Example:
        >>> boxes = np.asarray([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
        >>> nms(boxes, np.asarray([0.6, 0.9, 0.5], np.float32)).tolist()
        [1, 2]
    """
    if labels is None:
        labels = np.zeros(len(boxes_xyxy), np.int64)
    runs = min((_runs(boxes_xyxy, labels, iou_threshold, axis) for axis in (0, 1)), key=_Runs.pairs)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes_xyxy[runs.order].T)
    area = np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None)
    alive = np.ones(len(runs.order), bool)
    place = np.empty_like(runs.order)
    place[runs.order] = np.arange(len(place))
    by_score = place[np.argsort(-scores, kind="stable")]
    kept: list[int] = []
    for i, start, stop in zip(by_score.tolist(), runs.start[by_score], runs.stop[by_score], strict=True):
        if not alive[i]:
            continue
        if max_kept is not None and len(kept) >= max_kept:
            break
        kept.append(i)
        if stop - start > 1:  # the run has more boxes than this one
            near = slice(start, stop)
            wide = np.minimum(x2[i], x2[near]) - np.maximum(x1[i], x1[near])
            high = np.minimum(y2[i], y2[near]) - np.maximum(y1[i], y1[near])
            overlap = np.maximum(wide, 0) * np.maximum(high, 0)
            alive[near] &= ~(overlap > iou_threshold * (area[i] + area[near] - overlap))
    return runs.order[np.asarray(kept, np.intp)].astype(np.int64)


class _Runs(NamedTuple):
    """An order of boxes in which all that can overlap a box beyond a threshold form one run around it.

    `order` (n,) sorts by label, then by one edge. The box at place i of that order can overlap those at the
    places from `start[i]` up to, not including, `stop[i]`.
    """

    order: NDArray[np.intp]
    start: NDArray[np.intp]
    stop: NDArray[np.intp]

    def pairs(self) -> int:
        """Return the number of comparisons, at most."""
        return int((self.stop - self.start).sum())


def _runs(boxes_xyxy: Floats, labels: NDArray[np.integer], iou_threshold: float, axis: int) -> _Runs:
    """Return the order and runs of boxes along an axis (0: x, 1: y).

    The IoU of two boxes is at most the IoU of their projections on either axis. A projection of width w has
    an IoU above t only with projections that begin less than w (1 / t - 1) before it or w (1 - t) after it.
    """
    order = np.lexsort((boxes_xyxy[:, axis], labels))
    edge = boxes_xyxy[order, axis].astype(np.float64)
    width = np.maximum(boxes_xyxy[order, axis + 2] - edge, 0)
    slack = 1e-5 * (width + 1)  # rounding must not lose a pair at the threshold
    low = edge - width * (1 / max(iou_threshold, 1e-12) - 1) - slack
    high = edge + width * (1 - iou_threshold) + slack
    start, stop = np.empty_like(order), np.empty_like(order)
    changes = np.flatnonzero(np.diff(labels[order])) + 1
    for first, end in pairwise([0, *changes.tolist(), len(order)]):
        start[first:end] = first + np.searchsorted(edge[first:end], low[first:end], "left")
        stop[first:end] = first + np.searchsorted(edge[first:end], high[first:end], "right")
    return _Runs(order, start, stop)
