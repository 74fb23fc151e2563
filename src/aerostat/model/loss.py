"""RTMDet's losses: quality focal loss on classes, GIoU loss on boxes (arXiv:2212.07784, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from aerostat.model.assigner import Assignment, assign
from aerostat.model.overlap import generalized_iou
from aerostat.model.rtmdet import decode_boxes, flatten_levels, level_points

GIOU_WEIGHT = 2.0
"""Of the box loss beside the class loss of weight 1 (published RTMDet configs)."""


def detection_loss(
    cls: list[Tensor],
    reg: list[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    average: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the two losses of a batch, as float32 scalars whatever the autocast.

    Both are normalised by the sum of the matched IoUs over the batch, at least 1. Without any box the class
    loss teaches background everywhere and the box loss is 0.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        boxes: N tensors (n, 4) xyxy in input pixels; n may be 0.
        labels: N tensors (n,) of integers below K.
        average: averages the normaliser over the processes of a distributed run.

    Returns:
        ``{"loss_cls": scalar, "loss_bbox": scalar}``, both already weighted.

    Raises:
        ValueError: if the number of box or label tensors is not that of the images, or an image has more or
            fewer labels than boxes.
    """
    boxes = [b.float().reshape(-1, 4) for b in boxes]  # `torch.tensor([])` is no box, too
    labels = [numbers.long().reshape(-1) for numbers in labels]
    _check_counts(len(cls[0]), boxes, labels)
    with torch.autocast(cls[0].device.type, enabled=False):
        logits, distances = flatten_levels(cls), flatten_levels(reg)  # (N, P, K), (N, P, 4)
        points = level_points([(x.shape[2], x.shape[3]) for x in cls], logits.device)
        predicted = decode_boxes(points, distances)
        match = assign(predicted.detach(), logits.detach(), points, boxes, labels)
        normaliser = match.iou.sum()
        if average is not None:
            normaliser = average(normaliser)
        normaliser = normaliser.clamp(min=1)
        positive = match.gt_index > 0
        gt_boxes, gt_labels = _matched(match, boxes, labels)
        loss_cls = quality_focal_loss(logits, positive, gt_labels, match.iou) / normaliser
        # The weight of all other points is 0; a box in the place of theirs keeps what it multiplies finite.
        learning = torch.where(positive[..., None], predicted, gt_boxes)
        loss_bbox = GIOU_WEIGHT * ((1 - generalized_iou(learning, gt_boxes)) * match.iou).sum() / normaliser
    return {"loss_cls": loss_cls, "loss_bbox": loss_bbox}


def _check_counts(images: int, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
    if not len(boxes) == len(labels) == images:
        counts = f"{len(boxes)} box and {len(labels)} label tensors"
        raise ValueError(f"expected one tensor of boxes and of labels per image ({images}), got {counts}")
    for image, (b, numbers) in enumerate(zip(boxes, labels, strict=True)):
        if len(b) != len(numbers):
            raise ValueError(
                f"expected a label for each box, got {len(numbers)} for {len(b)} boxes of image {image}"
            )


def quality_focal_loss(logits: Tensor, positive: Tensor, labels: Tensor, quality: Tensor) -> Tensor:
    """Return the summed quality focal loss, beta 2 (Li et al., arXiv:2006.04388, equation 4).

    Every point is worked on, whether it is positive or not: to pick the positive ones, a GPU would have to
    tell the host how many there are.

    Args:
        logits: (..., K).
        positive: (...) bool, the points with a target other than 0.
        labels: (...) int64, the class that has it; any class where there is none.
        quality: (...) the target in [0, 1].
    """
    background = functional.softplus(logits) * logits.sigmoid().pow(2)
    own = logits.gather(-1, labels[..., None]).squeeze(-1)
    error = functional.binary_cross_entropy_with_logits(own, quality, reduction="none")
    target = error * (quality - own.sigmoid()).pow(2)
    # Put in place rather than added to the sum: the difference of two sums would lose digits.
    chosen = torch.where(positive, target, background.gather(-1, labels[..., None]).squeeze(-1))
    return background.scatter(-1, labels[..., None], chosen[..., None]).sum()


def _matched(match: Assignment, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return each point's box (N, P, 4) and label (N, P); a unit box and class 0 where it has none."""
    nothing = functional.pad(match.iou.new_zeros(1, 2), (0, 2), value=1.0)
    counts = [0, *(len(b) for b in boxes[:-1])]
    first = torch.tensor(counts).cumsum(0).to(match.gt_index.device, non_blocking=True)
    # Row 0 of all images' boxes laid end to end is nothing, that of an image's first box 1 + those before.
    row = torch.where(match.gt_index > 0, match.gt_index + first[:, None], 0)
    every_label = torch.cat([*labels, match.gt_index.new_zeros(1)]).roll(1)
    return torch.cat([nothing, *boxes])[row], every_label[row]
