"""The layout for TensorRT: suppression by its plug-in EfficientNMS_TRT, the network in half precision.

Inputs, attributes and outputs of the plug-in are those of its version 1 in TensorRT 8 to 10. Where networks
are strongly typed, TensorRT takes the types from the file, so half precision is written into it. Boxes are
decoded in float32: half precision cannot tell neighbouring pixels of a large box apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from aerostat.deploy.layouts.contract import NO_INT8_TENSORRT, Contract, Inputs, Layout, Outputs, unit_planes
from aerostat.deploy.layouts.core import UNIT, Core, close, on_plane, unit_input
from aerostat.geometry.postprocess import Candidates

if TYPE_CHECKING:
    from onnx import ModelProto

    from aerostat.model.onnx_nms import Suppression

INPUT = "images"
OUTPUTS = ("num_dets", "det_boxes", "det_scores", "det_classes")
PLUGIN, DOMAIN = "EfficientNMS_TRT", "TRT"
"""Operator and domain; TensorRT's parser finds the plug-in by the operator's name in any domain."""
SCORE_THRESHOLD = 0.01
"""Below it the plug-in is much slower (its documentation)."""

EXAMPLE = """\
import onnx
from onnx import helper

model = onnx.load({file!r})
plugin = model.graph.node[-1]
print(plugin.op_type, {{a.name: helper.get_attribute_value(a) for a in plugin.attribute}})
for value in (*model.graph.input, *model.graph.output):
    print(value.name, [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim])
# Build an engine with trtexec, strongly typed, on the machine that runs it.
# Take det_boxes[i, :num_dets[i, 0]] of image i, in pixels of the input, and divide by the resize's scale.
"""


def build(core: Core, suppression: Suppression | None) -> ModelProto:
    """Return the graph: `images` (N, 3, H, W) to the plug-in's four outputs."""
    assert suppression is not None
    graph = core.graph
    inputs = unit_input(core, INPUT)
    graph.nodes.append(
        helper.make_node(
            PLUGIN,
            [on_plane(core, INPUT), core.scores],
            list(OUTPUTS),
            name=PLUGIN,
            domain=DOMAIN,
            plugin_version="1",
            background_class=-1,
            box_coding=0,
            score_activation=0,
            class_agnostic=0,
            score_threshold=suppression.score_threshold,
            iou_threshold=suppression.nms_iou,
            max_output_boxes=suppression.max_detections,
        )
    )
    n, most = core.shape[0], suppression.max_detections
    shapes = ([n, 1], [n, most, 4], [n, most], [n, most])
    types = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    outputs = dict(zip(OUTPUTS, zip(types, shapes, strict=True), strict=True))
    return close(core, inputs, outputs, {DOMAIN: 1})


def inputs(images_bgr: NDArray[np.uint8]) -> Inputs:
    """Return the graph's input for letterboxed images (N, H, W, 3)."""
    return {INPUT: unit_planes(images_bgr)}


def before_plugin(model: ModelProto) -> ModelProto:
    """Return the model up to the plug-in, whose two inputs become the outputs `boxes` and `scores`.

    ONNX Runtime runs it on any machine. What it lacks is the suppression by the plug-in.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    plugin = next(node for node in cut.graph.node if node.op_type == PLUGIN)
    names = list(plugin.input)
    cut.graph.node.remove(plugin)
    for value, name in zip(names, ("boxes", "scores"), strict=True):
        cut.graph.node.append(helper.make_node("Identity", [value], [name]))
    del cut.graph.output[:]
    cut.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("boxes", "scores")
    )
    imports = [domain for domain in cut.opset_import if domain.domain != DOMAIN]
    del cut.opset_import[:]
    cut.opset_import.extend(imports)
    return cut


def read(outputs: Outputs, score: float) -> Candidates:
    """Return what the plug-in would be given for the first image, above a score."""
    boxes_xyxy, scores = outputs["boxes"][0], outputs["scores"][0]
    points, labels = np.nonzero(scores > score)
    return Candidates(boxes_xyxy[points], scores[points, labels], labels.astype(np.int64))


TENSORRT = Contract(
    Layout.TENSORRT,
    build,
    inputs,
    read,
    colour_order="RGB",
    normalisation=UNIT,
    example=EXAMPLE,
    suppresses=True,
    score_threshold=SCORE_THRESHOLD,
    half=True,
    kinds=("onnx",),
    no_int8=NO_INT8_TENSORRT,
    no_dynamic="an engine is built for one input size",
    runnable=before_plugin,
    remark="The graph up to the plug-in ran in ONNX Runtime; TensorRT itself was not run.",
)
