"""DynamicSoftLabelAssigner: which points learn which box (arXiv:2212.07784, section 3.3).

A pair of point and box costs what the network would lose by it: soft classification, overlap and distance.
Each box takes its `k` cheapest points, `k` being the sum of its best overlaps; a point claimed twice goes to
the cheaper box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from aerostat.model.overlap import pairwise_iou

TOP_K = 13
"""A box takes as many points as the sum of its so many best overlaps says (published RTMDet configs)."""
IOU_WEIGHT = 3.0
"""Of the overlap's cost beside the classification's (published, as are the next two)."""
CENTRE_RADIUS = 3.0
"""Strides from the box's centre at which the distance costs 1; each further one costs ten times as much."""
LOG_EPS = 1e-7
"""Keeps the logarithm of an overlap of 0 finite."""
OUT_OF_REACH = 1e8
"""Cost of a pair that can never be matched."""
PAIRS_AT_ONCE = 1 << 24
"""Pairs of point and box that are held in memory at a time; larger batches are worked off in groups."""


@dataclass(frozen=True)
class Assignment:
    """What each point of each image learns.

    Args:
        gt_index: (N, P) int64; 0 is background, k the k-th box of that image.
        iou: (N, P) float32; the overlap of the point's decoded box with its assigned box, 0 for background.
    """

    gt_index: Tensor
    iou: Tensor


@torch.no_grad()
def assign(
    boxes_xyxy: Tensor,
    logits: Tensor,
    points: Tensor,
    gt_boxes_xyxy: Sequence[Tensor],
    gt_labels: Sequence[Tensor],
    gt_centres: Sequence[Tensor] | None = None,
) -> Assignment:
    """Match the points of a batch of images with their boxes.

    Args:
        boxes_xyxy: (N, P, 4) decoded boxes in input pixels.
        logits: (N, P, K) class logits.
        points: (P, 3) x, y, stride.
        gt_boxes_xyxy: N tensors (n, 4); n may be 0.
        gt_labels: N tensors (n,).
        gt_centres: N tensors (n, 2) in place of the boxes' centres (RTMDet-Ins: the masks' centres of mass).
    """
    count, num_points = boxes_xyxy.shape[:2]
    gt_index = torch.zeros(count, num_points, dtype=torch.long, device=boxes_xyxy.device)
    iou = torch.zeros(count, num_points, device=boxes_xyxy.device)
    if gt_centres is None:
        gt_centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in gt_boxes_xyxy]
    most = max((len(boxes) for boxes in gt_boxes_xyxy), default=0)
    if most == 0 or num_points == 0:
        return Assignment(gt_index, iou)
    group = max(1, PAIRS_AT_ONCE // (num_points * most))
    for start in range(0, count, group):
        images = slice(start, start + group)
        gt_index[images], iou[images] = _assign_padded(
            boxes_xyxy[images].float(),
            logits[images].float(),
            points,
            pad_sequence([b.float() for b in gt_boxes_xyxy[images]], batch_first=True),
            pad_sequence(list(gt_labels[images]), batch_first=True),
            pad_sequence([c.float() for c in gt_centres[images]], batch_first=True),
            pad_sequence([torch.ones_like(x, dtype=torch.bool) for x in gt_labels[images]], batch_first=True),
        )
    return Assignment(gt_index, iou)


def _assign_padded(
    boxes: Tensor,  # (N, P, 4)
    logits: Tensor,  # (N, P, K)
    points: Tensor,  # (P, 3)
    gt_boxes: Tensor,  # (N, G, 4)
    gt_labels: Tensor,  # (N, G)
    gt_centres: Tensor,  # (N, G, 2)
    real: Tensor,  # (N, G), False where padded
) -> tuple[Tensor, Tensor]:
    count, num_points = boxes.shape[:2]
    if gt_boxes.shape[1] == 0:  # this group has no boxes though another one has
        return boxes.new_zeros(count, num_points, dtype=torch.long), boxes.new_zeros(count, num_points)
    xy = points[:, None, :2]  # (P, 1, 2)
    inside = torch.cat([xy - gt_boxes[:, None, :, :2], gt_boxes[:, None, :, 2:] - xy], dim=-1).amin(-1) > 0
    candidate = (inside & real[:, None]).any(-1, keepdim=True)  # (N, P, 1): inside some box of its image
    possible = candidate & real[:, None]  # (N, P, G)
    iou = pairwise_iou(boxes, gt_boxes).masked_fill_(~possible, 0)
    distance = (xy - gt_centres[:, None]).pow(2).sum(-1).sqrt() / points[:, None, 2]
    cost = (
        _classification_cost(logits, gt_labels, iou)
        - IOU_WEIGHT * torch.log(iou + LOG_EPS)
        + torch.pow(10, distance - CENTRE_RADIUS)
    ).masked_fill_(~possible, OUT_OF_REACH)

    most = min(TOP_K, num_points)
    wanted = iou.topk(most, dim=1).values.sum(1).int().clamp(min=1)  # (N, G): the dynamic k
    cheapest = cost.topk(most, dim=1, largest=False)
    rank = torch.arange(most, device=cost.device)[:, None]
    chosen = (rank < wanted[:, None]) & (cheapest.values < OUT_OF_REACH)
    matched = torch.zeros_like(possible).scatter_(1, cheapest.indices, chosen)

    contested = matched.sum(-1) > 1  # (N, P)
    winner = cost.argmin(-1)
    matched = torch.where(contested[..., None], functional.one_hot(winner, matched.shape[-1]).bool(), matched)
    positive = matched.any(-1)
    index = matched.int().argmax(-1)
    matched_iou = iou.gather(-1, index[..., None]).squeeze(-1)
    return torch.where(positive, index + 1, 0), torch.where(positive, matched_iou, 0.0)


def _classification_cost(logits: Tensor, gt_labels: Tensor, iou: Tensor) -> Tensor:
    """Return (N, P, G): quality focal loss over all classes if the point took the box, its IoU the target.

    Only the box's own class has a target other than 0, so the other classes' terms are summed once per point.
    """
    as_background = functional.softplus(logits) * logits.sigmoid().pow(2)  # (N, P, K)
    classes = gt_labels[:, None].expand(-1, logits.shape[1], -1)  # (N, P, G)
    own = logits.gather(-1, classes)
    with_target = (functional.softplus(own) - own * iou) * (iou - own.sigmoid()).pow(2)
    if logits.shape[-1] == 1:
        return with_target
    return as_background.sum(-1, keepdim=True) - as_background.gather(-1, classes) + with_target
