"""`aerostat benchmark` as a person meets it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from aerostat.benchmarking import benchmark as measuring
from aerostat.benchmarking import latency
from aerostat.benchmarking.peak import Peak
from aerostat.cli import console
from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights

QUICK = ["benchmark", "nano.safetensors", "--seconds", "0.1", "--engine", "torch", "--batch", "1", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a detector for 64 px and a photograph, on a machine whose peak is known."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_weights(
        tmp_path / "nano.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64))
    )
    Image.fromarray(np.zeros((48, 80, 3), np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.setattr(measuring, "measure_peak", lambda device, seconds: Peak(1e9, 1e10, "float32 test"))
    monkeypatch.setattr(measuring, "SCENE_SIZE", (160, 120))
    monkeypatch.setattr(latency, "SHORT_TURN", 0.01)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def test_the_document_has_all_figures_and_they_fit_together(aerostat) -> None:
    code, out, err = aerostat(*QUICK, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    assert found["model"] == {
        "source": "nano.safetensors",
        "name": "rtmdet-nano",
        "classes": 2,
        "input_size": [64, 64],
        "precision": "float32",
    }
    net = build("nano", 2)
    assert found["work"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert found["memory"]["weight_bytes"] == 4 * found["work"]["parameters"]
    assert found["memory"]["peak_bytes"] > found["memory"]["weight_bytes"]
    assert [row["batch"] for row in found["network"]] == [1, 2]
    for row in found["network"]:
        call = row["latency"]
        assert 0 < call["low"] <= call["median"] <= call["high"]
        assert row["images_per_second"] == pytest.approx(row["batch"] / call["median"])
        # of the machine's 1e9 multiply-adds a second
        assert row["share_of_peak"] == pytest.approx(row["images_per_second"] * found["work"]["macs"] / 1e9)
        moved = found["work"]["weight_bytes"] + row["batch"] * found["work"]["map_bytes"]
        floor = max(row["batch"] * found["work"]["macs"] / 1e9, moved / 1e10)
        assert row["floor"] == pytest.approx(floor)
    (photograph,) = found["photograph"]["engines"]
    parts = photograph["reading"] + photograph["network"] + photograph["rest"]
    assert parts == pytest.approx(photograph["latency"]["median"]) or photograph["rest"] == 0
    assert photograph["folder_images_per_second"] > 0
    assert found["photograph"]["path"] is None
    assert found["photograph"]["size"] == [160, 120]


def test_a_network_with_masks_is_named_as_such(aerostat, here: Path) -> None:
    weights = here / "masks.safetensors"
    header = Header("nano", ("a",), (64, 64), masks=True)
    save_weights(weights, build("nano", 1, masks=True).state_dict(), header)
    code, out, err = aerostat("benchmark", weights, *QUICK[2:], "--json")
    assert code == 0, err
    assert json.loads(out)["model"]["masks"] is True
    code, out, err = aerostat("benchmark", weights, *QUICK[2:])
    assert code == 0, err
    assert "64 x 64 px, float32, with masks: " in out


def test_lines_fit_a_narrow_terminal_and_name_what_was_measured(aerostat) -> None:
    code, out, _ = aerostat(*QUICK)
    assert code == 0
    assert "rtmdet-nano, 2 classes, 64 x 64 px, float32: nano.safetensors" in out
    assert out.count("\ntorch ") == 3  # two batches, one photograph
    assert max(map(len, out.splitlines())) <= 80


def test_every_engine_that_is_installed_is_measured(aerostat) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    code, out, _ = aerostat("benchmark", "nano.safetensors", "--seconds", "0.1", "--batch", "1", "--json")
    assert code == 0
    found = json.loads(out)
    assert [row["engine"] for row in found["network"]] == ["torch", "onnx", "openvino"]
    assert found["not_measured"] == {}


def test_engines_that_are_not_installed_are_named(aerostat, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    gone = ("onnx", "onnxruntime", "openvino")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest)
    )
    code, out, _ = aerostat("benchmark", "nano.safetensors", "--seconds", "0.1", "--batch", "1")
    assert code == 0
    assert "onnx: not measured" in out
    assert "openvino: not measured" in out
    code, out, err = aerostat("benchmark", "nano.safetensors", "--engine", "onnx")
    assert (code, out) == (2, "")
    assert "pip install" in err


def test_an_own_photograph_and_another_size_are_measured(aerostat) -> None:
    code, out, err = aerostat(*QUICK, "--image", "photo.png", "--input-size", 96, "--threads", 1, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["photograph"]["path"] == "photo.png"
    assert found["photograph"]["size"] == [80, 48]
    assert found["model"]["input_size"] == [96, 96]
    assert found["machine"]["threads"] == 1


def test_an_exported_file_is_measured_without_its_weights(aerostat, here: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    code, _, err = aerostat("export", "nano.safetensors", "--to", "onnx", "--out", "nano.onnx")
    assert code == 0, err
    (here / "nano.safetensors").unlink()
    code, out, err = aerostat(
        "benchmark", "nano.onnx", "--engine", "onnx", "--batch", 1, "--seconds", 0.1, "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["model"]["name"] == "rtmdet-nano"
    assert found["work"]["macs"] > 1e6
    code, out, _ = aerostat("benchmark", "nano.onnx", "--batch", 1, "--seconds", 0.1)
    assert code == 0
    assert "torch: not measured" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.safetensors"], "gone.safetensors"),
        (["gone.onnx"], "gone.onnx"),
        (["photo.png"], "photo.png"),
        (["nano.safetensors", "--batch", "0"], "at least 1 for a batch, found 0"),
        (["nano.safetensors", "--threads", "0"], "at least 1 for the number of threads, found 0"),
        (["nano.safetensors", "--seconds", "0"], "seconds above 0, found 0"),
        (["nano.safetensors", "--seconds", "nan"], "seconds above 0, found nan"),
        (["nano.safetensors", "--image", "gone.jpg"], "gone.jpg"),
        (["nano.safetensors", "--input-size", "100"], "multiple of 32"),
        (["nano.safetensors", "--engine", "tensorrt"], "tensorrt"),
        (["nano.safetensors", "--device", "abacus"], "abacus"),
    ],
)
def test_a_wrong_request_ends_with_one_sentence(aerostat, words: list[str], said: str) -> None:
    code, out, err = aerostat("benchmark", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_terminal_is_shown_the_same_figures_as_tables(aerostat, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(console, "stdout", lambda: terminal)
    reports = []
    take = measuring.benchmark
    monkeypatch.setattr(measuring, "benchmark", lambda *a, **k: reports.append(take(*a, **k)) or reports[0])
    code, out, err = aerostat(*QUICK)
    assert code == 0 and out == "", err
    plain = [word for line in reports[0].lines() for word in line.split()]
    assert set(plain) <= set(shown.getvalue().split())
