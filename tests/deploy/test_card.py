"""The model card of an exported file."""

import hashlib
import shutil
from pathlib import Path

import pytest
from torch import nn

from aerostat.datasets.dataset import Dataset
from aerostat.deploy.card import example, measured, model_card
from aerostat.deploy.export import GraphOptions, export
from aerostat.deploy.layouts.contract import Layout
from aerostat.deploy.photographs import of_data
from aerostat.model import build
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import Header, save_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    net = build("nano", 1)
    for level in range(3):
        nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    save_weights(folder / "w.safetensors", net.state_dict(), Header("nano", ("balloon",), (64, 64)))
    write_balloons(folder / "data", train=3, val=2, size=(96, 64))
    shutil.copy(next((folder / "data" / "val").glob("*.jpg")), folder / "party.jpg")
    return folder


def test_a_card_states_data_figures_layout_and_digest(folder, tmp_path):
    photographs = of_data(Dataset.read(folder / "data", classes=["balloon"]))
    done = export(
        folder / "w.safetensors",
        tmp_path / "m.onnx",
        images_bgr=photographs.compared_bgr,
        graph=GraphOptions(layout=Layout.DEEPSTREAM, licence="MIT"),
    )
    card = model_card(done, photographs.about, measured(done, photographs.split))
    assert hashlib.sha256(done.path.read_bytes()).hexdigest() in card
    assert "| layout | deepstream |" in card and "| licence of the weights | MIT |" in card
    assert "- train: 3 images, " in card and "- val: 2 images, " in card
    assert "on 2 images of the split val" in card and "95% interval" in card
    assert "- output `output` (1, 84, 6) float32" in card
    assert "DeepStream itself was not run" in card


def test_a_card_without_data_says_so(folder, tmp_path):
    done = export(folder / "w.safetensors", tmp_path / "m.onnx")
    card = model_card(done, (), None)
    assert "The data are not known." in card and "No annotated images were at hand." in card
    assert "The file was not compared with its weights." in card
    assert "| licence of the weights | not stated |" in card


@pytest.mark.parametrize(
    ("layout", "suffix"),
    [*((layout, ".onnx") for layout in Layout), (Layout.MMDEPLOY, ".xml"), (Layout.YOLO, ".xml")],
)
def test_the_lines_of_a_card_run(folder, tmp_path, monkeypatch, capsys, layout, suffix):
    if suffix == ".xml":
        pytest.importorskip("openvino")
    done = export(
        folder / "w.safetensors",
        tmp_path / f"m{suffix}",
        to="openvino" if suffix == ".xml" else "onnx",
        graph=GraphOptions(layout=layout),
    )
    shutil.copy(folder / "party.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = example(done)
    assert len([line for line in lines.splitlines() if line]) <= 20
    exec(compile(lines, "card", "exec"), {})
    assert ("EfficientNMS_TRT" if layout is Layout.TENSORRT else "balloon") in capsys.readouterr().out
