"""Overlap of boxes as differentiable tensors, in the arithmetic of the published training."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6
"""Smallest union or enclosing area that is divided by (MMDetection 3, `bbox_overlaps`)."""


def _area(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Return the intersection over union (..., n, m) of boxes (..., n, 4) and (..., m, 4)."""
    top_left = torch.maximum(a_xyxy[..., :, None, :2], b_xyxy[..., None, :, :2])
    bottom_right = torch.minimum(a_xyxy[..., :, None, 2:], b_xyxy[..., None, :, 2:])
    sides = (bottom_right - top_left).clamp_(min=0)
    overlap = sides[..., 0] * sides[..., 1]
    union = _area(a_xyxy)[..., :, None] + _area(b_xyxy)[..., None, :] - overlap
    return overlap / union.clamp_(min=EPS)


def generalized_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Return the generalised IoU (n,) in [-1, 1] of aligned boxes (n, 4) (Rezatofighi, arXiv:1902.09630)."""
    sides = torch.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - torch.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    overlap = sides.clamp(min=0).prod(dim=1)
    union = (_area(a_xyxy) + _area(b_xyxy) - overlap).clamp(min=EPS)
    hull = torch.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - torch.minimum(a_xyxy[:, :2], b_xyxy[:, :2])
    enclosing = hull.clamp(min=0).prod(dim=1).clamp(min=EPS)
    return overlap / union - (enclosing - union) / enclosing
