"""From what a network proposes to what is kept of it: numpy alone, for every engine that runs a network.

The published test settings are the defaults (MMDetection 3.x, RTMDet configs).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import clip_boxes
from aerostat.geometry.nms import nms

SCORE_THRESHOLD = 0.001
"""For AP; a picture wants about 0.3."""
NMS_IOU = 0.65
"""Overlap with a better box of the same class above which a box goes (published, as are the next two)."""
PRE_NMS = 30000
"""Candidates of one level that suppression sees at most."""
MAX_DETECTIONS = 300
"""Kept per image."""
STRIDES = (8, 16, 32)
"""Pixels between neighbouring points of each pyramid level."""


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


def select(
    scores: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    input_size: tuple[int, int],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    pre_nms: int = PRE_NMS,
) -> Births:
    """Return every (point, class) of one image above the threshold, level by level, best first in each.

    Args:
        scores: (P, K) of the points of all levels, row by row, level after level.
        boxes_xyxy: (P, 4) in input pixels.
        input_size: (width, height) of the network's input.
        score_threshold: candidates need a higher score; a point may yield several classes.
        pre_nms: best candidates kept per level.
    """
    counts = [(input_size[0] // stride) * (input_size[1] // stride) for stride in STRIDES]
    rows, labels = np.nonzero(scores > score_threshold)
    values = scores[rows, labels]
    parts = []
    start = 0
    for level, count in enumerate(counts):
        first, end = np.searchsorted(rows, [start, start + count])
        order = first + np.argsort(-values[first:end], kind="stable")[:pre_nms]
        parts.append(
            (rows[order], values[order], labels[order], np.full(len(order), level), rows[order] - start)
        )
        start += count
    rows, values, labels, levels, points = (np.concatenate(part) for part in zip(*parts, strict=True))
    boxes = Boxes(boxes_xyxy[rows], values, labels.astype(np.int64))
    return Births(boxes, levels.astype(np.int64), points.astype(np.int64))


def keep(
    candidates: Boxes,
    content_size: tuple[int, int],
    *,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Boxes:
    """Return the detections among the candidates of one image; see `keep_births`."""
    none = np.zeros(len(candidates.scores), np.int64)
    births = Births(candidates, none, none)
    return keep_births(births, content_size, nms_iou=nms_iou, max_detections=max_detections).boxes


def keep_births(
    candidates: Births,
    content_size: tuple[int, int],
    *,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Births:
    """Return the detections among the candidates of one image: clipped, solid, and not suppressed.

    Args:
        candidates: in input pixels.
        content_size: (width, height) of the resized image within the padded input; boxes are clipped to it.
        nms_iou: suppression threshold, per class.
        max_detections: kept at most.
    """
    boxes_xyxy = clip_boxes(candidates.boxes.boxes_xyxy, *content_size)
    solid = np.flatnonzero((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1))
    scores, labels = candidates.boxes.scores, candidates.boxes.labels
    kept = solid[nms(boxes_xyxy[solid], scores[solid], labels[solid], nms_iou, max_detections)]
    boxes = Boxes(boxes_xyxy[kept].astype(np.float32, copy=False), scores[kept], labels[kept])
    return Births(boxes, candidates.levels[kept], candidates.points[kept])


def suppress(
    candidates: Boxes, *, nms_iou: float = NMS_IOU, max_detections: int | None = MAX_DETECTIONS
) -> Boxes:
    """Return what class-wise non-maximum suppression keeps of the candidates, best score first."""
    kept = nms(candidates.boxes_xyxy, candidates.scores, candidates.labels, nms_iou, max_detections)
    return Boxes(candidates.boxes_xyxy[kept], candidates.scores[kept], candidates.labels[kept])
