"""IoU of boxes as differentiable tensors, in the arithmetic of the published training (MMDetection 3)."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6
"""Lower bound of a union or enclosing area before a division (MMDetection 3, `bbox_overlaps`)."""


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Return the intersection over union (..., n, m) of boxes (..., n, 4) and (..., m, 4).

    It is fast if m is the larger number, because it works along m, one coordinate at a time.
    """
    left, top, right, bottom = (c[..., :, None] for c in a_xyxy.unbind(-1))  # (..., n, 1) each
    left_b, top_b, right_b, bottom_b = (c.contiguous()[..., None, :] for c in b_xyxy.unbind(-1))
    overlap = (torch.minimum(right, right_b) - torch.maximum(left, left_b)).clamp_(min=0)
    overlap *= (torch.minimum(bottom, bottom_b) - torch.maximum(top, top_b)).clamp_(min=0)
    areas = (right - left) * (bottom - top) + (right_b - left_b) * (bottom_b - top_b)
    return overlap / areas.sub_(overlap).clamp_(min=EPS)


def generalized_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Return the generalised IoU (...) in [-1, 1] of aligned boxes (..., 4) (arXiv:1902.09630)."""
    left, top, right, bottom = a_xyxy.unbind(-1)
    left_b, top_b, right_b, bottom_b = b_xyxy.unbind(-1)
    width = (torch.minimum(right, right_b) - torch.maximum(left, left_b)).clamp(min=0)
    height = (torch.minimum(bottom, bottom_b) - torch.maximum(top, top_b)).clamp(min=0)
    overlap = width * height
    areas = (right - left) * (bottom - top) + (right_b - left_b) * (bottom_b - top_b)
    union = (areas - overlap).clamp(min=EPS)
    width = (torch.maximum(right, right_b) - torch.minimum(left, left_b)).clamp(min=0)
    height = (torch.maximum(bottom, bottom_b) - torch.minimum(top, top_b)).clamp(min=0)
    enclosing = (width * height).clamp(min=EPS)
    return overlap / union - (enclosing - union) / enclosing


def clip_boxes_to(boxes_xyxy: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes (..., 4) with every corner moved into an image of (width, height)."""
    x, y = (boxes_xyxy[..., i::2].clamp(0, limit) for i, limit in enumerate(size))
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)
