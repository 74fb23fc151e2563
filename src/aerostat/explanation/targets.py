"""Targets of an explanation: the numbers that the heat speaks for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aerostat.model import decode_boxes, detection_loss, level_points
from aerostat.model.overlap import clip_boxes_to, pairwise_iou

AGREEMENT_POWER = 4
"""Power of the IoU with the explained box in the weight of a candidate; see `score_target`."""
MIN_SUPPORT = 1e-12
"""Minimum argument of the logarithm, which keeps it finite."""
MAX_CERTAIN = 1e-3
"""Minimum of 1 - score in the weight of a detection among others."""


@dataclass(frozen=True)
class Subject:
    """Detections that one map explains, in pixels of the network's input.

    Args:
        boxes_xyxy: (n, 4) in input pixels, clipped to the photograph.
        labels: (n,) int64.
        levels: (n,) int64 pyramid levels.
        scores: (n,) in (0, 1).
    """

    boxes_xyxy: Tensor
    labels: Tensor
    levels: Tensor
    scores: Tensor

    @property
    def weights(self) -> Tensor:
        """Weights (n,) of mean 1 that make the detections count alike; 1 for a single one.

        The logarithm of a score near 1 hardly changes. Divided by 1 - score, its change is a change of
        log-odds, so sure and unsure detections compare.
        """
        weights = 1 / (1 - self.scores).clamp(min=MAX_CERTAIN)
        return weights / weights.mean()


def score_target(
    cls: list[Tensor], reg: list[Tensor], subject: Subject, content_size: tuple[int, int]
) -> Tensor:
    """Return (N,), the `score` target: how strongly the network finds the subject.

    Neighbours of a detection's point on the same level see the same object, and one of them would replace it.
    So the target of a detection d of class c is the evidence of all candidates i of its level, weighted by
    the IoU of their boxes with its own:

        S(d) = log sum_i IoU(b_i, b_d)^4 * s_i(c)

    The IoU is not differentiated: that of a box with itself has a kink at its maximum, and next to it
    rounding decides the sign. The logarithm weights each candidate by its share in the sum, as GradCAM++
    assumes; it changes no other map of a single detection. Several detections are summed with
    `Subject.weights`. Candidates are clipped to the photograph, as detections are.

    Figures of the balloon run with a frozen backbone, HiResCAM of the last layer, the best two detections of
    each validation photograph, deletion and insertion, with IoUs of at least 0.5 as weights: 0.054 and 0.922.
    With the detection's own point alone: 0.076 and 0.833. With differentiated IoUs: 0.054 and 0.919. With the
    boxes alone: 0.057 and 0.863. Without the threshold of 0.5 insertion gains about 0.03 (LayerCAM, 18
    detections of two runs). Candidates of other levels would blur the influence of a level.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        subject: explained detections.
        content_size: (width, height) of the photograph within the input.
    """
    points = level_points([(x.shape[2], x.shape[3]) for x in cls], cls[0].device)
    points_of = torch.split(points, [x.shape[2] * x.shape[3] for x in cls])
    total = cls[0].new_zeros(len(cls[0]))
    for box_xyxy, label, level, weight in zip(
        subject.boxes_xyxy, subject.labels.tolist(), subject.levels.tolist(), subject.weights, strict=True
    ):
        scores = cls[level][:, label].flatten(1).sigmoid()  # (N, P)
        with torch.no_grad():
            boxes_xyxy = decode_boxes(points_of[level], reg[level].flatten(2).transpose(1, 2))
            clipped_xyxy = clip_boxes_to(boxes_xyxy, content_size)
            agreement = pairwise_iou(clipped_xyxy, box_xyxy[None])[..., 0]  # (N, P)
        total = total + weight * (agreement**AGREEMENT_POWER * scores).sum(1).clamp(min=MIN_SUPPORT).log()
    return total


def loss_target(cls: list[Tensor], reg: list[Tensor], subject: Subject) -> Tensor:
    """Return (N,), the `loss` target: minus the box loss with the subject as ground truth.

    Published pictures of Box AM show it. The assigner chooses the points that learn the box, on any level.
    """
    boxes, labels = [subject.boxes_xyxy], [subject.labels]
    losses = [
        detection_loss([x[i : i + 1] for x in cls], [x[i : i + 1] for x in reg], boxes, labels)["loss_bbox"]
        for i in range(len(cls[0]))
    ]
    return -torch.stack(losses)


def share_lost(target: str, whole: Tensor, left: Tensor) -> Tensor:
    """Return (n, m), the share of a target that is lost; it is negative if the target rises.

    Args:
        target: ``score``, whose values are logarithms, or ``loss``.
        whole: (n, 1) values of the whole network.
        left: (n, m) values without a part.
    """
    if target == "score":
        return 1 - (left - whole).exp()
    return (whole - left) / whole.abs().clamp(min=MIN_SUPPORT)
