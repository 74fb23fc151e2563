"""Explanations of detectors that cannot be looked into: exported models, and those of other makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.black_box import BlackBox, scorer_of_black_box
from aerostat.explanation.boxam import TOP, drawn_size
from aerostat.explanation.drise import MASKS, check_masks, drise
from aerostat.explanation.result import Explanation, Explanations
from aerostat.geometry.boxes import clip_boxes
from aerostat.geometry.postprocess import NMS_IOU, PRE_NMS, keep
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.inference.views import as_detections
from aerostat.results.detections import Detections

LOWEST_SCORE = 0.01
"""What a detector is asked for while parts of the photograph are hidden: its doubts tell, too."""


def black_box_of(detector: Detector, *, nms_iou: float = NMS_IOU) -> BlackBox:
    """Return a detector, an exported one for example, as a black box for images of its input size."""

    def black_box(images_bgr: NDArray[np.uint8]) -> list[Detections]:
        height, width = images_bgr.shape[1:3]
        lowest = max(LOWEST_SCORE, detector.engine.lowest_score)
        answers = detector.engine.candidates(images_bgr, score_threshold=lowest, pre_nms=PRE_NMS)
        kept = [keep(boxes, (width, height), nms_iou=nms_iou) for boxes in answers]
        size = (width, height)
        return [as_detections(boxes, detector.classes, size) for boxes in kept]

    return black_box


def explain_black_box(
    black_box: BlackBox,
    image: Path | str | NDArray[np.uint8],
    *,
    input_size: tuple[int, int],
    score: float = SHOW_SCORE,
    top: int | None = TOP,
    masks: int = MASKS,
    seed: int = 0,
) -> Explanations:
    """Return by D-RISE which parts of a photograph the detections of any detector rest on.

    Args:
        black_box: is handed images (N, H, W, 3) uint8 BGR of `input_size`, the photograph letterboxed as for
            training, and returns `Detections` in their pixels for each. It should also tell what it is not
            sure of, down to a score of 0.01 or so: what falls below its threshold is gone.
        image: a file, or an image (H, W, 3) uint8 BGR.
        input_size: (width, height) that the detector works at.
        score: explain detections above this.
        top: the best so many; None explains all.
        masks: the detector is asked about so many masked photographs, whatever the number of detections.
        seed: of the masks.

    Raises:
        InputError: the image cannot be read, nothing is found above the score, or a number is out of range.
    """
    check_masks(masks)
    if top is not None and top < 1:
        raise InputError(f"Expected to explain at least the best detection, found top {top}.")
    path = None if isinstance(image, np.ndarray) else Path(image)
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
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
    maps = drise(scorer, seen, letterbox.resized_size, masks=masks, seed=seed)
    found = Detections(
        clip_boxes(letterbox.boxes_to_source(boxes_xyxy), width, height).astype(np.float32),
        inside.scores,
        inside.labels,
        inside.classes,
        image_size=(width, height),
        path=path,
    )
    items = tuple(
        Explanation((detection,), (), "drise", (), "score", (heat,), letterbox, (bool(heat.any()),))
        for detection, heat in zip(found, maps, strict=True)
    )
    return Explanations(items, drawn_size(image_bgr), found, path)
