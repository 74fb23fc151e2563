"""Candidates from the outputs of an exported graph, the same for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.postprocess import STRIDES, Candidates, select
from aerostat.inference.backends.engine import NotNumbersError
from aerostat.inference.backends.exported import Exported
from aerostat.inference.instance_masks import MASK_LOGITS

Inputs = dict[str, NDArray[Any]]
"""By name: `images`, and `content_sizes` where suppression is in the graph."""
Outputs = Mapping[str, NDArray[Any]]
"""By name, as `aerostat.model.onnx_graph.onnx_model` documents them."""


def run_in_batches(
    run: Callable[[Inputs], Outputs],
    exported: Exported,
    images_bgr: NDArray[np.uint8],
    *,
    score_threshold: float,
    pre_nms: int,
    content_sizes: Sequence[tuple[int, int]] | None = None,
) -> list[Candidates]:
    """Return the candidates of each image, given a graph that takes `exported.batch` images at a time.

    Args:
        run: maps the graph's inputs to its outputs.
        exported: what the file says about itself.
        images_bgr, score_threshold, pre_nms, content_sizes: see `Engine.candidates`.

    Raises:
        InputError: the images have another size than the file is for.
        NotNumbersError: an output is NaN.
    """
    size = (images_bgr.shape[2], images_bgr.shape[1])
    if not exported.dynamic and size != exported.input_size:
        width, height = exported.input_size
        raise InputError(
            f"This exported model takes images of {width} x {height} px only, found {size[0]} x "
            f"{size[1]}; export it with `export(dynamic=True)`."
        )
    step = exported.batch or len(images_bgr)
    found: list[Candidates] = []
    for start in range(0, len(images_bgr), step):
        part = images_bgr[start : start + step]
        inputs = {"images": _filled(part, step)}
        if exported.suppressed:
            contents = content_sizes[start : start + step] if content_sizes else [size] * len(part)
            inputs["content_sizes"] = _filled(np.asarray(contents, np.float32), step)
        outputs = run(inputs)
        for place in range(len(part)):
            of_image = _suppressed if exported.suppressed else _all_points
            try:
                found.append(of_image(outputs, place, size, score_threshold, pre_nms))
            except NotNumbersError:
                raise NotNumbersError(start + place) from None
    return found


def _filled(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return `count` values: the last one is repeated as often as the graph needs it."""
    missing = count - len(values)
    whole = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values
    return np.ascontiguousarray(whole)


def _all_points(
    outputs: Outputs, place: int, size: tuple[int, int], score_threshold: float, pre_nms: int
) -> Candidates:
    scores, boxes_xyxy = np.asarray(outputs["scores"][place]), np.asarray(outputs["boxes"][place])
    if np.isnan(scores.sum()) or np.isnan(boxes_xyxy.sum()):
        raise NotNumbersError(place)
    found = select(scores, boxes_xyxy, size, score_threshold=score_threshold, pre_nms=pre_nms)
    if "kernels" not in outputs:
        return found
    kernels, features = np.asarray(outputs["kernels"][place]), np.asarray(outputs["mask_features"][place])
    if np.isnan(kernels.sum()) or np.isnan(features.sum()):
        raise NotNumbersError(place)
    return replace(found, mask_maps=_MaskMaps(kernels, features, size))


@dataclass(frozen=True, slots=True, eq=False)
class _MaskMaps:
    """What a graph says about the masks of one image; see `MaskMaps`."""

    of_points: NDArray[np.float32]
    mask_features: NDArray[np.float32]
    size: tuple[int, int]

    def features(self) -> NDArray[np.float32]:
        return self.mask_features

    def kernels(self, levels: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.float32]:
        counts = [(self.size[0] // stride) * (self.size[1] // stride) for stride in STRIDES]
        starts = np.cumsum([0, *counts[:-1]])
        return np.asarray(self.of_points[starts[levels] + points], np.float32)


def _suppressed(
    outputs: Outputs, place: int, size: tuple[int, int], score_threshold: float, pre_nms: int
) -> Candidates:
    scores = np.asarray(outputs["scores"])
    mine = np.flatnonzero((outputs["image_indices"] == place) & (scores > score_threshold))
    boxes_xyxy = np.asarray(outputs["boxes"])[mine]
    labels = np.asarray(outputs["labels"])[mine].astype(np.int64)
    drawn = {MASK_LOGITS: np.asarray(outputs["masks"])[mine]} if "masks" in outputs else {}
    return Candidates(boxes_xyxy, scores[mine], labels, columns=drawn)
