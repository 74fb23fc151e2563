"""The network of an exported model in half precision (IEEE binary16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aerostat.errors import AerostatError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

EXACT = (
    "bbox_head.rtm_cls.",
    "bbox_head.rtm_reg.",
    "bbox_head.rtm_kernel.",
    "bbox_head.mask_head.projection",
)
"""Last layers, which stay in float32 with all that follows: half precision cannot tell neighbouring pixels
of a large box apart."""


def in_half_precision(model: ModelProto) -> ModelProto:
    """Return an exported network with weights and maps in half precision.

    Inputs and outputs keep their types. The last layers, boxes, scores and suppression are
    computed in float32.

    Args:
        model: written by `aerostat.model.onnx_graph.onnx_model`, in float32; left as it is.

    Raises:
        AerostatError: a weight is too large for half precision.
    """
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    start = next(node.output[0] for node in rounded.graph.node if "one_over_std_bgr" in node.input)
    arrays = {array.name: array for array in rounded.graph.initializer}
    halves: dict[str, str] = {}  # values of the network in half precision, and their names
    widened: set[str] = set()
    needed: set[str] = set()
    nodes: list[NodeProto] = []
    for source in rounded.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(source)
        if node.output[0] == start:
            halves[start] = f"{start}.half"
            nodes += [node, _cast(start, halves[start], TensorProto.FLOAT16)]
            continue
        taken = [name for name in node.input if name in halves]
        if taken and node.name.startswith(EXACT):
            value = taken[0]
            if value not in widened:
                widened.add(value)
                nodes.append(_cast(halves[value], f"{value}.float", TensorProto.FLOAT))
            node.input[0] = f"{value}.float"
        elif taken:
            node.input[:] = [halves.get(name, name) for name in node.input]
            if node.op_type != "Shape":  # which gives whole numbers
                halves[node.output[0]] = node.output[0]
            if node.op_type != "Resize":  # whose further inputs are scales
                needed.update(_floats(node, arrays))
        nodes.append(node)
    _replace(rounded, nodes, [_rounded(arrays[name]) for name in sorted(needed)])
    onnx.checker.check_model(rounded)
    return rounded


def _floats(node: NodeProto, arrays: Mapping[str, onnx.TensorProto]) -> set[str]:
    """Let a node take its float constants in half precision, and return their names."""
    found = set()
    for place, name in enumerate(node.input):
        if name in arrays and arrays[name].data_type == TensorProto.FLOAT:
            found.add(name)
            node.input[place] = f"{name}.half"
    return found


def _cast(value: str, name: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [value], [name], name=f"{name}.cast", to=to)


def _rounded(array: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(array)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise AerostatError(
            f"The weights {array.name} reach {np.abs(values).max():.3g}, more than the 65504 that half "
            "precision holds; export them in float32."
        )
    return numpy_helper.from_array(half, f"{array.name}.half")


def _replace(model: ModelProto, nodes: list[NodeProto], halves: list[onnx.TensorProto]) -> None:
    """Give a model other nodes and further arrays, and drop arrays that no node takes."""
    taken = {name for node in nodes for name in node.input}
    kept = []
    for array in (*model.graph.initializer, *halves):
        if array.name in taken:
            copied = onnx.TensorProto()
            copied.CopyFrom(array)
            kept.append(copied)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
