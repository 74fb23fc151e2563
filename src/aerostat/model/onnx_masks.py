"""Masks of kept boxes as a part of an ONNX graph; `geometry.mask_kernels` describes what draws them."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import TensorProto

from aerostat.geometry.mask_kernels import (
    CHANNELS,
    COORDINATE_SCALE,
    KERNEL_PARTS,
    MASK_STRIDE,
    PROTOTYPES,
    WEIGHTS,
)
from aerostat.geometry.postprocess import STRIDES
from aerostat.model.onnx_nodes import Graph

OUTSIDE = -100.0
"""Logit of the cells beyond a box and its margin."""
MARGIN = 0.5
"""Share of a box's sides, and at least two cells, beyond which a mask is not drawn. It is wider than what
prediction uses by default."""


def drawn_masks(graph: Graph, kernels: str, features: str, points: str, strides: str, place: str) -> None:
    """Add the masks (M, h, w) of kept boxes, as the output `masks`.

    Args:
        graph: with the output `boxes` (M, 4) and `image_indices` (M,).
        kernels: (N, P, 169).
        features: (N, 8, h, w).
        points: (1, P, 4) x, y, x, y of each point.
        strides: (P,) of each point.
        place: (M, 2) image and point of each kept box.
    """
    kernel = graph.add("GatherND", kernels, place)  # (M, 169)
    point = graph.add("Gather", place, graph.constant(1), axis=1)  # (M,)
    row_of_point = graph.add("Gather", graph.add("Squeeze", points, graph.constant([0])), point, axis=0)
    scale = graph.add(
        "Mul", graph.add("Gather", strides, point, axis=0), graph.constant(float(COORDINATE_SCALE))
    )
    scale = graph.add("Unsqueeze", scale, graph.constant([1, 2]))  # (M, 1, 1)
    sizes, count = graph.constant(KERNEL_PARTS), len(KERNEL_PARTS)
    graph.add("Split", kernel, sizes, axis=1, outputs=count, name="kernel_parts")
    parts = ["kernel_parts", *(f"kernel_parts.{i}" for i in range(1, count))]
    weights = [
        graph.add("Reshape", part, graph.constant([-1, rows, columns]))
        for part, (rows, columns) in zip(parts, WEIGHTS, strict=False)
    ]
    biases = [graph.add("Unsqueeze", part, graph.constant([2])) for part in parts[len(WEIGHTS) :]]
    ends, axis = graph.constant([2]), graph.constant([2])
    of_places = graph.add("Slice", weights[0], graph.constant([0]), ends, axis)  # (M, 8, 2)
    of_places = graph.add("Div", of_places, scale)
    of_features = graph.add("Slice", weights[0], ends, graph.constant([PROTOTYPES + 2]), axis)
    at = graph.add("Slice", row_of_point, graph.constant([0]), graph.constant([2]), graph.constant([1]))
    shift = graph.add("MatMul", of_places, graph.add("Unsqueeze", at, graph.constant([2])))  # (M, 8, 1)
    first = graph.add("Concat", of_features, graph.add("Neg", of_places), axis=2)  # (M, 8, 10)
    x, y, rows = _rows(graph, features)
    hidden = graph.add("MatMul", first, graph.add("Gather", rows, "image_indices", axis=0))
    hidden = graph.add("Relu", graph.add("Add", hidden, graph.add("Add", biases[0], shift)))
    hidden = graph.add("Relu", graph.add("Add", graph.add("MatMul", weights[1], hidden), biases[1]))
    logits = graph.add("Add", graph.add("MatMul", weights[2], hidden), biases[2])  # (M, 1, h * w)
    logits = graph.add("Where", _near_box(graph, x, y), logits, graph.constant(OUTSIDE))
    shape = graph.add("Slice", graph.add("Shape", features), graph.constant([2]), graph.constant([4]))
    graph.add("Reshape", logits, graph.add("Concat", graph.constant([-1]), shape, axis=0), name="masks")


def strides_of(graph: Graph, levels: Sequence[str]) -> str:
    """Return the stride (P,) of each point of levels (N, C, h, w)."""
    parts = []
    for level, stride in zip(levels, STRIDES, strict=True):
        shape = graph.add("Shape", level)
        size = graph.add("Slice", shape, graph.constant([2]), graph.constant([4]))
        count = graph.add("ReduceProd", size, axes=[0], keepdims=1)
        parts.append(graph.add("Expand", graph.constant(float(stride)), count))
    return graph.add("Concat", *parts, axis=0)


def _rows(graph: Graph, features: str) -> tuple[str, str, str]:
    """Return x (1, 1, h * w) and y of each cell in pixels, and the features with both (N, 10, h * w)."""
    stride = graph.constant(float(MASK_STRIDE))
    x, y = (
        graph.add("Mul", graph.add("Cast", axis, to=TensorProto.FLOAT), stride)
        for axis in graph.cells_of(features, (1, 1, -1))
    )
    shape = graph.add("Shape", features)
    cells = graph.add("Reshape", features, graph.constant([0, CHANNELS, -1]))
    batch = graph.add("Slice", shape, graph.constant([0]), graph.constant([1]))
    ones = graph.constant([1, 1])
    both = graph.add(
        "Expand",
        graph.add("Concat", x, y, axis=1),
        graph.add("Concat", batch, ones, axis=0),
    )
    return x, y, graph.add("Concat", cells, both, axis=1)


def _near_box(graph: Graph, x: str, y: str) -> str:
    """Return (M, 1, h * w) whether a cell lies in a box or its margin."""
    inside = []
    for axis, cells in ((0, x), (1, y)):
        low, high = (
            graph.add(
                "Unsqueeze", graph.add("Gather", "boxes", graph.constant(i), axis=1), graph.constant([1, 2])
            )
            for i in (axis, axis + 2)
        )
        room = graph.add("Mul", graph.add("Sub", high, low), graph.constant(MARGIN))
        room = graph.add("Max", room, graph.constant(2.0 * MASK_STRIDE))
        centre = graph.add("Add", cells, graph.constant(MASK_STRIDE / 2))
        inside.append(graph.add("Greater", centre, graph.add("Sub", low, room)))
        inside.append(graph.add("Less", centre, graph.add("Add", high, room)))
    return graph.add("And", graph.add("And", *inside[:2]), graph.add("And", *inside[2:]))
