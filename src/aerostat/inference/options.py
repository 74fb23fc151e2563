"""Options of a prediction, and the steps of post-processing that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from aerostat.geometry.postprocess import (
    MAX_DETECTIONS,
    NMS_IOU,
    PRE_NMS,
    SCORE_THRESHOLD,
    Candidates,
    keep,
)
from aerostat.inference.tta import TTA, View, ViewPlan, merge_views

SHOW_SCORE = 0.3
"""Minimum score of detections that are shown; AP needs nearly all of them (`SCORE_THRESHOLD`, 0.001)."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What is asked of a prediction.

    Args:
        score: detections need a higher score.
        nms_iou: IoU above which the weaker of two detections of a class is dropped.
        max_detections: maximum number of detections per image; the best are kept.
        tta: test-time augmentation: False for one view, True for the default views, or a `TTA`.
        pre_nms: maximum number of candidates of each pyramid level that suppression compares.
    """

    score: float = SHOW_SCORE
    nms_iou: float = NMS_IOU
    max_detections: int = MAX_DETECTIONS
    tta: TTA | bool = False
    pre_nms: int = PRE_NMS

    def plan(self, input_size: tuple[int, int]) -> PredictPlan:
        """Return what the options come to for a model with test inputs of (width, height) pixels.

        Raises:
            InputError: a scale of the augmentation is too large.
        """
        if not self.tta:
            return PredictPlan(self, ViewPlan((View(input_size),)))
        tta = TTA() if self.tta is True else self.tta
        return PredictPlan(self, tta.plan(input_size, self.nms_iou))


class PredictArguments(TypedDict, total=False):
    """Keyword arguments of functions that predict; they make a `PredictOptions`, which describes them."""

    score: float
    nms_iou: float
    max_detections: int
    tta: TTA | bool
    pre_nms: int


@dataclass(frozen=True, slots=True)
class PredictPlan:
    """The views of each photograph that one model takes, and what happens to their candidates.

    Args:
        options: what was asked.
        views: what it comes to for the model.
    """

    options: PredictOptions
    views: ViewPlan

    @property
    def view_score(self) -> float:
        """Score that candidates of a view must exceed.

        Fusion averages weak boxes too, so the result must not depend on the score that is shown.
        """
        score = self.options.score
        return min(score, SCORE_THRESHOLD) if self.views.merge == "wbf" else score

    def keep(self, candidates: Candidates, content_size: tuple[int, int]) -> Candidates:
        """Return the candidates of one view that are kept, still in input pixels; see `postprocess.keep`."""
        count = self.options.max_detections
        if len(self.views.views) > 1:  # a box that one view ranks low may count in the merge
            count = max(count, MAX_DETECTIONS)
        return keep(candidates, content_size, nms_iou=self.options.nms_iou, max_detections=count)

    def merge(self, views: Sequence[Candidates]) -> Candidates:
        """Return one result for the kept boxes of all views, given in pixels of the photograph."""
        merged = merge_views(views, merge=self.views.merge, iou_threshold=self.views.merge_iou)
        above = int((merged.scores > self.options.score).sum())  # the best score comes first
        rows = merged.take(slice(min(above, self.options.max_detections)))
        return replace(rows, levels=None, points=None)
