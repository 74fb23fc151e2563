"""Exported models in older versions of ONNX's operators, for consumers that do not read the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from aerostat.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8}
"""Version of the file format that came with each (onnx, `docs/Versioning.md`)."""
AXES_AS_INPUT = 13
"""From this version on the operators below take their axes as an input; before, as an attribute."""
INT8 = 13
"""First version with a scale for each channel of a weight."""
_AXES = {"Unsqueeze": "axes", "Squeeze": "axes", "ReduceSum": "axes", "Split": "split"}


def in_opset(model: ModelProto, opset: int) -> ModelProto:
    """Return a model of ours in an older version of the operators.

    Args:
        model: in version 17; left as it is.
        opset: one of `IR_VERSIONS`.

    Raises:
        InputError: the version has no INT8 as it is written here.
    """
    older = onnx.ModelProto()
    older.CopyFrom(model)
    if any(node.op_type == "DequantizeLinear" for node in older.graph.node) and opset < INT8:
        raise InputError(f"INT8 with a scale for each channel needs an `opset` of at least {INT8}.")
    for domain in older.opset_import:
        if not domain.domain:
            domain.version = opset
    older.ir_version = IR_VERSIONS[opset]
    if opset < AXES_AS_INPUT:
        _with_attributes(older)
    onnx.checker.check_model(older)
    return older


def _with_attributes(model: ModelProto) -> None:
    """Turn axes and sizes that are constant inputs into attributes, and give Resize all its inputs."""
    arrays = {array.name: array for array in model.graph.initializer}
    no_values = "no_values"
    for node in model.graph.node:
        if node.op_type in _AXES and len(node.input) > 1:
            values: Any = numpy_helper.to_array(arrays[node.input[1]]).tolist()
            del node.input[1:]
            node.attribute.append(helper.make_attribute(_AXES[node.op_type], values))
        if node.op_type == "Resize":
            node.input[:] = [name or no_values for name in node.input]
    if any(no_values in node.input for node in model.graph.node):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), no_values))
    taken = {name for node in model.graph.node for name in node.input}
    kept = [
        onnx.TensorProto.FromString(array.SerializeToString())  # the list that owns it is emptied
        for array in model.graph.initializer
        if array.name in taken
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
