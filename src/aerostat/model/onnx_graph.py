"""RTMDet as an ONNX graph, written from a trace of the folded network.

The writer knows the dozen operations of an RTMDet. It takes milliseconds and gives a minimal graph; torch's
exporters take seconds to minutes and need further packages.

The graph takes `images` (N, H, W, 3) uint8, BGR, as the letterbox gives them. Channel order, mean and
deviation are inside the graph, so a caller cannot confuse them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn
from torch.nn import functional

from aerostat.geometry.mask_kernels import KERNEL_PARAMETERS, MASK_STRIDE, PROTOTYPES
from aerostat.geometry.postprocess import STRIDES
from aerostat.model import MEAN_BGR, STD_BGR, BoxOutputs, InstanceOutputs, RTMDet, level_points
from aerostat.model.folding import FoldedConv, folded
from aerostat.model.onnx_masks import drawn_masks, strides_of
from aerostat.model.onnx_nms import Suppression, on_content, suppressed
from aerostat.model.onnx_nodes import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
"""Version of ONNX's operators: has all that are used here, and every runtime in use reads it."""
IR_VERSION = 8
"""Version of the file format that came with this opset."""


def onnx_model(
    net: RTMDet,
    *,
    input_size: tuple[int, int],
    batch: int | None = 1,
    dynamic: bool = False,
    suppression: Suppression | None = None,
    metadata: dict[str, str] | None = None,
) -> ModelProto:
    """Return a network as an ONNX model.

    Without suppression its outputs are `boxes` (N, P, 4) xyxy in input pixels and `scores` (N, P, K). P are
    the points of the levels of stride 8, 16 and 32, row by row.

    With suppression its outputs are the M kept boxes of all images, image by image, best first: `boxes`
    (M, 4), `scores` (M,), `labels` (M,) int64 and `image_indices` (M,) int64, the place in the batch. It then
    has a second input, `content_sizes` (N, 2) float32: width and height of each resized photograph within its
    padded input, to which boxes are clipped first.

    A network with masks has two more outputs: `kernels` (N, P, 169) and `mask_features` (N, 8, h, w) of
    stride 8; see `geometry.mask_kernels`. With suppression it has `masks` (M, h, w) instead, logits of stride
    8 that are `OUTSIDE` in the cells beyond each box and its margin.

    Args:
        net: on the CPU.
        input_size: (width, height) in pixels; ignored if `dynamic`.
        batch: images per call; None for any number.
        dynamic: whether height and width may be any multiples of 32.
        suppression: settings of suppression inside the graph; None leaves it out.
        metadata: key-value pairs stored in the file.
    """
    graph = Graph()
    width, height = input_size
    cls, reg, kernels, features = _network(graph, net, _normalised(graph))
    num_classes = net.bbox_head.num_classes
    logits = _points_first(graph, cls, num_classes)
    scores = graph.add("Sigmoid", logits, name="" if suppression else "scores")
    distances = _points_first(graph, reg, 4)
    signed = graph.add("Mul", distances, graph.constant(np.asarray([-1, -1, 1, 1], np.float32)))
    if dynamic:
        points = _points_of(graph, cls)
    else:
        places = level_points([(height // s, width // s) for s in STRIDES])[:, :2].numpy()
        points = graph.constant(np.concatenate([places, places], 1)[None], "points")
    if kernels:
        name = "" if suppression else "kernels"
        kernels = [_points_first(graph, kernels, KERNEL_PARAMETERS, name)]
        if suppression is None:
            features = graph.renamed(features, "mask_features")
    boxes = graph.add("Add", signed, points, name="" if suppression else "boxes")
    images: list[Any] = [batch or "N", *(("H", "W") if dynamic else (height, width)), 3]
    inputs = {"images": (TensorProto.UINT8, images)}
    if suppression is not None:
        inputs["content_sizes"] = (TensorProto.FLOAT, [batch or "N", 2])
        limits = graph.add("Concat", "content_sizes", "content_sizes", axis=1)
        limits = graph.add("Unsqueeze", limits, graph.constant([1]))  # (N, 1, 4)
        boxes, scores = on_content(graph, boxes, scores, limits)
        place = suppressed(graph, boxes, scores, suppression)
        if kernels:
            drawn_masks(graph, kernels[0], features, points, strides_of(graph, cls), place)
    outputs = _outputs(net, images, dynamic=dynamic, suppressed=suppression is not None)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "RTMDet",
            [helper.make_tensor_value_info(name, *about) for name, about in inputs.items()],
            [helper.make_tensor_value_info(name, *about) for name, about in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="aerostat",
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model


def _outputs(
    net: RTMDet, images: Sequence[Any], *, dynamic: bool, suppressed: bool
) -> dict[str, tuple[int, list[Any]]]:
    """Return type and shape of each output by name.

    Args:
        net: the network.
        images: shape of the input (N, H, W, 3).
        dynamic: whether the sides are names.
        suppressed: whether suppression is in the graph.
    """
    n, height, width, _ = images
    cells = ["h", "w"] if dynamic else [height // MASK_STRIDE, width // MASK_STRIDE]
    outputs: dict[str, tuple[int, list[Any]]]
    if suppressed:
        outputs = {
            "boxes": (TensorProto.FLOAT, ["M", 4]),
            "scores": (TensorProto.FLOAT, ["M"]),
            "labels": (TensorProto.INT64, ["M"]),
            "image_indices": (TensorProto.INT64, ["M"]),
        }
        if net.has_masks:
            outputs["masks"] = (TensorProto.FLOAT, ["M", *cells])
        return outputs
    count = "P" if dynamic else sum((width // s) * (height // s) for s in STRIDES)
    outputs = {
        "boxes": (TensorProto.FLOAT, [n, count, 4]),
        "scores": (TensorProto.FLOAT, [n, count, net.bbox_head.num_classes]),
    }
    if net.has_masks:
        outputs["kernels"] = (TensorProto.FLOAT, [n, count, KERNEL_PARAMETERS])
        outputs["mask_features"] = (TensorProto.FLOAT, [n, PROTOTYPES, *cells])
    return outputs


def _normalised(graph: Graph) -> str:
    """Add the normalisation of images (N, H, W, 3) uint8; returns the network's input (N, 3, H, W)."""
    planes = graph.add("Transpose", "images", perm=[0, 3, 1, 2])
    planes = graph.add("Cast", planes, to=TensorProto.FLOAT)
    mean = graph.constant(np.asarray(MEAN_BGR, np.float32).reshape(1, 3, 1, 1), "mean_bgr")
    factor = graph.constant((1 / np.asarray(STD_BGR, np.float32)).reshape(1, 3, 1, 1), "one_over_std_bgr")
    return graph.add("Mul", graph.add("Sub", planes, mean), factor)


class _Trunk(nn.Module):
    """The network without the check of its input's shape, which cannot be traced."""

    def __init__(self, net: RTMDet) -> None:
        super().__init__()
        self.backbone, self.neck, self.bbox_head = net.backbone, net.neck, net.bbox_head

    def forward(self, images: Tensor) -> Any:
        return self.bbox_head(self.neck(self.backbone(images)))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, FoldedConv) or super().is_leaf_module(m, module_qualified_name)


def _network(graph: Graph, net: RTMDet, images: str) -> tuple[list[str], list[str], list[str], str]:
    """Add backbone, neck and head.

    Returns:
        Per level logits (N, K, h, w), distances (N, 4, h, w) and kernels (N, 169, h, w), and the mask
        features (N, 8, h, w). Without masks there are no kernels, and the name of the features is empty.
    """
    trunk = _Trunk(folded(net.eval()))  # type: ignore[arg-type]
    values: dict[fx.Node, Any] = {}
    for node in _Tracer().trace(trunk).nodes:
        arguments = fx.map_arg(node.args, lambda n: values[n])
        if node.op == "placeholder":
            values[node] = images
        elif node.op == "call_module":
            module = trunk.get_submodule(str(node.target))
            values[node] = _module(graph, module, arguments[0], str(node.target))
        elif node.op in ("call_function", "call_method"):
            named = fx.map_arg(node.kwargs, lambda n: values[n])
            values[node] = _OPERATIONS[node.target](graph, *arguments, **named)
        elif node.op == "output":
            cls, reg, *masks = arguments[0]
            kernels, features = masks or ((), "")
            return list(cls), list(reg), list(kernels), features
    raise AssertionError("a trace without an output")


def _module(graph: Graph, module: nn.Module, x: str, name: str) -> str:
    if isinstance(module, FoldedConv):
        y = _convolution(graph, module.conv, x, f"{name}.conv")
        return graph.add("Mul", y, graph.add("Sigmoid", y, name=f"{name}.sigmoid"), name=name)
    if isinstance(module, nn.Conv2d):
        return _convolution(graph, module, x, name)
    if isinstance(module, nn.Hardsigmoid):
        return graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5, name=name)
    if isinstance(module, nn.MaxPool2d):
        kernel, pad = int(module.kernel_size), int(module.padding)  # type: ignore[arg-type]
        return graph.add("MaxPool", x, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[1, 1], name=name)
    raise AssertionError(f"no ONNX for {type(module).__name__}")


def _convolution(graph: Graph, conv: nn.Conv2d, x: str, name: str) -> str:
    weight = graph.constant(conv.weight.detach().cpu().numpy(), f"{name}.weight")
    assert conv.bias is not None
    bias = graph.constant(conv.bias.detach().cpu().numpy(), f"{name}.bias")
    kernel, pad, stride = (list(map(int, v)) for v in (conv.kernel_size, conv.padding, conv.stride))
    return graph.add(
        "Conv",
        x,
        weight,
        bias,
        name=name,
        kernel_shape=kernel,
        pads=pad * 2,
        strides=stride,
        group=conv.groups,
    )


def _mean(graph: Graph, x: str, *_: Any, **__: Any) -> str:
    return graph.add("GlobalAveragePool", x)  # the network's only mean is over height and width


def _resized(graph: Graph, x: str, **how: Any) -> str:
    """Add the upsampling of the neck, which doubles a level, or of the mask branch, to the first level."""
    if how.get("mode") == "bilinear":
        whole = graph.add("Shape", x)
        first = graph.add("Slice", whole, graph.constant([0]), graph.constant([2]))
        sizes = graph.add("Concat", first, how["size"], axis=0)
        return graph.add(
            "Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel"
        )
    scales = graph.constant(np.asarray([1, 1, 2, 2], np.float32))
    return graph.add(
        "Resize",
        x,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _times(graph: Graph, x: str, y: str | float) -> str:
    return graph.add("Mul", x, y if isinstance(y, str) else graph.constant(float(y)))


def _same(graph: Graph, x: Any, *_: Any, **__: Any) -> Any:
    return x


_OPERATIONS: dict[Any, Callable[..., Any]] = {
    torch.cat: lambda graph, parts, dim=1: graph.add("Concat", *parts, axis=dim),
    operator.add: lambda graph, x, y: graph.add("Add", x, y),
    operator.mul: _times,
    functional.interpolate: _resized,
    functional.relu: lambda graph, x, **_: graph.add("Relu", x),
    getattr: lambda graph, x, attribute: graph.add("Shape", x) if attribute == "shape" else attribute,
    operator.getitem: lambda graph, shape, part: graph.add(
        "Slice", shape, graph.constant([part.start]), graph.constant([4])
    ),
    BoxOutputs: lambda graph, *parts: parts,
    InstanceOutputs: lambda graph, *parts: parts,
    "mean": _mean,
    "to": _same,
    "float": _same,
    "exp": lambda graph, x: graph.add("Exp", x),
}
"""Functions and methods in the trace of an RTMDet, in addition to modules."""


def _points_first(graph: Graph, levels: Sequence[str], channels: int, name: str = "") -> str:
    """Return levels (N, C, h, w) as (N, P, C)."""
    shape = graph.constant([0, -1, channels])
    rows = [graph.add("Reshape", graph.add("Transpose", x, perm=[0, 2, 3, 1]), shape) for x in levels]
    return graph.add("Concat", *rows, axis=1, name=name)


def _points_of(graph: Graph, levels: Sequence[str]) -> str:
    """Return the points x, y, x, y (1, P, 4) of levels (N, C, h, w) of any size."""
    parts = []
    for level, stride in zip(levels, STRIDES, strict=True):
        x, y = graph.cells_of(level, (1, -1, 1))
        cells = graph.add("Cast", graph.add("Concat", x, y, x, y, axis=2), to=TensorProto.FLOAT)
        parts.append(graph.add("Mul", cells, graph.constant(float(stride))))
    return graph.add("Concat", *parts, axis=1)
