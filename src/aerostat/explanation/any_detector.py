"""Explanations of detectors whose network is not accessible: exported models, and other libraries' models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.black_box import BlackBox, scorer_of_black_box
from aerostat.explanation.drise import DEFAULT_MASKS, Masks, drise
from aerostat.explanation.forwarded import image_and_path
from aerostat.explanation.options import DEFAULT_TOP, check_top
from aerostat.explanation.result import Explanation, Explanations
from aerostat.explanation.sheets import drawn_size
from aerostat.geometry.boxes import clip_boxes
from aerostat.geometry.postprocess import NMS_IOU, PRE_NMS, keep
from aerostat.images.letterbox import Letterbox
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.inference.views import boxes_as_detections
from aerostat.results.detections import Detections

MIN_SCORE = 0.01
"""Minimum score that is asked for while parts of the photograph are covered: weak scores tell, too."""


def black_box_of(detector: Detector, *, nms_iou: float = NMS_IOU) -> BlackBox:
    """Return a detector as a black box for images of its input size; an exported model works, too."""

    def black_box(images_bgr: NDArray[np.uint8]) -> list[Detections]:
        height, width = images_bgr.shape[1:3]
        lowest = max(MIN_SCORE, detector.engine.lowest_score)
        answers = detector.engine.candidates(images_bgr, score_threshold=lowest, pre_nms=PRE_NMS)
        kept = [keep(boxes, (width, height), nms_iou=nms_iou) for boxes in answers]
        size = (width, height)
        return [boxes_as_detections(boxes, detector.classes, size) for boxes in kept]

    return black_box


def explain_black_box(
    black_box: BlackBox,
    image: Path | str | NDArray[np.uint8],
    *,
    input_size: tuple[int, int],
    score: float = SHOW_SCORE,
    top: int | None = DEFAULT_TOP,
    masks: int = DEFAULT_MASKS,
    seed: int = 0,
    progress: bool = True,
) -> Explanations:
    """Return heat maps by D-RISE of what in a photograph speaks for the detections of any detector.

    Args:
        black_box: takes images (N, H, W, 3) uint8 BGR of `input_size`, letterboxed as for training. It
            returns `Detections` for each, in its pixels. It should return weak detections,
            too, down to a score of about 0.01: D-RISE compares scores.
        image: path, or image (H, W, 3) uint8 BGR.
        input_size: (width, height) of the detector's input.
        score: detections need a higher score.
        top: maximum number of detections, best first; None explains all.
        masks: number of masked photographs for all detections together.
        seed: seed of the masks.
        progress: whether progress is shown.

    Raises:
        InputError: the image cannot be read, nothing is found above the score, or a number is out of range.
    """
    random_masks = Masks(masks, seed=seed)
    check_top(top)
    image_bgr, path = image_and_path(image)
    width, height = image_bgr.shape[1], image_bgr.shape[0]
    letterbox = Letterbox.fit((width, height), input_size)
    seen = letterbox.apply(image_bgr)
    answers = black_box(seen[None])
    if len(answers) != 1:
        raise InputError(f"Expected detections for one image from the black box, found {len(answers)}.")
    inside = answers[0].filter(score=score)
    if not len(inside):
        raise InputError(
            f"There are no detections above the score {score:g} on {path or 'the image'}; choose a lower one."
        )
    inside = inside[np.argsort(-inside.scores, kind="stable")][:top]
    boxes_xyxy = clip_boxes(inside.boxes_xyxy, *letterbox.resized_size)
    scorer = scorer_of_black_box(black_box, boxes_xyxy, inside.labels)
    maps = drise(scorer, seen, letterbox.resized_size, masks=random_masks, progress=progress)
    detections = Detections(
        clip_boxes(letterbox.boxes_to_source(boxes_xyxy), width, height).astype(np.float32),
        inside.scores,
        inside.labels,
        inside.classes,
        image_size=(width, height),
        path=path,
    )
    items = tuple(
        Explanation((detection,), (), "drise", (), "score", (heat,), letterbox, (bool(heat.any()),))
        for detection, heat in zip(detections, maps, strict=True)
    )
    return Explanations(items, drawn_size(image_bgr), detections, path)
