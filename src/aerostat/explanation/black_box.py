"""Black boxes and scorers: a detector as a function of images, and the score of explained detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.errors import InputError
from aerostat.geometry import boxes as box_arithmetic
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import boxes_alone, decode_boxes, flatten_levels, level_points
from aerostat.model.overlap import clip_boxes_to, pairwise_iou
from aerostat.results.detections import Detections

BlackBox = Callable[[NDArray[np.uint8]], Sequence[Detections]]
"""Images (N, H, W, 3) uint8 BGR in, detections on each image out, in the image's pixels.

Any detector fits. Its score threshold should be low, because missing detections count as 0.
"""

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Images (N, H, W, 3) uint8 BGR in, similarity (N, D) of their candidates to D detections out."""

BATCH = 16
"""Number of images in a call of a scorer."""
BATCH_PIXELS = 16 * 320 * 320
"""Pixels of the images in a pass of the network: fewer are slower, more only take memory."""


def similarity(
    found: Detections, boxes_xyxy: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the similarity (D,) of candidates to each explained detection, from 0 to 1.

    It is the largest product of score and IoU with the explained box among candidates of its class. This is
    the similarity of D-RISE (Petsiuk et al., arXiv:2006.03204, section 3.2) for independent class scores. A
    class score is both objectness and class similarity.

    Args:
        found: the candidates.
        boxes_xyxy, labels: (D, 4) and (D,) explained detections in the same pixels.

    Returns:
        (D,); 0 without candidates of the class.
    """
    explained = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    iou = box_arithmetic.pairwise_iou(found.boxes_xyxy.astype(np.float64), explained)  # (n, D)
    same = found.labels[:, None] == np.asarray(labels)[None, :]
    best: NDArray[np.float64] = (iou * found.scores[:, None] * same).max(axis=0, initial=0.0)
    return best


def scorer_of_black_box(
    black_box: BlackBox, boxes_xyxy: NDArray[np.floating], labels: NDArray[np.integer]
) -> Scorer:
    """Return the scorer of a black box.

    Args:
        black_box: any detector.
        boxes_xyxy, labels: (D, 4) and (D,) explained detections in pixels of its images.

    Raises:
        InputError: in a call, if the black box returns detections for another number of images.
    """

    def score(images_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        answers = black_box(images_bgr)
        if len(answers) != len(images_bgr):
            raise InputError(
                f"Expected detections for each of {len(images_bgr)} images from the black box, "
                f"found {len(answers)}."
            )
        rows = [similarity(found, boxes_xyxy, labels) for found in answers]
        return np.asarray(rows, np.float64).reshape(len(images_bgr), len(boxes_xyxy))

    return score


def scorer_of_detector(
    detector: Detector,
    boxes_xyxy: NDArray[np.floating],
    labels: NDArray[np.integer],
    content_size: tuple[int, int],
) -> Scorer:
    """Return the scorer of a detector over all raw candidates, whatever their scores.

    Args:
        detector: a detector; it stays as it is.
        boxes_xyxy: (D, 4) explained boxes in pixels of the network's input, clipped to the photograph.
        labels: (D,) their classes.
        content_size: (width, height) of the photograph within the input. Candidates are clipped to it, as
            detections are, so that the IoU of a detection at the border with itself is 1.
    """
    engine = TorchEngine(boxes_alone(detector.net))
    explained = torch.as_tensor(np.asarray(boxes_xyxy), dtype=torch.float32, device=detector.device)
    classes = torch.as_tensor(np.asarray(labels), dtype=torch.long, device=detector.device)

    @torch.inference_mode()
    def score(images_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        rows = [_best_candidates(batch) for batch in _batches(images_bgr)]
        return np.concatenate([np.zeros((0, len(classes)), np.float64), *rows])

    def _batches(images_bgr: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        size = max(1, BATCH_PIXELS // (images_bgr.shape[1] * images_bgr.shape[2]))
        return [images_bgr[start : start + size] for start in range(0, len(images_bgr), size)]

    def _best_candidates(images_bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        cls, reg = engine.outputs(images_bgr)[:2]
        points = level_points([(x.shape[2], x.shape[3]) for x in cls], detector.device)
        boxes = clip_boxes_to(decode_boxes(points, flatten_levels(reg)), content_size)  # (N, P, 4)
        scores = flatten_levels(cls).sigmoid()  # (N, P, K)
        best = [
            (overlaps(of_image, explained) * of_point[:, classes]).amax(0)
            for of_image, of_point in zip(boxes, scores, strict=True)
        ]
        return torch.stack(best).cpu().double().numpy()  # on the CPU, because some devices lack float64

    return score


def overlaps(boxes_xyxy: Tensor, explained_xyxy: Tensor) -> Tensor:
    """Return the IoU (P, D) of boxes (P, 4) and (D, 4); 0 for a box without area or with swapped corners."""
    solid = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1)
    return pairwise_iou(boxes_xyxy, explained_xyxy) * solid[:, None]
