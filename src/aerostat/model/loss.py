"""RTMDet's losses: quality focal loss on classes, GIoU loss on boxes (arXiv:2212.07784, section 3.3).

A further loss is a function of `Matched`. Its key in `detection_loss` begins with ``loss_``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from aerostat.geometry.mask_targets import MaskTargets
from aerostat.model.assigner import Assignment, assign
from aerostat.model.instance_head import InstanceOutputs
from aerostat.model.mask_loss import mask_loss
from aerostat.model.overlap import generalized_iou
from aerostat.model.rtmdet import decode_boxes, flatten_levels, level_points

GIOU_WEIGHT = 2.0
"""Weight of the box loss; the class loss has weight 1 (published RTMDet configs)."""


@dataclass(frozen=True, eq=False)
class Matched:
    """The points of a batch with what the network says of them and what each should learn.

    P are the points of all levels; a point without a box has a unit box, class 0 and IoU 0 as its target.

    Args:
        logits: (N, P, K) float32.
        boxes_xyxy: (N, P, 4) float32, decoded, in input pixels.
        points: (P, 3) x, y, stride.
        gt_index: (N, P) int64; 0 is background, k the k-th box of that image.
        positive: (N, P) bool, the points that have a box.
        gt_boxes_xyxy: (N, P, 4) float32.
        gt_labels: (N, P) int64.
        iou: (N, P) float32 between the decoded and the assigned box.
        normaliser: scalar that every loss is divided by.
    """

    logits: Tensor
    boxes_xyxy: Tensor
    points: Tensor
    gt_index: Tensor
    positive: Tensor
    gt_boxes_xyxy: Tensor
    gt_labels: Tensor
    iou: Tensor
    normaliser: Tensor


def detection_loss(
    cls: list[Tensor],
    reg: list[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    total: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch by name, float32 scalars under any autocast.

    The training loss is their sum. Each loss is one function of `Matched` and has one name here.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        boxes: N tensors (n, 4) xyxy in input pixels; n may be 0.
        labels: N tensors (n,) of integers below K.
        total: adds the normaliser up over the processes of a run that has several.

    Returns:
        ``{"loss_cls": scalar, "loss_bbox": scalar}``. Without boxes, all points are background and
        `loss_bbox` is 0.

    Raises:
        ValueError: the number of box or label tensors is not that of the images, or an image has more or
            fewer labels than boxes.

    Example:
        >>> from aerostat.model import build, normalise
        >>> net = build("nano", num_classes=2)
        >>> cls, reg = net(normalise(torch.zeros(1, 3, 64, 64)))
        >>> losses = detection_loss(cls, reg, [torch.tensor([[8.0, 8, 40, 40]])], [torch.tensor([1])])
        >>> sorted(losses)
        ['loss_bbox', 'loss_cls']
    """
    boxes = [b.float().reshape(-1, 4) for b in boxes]  # `torch.tensor([])` is no box, too
    labels = [numbers.long().reshape(-1) for numbers in labels]
    _check_counts(len(cls[0]), boxes, labels)
    with torch.autocast(cls[0].device.type, enabled=False):
        matched = _match(cls, reg, boxes, labels, None, total)
        return {"loss_cls": class_loss(matched), "loss_bbox": box_loss(matched)}


def instance_loss(
    outputs: InstanceOutputs,
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    masks: Sequence[MaskTargets],
    *,
    total: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch of an instance network by name, float32 scalars.

    Args:
        outputs: of the network.
        boxes: N tensors (n, 4) xyxy in input pixels; n may be 0.
        labels: N tensors (n,) of integers below K.
        masks: N times the masks of the same objects. Their centres of mass take the place of the boxes'
            centres in the assignment.
        total: adds a normaliser up over the processes of a run that has several.

    Returns:
        ``{"loss_cls": scalar, "loss_bbox": scalar, "loss_mask": scalar}``.

    Raises:
        ValueError: the numbers of images or objects differ.
    """
    boxes = [b.float().reshape(-1, 4) for b in boxes]
    labels = [numbers.long().reshape(-1) for numbers in labels]
    cls, reg, kernels, mask_features = outputs
    _check_counts(len(cls[0]), boxes, labels)
    if [len(target) for target in masks] != [len(b) for b in boxes]:
        raise ValueError(
            f"expected masks of the same objects as the boxes, got {[len(target) for target in masks]} for "
            f"{[len(b) for b in boxes]}"
        )
    with torch.autocast(cls[0].device.type, enabled=False):
        centres = [torch.from_numpy(target.centres).to(cls[0].device) for target in masks]
        matched = _match(cls, reg, boxes, labels, centres, total)
        return {
            "loss_cls": class_loss(matched),
            "loss_bbox": box_loss(matched),
            "loss_mask": mask_loss(
                kernels, mask_features.float(), matched.gt_index, matched.points, masks, total=total
            ),
        }


def class_loss(matched: Matched) -> Tensor:
    """Return the quality focal loss, whose target is the IoU of a point's box with its assigned box."""
    m = matched
    return quality_focal_loss(m.logits, m.positive, m.gt_labels, m.iou) / m.normaliser


def box_loss(matched: Matched) -> Tensor:
    """Return the GIoU loss (arXiv:1902.09630), each positive point weighted by its IoU."""
    m = matched
    # The weight of all other points is 0; a target in place of their boxes keeps the product finite.
    boxes_xyxy = torch.where(m.positive[..., None], m.boxes_xyxy, m.gt_boxes_xyxy)  # (N, P, 4)
    return GIOU_WEIGHT * ((1 - generalized_iou(boxes_xyxy, m.gt_boxes_xyxy)) * m.iou).sum() / m.normaliser


def _match(
    cls: list[Tensor],
    reg: list[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    centres: Sequence[Tensor] | None,
    total: Callable[[Tensor], Tensor] | None,
) -> Matched:
    """Decode the points of all levels and assign them; the normaliser is the sum of IoUs, at least 1."""
    logits, distances = flatten_levels(cls), flatten_levels(reg)  # (N, P, K), (N, P, 4)
    points = level_points([(x.shape[2], x.shape[3]) for x in cls], logits.device)  # (P, 3)
    predicted = decode_boxes(points, distances)  # (N, P, 4)
    assignment = assign(predicted.detach(), logits.detach(), points, boxes, labels, centres)
    normaliser = assignment.iou.sum()
    if total is not None:
        normaliser = total(normaliser)
    return Matched(
        logits,
        predicted,
        points,
        assignment.gt_index,
        assignment.gt_index > 0,
        *_targets(assignment, boxes, labels),
        assignment.iou,
        normaliser.clamp(min=1),
    )


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
    """Return the quality focal loss, beta 2, summed over points and classes (arXiv:2006.04388, equation 4).

    Every point is computed, positive or not. To pick the positive ones, a GPU would have to tell the host how
    many there are, and the host would wait.

    Args:
        logits: (..., K).
        positive: (...) bool, the points with a target other than 0.
        labels: (...) int64, the class of that target; any class elsewhere.
        quality: (...) the target in [0, 1].
    """
    background = functional.softplus(logits) * logits.sigmoid().pow(2)
    own = logits.gather(-1, labels[..., None]).squeeze(-1)
    error = functional.binary_cross_entropy_with_logits(own, quality, reduction="none")
    target = error * (quality - own.sigmoid()).pow(2)
    # The target's term replaces the background's term: the difference of two sums would lose digits.
    chosen = torch.where(positive, target, background.gather(-1, labels[..., None]).squeeze(-1))
    return background.scatter(-1, labels[..., None], chosen[..., None]).sum()


def _targets(
    assignment: Assignment, boxes: Sequence[Tensor], labels: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return each point's box (N, P, 4) and label (N, P); a unit box and class 0 where it has none."""
    unit_box = functional.pad(assignment.iou.new_zeros(1, 2), (0, 2), value=1.0)  # (1, 4)
    counts = [0, *(len(b) for b in boxes[:-1])]
    first = torch.tensor(counts).cumsum(0).to(assignment.gt_index.device, non_blocking=True)
    # In the boxes of all images end to end, row 0 is the unit box, and an image's first box is row 1 + the
    # number of boxes of the images before it.
    row = torch.where(assignment.gt_index > 0, assignment.gt_index + first[:, None], 0)  # (N, P)
    all_labels = torch.cat([*labels, assignment.gt_index.new_zeros(1)]).roll(1)
    return torch.cat([unit_box, *boxes])[row], all_labels[row]
