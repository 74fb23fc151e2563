"""Box arithmetic and non-maximum suppression on numpy arrays. Boxes are (n, 4) xyxy in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def box_area(boxes_xyxy: Floats) -> Floats:
    """Return the areas (n,) of boxes (n, 4); a box with swapped corners has none."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def xyxy_to_xywh(boxes_xyxy: Floats) -> Floats:
    """Return (n, 4) x, y, width, height for (n, 4) corners."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def xywh_to_xyxy(boxes_xywh: Floats) -> Floats:
    """Return (n, 4) corners for (n, 4) x, y, width, height."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def clip_boxes(boxes_xyxy: Floats, width: float, height: float) -> Floats:
    """Return the boxes with every corner moved into [0, width] x [0, height]."""
    return np.clip(boxes_xyxy, 0, np.asarray([width, height, width, height], boxes_xyxy.dtype))


def pairwise_iou(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Return the intersection over union (n, m) of boxes (n, 4) and (m, 4); 0 where the union is empty."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    overlap = sides[..., 0] * sides[..., 1]
    union = box_area(a_xyxy)[:, None] + box_area(b_xyxy)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def nms(
    boxes_xyxy: Floats,
    scores: Floats,
    labels: NDArray[np.integer] | None = None,
    iou_threshold: float = 0.65,
    max_kept: int | None = None,
) -> NDArray[np.int64]:
    """Return the indices of the boxes that greedy non-maximum suppression keeps, best score first.

    A box is dropped if its IoU with a better kept box of the same label exceeds `iou_threshold`. The cost is
    (kept boxes) x (boxes still alive), not the square of the candidates: each kept box is compared once with
    the survivors, which shrink as it suppresses them, and the search stops at `max_kept`.

    Args:
        boxes_xyxy: (n, 4) pixels.
        scores: (n,); equal scores keep their order.
        labels: (n,) or None for suppression across all labels.
        iou_threshold: in [0, 1].
        max_kept: stop after so many; None for all.
    """
    if labels is None:
        labels = np.zeros(len(boxes_xyxy), np.int64)
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes_xyxy[order].T)
    label = labels[order]
    area = np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None)
    alive = np.arange(len(order))
    kept: list[int] = []
    while len(alive) and (max_kept is None or len(kept) < max_kept):
        best, rest = alive[0], alive[1:]
        kept.append(int(best))
        wide = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        high = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.clip(wide, 0, None) * np.clip(high, 0, None)
        union = area[best] + area[rest] - overlap
        suppressed = (overlap > iou_threshold * union) & (label[rest] == label[best])
        alive = rest[~suppressed]
    return order[np.asarray(kept, np.int64)]
