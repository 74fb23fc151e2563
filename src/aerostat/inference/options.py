"""Options of a prediction, and the steps of post-processing that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from aerostat.errors import InputError
from aerostat.geometry.postprocess import (
    MASK_NMS_IOU,
    MASK_PRE_NMS,
    MASK_THRESHOLD,
    MAX_DETECTIONS,
    MAX_MASKS,
    NMS_IOU,
    PRE_NMS,
    SCORE_THRESHOLD,
    Candidates,
    keep,
)
from aerostat.inference.instance_masks import MARGIN
from aerostat.inference.slices import OVERLAP, SlicePlan, SliceSide, TrainedOn, plan_slices
from aerostat.inference.tta import TTA, View, ViewPlan, merge_views

SHOW_SCORE = 0.3
"""Minimum score of detections that are shown; AP needs nearly all of them (`SCORE_THRESHOLD`, 0.001)."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What is asked of a prediction.

    Args:
        score: detections need a higher score.
        nms_iou: IoU above which the weaker of two detections of a class is dropped; None is the published
            value, 0.65 for boxes and 0.6 with masks.
        max_detections: maximum number of detections per image, of which the best are kept; None is the
            published value, 300 for boxes and 100 with masks.
        tta: test-time augmentation: False for one view, True for the default views, or a `TTA`.
        pre_nms: maximum number of candidates of each pyramid level that suppression compares; None is the
            published value, 30000 for boxes and 1000 with masks.
        masks: whether detections have masks; None if the model has them.
        mask_threshold: a pixel belongs to a mask above this probability, in (0, 1).
        mask_margin: share of a box's sides by which its mask may reach beyond it. None draws each mask over
            the whole photograph, as the reference does.
        slices: side in pixels of overlapping windows that large photographs are looked at by, in addition to
            the whole; ``off`` looks at the whole only. ``auto`` takes windows of the input's size if the
            photograph is more than four times as large and half of the training objects would shrink below
            16 pixels, as far as the weights state the size of these. `max_detections` of None then limits
            each view, not the photograph.
        overlap: share of a window's side that neighbours have in common, from 0 to 0.9.
    """

    score: float = SHOW_SCORE
    nms_iou: float | None = None
    max_detections: int | None = None
    tta: TTA | bool = False
    pre_nms: int | None = None
    masks: bool | None = None
    mask_threshold: float = MASK_THRESHOLD
    mask_margin: float | None = MARGIN
    slices: SliceSide = "auto"
    overlap: float = OVERLAP

    def plan(
        self, input_size: tuple[int, int], *, has_masks: bool = False, trained_on: TrainedOn | None = None
    ) -> PredictPlan:
        """Return what the options come to for a model with test inputs of (width, height) pixels.

        Args:
            input_size: of the model.
            has_masks: whether the model has masks.
            trained_on: what the model was trained on; None if it is not known.

        Raises:
            InputError: a scale of the augmentation is too large, or masks are asked of a model without them.
        """
        if self.masks and not has_masks:
            raise InputError(
                "This model has no masks; leave `masks` out, or take one that was trained with masks."
            )
        if not 0 < self.mask_threshold < 1:
            raise InputError(f"Expected a mask threshold between 0 and 1, found {self.mask_threshold:g}.")
        if self.mask_margin is not None and not 0 <= self.mask_margin < math.inf:
            raise InputError(f"Expected a mask margin of 0 or more, found {self.mask_margin:g}.")
        published = (
            (MASK_NMS_IOU, MAX_MASKS, MASK_PRE_NMS) if has_masks else (NMS_IOU, MAX_DETECTIONS, PRE_NMS)
        )
        nms_iou, max_detections, pre_nms = (
            value if asked is None else asked
            for asked, value in zip((self.nms_iou, self.max_detections, self.pre_nms), published, strict=True)
        )
        tta = TTA() if self.tta is True else self.tta
        return PredictPlan(
            options=self,
            views=tta.plan(input_size, nms_iou) if tta else ViewPlan((View(input_size),)),
            nms_iou=nms_iou,
            max_detections=int(max_detections),
            pre_nms=int(pre_nms),
            masks=has_masks and self.masks is not False,
            slices=plan_slices(self.slices, self.overlap, input_size, trained_on),
        )


class PredictArguments(TypedDict, total=False):
    """Keyword arguments of functions that predict; they make a `PredictOptions`, which describes them."""

    score: float
    nms_iou: float | None
    max_detections: int | None
    tta: TTA | bool
    pre_nms: int | None
    masks: bool | None
    mask_threshold: float
    mask_margin: float | None
    slices: SliceSide
    overlap: float


@dataclass(frozen=True, slots=True)
class PredictPlan:
    """The views of each photograph that one model takes, and what happens to their candidates.

    Args:
        options: what was asked.
        views: what it comes to for the model.
        nms_iou, max_detections, pre_nms: as asked, or as published for the model.
        masks: whether detections have masks.
        slices: how large photographs are looked at; None for as a whole only.
    """

    options: PredictOptions
    views: ViewPlan
    nms_iou: float = NMS_IOU
    max_detections: int = MAX_DETECTIONS
    pre_nms: int = PRE_NMS
    masks: bool = False
    slices: SlicePlan | None = None

    @property
    def view_score(self) -> float:
        """Score that candidates of a view must exceed.

        Fusion averages weak boxes too, so the result must not depend on the score that is shown.
        """
        score = self.options.score
        return min(score, SCORE_THRESHOLD) if self.views.merge == "wbf" else score

    def keep(self, candidates: Candidates, content_size: tuple[int, int]) -> Candidates:
        """Return the candidates of one view that are kept, still in input pixels; see `postprocess.keep`."""
        count = self.max_detections
        if len(self.views.views) > 1:  # a box that one view ranks low may count in the merge
            count = max(count, MAX_DETECTIONS)
        return keep(candidates, content_size, nms_iou=self.nms_iou, max_detections=count)

    def merge(self, views: Sequence[Candidates]) -> Candidates:
        """Return one result for the kept boxes of all views, given in pixels of the photograph."""
        merged = merge_views(views, merge=self.views.merge, iou_threshold=self.views.merge_iou)
        above = int((merged.scores > self.options.score).sum())  # the best score comes first
        rows = merged.take(slice(min(above, self.max_detections)))
        return replace(rows, levels=None, points=None)
