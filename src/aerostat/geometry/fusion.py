"""Weighted box fusion on numpy arrays: of overlapping boxes none goes, they become their weighted mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import pairwise_iou

WBF_IOU = 0.55
"""Overlap above which boxes are fused (Solovyev et al., arXiv:1910.13302, section 4)."""

Fused = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
"""Boxes (m, 4) xyxy, scores (m,) and labels (m,), best score first."""


def weighted_box_fusion(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    views: int,
    iou_threshold: float = WBF_IOU,
) -> Fused:
    """Return one box for each cluster of overlapping boxes of a label.

    Weighted box fusion by Solovyev et al., arXiv:1910.13302. Boxes are taken by falling score; each joins the
    cluster whose fused box overlaps it most, if that is more than `iou_threshold`, or else begins one. The
    fused box is the mean of its members weighted by their scores. Its score is the mean of its members',
    times min(T, N) / N for T members from N views: what only one of six views has seen counts a sixth.

    Args:
        boxes_xyxy: (n, 4) pixels, of all views together.
        scores: (n,) within 0 and 1.
        labels: (n,).
        views: N, how many views (or models) were asked, whether they found something or not.
        iou_threshold: in [0, 1).
    """
    parts = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(-scores[members], kind="stable")]
        boxes, fused = _fuse(
            boxes_xyxy[members].astype(np.float64), scores[members].astype(np.float64), views, iou_threshold
        )
        parts.append((boxes, fused, np.full(len(fused), label, np.int64)))
    parts.append((np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)))  # no boxes at all are no boxes
    all_boxes, all_scores, all_labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-all_scores, kind="stable")
    return all_boxes[order], all_scores[order], all_labels[order]


def _fuse(
    boxes_xyxy: NDArray[np.float64], scores: NDArray[np.float64], views: int, iou_threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fuse the boxes of one label, given by falling score."""
    weights = np.maximum(scores, np.finfo(np.float64).tiny)  # a score of 0 is no weight, but no division by 0
    fused, moments = np.empty_like(boxes_xyxy), np.zeros_like(boxes_xyxy)
    total, count = np.zeros(len(scores)), np.zeros(len(scores), np.int64)
    clusters = 0
    for box, weight in zip(boxes_xyxy, weights, strict=True):
        overlap = pairwise_iou(box[None], fused[:clusters])[0]
        place = int(overlap.argmax()) if clusters else 0
        if not clusters or overlap[place] <= iou_threshold:
            place = clusters
            clusters += 1
        moments[place] += weight * box
        total[place] += weight
        count[place] += 1
        fused[place] = moments[place] / total[place]
    count, total = count[:clusters], total[:clusters]
    return fused[:clusters], total / count * (np.minimum(count, views) / views)
