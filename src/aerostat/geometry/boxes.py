"""Box arithmetic on numpy arrays. Boxes are (n, 4) xyxy in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def box_area(boxes_xyxy: Floats) -> Floats:
    """Return the areas (n,) of boxes (n, 4); the area is 0 if corners are swapped."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def xyxy_to_xywh(boxes_xyxy: Floats) -> Floats:
    """Return (n, 4) x, y, width, height for (n, 4) corners."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def xywh_to_xyxy(boxes_xywh: Floats) -> Floats:
    """Return (n, 4) corners for (n, 4) x, y, width, height.

    Example:
        >>> xywh_to_xyxy(np.asarray([[10.0, 20.0, 5.0, 5.0]])).tolist()
        [[10.0, 20.0, 15.0, 25.0]]
    """
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def clip_boxes(boxes_xyxy: Floats, width: float, height: float) -> Floats:
    """Return the boxes with every corner moved into [0, width] x [0, height]."""
    return np.clip(boxes_xyxy, 0, np.asarray([width, height, width, height], boxes_xyxy.dtype))


def mirror_boxes(boxes_xyxy: Floats, width: float) -> Floats:
    """Return boxes (n, 4) of an image of `width` pixels, mirrored left to right; the dtype stays."""
    x1, y1, x2, y2 = boxes_xyxy.T
    right = boxes_xyxy.dtype.type(width)
    return np.stack([right - x2, y1, right - x1, y2], axis=1)


def pairwise_iou(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Return the intersection over union (n, m) of boxes (n, 4) and (m, 4); 0 where the union is empty.

    Example:
        >>> pairwise_iou(np.asarray([[0.0, 0, 2, 2]]), np.asarray([[1.0, 0, 3, 2]])).round(3).tolist()
        [[0.333]]
    """
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    overlap = sides[..., 0] * sides[..., 1]
    union = box_area(a_xyxy)[:, None] + box_area(b_xyxy)[None, :] - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou
