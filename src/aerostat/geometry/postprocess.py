"""Post-processing: from the candidates of a network to the boxes that are kept, for every engine, in numpy.

The defaults are the published test settings (MMDetection 3.x, RTMDet configs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import clip_boxes
from aerostat.geometry.nms import nms

SCORE_THRESHOLD = 0.001
"""Minimum score for AP; a picture wants about 0.3."""
NMS_IOU = 0.65
"""IoU with a better box of the same class above which a box is dropped (published, as are the next two)."""
PRE_NMS = 30000
"""Maximum number of candidates of one level that suppression compares."""
MAX_DETECTIONS = 300
"""Maximum number of detections per image."""
MASK_NMS_IOU, MASK_PRE_NMS, MAX_MASKS = 0.6, 1000, 100
"""The same three for networks with masks (published RTMDet-Ins configs)."""
MASK_THRESHOLD = 0.5
"""A pixel belongs to a mask above this probability (published RTMDet-Ins configs)."""
STRIDES = (8, 16, 32)
"""Pixels between neighbouring points of each pyramid level."""


class MaskMaps(Protocol):
    """What a network says about the masks of one image, before any mask is drawn."""

    def features(self) -> NDArray[np.float32]:
        """Return the features (8, h, w) of stride 8 that all masks are made of."""

    def kernels(self, levels: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weights (n, 169) of the masks of points; see `mask_kernels`.

        Args:
            levels: (n,) from 0.
            points: (n,) on their levels.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Scored boxes of one image on their way from a network to `Detections`, one row per box.

    Each column stays with its boxes through clipping, suppression and merging.

    Args:
        boxes_xyxy: (n, 4) float32, in pixels of the network's input or of the photograph.
        scores: (n,) float32.
        labels: (n,) int64.
        levels: (n,) int64 from 0, the pyramid level of each box; None if it is not known.
        points: (n,) int64, the point on that level; None if it is not known. Point i of a level of (h, w)
            cells stands at row i // w and column i % w.
        columns: other columns by name, each (n, ...), such as mask coefficients.
        mask_maps: what the masks of these boxes are made of; None for a network without masks.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    levels: NDArray[np.int64] | None = None
    points: NDArray[np.int64] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    mask_maps: MaskMaps | None = None

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def take(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Candidates:
        """Return the rows that a slice, indices (k,) or booleans (n,) select, with all their columns."""
        return Candidates(
            self.boxes_xyxy[rows],
            self.scores[rows],
            self.labels[rows],
            None if self.levels is None else self.levels[rows],
            None if self.points is None else self.points[rows],
            {name: values[rows] for name, values in self.columns.items()},
            self.mask_maps,
        )

    def origin(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return levels (n,) and points (n,).

        Raises:
            ValueError: levels or points are unknown because the graph did the suppression.
        """
        if self.levels is None or self.points is None:
            raise ValueError("these candidates have no levels and points")
        return self.levels, self.points

    def with_boxes(self, boxes_xyxy: NDArray[np.floating]) -> Candidates:
        """Return the same rows with other boxes (n, 4)."""
        return replace(self, boxes_xyxy=boxes_xyxy.astype(np.float32, copy=False))

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """Return the rows of at least one part, one after the other; all parts have the same columns."""
        first, *_ = parts

        def joined(columns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
            present = [column for column in columns if column is not None]
            return np.concatenate(present) if len(present) == len(columns) else None

        return cls(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.labels for part in parts]),
            joined([part.levels for part in parts]),
            joined([part.points for part in parts]),
            {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns},
        )


def select(
    scores: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    input_size: tuple[int, int],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    pre_nms: int = PRE_NMS,
) -> Candidates:
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
    return Candidates(
        boxes_xyxy[rows],
        values,
        labels.astype(np.int64),
        levels.astype(np.int64),
        points.astype(np.int64),
    )


def keep(
    candidates: Candidates,
    content_size: tuple[int, int],
    *,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Candidates:
    """Return the candidates of one image that become detections: clipped, not empty, not suppressed.

    Args:
        candidates: in input pixels.
        content_size: (width, height) of the resized image within the padded input; boxes are clipped to it.
        nms_iou: suppression threshold, per class.
        max_detections: kept at most, best score first.
    """
    clipped = candidates.with_boxes(clip_boxes(candidates.boxes_xyxy, *content_size))
    solid = np.flatnonzero((clipped.boxes_xyxy[:, 2:] > clipped.boxes_xyxy[:, :2]).all(1))
    boxes_xyxy, scores, labels = clipped.boxes_xyxy[solid], clipped.scores[solid], clipped.labels[solid]
    return clipped.take(solid[nms(boxes_xyxy, scores, labels, nms_iou, max_detections)])


def suppress(
    candidates: Candidates, *, nms_iou: float = NMS_IOU, max_detections: int | None = MAX_DETECTIONS
) -> Candidates:
    """Return the candidates that class-wise non-maximum suppression keeps, best score first."""
    return candidates.take(
        nms(candidates.boxes_xyxy, candidates.scores, candidates.labels, nms_iou, max_detections)
    )
