"""The layout of Ultralytics' detectors, which OpenCV's samples and many clients read.

The output (N, 4 + K, P) has centre x, centre y, width and height in pixels of the input, then a score for
each class. Ultralytics' reader takes `names`, `imgsz`, `stride`, `task` and `batch` from the metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from aerostat.deploy.layouts.contract import LETTERBOXED, Contract, Inputs, Layout, Outputs, unit_planes
from aerostat.deploy.layouts.core import UNIT, Core, close, on_plane, unit_input
from aerostat.geometry.postprocess import STRIDES, Candidates
from aerostat.inference.backends.exported import Exported

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from aerostat.model.onnx_nms import Suppression
    from aerostat.model.onnx_nodes import Graph

INPUT, OUTPUT = "images", "output0"

EXAMPLE = (
    """\
import cv2
import numpy as np

net = cv2.dnn.readNetFromONNX({file!r})
"""
    + LETTERBOXED
    + """\
net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))
rows = net.forward()[0].T  # centre x, centre y, width, height, scores
boxes, scores, labels = rows[:, :4], rows[:, 4:].max(1), rows[:, 4:].argmax(1)
boxes[:, :2] -= boxes[:, 2:] / 2
for i in np.ravel(cv2.dnn.NMSBoxesBatched(boxes, scores, labels, 0.3, 0.65)).astype(int):
    print({classes!r}[labels[i]], round(float(scores[i]), 2), boxes[i] / scale)
"""
)
OPENVINO_EXAMPLE = (
    EXAMPLE.replace("import numpy as np\n", "import numpy as np\nimport openvino\n")
    .replace(
        "net = cv2.dnn.readNetFromONNX({file!r})",
        'model = openvino.compile_model({file!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})',
    )
    .replace(
        """net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))
rows = net.forward()[0].T""",
        "rows = model(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))[0][0].T.copy()",
    )
)


def build(core: Core, _: Suppression | None) -> ModelProto:
    """Return the graph: `images` (N, 3, H, W) to `output0` (N, 4 + K, P)."""
    graph = core.graph
    inputs = unit_input(core, INPUT)
    _spell_out_hard_sigmoid(graph)
    boxes, axis = on_plane(core, INPUT), graph.constant([2])
    first, middle, end = (graph.constant([at]) for at in (0, 2, 4))
    low = graph.add("Slice", boxes, first, middle, axis)
    high = graph.add("Slice", boxes, middle, end, axis)
    centre = graph.add("Mul", graph.add("Add", low, high), graph.constant(0.5))
    rows = graph.add("Concat", centre, graph.add("Sub", high, low), core.scores, axis=2)
    graph.add("Transpose", rows, perm=[0, 2, 1], name=OUTPUT)
    points, classes = core.counts
    return close(core, inputs, {OUTPUT: (TensorProto.FLOAT, [core.shape[0], 4 + classes, points])})


def _spell_out_hard_sigmoid(graph: Graph) -> None:
    """Write each HardSigmoid as the four operators that it stands for.

    OpenCV (4.13 and 5.0) takes `Mul(x, HardSigmoid(y))` for HardSwish of y, whatever x is, and drops x.
    Channel attention is such a product.
    """
    half = any(value.dtype == np.float16 for value in graph.constants.values())
    kind = np.float16 if half else np.float32
    slope, half_way, zero, one = (
        graph.constant(np.asarray(value, kind), name)
        for name, value in (("slope", 1 / 6), ("half_way", 0.5), ("zero", 0), ("one", 1))
    )
    nodes: list[NodeProto] = []
    for node in graph.nodes:
        if node.op_type != "HardSigmoid":
            nodes.append(node)
            continue
        output = node.output[0]
        value = node.input[0]
        for operator, other in (("Mul", slope), ("Add", half_way), ("Max", zero)):
            name = f"{output}.{operator}"
            nodes.append(helper.make_node(operator, [value, other], [name], name=name))
            value = name
        nodes.append(helper.make_node("Min", [value, one], [output], name=output))
    graph.nodes[:] = nodes


def inputs(images_bgr: NDArray[np.uint8]) -> Inputs:
    """Return the graph's input for letterboxed images (N, H, W, 3)."""
    return {INPUT: unit_planes(images_bgr)}


def read(outputs: Outputs, score: float) -> Candidates:
    """Return the candidates of the first image above a score."""
    rows = outputs[OUTPUT][0].T
    points, labels = np.nonzero(rows[:, 4:] > score)
    centre, half = rows[points, :2], rows[points, 2:4] / 2
    return Candidates(
        np.concatenate([centre - half, centre + half], 1), rows[points, 4 + labels], labels.astype(np.int64)
    )


def metadata(exported: Exported) -> dict[str, str]:
    """Return the entries that Ultralytics' reader looks for, as Python literals."""
    width, height = exported.input_size
    free = exported.batch is None
    return {
        "description": f"RTMDet-{exported.size} by aerostat",
        "license": exported.licence or "not stated",
        "stride": str(STRIDES[-1]),
        "task": "detect",
        "batch": str(exported.batch or 1),
        "imgsz": str([height, width]),
        "names": str(dict(enumerate(exported.classes))),
        "args": str({"dynamic": free, "half": exported.precision == "float16", "nms": False}),
    }


YOLO = Contract(
    Layout.YOLO,
    build,
    inputs,
    read,
    colour_order="RGB",
    normalisation=UNIT,
    example=EXAMPLE,
    openvino_example=OPENVINO_EXAMPLE,
    metadata=metadata,
)
