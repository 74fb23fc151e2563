"""The layout of MMDeploy's end-to-end models, which rtmlib and MMDeploy's SDK read.

`dets` (N, K, 5) and `labels` (N, K) hold the kept boxes of each image, best first, and then rows of zeros
with the label -1. As in MMDeploy there is at least one such row, so that no output is empty. `masks`
(N, K, H, W) are probabilities in pixels of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from aerostat.deploy.layouts.contract import LETTERBOXED, Contract, Inputs, Layout, Outputs
from aerostat.deploy.layouts.core import (
    NORMALISED,
    Core,
    Values,
    close,
    normalised_input,
    plane_limits,
    rename,
)
from aerostat.geometry.mask_kernels import MASK_STRIDE
from aerostat.geometry.postprocess import STRIDES, Candidates
from aerostat.inference.instance_masks import MARGIN
from aerostat.model import MEAN_BGR, STD_BGR
from aerostat.model.onnx_masks import OUTSIDE, drawn_masks, strides_of
from aerostat.model.onnx_nms import on_content, suppressed
from aerostat.model.onnx_nodes import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

    from aerostat.model.onnx_nms import Suppression

INPUT, DETS, LABELS, MASKS = "input", "dets", "labels", "masks"
PROBABILITIES = "mask_probabilities"
"""Column of `Candidates` with masks (n, H, W) in pixels of the input."""

EXAMPLE = (
    """\
import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
"""
    + LETTERBOXED
    + """\
planes = (image - np.array([103.53, 116.28, 123.675])) / np.array([57.375, 57.12, 58.395])
planes = planes.transpose(2, 0, 1)[None].astype(np.float32)
dets, labels = session.run(["dets", "labels"], {{"input": planes}})
for (*box, score), label in zip(dets[0], labels[0]):
    if score > 0.3:
        print({classes!r}[label], round(float(score), 2), np.array(box) / scale)
"""
)
OPENVINO_EXAMPLE = (
    EXAMPLE.replace("import onnxruntime\n", "import openvino\n")
    .replace(
        "session = onnxruntime.InferenceSession({file!r})",
        'model = openvino.compile_model({file!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})',
    )
    .replace('session.run(["dets", "labels"], {{"input": planes}})', "list(model(planes).values())[:2]")
)


def build(core: Core, suppression: Suppression | None) -> ModelProto:
    """Return the graph: `input` (N, 3, H, W) to `dets`, `labels` and, with masks, `masks`."""
    assert suppression is not None
    graph = core.graph
    inputs = normalised_input(core, INPUT)
    boxes, scores = on_content(graph, core.boxes, core.scores, plane_limits(core, INPUT))
    place = suppressed(graph, boxes, scores, suppression)
    kept_labels = rename(graph, "labels", "kept_labels")
    if core.kernels:
        levels = [f"bbox_head.rtm_cls.{level}" for level in range(len(STRIDES))]
        strides = strides_of(graph, levels)
        drawn_masks(graph, core.kernels, core.mask_features, core.points, strides, place)
        rename(graph, "masks", "mask_logits")
    size, index = _rows(graph, core.boxes)
    score = graph.add("Unsqueeze", "scores", graph.constant([1]))
    rows = graph.add("Concat", "boxes", score, axis=1)
    empty = _filled(graph, graph.add("Concat", size, graph.constant([5]), axis=0), np.float32(0))
    graph.add("ScatterND", empty, index, rows, name=DETS)
    graph.add("ScatterND", _filled(graph, size, np.int64(-1)), index, kept_labels, name=LABELS)
    n = core.shape[0]
    outputs: dict[str, tuple[int, list[object]]] = {
        DETS: (TensorProto.FLOAT, [n, "num_dets", 5]),
        LABELS: (TensorProto.INT64, [n, "num_dets"]),
    }
    if core.kernels:
        _add_masks(graph, core.mask_features, size, index)
        outputs[MASKS] = (TensorProto.FLOAT, [n, "num_dets", *core.shape[2:]])
    return close(core, inputs, _as_values(outputs))


def _as_values(outputs: dict[str, tuple[int, list[object]]]) -> Values:
    return outputs


def _rows(graph: Graph, boxes: str) -> tuple[str, str]:
    """Return N and K (2,), and image and row (M, 2) of each kept box; K leaves an empty row in each image."""
    shape = graph.add("Shape", boxes)
    number = graph.add("Slice", shape, graph.constant([0]), graph.constant([1]))
    batch = graph.add("Gather", shape, graph.constant(0), axis=0)
    ones = graph.add("OneHot", "image_indices", batch, graph.constant([0, 1]), axis=0)  # (N, M)
    counts = graph.add("ReduceSum", ones, graph.constant([1]), keepdims=0)
    zero, one = graph.constant(0), graph.constant(1)
    first = graph.add("CumSum", counts, zero, exclusive=1)
    most = graph.add("Add", graph.add("ReduceMax", counts, keepdims=1), graph.constant([1]))
    kept = graph.add("Squeeze", graph.add("Shape", "image_indices"))
    row = graph.add("Range", zero, kept, one)
    row = graph.add("Sub", row, graph.add("Gather", first, "image_indices", axis=0))
    column = graph.constant([1])
    index = graph.add(
        "Concat",
        graph.add("Unsqueeze", "image_indices", column),
        graph.add("Unsqueeze", row, column),
        axis=1,
    )
    return graph.add("Concat", number, most, axis=0), index


def _filled(graph: Graph, shape: str, value: np.float32 | np.int64) -> str:
    return graph.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.asarray([value])))


def _add_masks(graph: Graph, features: str, size: str, index: str) -> None:
    cells = graph.add("Slice", graph.add("Shape", features), graph.constant([2]), graph.constant([4]))
    empty = _filled(graph, graph.add("Concat", size, cells, axis=0), np.float32(OUTSIDE))
    logits = graph.add("ScatterND", empty, index, "mask_logits")  # (N, K, h, w)
    scales = graph.constant(np.asarray([1, 1, MASK_STRIDE, MASK_STRIDE], np.float32))
    large = graph.add(
        "Resize", logits, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    probabilities = graph.add("Sigmoid", large)
    inside = graph.add("And", _near_box(graph, large, 0), _near_box(graph, large, 1))
    graph.add("Where", inside, probabilities, graph.constant(0.0), name=MASKS)


def _near_box(graph: Graph, masks: str, axis: int) -> str:
    """Return which columns (N, K, 1, W), or rows (N, K, H, 1), lie in a box and its margin.

    Prediction draws no mask beyond them.

    Args:
        graph: with the output `dets`.
        masks: (N, K, H, W).
        axis: 0 for columns, 1 for rows.
    """
    flat = [1, 1, 1, -1] if axis == 0 else [1, 1, -1, 1]
    low, high = (
        graph.add("Unsqueeze", graph.add("Gather", DETS, graph.constant(i), axis=2), graph.constant([2, 3]))
        for i in (axis, axis + 2)
    )
    room = graph.add("Mul", graph.add("Sub", high, low), graph.constant(MARGIN))
    room = graph.add("Max", room, graph.constant(float(MASK_STRIDE)))
    side = graph.add("Gather", graph.add("Shape", masks), graph.constant(3 - axis), axis=0)
    pixels = graph.add("Range", graph.constant(0), side, graph.constant(1))
    pixels = graph.add("Reshape", graph.add("Cast", pixels, to=TensorProto.FLOAT), graph.constant(flat))
    ends = graph.add("Add", pixels, graph.constant(1.0))
    return graph.add(
        "And",
        graph.add("Greater", ends, graph.add("Sub", low, room)),
        graph.add("Less", pixels, graph.add("Add", high, room)),
    )


def inputs(images_bgr: NDArray[np.uint8]) -> Inputs:
    """Return the graph's input for letterboxed images (N, H, W, 3)."""
    mean, std = (np.asarray(values, np.float32) for values in (MEAN_BGR, STD_BGR))
    planes = (images_bgr.astype(np.float32) - mean) / std
    return {INPUT: np.ascontiguousarray(planes.transpose(0, 3, 1, 2))}


def read(outputs: Outputs, score: float) -> Candidates:
    """Return the detections of the first image above a score."""
    dets, labels = outputs[DETS][0], outputs[LABELS][0]
    kept = dets[:, 4] > score
    columns = {PROBABILITIES: outputs[MASKS][0][kept]} if MASKS in outputs else {}
    return Candidates(dets[kept, :4], dets[kept, 4], labels[kept].astype(np.int64), columns=columns)


MMDEPLOY = Contract(
    Layout.MMDEPLOY,
    build,
    inputs,
    read,
    colour_order="BGR",
    normalisation=NORMALISED,
    example=EXAMPLE,
    openvino_example=OPENVINO_EXAMPLE,
    suppresses=True,
    holds_masks=True,
)
