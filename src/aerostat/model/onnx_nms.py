"""Non-maximum suppression as a part of an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from aerostat.model.onnx_nodes import Graph


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression as a part of the graph.

    Args:
        score_threshold: candidates need a higher score.
        nms_iou: IoU above which the weaker of two boxes of a class is suppressed.
        max_detections: boxes kept per image.
    """

    score_threshold: float
    nms_iou: float
    max_detections: int


def on_content(graph: Graph, boxes: str, scores: str, limits: str) -> tuple[str, str]:
    """Return boxes clipped to the picture, and scores, set to 0 for boxes of no area.

    Args:
        graph: is added to.
        boxes: (N, P, 4) xyxy.
        scores: (N, P, K).
        limits: (N, 1, 4) width, height, width, height of the picture.
    """
    clipped = graph.add("Max", graph.add("Min", boxes, limits), graph.constant(0.0))
    first, last, end = (graph.constant([i]) for i in (0, 2, 4))
    axis = graph.constant([2])
    sides = graph.add(
        "Sub", graph.add("Slice", clipped, last, end, axis), graph.add("Slice", clipped, first, last, axis)
    )
    least = graph.add("ReduceMin", sides, axes=[2], keepdims=1)  # (N, P, 1)
    solid = graph.add("Cast", graph.add("Greater", least, graph.constant(0.0)), to=TensorProto.FLOAT)
    return clipped, graph.add("Mul", scores, solid)


def suppressed(graph: Graph, boxes: str, scores: str, how: Suppression) -> str:
    """Add class-wise suppression and the best boxes of each image, with the outputs of `onnx_model`.

    Returns:
        Image and point (M, 2) of each kept box.
    """
    picked = graph.add(
        "NonMaxSuppression",
        boxes,
        graph.add("Transpose", scores, perm=[0, 2, 1]),
        graph.constant([how.max_detections]),
        graph.constant(np.asarray([how.nms_iou], np.float32)),
        graph.constant(np.asarray([how.score_threshold], np.float32)),
    )  # (M, 3): image, class, point
    image, label, point = (graph.add("Gather", picked, graph.constant(column), axis=1) for column in range(3))
    by_point = graph.add("Gather", picked, graph.constant([0, 2, 1]), axis=1)
    score = graph.add("GatherND", scores, by_point)
    # Sort by image, then by falling score: scores are below 2, so the key is 2 x image - score.
    two = graph.add("Cast", graph.constant(2.0), to=TensorProto.DOUBLE)
    key = graph.add("Mul", graph.add("Cast", image, to=TensorProto.DOUBLE), two)
    key = graph.add("Sub", key, graph.add("Cast", score, to=TensorProto.DOUBLE))
    number = graph.add("Shape", score)
    graph.add("TopK", key, number, axis=0, largest=0, outputs=2, name="sorted")
    order = graph.add("Gather", "sorted.1", _best_of_each(graph, image, boxes, number, how), axis=0)
    where = graph.add("Gather", image, order, axis=0)
    place = graph.add(
        "Concat", _column(graph, where), _column(graph, graph.add("Gather", point, order)), axis=1
    )
    graph.add("GatherND", boxes, place, name="boxes")
    graph.add("Gather", score, order, axis=0, name="scores")
    graph.add("Gather", label, order, axis=0, name="labels")
    graph.add("Identity", where, name="image_indices")
    return place


def _best_of_each(graph: Graph, image: str, boxes: str, number: str, how: Suppression) -> str:
    """Return the places (m,) in sorted order of each image's best `max_detections`; `image` is unsorted."""
    sorted_image = graph.add("Gather", image, "sorted.1", axis=0)
    shape = graph.add("Shape", boxes)
    batch = graph.add("Gather", shape, graph.constant([0]), axis=0)
    zero_one = graph.constant([0, 1])
    ones = graph.add("OneHot", image, batch, zero_one, axis=0)  # (N, M)
    counts = graph.add("ReduceSum", ones, graph.constant([1]), keepdims=0)
    first = graph.add("CumSum", counts, graph.constant(0), exclusive=1)
    zero, one = graph.constant(0), graph.constant(1)
    place = graph.add("Range", zero, graph.add("Squeeze", number), one)
    rank = graph.add("Sub", place, graph.add("Gather", first, sorted_image, axis=0))
    good = graph.add("Less", rank, graph.constant(how.max_detections))
    return graph.add("Compress", place, good, axis=0)


def _column(graph: Graph, values: str) -> str:
    return graph.add("Unsqueeze", values, graph.constant([1]))
