"""What the outputs of an exported graph become, the same for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.candidates import Boxes, select
from aerostat.engines.engine import NotNumbersError
from aerostat.engines.exported import Exported
from aerostat.errors import InputError

Outputs = Mapping[str, NDArray[Any]]
"""By name, as `aerostat.deploy.graph.onnx_model` tells them."""


def run_in_batches(
    run: Callable[[NDArray[np.uint8]], Outputs],
    exported: Exported,
    images_bgr: NDArray[np.uint8],
    *,
    score_threshold: float,
    pre_nms: int,
) -> list[Boxes]:
    """Return the candidates of each image, given a graph that takes `exported.batch` images at a time.

    Args:
        run: maps images (b, H, W, 3) to the graph's outputs.
        exported: what the file says about itself.
        images_bgr, score_threshold, pre_nms: see `Engine.candidates`.

    Raises:
        InputError: the images have another size than the file is for.
        NotNumbersError: an output is NaN.
    """
    size = (images_bgr.shape[2], images_bgr.shape[1])
    if not exported.dynamic and size != exported.input_size:
        width, height = exported.input_size
        raise InputError(
            f"This exported model takes images of {width} x {height} px only, asked for were {size[0]} x "
            f"{size[1]}; export it with --dynamic."
        )
    step = exported.batch or len(images_bgr)
    found: list[Boxes] = []
    for start in range(0, len(images_bgr), step):
        part = images_bgr[start : start + step]
        missing = step - len(part)
        padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        outputs = run(np.ascontiguousarray(padded))
        for place in range(len(part)):
            of_image = _suppressed if exported.suppressed else _all_points
            try:
                found.append(of_image(outputs, place, size, score_threshold, pre_nms))
            except NotNumbersError:
                raise NotNumbersError(start + place) from None
    return found


def _all_points(
    outputs: Outputs, place: int, size: tuple[int, int], score_threshold: float, pre_nms: int
) -> Boxes:
    scores, boxes_xyxy = np.asarray(outputs["scores"][place]), np.asarray(outputs["boxes"][place])
    if np.isnan(scores.sum()) or np.isnan(boxes_xyxy.sum()):
        raise NotNumbersError(place)
    return select(scores, boxes_xyxy, size, score_threshold=score_threshold, pre_nms=pre_nms).boxes


def _suppressed(
    outputs: Outputs, place: int, size: tuple[int, int], score_threshold: float, pre_nms: int
) -> Boxes:
    scores = np.asarray(outputs["scores"])
    mine = np.flatnonzero((outputs["image_indices"] == place) & (scores > score_threshold))
    boxes_xyxy = np.asarray(outputs["boxes"])[mine]
    return Boxes(boxes_xyxy, scores[mine], np.asarray(outputs["labels"])[mine].astype(np.int64))
