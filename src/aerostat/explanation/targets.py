"""What an explanation asks about: which detections, and which number of the network's is to rise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aerostat.model import decode_boxes, detection_loss, level_points
from aerostat.model.overlap import pairwise_iou

AGREEMENT_POWER = 4
"""Of the IoU with the explained box, in the weight of a candidate; see `score_target`."""
MIN_SUPPORT = 1e-12
"""Keeps the logarithm finite."""
MAX_CERTAIN = 1e-3
"""Distance of a score from 1 below which a detection gets no more weight beside others."""


@dataclass(frozen=True)
class Subject:
    """Detections that are explained by one map, in the network's terms.

    Args:
        boxes_xyxy: (n, 4) in input pixels, clipped to the photograph.
        labels: (n,) int64.
        levels: (n,) int64, where each was born.
        scores: (n,) in (0, 1).
    """

    boxes_xyxy: Tensor
    labels: Tensor
    levels: Tensor
    scores: Tensor

    @property
    def weights(self) -> Tensor:
        """Weights (n,) of mean 1 that let each detection count alike; 1 for a single one.

        A score near 1 hardly moves. Divided by 1 - score a change of its logarithm is one of its log-odds,
        beside which the less certain detections do not drown the more certain ones.
        """
        weights = 1 / (1 - self.scores).clamp(min=MAX_CERTAIN)
        return weights / weights.mean()


def score_target(
    cls: list[Tensor], reg: list[Tensor], subject: Subject, content_size: tuple[int, int]
) -> Tensor:
    """Return (N,), how strongly the network finds the subject: the `score` target.

    A detection d of class c is not the work of its own point alone: its neighbours on the same level see the
    same object, and one of them would stand in if it fell. So what is to rise is the evidence of all
    candidates i of its level, the more so the better their boxes agree with its own,

        S(d) = log sum_i IoU(b_i, b_d)^4 * s_i(c),

    where the IoU is a weight that is not differentiated: that of the detection's own box with itself has no
    gradient (any movement lowers it, a kink at its maximum), and beside it only roundings decide on its sign.
    The logarithm gives each candidate its share in the sum as a weight and is what GradCAM++ assumes; no
    other map of a single detection is changed by it. Several detections are summed with `Subject.weights`.
    Candidates are clipped to the photograph, as detections are.

    Measured on the balloon run with a frozen backbone (HiResCAM of the last layer, the best two detections of
    each validation photograph, areas of deletion and insertion, and an IoU of at least 0.5 as weight): 0.054
    and 0.922; 0.076 and 0.833 with the detection's own point alone; 0.054 and 0.919 with the IoU of the
    others differentiated too; 0.057 and 0.863 with their boxes alone. Without that threshold insertion gains
    about 0.03 at the same deletion and heat in the box (LayerCAM, 18 detections of two runs: with the square
    at the last layer, with the fourth power at `neck.top_down_blocks[1]`; the square leaves a little less
    heat in the box). Candidates of other levels would blur what is said about a level's influence.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        subject: what is explained.
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
            agreement = pairwise_iou(_clipped(boxes_xyxy, content_size), box_xyxy[None])[..., 0]  # (N, P)
        total = total + weight * (agreement**AGREEMENT_POWER * scores).sum(1).clamp(min=MIN_SUPPORT).log()
    return total


def loss_target(cls: list[Tensor], reg: list[Tensor], subject: Subject) -> Tensor:
    """Return (N,), minus the box loss with the subject as ground truth: what published Box AM pictures show.

    All losses but that of the classes; the assigner looks for the points that learn the box, on any level.
    """
    boxes, labels = [subject.boxes_xyxy], [subject.labels]
    losses = [
        detection_loss([x[i : i + 1] for x in cls], [x[i : i + 1] for x in reg], boxes, labels)["loss_bbox"]
        for i in range(len(cls[0]))
    ]
    return -torch.stack(losses)


def share_lost(target: str, whole: Tensor, left: Tensor) -> Tensor:
    """Return (n, m): what share of a target is lost, negative if it rises.

    Args:
        target: ``score``, whose values are logarithms, or ``loss``.
        whole: (n, 1) values with everything there.
        left: (n, m) values without something.
    """
    if target == "score":
        return 1 - (left - whole).exp()
    return (whole - left) / whole.abs().clamp(min=MIN_SUPPORT)


def _clipped(boxes_xyxy: Tensor, size: Sequence[int]) -> Tensor:
    x, y = (boxes_xyxy[..., i::2].clamp(0, limit) for i, limit in enumerate(size))
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)
