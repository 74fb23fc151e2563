"""From raw head outputs to boxes: threshold, decode, clip, suppress (published test settings as defaults)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.boxes import clip_boxes, nms
from aerostat.model.rtmdet import decode_boxes, level_points

SCORE_THRESHOLD = 0.001
"""For AP; a picture wants about 0.3."""
NMS_IOU = 0.65
"""Overlap with a better box of the same class above which a box goes (published, as are the next two)."""
PRE_NMS = 30000
"""Candidates of one level that suppression sees at most."""
MAX_DETECTIONS = 300
"""Kept per image."""


class Boxes(NamedTuple):
    """Boxes (n, 4) xyxy float32 in input pixels, scores (n,) float32, labels (n,) int64; best score first."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


class Births(NamedTuple):
    """Boxes of one image and where each was born: levels (n,) int64 from 0, points (n,) int64 on that level.

    Point i of a level of (h, w) cells stands at row i // w and column i % w.
    """

    boxes: Boxes
    levels: NDArray[np.int64]
    points: NDArray[np.int64]


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
) -> list[Boxes]:
    """Return the detections of each image of a batch.

    Args:
        cls: per level (N, K, h, w) class logits.
        reg: per level (N, 4, h, w) distances in pixels.
        content_sizes: (width, height) of each resized image within the padded input; boxes are clipped to it.
        score_threshold: candidates need a higher score; a point may yield several classes.
        nms_iou: suppression threshold, per class.
        pre_nms: best candidates kept per level before suppression.
        max_detections: kept per image.
    """
    births = decode_births(
        cls,
        reg,
        content_sizes,
        score_threshold=score_threshold,
        nms_iou=nms_iou,
        pre_nms=pre_nms,
        max_detections=max_detections,
    )
    return [birth.boxes for birth in births]


@torch.no_grad()
def decode_births(
    cls: list[Tensor],
    reg: list[Tensor],
    content_sizes: Sequence[tuple[int, int]],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    nms_iou: float = NMS_IOU,
    pre_nms: int = PRE_NMS,
    max_detections: int = MAX_DETECTIONS,
) -> list[Births]:
    """Return the detections of each image of a batch, as `decode` does, with the places of their birth."""
    found = []
    for image, (width, height) in enumerate(content_sizes):
        candidates = candidate_births(
            [x[image] for x in cls], [x[image] for x in reg], score_threshold=score_threshold, pre_nms=pre_nms
        )
        boxes_xyxy = clip_boxes(candidates.boxes.boxes_xyxy, width, height)
        solid = np.flatnonzero((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1))
        scores, labels = candidates.boxes.scores, candidates.boxes.labels
        kept = solid[nms(boxes_xyxy[solid], scores[solid], labels[solid], nms_iou, max_detections)]
        boxes = Boxes(boxes_xyxy[kept], scores[kept], labels[kept])
        found.append(Births(boxes, candidates.levels[kept], candidates.points[kept]))
    return found


def candidate_boxes(
    cls: list[Tensor], reg: list[Tensor], *, score_threshold: float = SCORE_THRESHOLD, pre_nms: int = PRE_NMS
) -> Boxes:
    """Return every (point, class) of one image above the threshold, before clipping and suppression.

    Args:
        cls: per level (K, h, w); reg: per level (4, h, w).
    """
    return candidate_births(cls, reg, score_threshold=score_threshold, pre_nms=pre_nms).boxes


def candidate_births(
    cls: list[Tensor], reg: list[Tensor], *, score_threshold: float = SCORE_THRESHOLD, pre_nms: int = PRE_NMS
) -> Births:
    """Return what `candidate_boxes` does, with the places of their birth."""
    points = level_points([(x.shape[1], x.shape[2]) for x in cls], cls[0].device)
    levels = []
    for level, (logits, distances) in enumerate(zip(cls, reg, strict=True)):
        scores = logits.float().flatten(1).T.sigmoid()  # (P, K)
        row, label = (scores > score_threshold).nonzero(as_tuple=True)
        score, order = scores[row, label].sort(descending=True, stable=True)
        order = order[:pre_nms]
        row, label = row[order], label[order]
        boxes_xyxy = decode_boxes(points[row], distances.float().flatten(1).T[row])
        levels.append((boxes_xyxy, score[:pre_nms], label, torch.full_like(row, level), row))
        points = points[logits[0].numel() :]  # the next level's points come first from here on
    joined = [torch.cat(parts).cpu().numpy() for parts in zip(*levels, strict=True)]
    return Births(Boxes(*joined[:3]), *joined[3:])


def suppress(
    candidates: Boxes, *, nms_iou: float = NMS_IOU, max_detections: int | None = MAX_DETECTIONS
) -> Boxes:
    """Return what class-wise non-maximum suppression keeps of the candidates, best score first."""
    kept = nms(candidates.boxes_xyxy, candidates.scores, candidates.labels, nms_iou, max_detections)
    return Boxes(candidates.boxes_xyxy[kept], candidates.scores[kept], candidates.labels[kept])
