"""DynamicSoftLabelAssigner: which points learn which box (arXiv:2212.07784, section 3.3).

A pair of point and box has a cost: soft classification, IoU and distance from the box's centre. Each box
takes its k cheapest points, where k is the sum of its best IoUs. A point that several boxes take goes to the
cheapest of them.
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
"""Dynamic k: the sum of a box's 13 best IoUs, at least 1 (published RTMDet configs)."""
IOU_WEIGHT = 3.0
"""Weight of the IoU cost; the classification cost has weight 1 (published, as are the next two)."""
CENTRE_RADIUS = 3.0
"""Strides from the box's centre at which the distance costs 1; each further stride costs tenfold."""
LOG_EPS = 1e-7
"""Added to the IoU, so that the logarithm of an IoU of 0 is finite."""
OUT_OF_REACH = 1e8
"""Cost of a pair that can never be matched."""
PAIRS_AT_ONCE = 1 << 24
"""Pairs of point and box in memory at a time; larger batches are processed in groups of images."""


@dataclass(frozen=True)
class Assignment:
    """What each point of each image learns.

    Args:
        gt_index: (N, P) int64; 0 is background, k the k-th box of that image.
        iou: (N, P) float32; IoU of the point's decoded box and its assigned box, 0 for background.
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
    """Return which box each point of a batch of images learns.

    Args:
        boxes_xyxy: (N, P, 4) decoded boxes in input pixels.
        logits: (N, P, K) class logits.
        points: (P, 3) x, y, stride.
        gt_boxes_xyxy: N tensors (n, 4); n may be 0.
        gt_labels: N tensors (n,).
        gt_centres: N tensors (n, 2) in place of the boxes' centres (RTMDet-Ins: the masks' centres of mass).

    Returns:
        `gt_index` (N, P), where 0 is background, and `iou` (N, P). No gradient flows through them.

    Example:
        >>> points = torch.tensor([[8.0, 8.0, 8.0], [40.0, 40.0, 8.0]])
        >>> box = torch.tensor([[2.0, 2.0, 14.0, 14.0]])
        >>> assignment = assign(box.expand(1, 2, 4), torch.zeros(1, 2, 1), points, [box], [torch.tensor([0])])
        >>> assignment.gt_index.tolist(), assignment.iou.tolist()
        ([[1, 0]], [[1.0, 0.0]])
    """
    count, num_points = boxes_xyxy.shape[:2]
    gt_index = torch.zeros(count, num_points, dtype=torch.long, device=boxes_xyxy.device)
    iou = torch.zeros(count, num_points, device=boxes_xyxy.device)
    if gt_centres is None:
        gt_centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in gt_boxes_xyxy]
    max_boxes = max((len(boxes) for boxes in gt_boxes_xyxy), default=0)
    if max_boxes == 0 or num_points == 0:
        return Assignment(gt_index, iou)
    group = max(1, PAIRS_AT_ONCE // (num_points * max_boxes))
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
    """Return what `Assignment` holds for images whose boxes are padded to one number G."""
    count, num_points = boxes.shape[:2]
    if gt_boxes.shape[1] == 0:  # no image of this group has a box
        return boxes.new_zeros(count, num_points, dtype=torch.long), boxes.new_zeros(count, num_points)

    # Pairs are laid out (N, G, P) with the points last: there are thousands of points and few boxes.
    x, y, stride = points.t().contiguous()
    left, top, right, bottom = (c[..., None] for c in gt_boxes.unbind(-1))  # (N, G, 1) each
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)  # (N, G, P)
    candidate = (inside & real[..., None]).any(1, keepdim=True)  # (N, 1, P): inside some box of its image
    impossible = ~(candidate & real[..., None])  # (N, G, P)
    iou = pairwise_iou(gt_boxes, boxes).masked_fill_(impossible, 0)  # (N, G, P)

    centre_x, centre_y = (c[..., None] for c in gt_centres.unbind(-1))
    distance = ((x - centre_x).square_() + (y - centre_y).square_()).sqrt_() / stride
    cost = (
        _classification_cost(logits, gt_labels, iou)
        - IOU_WEIGHT * torch.log(iou + LOG_EPS)
        + torch.pow(10, distance - CENTRE_RADIUS)
    ).masked_fill_(impossible, OUT_OF_REACH)  # (N, G, P)

    top_k = min(TOP_K, num_points)
    dynamic_k = iou.topk(top_k).values.sum(-1).int().clamp(min=1)  # (N, G)
    cheapest = cost.topk(top_k, largest=False)  # (N, G, top_k)
    rank = torch.arange(top_k, device=cost.device)
    chosen = (rank < dynamic_k[..., None]) & (cheapest.values < OUT_OF_REACH)
    matched = torch.zeros_like(impossible).scatter_(-1, cheapest.indices, chosen)  # (N, G, P)
    times = matched.sum(1)  # (N, P): boxes that take the point

    # Index of the cheapest box, the first of equal ones; of the only box where there is one. `argmin`, or
    # `amin` of int64, would take longer than all the rest.
    number = torch.arange(matched.shape[1], dtype=torch.int32, device=cost.device)[:, None]  # (G, 1)
    winner = torch.where(times[:, None] > 1, cost == cost.amin(1, keepdim=True), matched)
    index = torch.where(winner, number, len(number) - 1).amin(1).long()  # (N, P)
    matched_iou = iou.gather(1, index[:, None]).squeeze(1)
    return torch.where(times > 0, index + 1, 0), torch.where(times > 0, matched_iou, 0.0)


def _classification_cost(logits: Tensor, gt_labels: Tensor, iou: Tensor) -> Tensor:
    """Return (N, G, P): the quality focal loss over all classes if the point took the box.

    The target is the pair's IoU.

    Only the box's own class has a target other than 0, so the other classes' terms are summed once per point.

    Args:
        logits: (N, P, K).
        gt_labels: (N, G).
        iou: (N, G, P).
    """
    by_class = logits.transpose(1, 2).contiguous()  # (N, K, P)
    image = torch.arange(len(logits), device=logits.device)[:, None]

    def own(values: Tensor) -> Tensor:  # (N, K, P) -> (N, G, P); with one class (N, 1, P), which broadcasts
        return values if values.shape[1] == 1 else values[image, gt_labels]

    softplus, scores = functional.softplus(by_class), by_class.sigmoid()
    with_target = (own(softplus) - own(by_class) * iou) * (iou - own(scores)).square_()
    if logits.shape[-1] == 1:
        return with_target
    as_background = softplus * scores.square()
    return as_background.sum(1, keepdim=True) - own(as_background) + with_target
