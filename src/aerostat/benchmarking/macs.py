"""Work of a network: multiply-adds, parameters, and bytes that have to be moved."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

FLOAT_BYTES = 4
"""Size of a float32."""


@dataclass(frozen=True)
class Work:
    """Work of one image.

    Args:
        parameters: number of parameters. In an exported graph these are weights and biases of the
            convolutions, with normalisation folded in; what levels of the head share counts for each level.
        macs: multiply-adds of the convolutions. Published figures also count normalisation, which adds 0.3
            to 1 per cent.
        weight_bytes: size of the parameters.
        map_bytes: size of all inputs and outputs of convolutions, each moved once in float32.
    """

    parameters: int
    macs: int
    weight_bytes: int
    map_bytes: int

    def moved_bytes(self, batch: int) -> int:
        """Return the bytes that a batch moves; the weights are read once for all images."""
        return self.weight_bytes + batch * self.map_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the work as JSON values."""
        return asdict(self)


def count_work(net: nn.Module, input_size: tuple[int, int]) -> Work:
    """Return the work of one image, counted over all convolutions and linear layers.

    Nothing is computed, so it takes as long for the largest network as for the smallest.

    Args:
        net: a network; it stays as it is.
        input_size: (width, height) of the input in pixels.
    """
    import torch
    from torch import nn

    macs, map_bytes = 0, 0

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, map_bytes
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        macs += output.numel() * math.prod(weight.shape[1:])
        map_bytes += FLOAT_BYTES * (inputs[0].numel() + output.numel())

    watched = copy.deepcopy(net).eval().to("meta")
    for module in watched.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(watch)
    width, height = input_size
    with torch.no_grad():
        watched(torch.empty(1, 3, height, width, device="meta"))
    parameters = list(net.parameters())  # without repetition of shared ones
    weight_bytes = sum(p.numel() * p.element_size() for p in parameters)
    return Work(sum(p.numel() for p in parameters), macs, weight_bytes, map_bytes)


def count_onnx_work(path: Path, input_size: tuple[int, int]) -> Work | None:
    """Return the work of one image in an exported ONNX file, None if the package onnx is not installed.

    Args:
        path: path of a file with one input of images (N, H, W, 3).
        input_size: (width, height) of the input in pixels.
    """
    try:
        import onnx
    except ImportError:
        return None
    model = onnx.load(str(path))
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    for dimension, value in zip(dimensions, (1, input_size[1], input_size[0]), strict=False):
        dimension.dim_value = value
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes: dict[str, Sequence[int]] = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
    }
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in inferred.initializer}
    shapes |= {name: array.shape for name, array in stored.items()}
    sources = {name: node for node in inferred.node for name in node.output}
    parameters = macs = weight_bytes = map_bytes = 0
    seen: set[str] = set()
    for node in inferred.node:
        if node.op_type != "Conv":
            continue
        seen_by, given = shapes[node.input[0]], shapes[node.output[0]]
        macs += math.prod(given) * math.prod(shapes[node.input[1]][1:])
        map_bytes += FLOAT_BYTES * (math.prod(seen_by) + math.prod(given))
        for name in node.input[1:]:
            if name not in stored and name in sources:  # quantised weights are dequantised by a node before
                name = sources[name].input[0]
            if name in stored and name not in seen:
                seen.add(name)
                parameters += stored[name].size
                weight_bytes += stored[name].nbytes
    return Work(parameters, macs, weight_bytes, map_bytes)
