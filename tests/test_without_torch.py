"""An exported file is all that prediction needs: torch is not even installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.deploy.export import export
from aerostat.model import build
from aerostat.weights.checkpoint import Header, save_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LEFT_OUT = (
    "torch",
    "lightning",
    "safetensors",
    "functorch",
    "nvidia",
    "triton",
    "onnx",
    "__editable__",
    "aerostat",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every installed package but torch, what needs it, and onnx; ONNX Runtime stays."""
    folder = tmp_path_factory.mktemp("site")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.startswith("onnxruntime") or not entry.name.startswith(LEFT_OUT):
            (folder / entry.name).symlink_to(entry)
    (folder / "aerostat").symlink_to(Path(__file__).parents[1] / "src" / "aerostat")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = build("nano", 1)
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    folder = tmp_path_factory.mktemp("model")
    save_weights(folder / "n.safetensors", net.state_dict(), Header("nano", ("kite",), (64, 64)))
    return export(folder / "n.safetensors", folder / "n.onnx").path


def run(site: Path, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    # -S: no site-packages but those in PYTHONPATH
    command = [sys.executable, "-S", "-m", "aerostat", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_torch_is_not_there(site: Path, tmp_path: Path) -> None:
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'onnx', 'safetensors')])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[None, None, None]"


def test_predict_needs_the_exported_file_alone(site: Path, model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    done = run(site, tmp_path, "predict", model, "p.png", "--out", "out", "--score", "0.1")
    assert done.returncode == 0, done.stderr
    assert "p.png: " in done.stdout and "kite" in done.stdout
    assert (tmp_path / "out" / "p.png").is_file()


def test_weights_ask_for_torch_in_a_sentence(site: Path, model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((40, 60, 3), np.uint8))
    done = run(site, tmp_path, "predict", model.with_suffix(".safetensors"), "p.png", "--engine", "torch")
    assert done.returncode == 2
    assert "torch is needed" in done.stderr and len(done.stderr.splitlines()) == 1
    done = run(site, tmp_path, "train", ".")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
