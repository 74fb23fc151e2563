"""The ONNX graph against the torch network, whose figures test_parity.py ties to the reference."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from aerostat.geometry.postprocess import keep, select
from aerostat.inference.backends.engine import Engine
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.onnxruntime import onnx_engine
from aerostat.inference.backends.openvino import openvino_engine
from aerostat.model.onnx_graph import onnx_model
from aerostat.model.onnx_nms import Suppression

RUNTIMES = {"onnx": onnx_engine, "openvino": openvino_engine}
CLASSES = ("a", "b", "c")
MEAN, STD = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])


def engine_of(net, runtime="onnx", *, size=(96, 64), suppression=None, **options) -> Engine:
    model = onnx_model(net, input_size=size, suppression=suppression, **options)
    exported = Exported("nano", CLASSES, size, **{"batch": 1, "dynamic": False, **options})
    if suppression:
        exported = replace(exported, nms_iou=suppression.nms_iou, score_threshold=suppression.score_threshold)
    return RUNTIMES[runtime](model.SerializeToString(), exported)


def by_hand(net, images_bgr, dtype=torch.float64):
    """Return scores (n, P, K) and boxes (n, P, 4) of a network, decoded as the paper says."""
    planes = torch.from_numpy((images_bgr - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        cls, reg = copy.deepcopy(net).to(dtype)(planes.to(dtype))
    scores, boxes = [], []
    for stride, logits, distances in zip((8, 16, 32), cls, reg, strict=True):
        n, k, h, w = logits.shape
        scores.append(logits.sigmoid().permute(0, 2, 3, 1).reshape(n, h * w, k).numpy())
        left, top, right, bottom = (distances[:, i].reshape(n, h * w).numpy() for i in range(4))
        y, x = (np.indices((h, w)) * stride).reshape(2, 1, h * w)
        boxes.append(np.stack([x - left, y - top, x + right, y + bottom], -1))
    return np.concatenate(scores, 1), np.concatenate(boxes, 1)


def raw(model, images_bgr, runtime="onnx"):
    """Return scores and boxes as a runtime gives them."""
    if runtime == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(["scores", "boxes"], {"images": images_bgr})
    exported = Exported("nano", CLASSES, (images_bgr.shape[2], images_bgr.shape[1]), True, None)
    outputs = openvino_engine(model.SerializeToString(), exported).run({"images": images_bgr})
    return outputs["scores"], outputs["boxes"]


def assert_same(found, net, images_bgr):
    """Compare with the network in double precision; what single makes of deep ones, torch's own says."""
    exact, rounded = by_hand(net, images_bgr), by_hand(net, images_bgr, torch.float32)
    for name, values, wanted, single in zip(("scores", "boxes"), found, exact, rounded, strict=True):
        rounding = float(np.abs(single - wanted).max())
        assert rounding < 0.01
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=max(1e-4, 4 * rounding), err_msg=name)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["nano", "tiny", pytest.param("m", marks=pytest.mark.slow)])
def test_a_graph_gives_the_scores_and_boxes_of_its_network(lively, noise, name, runtime):
    net, images = lively(name), noise(1, 96, 64)
    found = raw(onnx_model(net, input_size=(96, 64)), images, runtime)
    assert found[0].max() > 0.3 > found[0].min()  # it finds something, and not everywhere
    assert_same(found, net, images)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [3, None])
def test_batches_give_what_their_images_give(lively, noise, batch, runtime):
    net, images = lively(), noise(3, 64, 96)
    assert_same(raw(onnx_model(net, input_size=(64, 96), batch=batch), images, runtime), net, images)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["nano", pytest.param("m", marks=pytest.mark.slow)])
def test_one_dynamic_graph_takes_every_size_and_number(lively, noise, name, runtime):
    net = lively(name)
    model = onnx_model(net, input_size=(64, 64), batch=None, dynamic=True)
    for count, width, height in ((1, 128, 128), (2, 160, 96), (1, 96, 64), (3, 96, 224), (1, 320, 320)):
        images = noise(count, width, height, seed=width)
        assert_same(raw(model, images, runtime), net, images)


def test_one_class_makes_no_special_case(lively, noise):
    net, images = lively("nano", 1), noise(1, 64, 64)
    assert_same(raw(onnx_model(net, input_size=(64, 64)), images), net, images)


def test_exporting_leaves_the_network_as_it_is(lively, noise):
    net = lively()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    onnx_model(net, input_size=(64, 64))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert list(net.state_dict()) == list(before)


def test_what_is_stored_in_a_file_stands_in_its_metadata(lively):
    model = onnx_model(lively(), input_size=(64, 64), metadata={"aerostat": "{}", "ö": "ü"})
    assert {entry.key: entry.value for entry in model.metadata_props} == {"aerostat": "{}", "ö": "ü"}
    assert [output.name for output in model.graph.output] == ["boxes", "scores"]
    onnx.checker.check_model(model, full_check=True)


# ------------------------------------------------------------------------------ suppression in the graph


def kept_by_numpy(scores, boxes, size, contents, how):
    """Return what is kept of each image without suppression in the graph."""
    return [
        keep(
            select(
                scores[i].astype(np.float32),
                boxes[i].astype(np.float32),
                size,
                score_threshold=how.score_threshold,
            ),
            contents[i],
            nms_iou=how.nms_iou,
            max_detections=how.max_detections,
        )
        for i in range(len(scores))
    ]


def without(net, images_bgr, runtime):
    """Return scores and boxes of all points from a graph without suppression."""
    count, height, width, _ = images_bgr.shape
    return raw(onnx_model(net, input_size=(width, height), batch=count), images_bgr, runtime)


def assert_kept(found, expected):
    assert [len(boxes.scores) for boxes in found] == [len(boxes.scores) for boxes in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("count", "options", "how"),
    [
        (1, {}, Suppression(0.05, 0.65, 300)),
        (3, {"batch": 3}, Suppression(0.05, 0.5, 300)),
        (4, {"batch": None, "dynamic": True}, Suppression(0.2, 0.65, 300)),
        (3, {"batch": 3}, Suppression(0.001, 0.65, 20)),  # more than are kept
        (2, {"batch": None}, Suppression(0.001, 0.3, 1)),
    ],
)
def test_suppression_in_the_graph_keeps_what_it_keeps_outside(lively, noise, runtime, count, options, how):
    net, size = lively(), (160, 128)
    images = noise(count, *size, seed=7)
    contents = [(160, 128), (150, 100), (97, 128), (33, 17)][:count]
    expected = kept_by_numpy(*without(net, images, runtime), size, contents, how)
    assert sum(len(boxes.scores) for boxes in expected) >= min(count * how.max_detections, 40)
    found = engine_of(net, runtime, size=size, suppression=how, **options).candidates(
        images, score_threshold=how.score_threshold, pre_nms=30000, content_sizes=contents
    )
    assert_kept(found, expected)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_image_on_which_nothing_is_found_leaves_the_others_alone(lively, noise, runtime):
    net, size, how = lively(), (96, 64), Suppression(0.05, 0.65, 300)
    images = noise(3, *size, seed=7)
    scores, boxes = without(net, images, runtime)
    middle = float(np.sort(scores.reshape(3, -1).max(1))[0]) + 1e-4  # one image has nothing above it
    how = replace(how, score_threshold=middle)
    expected = kept_by_numpy(scores, boxes, size, [size] * 3, how)
    assert sorted(len(boxes.scores) > 0 for boxes in expected) == [False, True, True]
    engine = engine_of(net, runtime, size=size, suppression=how, batch=3)
    assert_kept(engine.candidates(images, score_threshold=middle, pre_nms=30000), expected)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [1, None])
def test_nothing_found_at_all_is_no_detections(lively, noise, runtime, batch):
    how = Suppression(1.0, 0.65, 300)
    engine = engine_of(lively(), runtime, suppression=how, batch=batch)
    found = engine.candidates(noise(2, 96, 64), score_threshold=1.0, pre_nms=30000)
    assert [boxes.boxes_xyxy.shape for boxes in found] == [(0, 4), (0, 4)]


def test_a_higher_score_may_be_asked_of_a_graph_with_suppression(lively, noise):
    engine = engine_of(lively(), suppression=Suppression(0.05, 0.65, 300))
    images = noise(1, 96, 64)
    (many,) = engine.candidates(images, score_threshold=0.05, pre_nms=30000)
    middle = float(np.median(many.scores))
    (few,) = engine.candidates(images, score_threshold=middle, pre_nms=30000)
    assert 0 < len(few.scores) < len(many.scores)
    np.testing.assert_array_equal(few.scores, many.scores[many.scores > middle])
