"""Weighted box fusion on numpy arrays: of overlapping boxes none goes, they become their weighted mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import pairwise_iou

WBF_IOU = 0.55
"""Overlap above which boxes are fused (Solovyev et al., arXiv:1910.13302, section 4)."""


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Fused boxes, best score first.

    Args:
        boxes_xyxy: (m, 4) in the pixels of the boxes that were fused.
        scores: (m,).
        labels: (m,).
        best: (m,), for each fused box the index of its member with the highest score.
        clusters: (n,), for each box that was given the index of the fused box that it became a part of.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    clusters: NDArray[np.int64]


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
    clusters, count = np.zeros(len(scores), np.int64), 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(-scores[members], kind="stable")]
        boxes, fused, first, mine = _fuse(
            boxes_xyxy[members].astype(np.float64), scores[members].astype(np.float64), views, iou_threshold
        )
        clusters[members] = count + mine
        count += len(fused)
        parts.append((boxes, fused, np.full(len(fused), label, np.int64), members[first]))
    nothing = np.zeros(0, np.int64)
    parts.append((np.zeros((0, 4)), np.zeros(0), nothing, nothing))  # without boxes there is no other part
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(-columns[1], kind="stable")
    boxes, fused, label_of, best = (column[order] for column in columns)
    return Fused(boxes, fused, label_of, best, np.argsort(order)[clusters] if count else clusters)


def _fuse(
    boxes_xyxy: NDArray[np.float64], scores: NDArray[np.float64], views: int, iou_threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Fuse the boxes of one label, given by falling score.

    Returns:
        Boxes and scores of the clusters, the first member of each, and the cluster of each member.
    """
    weights = np.maximum(scores, np.finfo(np.float64).tiny)  # a score of 0 is no weight, but no division by 0
    fused, moments = np.empty_like(boxes_xyxy), np.zeros_like(boxes_xyxy)
    total, count = np.zeros(len(scores)), np.zeros(len(scores), np.int64)
    first, cluster = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
    clusters = 0
    for member, (box, weight) in enumerate(zip(boxes_xyxy, weights, strict=True)):
        overlap = pairwise_iou(box[None], fused[:clusters])[0]
        place = int(overlap.argmax()) if clusters else 0
        if not clusters or overlap[place] <= iou_threshold:
            place = clusters
            first[place] = member
            clusters += 1
        cluster[member] = place
        moments[place] += weight * box
        total[place] += weight
        count[place] += 1
        fused[place] = moments[place] / total[place]
    count, total = count[:clusters], total[:clusters]
    fused_scores = total / count * (np.minimum(count, views) / views)
    return fused[:clusters], fused_scores, first[:clusters], cluster
