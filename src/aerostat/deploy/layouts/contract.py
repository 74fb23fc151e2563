"""What every layout states about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.postprocess import SCORE_THRESHOLD, Candidates

if TYPE_CHECKING:
    from onnx import ModelProto

    from aerostat.deploy.layouts.core import Core
    from aerostat.inference.backends.exported import Exported
    from aerostat.model.onnx_nms import Suppression

LETTERBOXED = """\
photograph = cv2.imread("party.jpg")
scale = min({width} / photograph.shape[1], {height} / photograph.shape[0])
w, h = (int(side * scale + 0.5) for side in photograph.shape[1::-1])
image = np.full(({height}, {width}, 3), 114, np.uint8)
image[:h, :w] = cv2.resize(photograph, (w, h))
"""
"""Lines of an example that make the input of a photograph."""
NO_INT8_TENSORRT = "TensorRT calibrates by itself and refuses zero points"
"""Why files for TensorRT and DeepStream are not made in 8 bits."""

Inputs = dict[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]


class Layout(StrEnum):
    """Names of the tensor contracts."""

    AEROSTAT = "aerostat"
    MMDEPLOY = "mmdeploy"
    DEEPSTREAM = "deepstream"
    YOLO = "yolo"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Contract:
    """A layout for another runtime: how its graph is made, and how a client reads it.

    Args:
        layout: its name.
        build: makes the graph; suppression is None where the client suppresses.
        inputs: maps letterboxed images (N, H, W, 3) uint8 BGR to the graph's inputs.
        read: maps the outputs for the first image, and a score, to candidates above it in input pixels.
        colour_order, normalisation: of the input, for the metadata.
        example: some lines of Python that run the file; ``{file}``, ``{width}``, ``{height}`` and
            ``{classes}`` stand for its path, input and classes.
        openvino_example: the same for an OpenVINO file, if the layout has one.
        metadata: entries that its readers look for, by name.
        suppresses: whether suppression is in the graph.
        score_threshold: of that suppression, by default.
        one_class: whether each point gives its best class only.
        holds_masks: whether there is a place for masks.
        half: whether the network is in half precision without being asked.
        kinds: of files.
        no_int8, no_dynamic: why it is not made in 8 bits, or for any size; empty if it is.
        runnable: maps the model to one whose operators every runtime has, for the check; None if it has no
            others. What is read then is not suppressed.
        remark: a sentence for the model card about what was not checked; empty if all was.
    """

    layout: Layout
    build: Callable[[Core, Suppression | None], ModelProto]
    inputs: Callable[[NDArray[np.uint8]], Inputs]
    read: Callable[[Outputs, float], Candidates]
    colour_order: Literal["BGR", "RGB"]
    normalisation: str
    example: str
    openvino_example: str = ""
    metadata: Callable[[Exported], dict[str, str]] = lambda _: {}
    suppresses: bool = False
    score_threshold: float = SCORE_THRESHOLD
    one_class: bool = False
    holds_masks: bool = False
    half: bool = False
    kinds: tuple[str, ...] = ("onnx", "openvino")
    no_int8: str = ""
    no_dynamic: str = ""
    runnable: Callable[[ModelProto], ModelProto] | None = None
    remark: str = ""


def unit_planes(images_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (N, H, W, 3) uint8 BGR as RGB planes (N, 3, H, W) from 0 to 1."""
    planes = images_bgr[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray(planes / np.float32(255))
