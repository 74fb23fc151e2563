"""Boxes from the head's outputs: threshold, decode, clip, suppress (published test settings as defaults)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aerostat.geometry.postprocess import (
    MAX_DETECTIONS,
    NMS_IOU,
    PRE_NMS,
    SCORE_THRESHOLD,
    Candidates,
    keep,
)
from aerostat.model.rtmdet import decode_boxes, level_points


@torch.no_grad()
def decode(
    cls: list[Tensor],
    reg: list[Tensor],
    content_sizes: Sequence[tuple[int, int]],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    nms_iou: float = NMS_IOU,
    pre_nms: int = PRE_NMS,
    max_detections: int = MAX_DETECTIONS,
) -> list[Candidates]:
    """Return the detections of each image of a batch, in input pixels, each with its level and point.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        content_sizes: (width, height) of each resized image within the padded input; boxes are clipped to it.
        score_threshold: candidates need a higher score; a point may yield several classes.
        nms_iou: suppression threshold, per class.
        pre_nms: best candidates kept per level before suppression.
        max_detections: kept per image.

    Example:
        >>> from aerostat.model import build, normalise
        >>> cls, reg = build("nano", num_classes=1).eval()(normalise(torch.zeros(1, 3, 64, 64)))
        >>> (detections,) = decode(cls, reg, [(64, 64)], max_detections=5)
        >>> detections.boxes_xyxy.shape[1], len(detections.scores) <= 5
        (4, True)
    """
    detections = []
    for image, size in enumerate(content_sizes):
        candidates = candidate_boxes(
            [x[image] for x in cls], [x[image] for x in reg], score_threshold=score_threshold, pre_nms=pre_nms
        )
        detections.append(keep(candidates, size, nms_iou=nms_iou, max_detections=max_detections))
    return detections


def candidate_boxes(
    cls: list[Tensor], reg: list[Tensor], *, score_threshold: float = SCORE_THRESHOLD, pre_nms: int = PRE_NMS
) -> Candidates:
    """Return every (point, class) of one image above the threshold, before clipping and suppression.

    Args:
        cls: per level (K, h, w).
        reg: per level (4, h, w).
        score_threshold: candidates need a higher score; a point may yield several classes.
        pre_nms: best candidates kept per level.
    """
    points = level_points([(x.shape[1], x.shape[2]) for x in cls], cls[0].device)
    levels = []
    for level, (logits, distances) in enumerate(zip(cls, reg, strict=True)):
        scores = logits.float().flatten(1).T.sigmoid()  # (P, K)
        row, label = (scores > score_threshold).nonzero(as_tuple=True)
        score, order = scores[row, label].sort(descending=True, stable=True)
        order = order[:pre_nms]
        row, label = row[order], label[order]
        boxes_xyxy = decode_boxes(points[row], distances.float().flatten(1).T[row])  # (n, 4)
        levels.append((boxes_xyxy, score[:pre_nms], label, torch.full_like(row, level), row))
        points = points[logits[0].numel() :]  # those of the next levels
    joined = [torch.cat(column).cpu().numpy() for column in zip(*levels, strict=True)]
    return Candidates(joined[0], joined[1], joined[2], levels=joined[3], points=joined[4])
