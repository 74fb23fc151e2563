"""An exported file says what the weights say, or is not there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from aerostat.deploy import export as export_module
from aerostat.deploy.export import GraphOptions, export
from aerostat.deploy.parity import compare
from aerostat.errors import AerostatError, InputError
from aerostat.inference.backends.exported import read_onnx_entry
from aerostat.inference.resolve import exported_beside, load
from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, random_net: Callable[..., nn.Module]) -> Path:
    """A detector with random weights that finds many things, of several sizes."""
    net = random_net(2, (96, 64))
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, net.state_dict(), Header("nano", ("kite", "balloon"), (96, 64)))
    return path


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((50, 70), (120, 60), (64, 96))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dynamic": True},
        {"batch": None},
        {"batch": 3},
        {"nms_iou": 0.65},
        {"nms_iou": 0.65, "dynamic": True},
    ],
    ids=str,
)
def test_the_file_alone_says_what_the_weights_say(weights, photographs, tmp_path, options):
    done = export(
        weights, tmp_path / "deep" / "m.onnx", images_bgr=photographs, graph=GraphOptions(**options)
    )
    assert done.parity is not None
    assert done.parity.same and done.parity.detections > 20
    detector = load(done.path)
    assert detector.engine.name == "onnx"
    assert (detector.classes, detector.input_size) == (("kite", "balloon"), (96, 64))
    assert [p.name for p in done.path.parent.iterdir()] == ["m.onnx"]


def test_a_dynamic_file_takes_other_sizes_and_a_static_one_refuses_them(weights, photographs, tmp_path):
    export(weights, tmp_path / "d.onnx", graph=GraphOptions(dynamic=True))
    export(weights, tmp_path / "s.onnx")
    found = compare(load(weights, input_size=128), load(tmp_path / "d.onnx", input_size=128), photographs[:1])
    assert found.same and found.detections > 20
    with pytest.raises(
        InputError, match=r"96 x 64 px only, found 128; export it with `export.dynamic=True.`"
    ):
        load(tmp_path / "s.onnx", input_size=128)
    with pytest.raises(InputError, match="dynamic=True"):
        load(tmp_path / "s.onnx").predict(photographs[0], tta=True)


def test_a_file_that_says_something_else_is_not_kept(weights, photographs, tmp_path, monkeypatch):
    build_engine = export_module.TorchEngine

    def with_other_weights(net):
        nn.init.constant_(net.bbox_head.rtm_cls[0].bias, 3.0)
        return build_engine(net)

    monkeypatch.setattr(export_module, "TorchEngine", with_other_weights)
    (tmp_path / "m.onnx").write_text("what stood here before")
    with pytest.raises(AerostatError, match="and its weights give different detections"):
        export(weights, tmp_path / "m.onnx", images_bgr=photographs)
    assert (tmp_path / "m.onnx").read_text() == "what stood here before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_with_suppression_inside_refuses_what_it_cannot_give(weights, photographs, tmp_path):
    export(weights, tmp_path / "m.onnx", graph=GraphOptions(nms_iou=0.5, score_threshold=0.06))
    detector = load(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"nothing below a score of 0\.06, found a threshold of 0\.05"):
        detector.predict(photographs[0], score=0.05, nms_iou=0.5)
    with pytest.raises(InputError, match=r"IoU of 0\.5 inside, found 0\.65"):
        detector.predict(photographs[0], score=0.3)
    assert len(detector.predict(photographs[0], score=0.06, nms_iou=0.3)) > 0


def test_the_export_beside_its_weights_is_known_until_the_weights_change(weights, tmp_path):
    mine = tmp_path / "best.safetensors"
    mine.write_bytes(weights.read_bytes())
    assert exported_beside(tmp_path, device="cpu") is None
    export(mine, tmp_path / "best.onnx")
    assert exported_beside(tmp_path, device="cpu") == tmp_path / "best.onnx"
    assert exported_beside(mine, device="cpu") == tmp_path / "best.onnx"
    assert exported_beside(mine, device="cuda") is None
    assert exported_beside(mine, device="cpu", input_size=128) is None
    assert exported_beside(tmp_path / "best.onnx", device="cpu") is None
    export(mine, tmp_path / "best.onnx", graph=GraphOptions(nms_iou=0.65))
    assert exported_beside(mine, device="cpu") is None
    export(mine, tmp_path / "best.onnx")
    net = build("nano", 2)
    save_weights(mine, net.state_dict(), Header("nano", ("kite", "balloon"), (96, 64)))
    assert exported_beside(mine, device="cpu") is None
    (tmp_path / "best.onnx").write_text("broken")
    assert exported_beside(mine, device="cpu") is None


def test_the_entry_names_the_weights_that_a_file_is_from(weights, tmp_path):
    export(weights, tmp_path / "m.onnx", graph=GraphOptions(dynamic=True))
    entry = read_onnx_entry(tmp_path / "m.onnx")
    assert (entry.size, entry.classes, entry.dynamic, entry.batch) == (
        "nano",
        ("kite", "balloon"),
        True,
        None,
    )
    assert len(entry.weights_sha256) == 64


def test_the_engine_of_weights_can_be_chosen(weights, photographs):
    of_torch = load(weights).predict(photographs[0], score=0.05)
    for engine in ("onnx", "openvino"):
        if engine == "openvino":
            pytest.importorskip("openvino")
        detector = load(weights, engine=engine)
        assert detector.engine.name == engine
        found = detector.predict(photographs[0], score=0.05)
        np.testing.assert_allclose(found.boxes_xyxy, of_torch.boxes_xyxy, atol=0.01)
        with pytest.raises(InputError, match="cannot be looked into"):
            detector.net  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engine": "tensorrt"}, "Unknown engine 'tensorrt'; the engines are auto, torch, onnx, openvino"),
        ({"engine": "onnx", "device": "cuda"}, "Expected the device cpu for the engine onnx, found cuda"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(weights, arguments, words):
    with pytest.raises(InputError, match=words):
        load(weights, **arguments)


def test_an_exported_file_is_no_weights(weights, tmp_path):
    export(weights, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="engine torch cannot run"):
        load(tmp_path / "m.onnx", engine="torch")
    with pytest.raises(InputError, match="device cpu for an exported model"):
        load(tmp_path / "m.onnx", device="cuda")
    with pytest.raises(InputError, match="no exported model"):
        load(tmp_path / "none.onnx")
