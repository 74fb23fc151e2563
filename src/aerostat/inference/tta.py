"""Test-time augmentation: several views of one photograph, and the merge of their boxes.

This file has plans and pure functions on arrays; `inference.detector` runs the network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.fusion import weighted_box_fusion
from aerostat.geometry.postprocess import NMS_IOU, Candidates, suppress
from aerostat.images.letterbox import Letterbox
from aerostat.inference.instance_masks import PATCHES, joined_patches
from aerostat.text import counted, listed

Merge = Literal["nms", "wbf"]

STRIDE = 32
"""Sides of the network's input are multiples of this."""
MAX_SIDE = 8192
"""Largest side of a view in pixels; a larger number is most likely a typing error."""
SMALLEST_SCALE, MAX_SCALE = 0.05, 8.0
"""Limits of a scale relative to the model's own test size, likewise."""
PUBLISHED_SCALES = (1.0, 0.5, 1.5)
"""640, 320 and 960 px for models tested at 640 (MMDetection 3.x, configs/rtmdet/rtmdet_tta.py)."""
DEFAULT_SCALES = (1.0, 0.5, 2.0)
"""Best on held-out photographs, each scale plain and mirrored, by fusion (benchmarks/balloon.md)."""
DEFAULT_MERGE: Merge = "wbf"


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a photograph.

    Args:
        input_size: (width, height) in pixels that the photograph is letterboxed to.
        flip: whether it is mirrored, left to right, before it is padded at the right and at the bottom.
    """

    input_size: tuple[int, int]
    flip: bool = False


@dataclass(frozen=True, slots=True)
class TTA:
    """A request for several views of each photograph, and for a way to merge them.

    Args:
        scales: a whole number is the side of a square input in pixels, a multiple of 32. A float is relative
            to the model's own test size and rounded to a multiple of 32.
        flip: whether there is also a mirrored view of each scale.
        merge: ``wbf`` fuses overlapping boxes (see `geometry.fusion`); ``nms`` keeps the best of them as it
            is (the published way).
        merge_iou: IoU above which boxes of a class are merged. None is the NMS IoU of the prediction, also
            for wbf: with a lower one it would fuse boxes that NMS keeps apart within a view.

    Raises:
        InputError: there is no scale, one is out of range, or a choice is unknown.
    """

    scales: tuple[int | float, ...] = DEFAULT_SCALES
    flip: bool = True
    merge: Merge = DEFAULT_MERGE
    merge_iou: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.scales
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InputError(f"Expected a list of scales for test-time augmentation, found {given!r}.")
        object.__setattr__(self, "scales", tuple(map(_checked_scale, given)))
        if not self.scales:
            raise InputError("Expected at least one scale for test-time augmentation, found none.")
        twice = [scale for i, scale in enumerate(self.scales) if scale in self.scales[:i]]
        if twice:
            raise InputError(f"Expected each scale once, found {_scale_text(twice[0])} twice.")
        if self.merge not in get_args(Merge):
            raise InputError(f"Expected nms or wbf as the way to merge views, found {self.merge!r}.")
        if self.merge_iou is not None and not 0 < self.merge_iou < 1:
            raise InputError(f"Expected an IoU between 0 and 1 to merge at, found {self.merge_iou}.")

    def plan(self, input_size: tuple[int, int], nms_iou: float = NMS_IOU) -> ViewPlan:
        """Return the views for a model; scales that round to the same size become one.

        Args:
            input_size: (width, height) of the model's own test input in pixels.
            nms_iou: IoU above which the prediction suppresses boxes within a view.

        Raises:
            InputError: a scale comes to more than `MAX_SIDE` pixels.
        """
        sizes = dict.fromkeys(_size_of(scale, input_size) for scale in self.scales)
        flips = (False, True) if self.flip else (False,)
        views = tuple(View(size, flip) for size in sizes for flip in flips)
        return ViewPlan(views, self.merge, self.merge_iou or nms_iou)


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """The views of each photograph for one model, and the way to merge them.

    Args:
        views: at least one.
        merge: how.
        merge_iou: overlap above which boxes of a class are merged.
    """

    views: tuple[View, ...]
    merge: Merge = "nms"
    merge_iou: float = NMS_IOU

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "views": [{"input_size": list(view.input_size), "flip": view.flip} for view in self.views],
            "merge": self.merge,
            "merge_iou": self.merge_iou,
        }

    def describe(self) -> str:
        """Return the plan in one line."""
        sizes = dict.fromkeys(_size_text(view.input_size) for view in self.views)
        looks = f"{listed(sizes, len(sizes))} px"
        if any(view.flip for view in self.views):
            looks += f", {'each ' if len(sizes) > 1 else ''}plain and mirrored"
        merged = f", merged by {self.merge.upper()} at IoU {self.merge_iou:g}" if len(self.views) > 1 else ""
        return f"test-time augmentation: {counted(len(self.views), 'view')} ({looks}){merged}"


def parse_scales(words: Sequence[str]) -> tuple[int | float, ...]:
    """Return the scales in words that a person typed, separated by spaces or commas.

    For a model tested at 640 px, ``640,320,960``, ``1x 0.5x 1.5x``, ``1.0 0.5 1.5`` and ``published`` mean
    the same. A whole number is pixels; one with a point or an x is relative to the model's own test size.

    Raises:
        InputError: a word has another form. `TTA` checks whether the scales can be used.
    """
    parts = [part for word in words for part in re.split(r"[,\s]+", word.strip())]
    if parts == ["published"]:
        return PUBLISHED_SCALES
    return tuple(_parse_scale(part) for part in parts)


def mirror_content(image: NDArray[np.uint8], letterbox: Letterbox) -> NDArray[np.uint8]:
    """Return a letterboxed image (H, W, 3) in which the photograph is mirrored and the padding stays.

    The network has learned that padding lies at the right and at the bottom.
    """
    x1, y1, x2, y2 = letterbox.content_box
    mirrored = image.copy()
    mirrored[y1:y2, x1:x2] = image[y1:y2, x1:x2][:, ::-1]
    return mirrored


def merge_views(
    views: Sequence[Candidates], *, merge: Merge, iou_threshold: float, max_detections: int | None = None
) -> Candidates:
    """Return one result for the boxes that several views of a photograph have found, best score first.

    A single view is returned as it is. NMS keeps scores and boxes as they are, class by class, as published
    (MMDetection 3.x, ``DetTTAModel``). Weighted box fusion is described in `aerostat.geometry.fusion`; other
    columns of a fused box are those of its best member, but its mask is made from those of all members.

    Args:
        views: for each view its boxes, in pixels of the photograph.
        merge: how.
        iou_threshold: overlap above which boxes of a class are merged.
        max_detections: how many of the best are kept; None keeps all.
    """
    if len(views) == 1:
        return views[0]
    together = Candidates.concatenate(views)
    if merge == "nms":
        return suppress(together, nms_iou=iou_threshold, max_detections=max_detections)
    fused = weighted_box_fusion(
        together.boxes_xyxy, together.scores, together.labels, views=len(views), iou_threshold=iou_threshold
    )
    merged = replace(
        together.take(fused.best).with_boxes(fused.boxes_xyxy), scores=fused.scores.astype(np.float32)
    )
    if PATCHES in together.columns:
        patches = joined_patches(together.columns[PATCHES], fused.clusters, len(fused.scores))
        merged = replace(merged, columns={**merged.columns, PATCHES: patches})
    return merged.take(slice(max_detections))


def _checked_scale(scale: Any) -> int | float:
    """Return a scale that an input can have.

    Raises:
        InputError: with what was expected of a scale of its kind.
    """
    if isinstance(scale, int | np.integer) and not isinstance(scale, bool):
        if not STRIDE <= scale <= MAX_SIDE or scale % STRIDE:
            raise InputError(
                f"Expected scales in whole pixels as multiples of {STRIDE} from {STRIDE} to {MAX_SIDE}, "
                f"found {scale}; a scale relative to the model's own test size has a point, as 1.0."
            )
        return int(scale)
    if isinstance(scale, float | np.floating):
        if not SMALLEST_SCALE <= scale <= MAX_SCALE:  # nor is NaN
            raise InputError(
                f"Expected scales relative to the model's own test size from {SMALLEST_SCALE:g} to "
                f"{MAX_SCALE:g}, found {scale:g}; a size in pixels is a whole number, as 640."
            )
        return float(scale)
    raise InputError(f"Expected numbers as scales, found {scale!r}.")


def _parse_scale(word: str) -> int | float:
    if re.fullmatch(r"[+-]?\d{1,9}", word):
        return int(word)
    if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)x?", word):
        return float(word.removesuffix("x"))
    raise InputError(
        f"Expected scales as whole pixels (640,320,960), relative to the model's own test size "
        f"(1x,0.5x,1.5x) or the word published, found {word!r}."
    )


def _size_of(scale: int | float, input_size: tuple[int, int]) -> tuple[int, int]:
    if isinstance(scale, int):
        return scale, scale
    width, height = (max(1, math.floor(scale * side / STRIDE + 0.5)) * STRIDE for side in input_size)
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"Expected scales that come to at most {MAX_SIDE} pixels, found {_scale_text(scale)} of an "
            f"input of {_size_text(input_size)}, which is {_size_text((width, height))}."
        )
    return width, height


def _size_text(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]} x {size[1]}"


def _scale_text(scale: int | float) -> str:
    return str(scale) if isinstance(scale, int) else f"{scale:g}x"
