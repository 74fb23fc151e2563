"""`--engine`: whatever runs the network, predict and eval say the same, and refuse what cannot be."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import nn

from aerostat.deploy.export import export
from aerostat.inference import resolve
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import Header, save_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, random_net: Callable[..., nn.Module]) -> Path:
    net = random_net(1, (64, 64))
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(path, net.state_dict(), Header("nano", ("balloon",), (64, 64)))
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_engine_finds_the_same(aerostat, weights, tmp_path) -> None:
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (40 + 20 * i, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), noise)
    found, options = {}, ("--score", 0.01, "--json")
    for engine in ("torch", "onnx", "openvino"):
        if importlib.util.find_spec(engine if engine == "openvino" else "torch"):
            ended = aerostat("predict", weights, *["0.png", "1.png", "2.png"], "--engine", engine, *options)
            assert ended.code == 0, ended.err
            found[engine] = json.loads(ended.out)["images"]
    for engine, images in found.items():
        for ours, theirs in zip(images, found["torch"], strict=True):
            best = [[d["score"] for d in image["detections"]][:5] for image in (ours, theirs)]
            assert len(best[0]) == 5, engine
            np.testing.assert_allclose(*best, atol=2e-3)


def test_eval_of_an_exported_file_prints_the_table_of_its_weights(aerostat, weights, tmp_path) -> None:
    data = write_balloons(tmp_path / "data", train=1, val=3, size=(64, 64))
    export(weights, tmp_path / "m.onnx")
    ended = {
        source: aerostat("eval", source, data, "--json", "--classes", "balloon")
        for source in (weights, "m.onnx")
    }
    first, second = (json.loads(one.out) for one in ended.values())
    assert first["images"] == 3
    assert second["ap"] == pytest.approx(first["ap"], abs=0.01)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m.onnx", "--engine", "torch"], "engine torch cannot run"),
        (["m.onnx", "--device", "cuda"], "Expected the device cpu for an exported model, found cuda"),
        (["m.onnx", "--input-size", "128"], "64 x 64 px only, found 128"),
        (["m.onnx", "--tta"], "--dynamic"),
        (["broken.onnx"], "no whole ONNX file"),
        (["empty.onnx"], "does not say what its classes and input are"),
        (["none.onnx"], "no exported model none.onnx"),
        (["m.onnx", "--engine", "coreml"], "coreml"),
    ],
)
def test_what_an_engine_cannot_do_is_one_sentence(aerostat, weights, tmp_path, words, said) -> None:
    content = export(weights, tmp_path / "m.onnx").path.read_bytes()
    (tmp_path / "broken.onnx").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    cv2.imwrite("p.png", np.zeros((50, 70, 3), np.uint8))
    model, *options = words
    ended = aerostat("predict", model, "p.png", *options)
    assert ended.code == 2
    assert said in ended.err and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "predictions" / "detections.json").exists()


@pytest.mark.parametrize(
    ("engine", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("onnx", "onnx")]
)
def test_a_package_that_is_missing_is_named(aerostat, weights, monkeypatch, engine, package) -> None:
    cv2.imwrite("p.png", np.zeros((50, 70, 3), np.uint8))
    monkeypatch.setitem(sys.modules, package, None)  # whose import fails, then
    monkeypatch.setattr(
        resolve, "installed", lambda name: name != package and importlib.util.find_spec(name) is not None
    )
    ended = aerostat("predict", weights, "p.png", "--engine", engine)
    assert ended.code == 2
    assert f"pip install {package}" in ended.err
