"""The exported network without its own input and outputs, to which a layout adds others.

A layout starts from the graph of aerostat's own layout, after quantisation or rounding to half precision.
It gives the network another input, adds nodes after `boxes` and `scores`, and closes the graph. What no
output needs is left out then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aerostat.model import MEAN_BGR, STD_BGR
from aerostat.model.onnx_nodes import Graph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

NORMALISED = f"(pixel - mean) / std, mean {list(MEAN_BGR)}, std {list(STD_BGR)}, BGR"
"""What a caller does for `normalised_input`."""
UNIT = "pixel / 255; the graph does the rest"
"""What a caller does for `unit_input`."""
_LAST_OF_INPUT = "one_over_std_bgr"
"""Constant of the last node that belongs to the input of aerostat's own layout."""

Values = Mapping[str, tuple[int, Sequence[Any]]]
"""Type and shape of inputs or outputs, by name."""


@dataclass
class Core:
    """The network in an unfinished graph.

    Args:
        graph: nodes and constants.
        planes: value that the network takes, normalised BGR (N, 3, H, W) float32.
        boxes: (N, P, 4) xyxy in input pixels, not clipped.
        scores: (N, P, K).
        points: (1, P, 4) x, y, x, y of the points.
        kernels: (N, P, 169); empty without masks.
        mask_features: (N, 8, h, w); empty without masks.
        shape: N, 3, H, W of the input; names for what may vary.
        counts: number of points and of classes; the former is a name if it may vary.
        model: of aerostat's own layout.
    """

    graph: Graph
    planes: str
    boxes: str
    scores: str
    points: str
    kernels: str
    mask_features: str
    shape: tuple[Any, int, Any, Any]
    counts: tuple[Any, int]
    model: ModelProto

    @property
    def cells(self) -> tuple[Any, Any]:
        """Height and width in cells of stride 8; names for what may vary."""
        height, width = self.shape[2:]
        return (height // 8, width // 8) if isinstance(height, int) else ("h", "w")


def open_core(model: ModelProto) -> Core:
    """Return the network of a model of aerostat's own layout, without suppression."""
    nodes = [_copy(node) for node in model.graph.node]
    constants = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    graph = Graph(nodes, constants)
    planes = next(node.output[0] for node in nodes if _LAST_OF_INPUT in node.input)
    points = next(node.input[1] for node in nodes if node.output[0] == "boxes")
    sizes = {value.name: _sizes(value) for value in (*model.graph.input, *model.graph.output)}
    count, height, width, _ = sizes["images"]
    _, points_count, classes = sizes["scores"]
    return Core(
        graph,
        planes,
        boxes=rename(graph, "boxes", "network_boxes"),
        scores=rename(graph, "scores", "network_scores"),
        points=points,
        kernels="kernels" if "kernels" in sizes else "",
        mask_features="mask_features" if "mask_features" in sizes else "",
        shape=(count, 3, height, width),
        counts=(points_count, classes),
        model=model,
    )


def rename(graph: Graph, value: str, name: str) -> str:
    """Give a value that no node takes yet another name, so that an output may have the old one."""
    for node in graph.nodes:
        if value in node.output:
            node.output[list(node.output).index(value)] = name
            node.name = name if node.name == value else node.name
    return name


def normalised_input(core: Core, name: str) -> Values:
    """Let the network take normalised BGR planes (N, 3, H, W) float32, and return the input."""
    _feed(core, name)
    return {name: (TensorProto.FLOAT, core.shape)}


def unit_input(core: Core, name: str) -> Values:
    """Let the network take RGB planes (N, 3, H, W) float32 from 0 to 1, and return the input.

    Mean and deviation become two nodes. The first convolution reads the channels in the other order, so no
    node has to swap them.
    """
    graph, before = core.graph, len(core.graph.nodes)
    std, mean = (np.asarray(values[::-1]).reshape(1, 3, 1, 1) for values in (STD_BGR, MEAN_BGR))
    factor = graph.constant((255 / std).astype(np.float32), "scale_rgb")
    shift = graph.constant((mean / std).astype(np.float32), "shift_rgb")
    planes = graph.add("Sub", graph.add("Mul", name, factor), shift)
    graph.nodes[:] = [*graph.nodes[before:], *graph.nodes[:before]]  # before the network, which reads them
    taken = {core.planes}
    for node in graph.nodes:
        if node.op_type == "Cast" and node.input[0] in taken:
            taken.add(node.output[0])
        if node.op_type == "Conv" and node.input[0] in taken:
            weight = graph.constants[node.input[1]]
            graph.constants[node.input[1]] = np.ascontiguousarray(weight[:, ::-1])
    _feed(core, planes)
    return {name: (TensorProto.FLOAT, core.shape)}


def plane_limits(core: Core, images: str) -> str:
    """Return width, height, width, height of the input, in a shape that boxes (N, P, 4) are compared with.

    Args:
        core: is added to.
        images: the graph's input (N, 3, H, W).
    """
    graph = core.graph
    height, width = core.shape[2:]
    if isinstance(height, int):
        return graph.constant(np.asarray([[[width, height, width, height]]], np.float32))
    sizes = graph.add("Gather", graph.add("Shape", images), graph.constant([3, 2, 3, 2]), axis=0)
    return graph.add("Cast", graph.add("Reshape", sizes, graph.constant([1, 1, 4])), to=TensorProto.FLOAT)


def on_plane(core: Core, images: str) -> str:
    """Return the boxes (N, P, 4) clipped to the input; see `plane_limits`."""
    graph = core.graph
    upper = graph.add("Min", core.boxes, plane_limits(core, images))
    return graph.add("Max", upper, graph.constant(0.0))


def close(core: Core, inputs: Values, outputs: Values, domains: Mapping[str, int] = {}) -> ModelProto:
    """Return the finished model: what leads to the outputs, and nothing else.

    Args:
        core: with all nodes that a layout adds.
        inputs, outputs: of the graph.
        domains: version of each further domain of operators.
    """
    wanted, kept = set(outputs), list[Any]()
    for node in reversed(core.graph.nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    arrays = {name: value for name, value in core.graph.constants.items() if name in wanted}
    model = core.model
    closed = helper.make_model(
        helper.make_graph(
            kept[::-1],
            model.graph.name,
            [helper.make_tensor_value_info(name, *about) for name, about in inputs.items()],
            [helper.make_tensor_value_info(name, *about) for name, about in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in arrays.items()],
        ),
        opset_imports=[*model.opset_import, *(helper.make_opsetid(*domain) for domain in domains.items())],
        ir_version=model.ir_version,
        producer_name=model.producer_name,
    )
    onnx.checker.check_model(closed)
    return closed


def _feed(core: Core, value: str) -> None:
    """Let all nodes that take the network's input take another value."""
    for node in core.graph.nodes:
        for place, name in enumerate(node.input):
            if name == core.planes:
                node.input[place] = value
    core.planes = value


def _copy(node: NodeProto) -> NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _sizes(value: Any) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
