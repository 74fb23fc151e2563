"""Detections of an exported file of another layout, read as its clients read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.deploy.layouts.contract import Contract
from aerostat.deploy.layouts.mmdeploy import PROBABILITIES
from aerostat.geometry.masks import Masks
from aerostat.geometry.postprocess import MASK_THRESHOLD, MAX_DETECTIONS, NMS_IOU, Candidates, keep
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import Exported
from aerostat.inference.detector import Detector
from aerostat.inference.views import boxes_as_detections, boxes_in_source
from aerostat.results.detections import Detections


@dataclass(frozen=True)
class Reader:
    """A client of an exported file.

    Args:
        candidates: maps a letterboxed image (H, W, 3) uint8 and a score to candidates above it.
        classes: names.
        input_size: (width, height).
        suppressed: whether the candidates are detections already.
        has_masks: whether they have masks.
    """

    candidates: Callable[[NDArray[np.uint8], float], Candidates]
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    suppressed: bool = False
    has_masks: bool = False

    def predict(
        self,
        image_bgr: NDArray[np.uint8],
        *,
        score: float = 0.3,
        nms_iou: float = NMS_IOU,
        slices: Literal["off"] = "off",
    ) -> Detections:
        """Return the detections on an image (H, W, 3) uint8 BGR.

        Args:
            image_bgr: of any size.
            score: detections have a higher one.
            nms_iou: of the suppression, where the file does none.
            slices: no windows: other readers know none.
        """
        height, width = image_bgr.shape[:2]
        letterbox = Letterbox.fit((width, height), self.input_size)
        found = self.candidates(letterbox.apply(image_bgr), score)
        if not self.suppressed:
            found = keep(found, letterbox.resized_size, nms_iou=nms_iou, max_detections=MAX_DETECTIONS)
        detections = boxes_as_detections(boxes_in_source(found, letterbox), self.classes, (width, height))
        if not self.has_masks:
            return detections
        return replace(detections, masks=_masks(found.columns[PROBABILITIES], letterbox))


def read_exported(path: Path, contract: Contract, exported: Exported) -> Reader:
    """Return a client of a file, which runs it with ONNX Runtime or OpenVINO.

    Raises:
        InputError: the runtime is not installed, or cannot read the file.
    """
    if path.suffix.lower() == ".xml":
        from aerostat.inference.backends.openvino import openvino_engine

        engine = openvino_engine(path, exported)
    else:
        import onnx

        from aerostat.inference.backends.onnxruntime import onnx_engine

        model = onnx.load(path)
        model = contract.runnable(model) if contract.runnable else model
        engine = onnx_engine(model.SerializeToString(), exported)

    def candidates(image_bgr: NDArray[np.uint8], score: float) -> Candidates:
        images = np.repeat(image_bgr[None], exported.batch or 1, axis=0)
        return contract.read(engine.run(contract.inputs(images)), score)

    suppressed = contract.suppresses and contract.runnable is None
    return Reader(candidates, exported.classes, exported.input_size, suppressed, exported.masks)


def best_class_only(detector: Detector) -> Reader:
    """Return a client of weights that takes only the best class of each point, as some layouts do."""

    def candidates(image_bgr: NDArray[np.uint8], score: float) -> Candidates:
        found = detector.engine.candidates(image_bgr[None], score_threshold=score, pre_nms=1 << 30)[0]
        levels, points = found.origin()
        best_first = np.lexsort((-found.scores, points, levels))
        place = np.stack([levels[best_first], points[best_first]])
        is_first = np.append(True, (place[:, 1:] != place[:, :-1]).any(0))
        return found.take(best_first[is_first[: len(found)]])

    return Reader(candidates, detector.classes, detector.input_size)


def _masks(probabilities: NDArray[np.float32], letterbox: Letterbox) -> Masks:
    """Return masks (n, H, W) of the input as masks of the photograph, as a client makes them."""
    width, height = letterbox.resized_size
    x, y = letterbox.pad_left, letterbox.pad_top
    source_width, source_height = letterbox.source_size
    masks = [Masks.empty((source_width, source_height))]
    for values in probabilities:
        content = np.ascontiguousarray(values[y : y + height, x : x + width])
        large = cv2.resize(content, (source_width, source_height))
        masks.append(Masks.from_dense((large > MASK_THRESHOLD)[None]))
    return Masks.concatenate(masks)
