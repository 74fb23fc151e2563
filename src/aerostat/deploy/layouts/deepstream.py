"""The layout of DeepStream-Yolo's parsers: each point with its box and its best class.

`NvDsInferParseYolo` reads one output (P, 6) of each image since November 2024: x1, y1, x2, y2, score, label,
in pixels of the network's input. It clips boxes; nvinfer suppresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from aerostat.deploy.layouts.contract import (
    LETTERBOXED,
    NO_INT8_TENSORRT,
    Contract,
    Inputs,
    Layout,
    Outputs,
    unit_planes,
)
from aerostat.deploy.layouts.core import UNIT, Core, close, unit_input
from aerostat.geometry.postprocess import Candidates

if TYPE_CHECKING:
    from onnx import ModelProto

    from aerostat.model.onnx_nms import Suppression

INPUT, OUTPUT = "input", "output"

EXAMPLE = (
    """\
import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
"""
    + LETTERBOXED
    + """\
rows = session.run(None, {{"input": cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)}})[0][0]
rows = rows[rows[:, 4] > 0.3]  # x1, y1, x2, y2, score, label
corner, size = rows[:, :2], rows[:, 2:4] - rows[:, :2]
kept = cv2.dnn.NMSBoxesBatched(np.hstack([corner, size]), rows[:, 4], rows[:, 5].astype(int), 0.3, 0.65)
for x1, y1, x2, y2, score, label in rows[np.ravel(kept).astype(int)]:
    print({classes!r}[int(label)], round(float(score), 2), np.array([x1, y1, x2, y2]) / scale)
"""
)


def build(core: Core, _: Suppression | None) -> ModelProto:
    """Return the graph: `input` (N, 3, H, W) to `output` (N, P, 6)."""
    graph = core.graph
    inputs = unit_input(core, INPUT)
    score = graph.add("ReduceMax", core.scores, axes=[2], keepdims=1)
    label = graph.add("ArgMax", core.scores, axis=2, keepdims=1)
    label = graph.add("Cast", label, to=TensorProto.FLOAT)
    graph.add("Concat", core.boxes, score, label, axis=2, name=OUTPUT)
    return close(core, inputs, {OUTPUT: (TensorProto.FLOAT, [core.shape[0], core.counts[0], 6])})


def inputs(images_bgr: NDArray[np.uint8]) -> Inputs:
    """Return the graph's input for letterboxed images (N, H, W, 3)."""
    return {INPUT: unit_planes(images_bgr)}


def read(outputs: Outputs, score: float) -> Candidates:
    """Return the candidates of the first image above a score."""
    rows = outputs[OUTPUT][0]
    rows = rows[rows[:, 4] > score]
    return Candidates(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


DEEPSTREAM = Contract(
    Layout.DEEPSTREAM,
    build,
    inputs,
    read,
    colour_order="RGB",
    normalisation=UNIT,
    example=EXAMPLE,
    one_class=True,
    kinds=("onnx",),
    no_int8=NO_INT8_TENSORRT,
    no_dynamic="nvinfer needs one input size",
    remark="The file ran in ONNX Runtime; DeepStream itself was not run.",
)
