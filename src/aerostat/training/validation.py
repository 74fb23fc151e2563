"""The validation within a run: COCO's figures, whether scores tell anything, and that it may be cut short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.inference.detector import Detector
from aerostat.progress import track
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.training.oom import is_out_of_memory

_log = logging.getLogger(__name__)

SAME = 1e-3
"""Scores whose span is a smaller share of the highest one are all the same."""
FEW = 10
"""So few detections may well have the same score."""


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Args:
        result: COCO's figures.
        same_scores: whether all detections, of which there are some, have the same score.
    """

    result: CocoResult
    same_scores: bool = False


def validate(
    detector: Detector,
    split: Split,
    *,
    score_threshold: float,
    nms_iou: float,
    max_detections: int,
    batch_size: int,
    threads: int,
    on_unreadable: Callable[[ImageRecord, InputError], None],
    stop: Callable[[], bool],
) -> Validation | None:
    """Score a detector on a split; None if it was asked to stop before the end.

    Where a GPU's memory does not suffice for `batch_size` images, half as many are looked at, which is said.

    Args:
        detector: of the split's classes.
        split: the ground truth.
        score_threshold, nms_iou, max_detections: see `aerostat.geometry.postprocess`.
        batch_size: images at a time.
        threads: that read and decode.
        on_unreadable: told of images that cannot be read, which then do not count.
        stop: asked after each image.

    Raises:
        RuntimeError: not even one image fits into memory.
    """
    while True:
        pairs: list[tuple[ImageRecord, Detections]] = []
        results = detector.predict_images(
            split.images,
            score=score_threshold,
            nms_iou=nms_iou,
            max_detections=max_detections,
            batch_size=batch_size,
            threads=threads,
            on_unreadable=on_unreadable,
        )
        try:
            with closing(results):  # type: ignore[type-var]  # a generator
                for pair in track(results, f"evaluating {split.name}", len(split)):
                    pairs.append(pair)
                    if stop():
                        return None
            break
        except RuntimeError as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
        batch_size //= 2
        _log.info(
            f"validation goes on with {counted(batch_size, 'image')} at a time: more do not fit into memory"
        )
    images, found = [record for record, _ in pairs], [detections for _, detections in pairs]
    return Validation(evaluate_detections(images, found, split.classes), _same_scores(found))


def _same_scores(found: list[Detections]) -> bool:
    scores = [each.scores for each in found if len(each)]
    if sum(map(len, scores)) < FEW:
        return False
    highest = max(float(each.max()) for each in scores)
    lowest = min(float(each.min()) for each in scores)
    return highest - lowest < SAME * highest
