"""A file of each layout gives what the weights give, in the tensors that its readers expect."""

import ast
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from aerostat.deploy.export import GraphOptions, export
from aerostat.deploy.layouts.contract import Layout
from aerostat.deploy.parity import compare
from aerostat.errors import InputError
from aerostat.images.read import list_images, read_image
from aerostat.inference.resolve import load
from aerostat.model import build, normalise
from aerostat.weights.checkpoint import Header, save_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from aerostat.deploy.layouts.contracts import CONTRACTS  # noqa: E402
from aerostat.deploy.layouts.reader import read_exported  # noqa: E402

OTHERS = tuple(CONTRACTS)
SIZE = (96, 64)
POINTS = 12 * 8 + 6 * 4 + 3 * 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, random_net: Callable[..., nn.Module]) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, random_net(2, SIZE).state_dict(), Header("nano", ("kite", "hot 'air' balloon"), SIZE))
    return path


@pytest.fixture(scope="module")
def mask_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = build("nano", 2, masks=True)
    noise = np.random.default_rng(1).integers(0, 256, (8, 3, SIZE[1], SIZE[0]), np.uint8)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # statistics of its own, or every map fades to nothing
        net.train()(normalise(torch.from_numpy(noise)))
        for level in range(3):
            net.bbox_head.rtm_cls[level].weight.normal_(std=0.4)
            net.bbox_head.rtm_cls[level].bias.fill_(-4.0)
            net.bbox_head.rtm_reg[level].bias.fill_(1.5)
            net.bbox_head.rtm_kernel[level].weight.normal_(std=0.2)
    path = tmp_path_factory.mktemp("weights") / "ins.safetensors"
    save_weights(path, net.state_dict(), Header("nano", ("kite", "balloon"), SIZE, masks=True))
    return path


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((50, 70), (120, 60), (64, 96))]


def tensors(path: Path) -> dict[str, list[object]]:
    graph = onnx.load(path).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("mmdeploy", {"input": [1, 3, 64, 96], "dets": [1, "num_dets", 5], "labels": [1, "num_dets"]}),
        ("deepstream", {"input": [1, 3, 64, 96], "output": [1, POINTS, 6]}),
        ("yolo", {"images": [1, 3, 64, 96], "output0": [1, 6, POINTS]}),
        (
            "tensorrt",
            {
                "images": [1, 3, 64, 96],
                "num_dets": [1, 1],
                "det_boxes": [1, 300, 4],
                "det_scores": [1, 300],
                "det_classes": [1, 300],
            },
        ),
    ],
)
def test_a_layout_has_its_tensors_and_gives_what_the_weights_give(
    weights, photographs, tmp_path, layout, expected
):
    done = export(
        weights, tmp_path / "m.onnx", images_bgr=photographs, graph=GraphOptions(layout=Layout(layout))
    )
    assert tensors(done.path) == expected
    assert done.parity.detections > 20
    assert done.parity.found_again >= 0.95 * done.parity.detections
    assert done.parity.same or layout == "tensorrt"  # which is in half precision
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("layout", OTHERS)
@pytest.mark.parametrize("options", [{"opset": 11}, {"batch": None}, {"batch": 2}], ids=str)
def test_a_layout_gives_the_same_in_older_operators_and_for_more_images(
    weights, photographs, tmp_path, layout, options
):
    graph = GraphOptions(layout=layout, **options)
    done = export(weights, tmp_path / "m.onnx", images_bgr=photographs[:1], graph=graph)
    assert done.parity.found_again == done.parity.detections > 10
    assert onnx.load(done.path).opset_import[0].version == options.get("opset", 17)


@pytest.mark.parametrize("layout", ["mmdeploy", "yolo"])
def test_a_dynamic_file_takes_other_sizes(weights, photographs, tmp_path, layout):
    graph = GraphOptions(layout=Layout(layout), dynamic=True)
    done = export(weights, tmp_path / "m.onnx", images_bgr=photographs, graph=graph)
    assert done.parity.same
    session = onnxruntime.InferenceSession(done.path)
    (name,) = (value.name for value in session.get_inputs())
    first = session.run(None, {name: np.zeros((2, 3, 128, 64), np.float32)})[0]
    assert len(first) == 2


@pytest.mark.parametrize("layout", ["mmdeploy", "yolo"])
def test_an_openvino_file_of_a_layout_gives_what_the_weights_give(weights, photographs, tmp_path, layout):
    pytest.importorskip("openvino")
    graph = GraphOptions(layout=Layout(layout))
    done = export(weights, tmp_path / "m.xml", to="openvino", images_bgr=photographs[:1], graph=graph)
    assert done.parity.same and done.parity.detections > 5


@pytest.mark.parametrize("layout", OTHERS)
def test_detections_on_photographs_are_those_of_predict(person_weights, balloon, tmp_path, layout):
    """As a client sees them: only the letterbox tells where the photograph ends."""
    photographs = [read_image(path) for path in list_images(balloon / "val")[:4]]
    done = export(person_weights, tmp_path / "m.onnx", graph=GraphOptions(layout=layout))
    reader = read_exported(done.path, CONTRACTS[layout], done.exported)
    parity = compare(done.reference, reader, photographs, score=0.3)
    assert parity.detections > 5
    assert parity.found_again == parity.detections and not parity.extra
    assert parity.score_difference < 0.01
    assert parity.box_difference < (10 if layout is Layout.TENSORRT else 0.5)  # of up to 2048 pixels


def test_rows_of_mmdeploy_that_hold_nothing_have_no_score_and_the_label_minus_one(weights, tmp_path):
    graph = GraphOptions(layout=Layout.MMDEPLOY, batch=None, score_threshold=0.3)
    done = export(weights, tmp_path / "m.onnx", graph=graph)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    images = CONTRACTS[Layout.MMDEPLOY].inputs(np.concatenate([noise, np.zeros_like(noise), noise]))
    dets, labels = onnxruntime.InferenceSession(done.path).run(None, images)
    assert dets.shape[:2] == labels.shape
    np.testing.assert_array_equal(dets[0], dets[2])
    kept = dets[..., 4] > 0
    assert kept[0].any() and not kept[:, -1].any()
    assert (labels[~kept] == -1).all() and (dets[~kept] == 0).all() and (labels[kept] >= 0).all()
    assert (np.diff(dets[..., 4], axis=1) <= 0).all()


def test_mmdeploy_finds_nothing_without_failing(weights, tmp_path):
    graph = GraphOptions(layout=Layout.MMDEPLOY, score_threshold=0.999)
    done = export(weights, tmp_path / "m.onnx", graph=graph)
    images = CONTRACTS[Layout.MMDEPLOY].inputs(np.zeros((1, 64, 96, 3), np.uint8))
    dets, labels = onnxruntime.InferenceSession(done.path).run(None, images)
    assert dets.shape == (1, 1, 5) and labels.tolist() == [[-1]]


def test_masks_of_mmdeploy_are_those_of_the_weights(mask_weights, photographs, tmp_path):
    graph = GraphOptions(layout=Layout.MMDEPLOY)
    done = export(mask_weights, tmp_path / "m.onnx", images_bgr=photographs, graph=graph)
    assert tensors(done.path)["masks"] == [1, "num_dets", 64, 96]
    assert done.parity.same and done.parity.detections > 5 and done.parity.mask_iou is not None
    found = read_exported(done.path, CONTRACTS[Layout.MMDEPLOY], done.exported).predict(
        photographs[1], score=0.06
    )
    assert len(found) and len(found.masks) == len(found)
    assert found.masks.to_dense().shape == (len(found), *photographs[1].shape[:2])


@pytest.mark.parametrize("layout", [name for name in OTHERS if name is not Layout.MMDEPLOY])
def test_a_layout_without_a_place_for_masks_refuses_them(mask_weights, tmp_path, layout):
    with pytest.raises(InputError, match=rf"layout {layout} cannot hold masks, .* `layout` mmdeploy or aero"):
        export(mask_weights, tmp_path / "m.onnx", graph=GraphOptions(layout=layout))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        ("deepstream", {"dynamic": True}, "takes one size only: nvinfer needs one"),
        ("tensorrt", {"dynamic": True}, "takes one size only: an engine"),
        ("yolo", {"nms": True}, "leaves suppression to its readers"),
        ("deepstream", {"nms_iou": 0.5}, "leaves suppression to its readers"),
        ("aerostat", {"opset": 10}, "`opset` from 11 to 17, found 10"),
        ("yolo", {"opset": 18}, "`opset` from 11 to 17, found 18"),
    ],
)
def test_what_a_layout_cannot_be_is_refused(weights, tmp_path, layout, options, words):
    with pytest.raises(InputError, match=words):
        export(weights, tmp_path / "m.onnx", graph=GraphOptions(layout=Layout(layout), **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["deepstream", "tensorrt"])
def test_int8_is_refused_where_tensorrt_would_read_it(weights, photographs, tmp_path, layout):
    with pytest.raises(InputError, match=rf"layout {layout} is not made in 8 bits: .* `int8`"):
        export(
            weights,
            tmp_path / "m.onnx",
            calibration_bgr=photographs,
            graph=GraphOptions(layout=Layout(layout)),
        )


@pytest.mark.parametrize("layout", ["mmdeploy", "yolo"])
def test_a_layout_in_int8_is_compared_with_the_weights(weights, photographs, tmp_path, layout):
    done = export(
        weights,
        tmp_path / "m.onnx",
        images_bgr=photographs,
        calibration_bgr=photographs,
        graph=GraphOptions(layout=Layout(layout)),
    )
    assert done.exported.precision == "int8"
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(done.path).graph.node)
    assert done.parity.found_again > 0.5 * done.parity.detections


def test_the_plugin_of_tensorrt_has_its_inputs_and_attributes(weights, tmp_path):
    graph = GraphOptions(layout=Layout.TENSORRT, nms_iou=0.5, score_threshold=0.25)
    model = onnx.load(export(weights, tmp_path / "m.onnx", graph=graph).path)
    onnx.checker.check_model(model)
    (plugin,) = (node for node in model.graph.node if node.op_type == "EfficientNMS_TRT")
    assert list(plugin.output) == ["num_dets", "det_boxes", "det_scores", "det_classes"]
    assert {domain.domain: domain.version for domain in model.opset_import} == {"": 17, "TRT": 1}
    given = {a.name: onnx.helper.get_attribute_value(a) for a in plugin.attribute}
    assert given == {
        "plugin_version": b"1",
        "background_class": -1,
        "box_coding": 0,
        "score_activation": 0,
        "class_agnostic": 0,
        "score_threshold": 0.25,
        "iou_threshold": 0.5,
        "max_output_boxes": 300,
    }
    arrays = {array.name: array for array in model.graph.initializer}
    kinds = [arrays[node.input[1]].data_type for node in model.graph.node if node.op_type == "Conv"]
    assert kinds.count(onnx.TensorProto.FLOAT16) == len(kinds) - 6  # the last layers of three levels
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    assert types["num_dets"] == types["det_classes"] == onnx.TensorProto.INT32
    assert types["det_boxes"] == types["det_scores"] == onnx.TensorProto.FLOAT


def test_the_metadata_of_yolo_are_what_its_reader_parses(weights, tmp_path):
    graph = GraphOptions(layout=Layout.YOLO, licence="CC0-1.0")
    model = onnx.load(export(weights, tmp_path / "m.onnx", graph=graph).path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert ast.literal_eval(entries["names"]) == {0: "kite", 1: "hot 'air' balloon"}
    assert ast.literal_eval(entries["imgsz"]) == [64, 96]
    assert (entries["stride"], entries["task"], entries["batch"]) == ("32", "detect", "1")
    assert ast.literal_eval(entries["args"]) == {"dynamic": False, "half": False, "nms": False}
    assert entries["license"] == "CC0-1.0"


def test_the_file_says_how_images_come_into_it(weights, tmp_path):
    import json

    def entry(layout: Layout) -> dict[str, object]:
        graph = GraphOptions(layout=layout, licence="MIT")
        model = onnx.load(export(weights, tmp_path / f"{layout}.onnx", graph=graph).path)
        found = {prop.key: prop.value for prop in model.metadata_props}
        return json.loads(found["aerostat"])

    own, other = entry(Layout.AEROSTAT), entry(Layout.YOLO)
    assert (own["layout"], own["format"], own["colour_order"]) == ("aerostat", 1, "BGR")
    assert (other["layout"], other["format"], other["colour_order"]) == ("yolo", 2, "RGB")
    for about in (own, other):
        assert about["letterbox"] == {"align": "top-left", "pad_value": 114}
        assert about["classes"] == ["kite", "hot 'air' balloon"] and about["input_size"] == [96, 64]
        assert about["licence"] == "MIT"
    assert "255" in other["normalisation"]


def test_a_file_for_others_is_not_run_by_aerostat(weights, tmp_path):
    done = export(weights, tmp_path / "m.onnx", graph=GraphOptions(layout=Layout.DEEPSTREAM))
    assert done.detector is None
    with pytest.raises(InputError, match="has the layout deepstream, which is for other runtimes"):
        load(done.path)


def test_opencv_runs_the_layout_yolo(weights, photographs, tmp_path):
    done = export(weights, tmp_path / "m.onnx", graph=GraphOptions(layout=Layout.YOLO))
    image_bgr = photographs[2]
    inputs = CONTRACTS[Layout.YOLO].inputs(image_bgr[None])
    (expected,) = onnxruntime.InferenceSession(done.path).run(None, inputs)
    net = cv2.dnn.readNetFromONNX(str(done.path))
    net.setInput(cv2.dnn.blobFromImage(image_bgr, 1 / 255, swapRB=True))
    np.testing.assert_allclose(net.forward(), expected, atol=0.02)
