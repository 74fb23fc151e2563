"""Views of a photograph as a network sees them, and the way of boxes back to the photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import clip_boxes, mirror_boxes
from aerostat.geometry.postprocess import Candidates
from aerostat.images.letterbox import Letterbox
from aerostat.inference.instance_masks import masks_of, with_patches
from aerostat.inference.options import PredictPlan
from aerostat.inference.tta import View, mirror_content
from aerostat.results.detections import Detections


class SeenImage(NamedTuple):
    """A photograph as one view shows it.

    Args:
        input_bgr: (h, w, 3) uint8, the network's input.
        letterbox: how the photograph was resized and padded.
        flip: whether it is mirrored, left to right.
    """

    input_bgr: NDArray[np.uint8]
    letterbox: Letterbox
    flip: bool

    def to_source(self, plan: PredictPlan, boxes: Candidates) -> Candidates:
        """Return boxes of the network's input in pixels of the photograph, clipped to it, and their masks."""
        if plan.masks:
            boxes = with_patches(boxes, self.letterbox, flip=self.flip, margin=plan.options.mask_margin)
        return boxes_in_source(boxes, self.letterbox, flip=self.flip)


def see(
    image_bgr: NDArray[np.uint8], views: Sequence[View], source_size: tuple[int, int] | None = None
) -> list[SeenImage]:
    """Return a photograph (H, W, 3) as each view shows it; it is resized once for each size.

    Args:
        image_bgr: the photograph, or a smaller copy of it.
        views: of it.
        source_size: (width, height) of the photograph, if the image is a smaller copy.
    """
    found = (image_bgr.shape[1], image_bgr.shape[0])
    size = source_size or found
    plain: dict[tuple[int, int], NDArray[np.uint8]] = {}
    seen = []
    for view in views:
        letterbox = Letterbox.fit(size, view.input_size)
        if view.input_size not in plain:
            plain[view.input_size] = replace(letterbox, source_size=found).apply(image_bgr)
        input_bgr = plain[view.input_size]
        input_bgr = mirror_content(input_bgr, letterbox) if view.flip else input_bgr
        seen.append(SeenImage(input_bgr, letterbox, view.flip))
    return seen


def boxes_in_source(boxes: Candidates, letterbox: Letterbox, *, flip: bool = False) -> Candidates:
    """Return boxes of a network's input in pixels of the photograph, clipped to it.

    Args:
        boxes: in input pixels; their other columns stay as they are.
        letterbox: how the photograph went into the network.
        flip: whether the network saw it mirrored, left to right.
    """
    width, height = letterbox.source_size
    boxes_xyxy = clip_boxes(letterbox.boxes_to_source(boxes.boxes_xyxy), width, height)
    return boxes.with_boxes(mirror_boxes(boxes_xyxy, width) if flip else boxes_xyxy)


def as_detections(
    plan: PredictPlan,
    boxes: Candidates,
    classes: tuple[str, ...],
    image_size: tuple[int, int],
    path: Path | None = None,
) -> Detections:
    """Return boxes in pixels of a photograph of (width, height) as `Detections`, in the same order."""
    detections = boxes_as_detections(boxes, classes, image_size, path)
    if not plan.masks:
        return detections
    return replace(detections, masks=masks_of(boxes, image_size, plan.options.mask_threshold))


def boxes_as_detections(
    boxes: Candidates, classes: tuple[str, ...], image_size: tuple[int, int], path: Path | None = None
) -> Detections:
    """Return boxes in pixels of a photograph of (width, height) as `Detections` without masks."""
    return Detections(boxes.boxes_xyxy, boxes.scores, boxes.labels, classes, image_size=image_size, path=path)
