"""Box AM: which parts of a photograph made the detector find what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.boxes import clip_boxes
from aerostat.data.image import Letterbox, read_image
from aerostat.detections import Detections
from aerostat.errors import InputError, nearest
from aerostat.explanation import methods
from aerostat.explanation.activations import Objective, forward_from, gradients
from aerostat.explanation.layers import find_layer, private_copy
from aerostat.explanation.result import Explanation, Explanations, Target
from aerostat.explanation.targets import Subject, loss_target, score_target
from aerostat.model import normalise
from aerostat.model.decode import NMS_IOU, Births, decode_births
from aerostat.model.head import STRIDES
from aerostat.predict import SHOW_SCORE, Detector

Per = Literal["detection", "class", "all"]

METHODS = ("gradcam", "gradcampp", "hirescam", "layercam", "eigencam", "eigengradcam", "ablationcam", "drise")
DEFAULT_METHOD = "gradcam"
GRADIENT_METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": methods.gradcam,
    "gradcampp": methods.gradcampp,
    "hirescam": methods.hirescam,
    "layercam": methods.layercam,
    "eigengradcam": methods.eigengradcam,
}
PUBLISHED_FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": methods.boxam_gradcam,
    "gradcampp": methods.boxam_gradcampp,
}
"""What the `loss` target takes in their place, being there for comparison with published pictures."""

DRAWN_SIDE = 2000
"""Longest side in pixels of what is drawn."""


def explain(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    *,
    layer: str | Sequence[str] | None = None,
    method: str | Sequence[str] = DEFAULT_METHOD,
    target: Target = "score",
    per: Per = "detection",
    top: int | None = 10,
    score: float = SHOW_SCORE,
    box_xyxy: Sequence[float] | None = None,
    fuse: bool = False,
    nms_iou: float = NMS_IOU,
) -> Explanations:
    """Return which parts of a photograph speak for its detections.

    Args:
        detector: never changed, whatever mode it is in and whatever its parameters ask for.
        image: a file, or an image (H, W, 3) uint8 BGR.
        layer: one or several layers by OpenMMLab's names; None is the last layer before the head, at the
            level where the detection was born: ``neck.out_convs[level]``.
        method: one or several of `METHODS`.
        target: what is to rise: ``score`` (`targets.score_target`) or ``loss`` (`targets.loss_target`).
        per: one map for each detection, for each class, or for all at once.
        top: explain the best so many; None explains all.
        score: detections need a higher score.
        box_xyxy: a place in pixels of the photograph: explains the best raw candidate there, whatever its
            score, in place of the detections.
        fuse: one map of all layers, in place of one for each.
        nms_iou: see `Detector.predict`.

    Raises:
        InputError: the image cannot be read, there is no such layer or method, a layer gives no map, there
            are no detections above the score, or the box lies outside of the photograph.
    """
    names = _check_methods([method] if isinstance(method, str) else list(method))
    layers_wanted = [layer] if isinstance(layer, str) else layer
    path = None if isinstance(image, np.ndarray) else Path(image)
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    height, width = image_bgr.shape[:2]
    letterbox = Letterbox.fit((width, height), detector.input_size)
    net = private_copy(detector.net)
    default = layers_wanted is None
    layers = [find_layer(net, name) for name in layers_wanted or _last_layers()]
    planes = torch.from_numpy(np.ascontiguousarray(letterbox.apply(image_bgr).transpose(2, 0, 1)))[None]
    done = forward_from(net, layers, normalise(planes.to(detector.device)))
    births = decode_births(
        done.cls, done.reg, [letterbox.resized_size], score_threshold=score, nms_iou=nms_iou
    )[0]
    found = _in_source(births, letterbox, detector.classes, path)
    if not len(found):
        raise InputError(
            f"Expected detections above the score {score:g}, found none on {path or 'the image'}."
        )
    rows = list(range(len(found)))[:top]
    subjects = [_subject(births, [row], detector.device) for row in rows]
    objectives = [_objective(target, subject, letterbox) for subject in subjects]
    items: dict[int, list[Explanation]] = {}
    for index, by_path in gradients(done, objectives, [one.path for one in layers]):
        row = rows[index]
        level = int(births.levels[row])
        detection = found[row]
        chosen = [layers[level]] if default else layers
        detections = (detection,)
        items[index] = [
            Explanation(
                detections,
                (level,),
                name,
                (one.name,),
                target,
                (_map(name, target, done.activations[one.path][0], by_path[one.path], letterbox),),
                letterbox,
                (bool(by_path[one.path].any()),),
            )
            for name in names
            for one in chosen
        ]
    flat = tuple(item for index in sorted(items) for item in items[index])
    return Explanations(flat, _at_drawing_size(image_bgr), found, path)


def _map(
    name: str, target: str, activations: Tensor, gradient: Tensor, letterbox: Letterbox
) -> NDArray[np.float32]:
    rows, columns = _content_cells(activations.shape[1:], letterbox)
    whole = np.zeros(tuple(activations.shape[1:]), np.float32)
    a, g = activations.detach()[:, rows, columns], gradient[:, rows, columns]
    if not gradient.any():
        return whole
    if name == "eigencam":
        values = methods.eigencam(a)
    else:
        forms = GRADIENT_METHODS | (PUBLISHED_FORMS if target == "loss" else {})
        values = forms[name](a, g)
    whole[rows, columns] = values.cpu().numpy()
    return whole


def _content_cells(shape: Sequence[int], letterbox: Letterbox) -> tuple[slice, slice]:
    """Return the rows and columns of a map's cells that hold some of the photograph."""
    x1, y1, x2, y2 = letterbox.content_box
    width, height = letterbox.input_size
    high, wide = shape
    return (
        slice(y1 * high // height, -(-y2 * high // height)),
        slice(x1 * wide // width, -(-x2 * wide // width)),
    )


def _last_layers() -> list[str]:
    return [f"neck.out_convs[{level}]" for level in range(len(STRIDES))]


def _objective(target: str, subject: Subject, letterbox: Letterbox) -> Objective:
    if target == "loss":
        return partial(loss_target, subject=subject)
    return partial(score_target, subject=subject, content_size=letterbox.resized_size)


def _subject(births: Births, rows: Sequence[int], device: torch.device) -> Subject:
    chosen = list(rows)
    return Subject(
        torch.from_numpy(births.boxes.boxes_xyxy[chosen]).to(device),
        torch.from_numpy(births.boxes.labels[chosen]).to(device),
        torch.from_numpy(births.levels[chosen]).to(device),
    )


def _in_source(
    births: Births, letterbox: Letterbox, classes: tuple[str, ...], path: Path | None
) -> Detections:
    width, height = letterbox.source_size
    boxes_xyxy = clip_boxes(letterbox.boxes_to_source(births.boxes.boxes_xyxy), width, height)
    return Detections(
        boxes_xyxy.astype(np.float32),
        births.boxes.scores,
        births.boxes.labels,
        classes,
        None,
        letterbox.source_size,
        path,
    )


def _at_drawing_size(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image_bgr.shape[:2]
    scale = min(1.0, DRAWN_SIDE / max(height, width))
    if scale == 1:
        return image_bgr
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)


def _check_methods(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in METHODS:
            raise InputError(
                f"Expected a method among {', '.join(METHODS)}, found {name!r}.{nearest(name, METHODS)}"
            )
    return list(dict.fromkeys(names))
