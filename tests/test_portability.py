"""Commands work on consoles, file systems and systems that lack something."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.__main__ import main
from aerostat.inference.resolve import load
from aerostat.model import build
from aerostat.scenes.balloons import write_balloons
from aerostat.weights import zoo
from aerostat.weights.checkpoint import Header, load_weights, save_weights
from aerostat.weights.openmmlab import write_pth
from aerostat.weights.training_state import load_state, save_state

NAME = "照片−é"
CLASS = "气球"


@pytest.fixture(scope="module")
def balloons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph, its COCO file and weights, all of names that ASCII and cp1252 lack."""
    import torch

    folder = tmp_path_factory.mktemp("names") / "数据"
    (folder / "val").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    (folder / "val" / f"{NAME}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    document = {
        "images": [{"id": 1, "file_name": f"{NAME}.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 20, 20], "area": 400}],
        "categories": [{"id": 1, "name": CLASS}],
    }
    (folder / "val" / "a.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    torch.manual_seed(0)
    net = build("nano", 1)
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    save_weights(folder / "w.safetensors", net.state_dict(), Header("nano", (CLASS,), (64, 64)))
    return folder


@pytest.fixture
def on_a_console(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes, bytes]]:
    """Run a command with standard streams of an encoding, as Python sets them up."""

    def run(encoding: str, *words: object) -> tuple[int, bytes, bytes]:
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, "strict", write_through=True))
            patch.setattr(
                sys, "stderr", io.TextIOWrapper(err, encoding, "backslashreplace", write_through=True)
            )
            code = main([str(word) for word in words])
            return code, out.getvalue(), err.getvalue()

    return run


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_a_console_that_lacks_letters_is_no_failure(balloons, on_a_console, tmp_path, encoding):
    out = tmp_path / NAME
    weights, photograph = balloons / "w.safetensors", balloons / "val" / f"{NAME}.png"
    for words in (
        ("convert", balloons / "val", tmp_path / "out.json"),
        ("eval", weights, balloons, "--device", "cpu"),
        ("predict", weights, photograph, "--out", out, "--format", "csv"),
    ):
        code, said, err = on_a_console(encoding, *words)
        assert code == 0, err
        said.decode(encoding)
    assert f"{NAME}.png" in (out / "detections.csv").read_text("utf-8")
    assert (out / f"{NAME}.png").is_file()
    code, said, err = on_a_console(encoding, "predict", weights, photograph, "--out", out, "--json")
    assert code == 0, err
    (image,) = json.loads(said.decode(encoding))["images"]
    assert image["detections"][0]["class"] == CLASS or CLASS in json.dumps(image, ensure_ascii=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has one encoding for names of files")
def test_names_that_the_file_system_cannot_write_are_one_sentence(balloons, tmp_path):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["explain", "w.safetensors", f"val/{NAME}.png", "--top", "1", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "aerostat", *map(str, words)],
        cwd=balloons,
        env=environment,
        capture_output=True,
    )
    said = done.stderr.decode("ascii")
    assert done.returncode == 1
    assert "Traceback" not in said and "ascii" in said and "PYTHONUTF8=1" in said.splitlines()[-1]


def test_a_user_without_a_home_has_the_cache_below_the_current_folder(tmp_path, monkeypatch):
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEROSTAT_HOME", raising=False)
    assert zoo.weights_folder() == tmp_path / ".cache" / "aerostat" / "weights"
    assert main(["models"]) == 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux' list of mapped files")
def test_files_that_were_read_are_let_go_of_so_that_windows_can_replace_them(balloons, tmp_path):
    """Windows replaces no file that is open or mapped, and a run's files are replaced after every epoch."""
    import torch

    weights, state = balloons / "w.safetensors", tmp_path / "last.ckpt"
    save_state(state, {"tensor": torch.ones(1000), "list": [1, 2]})
    loaded = load_weights(weights)
    kept = [loaded, load_state(state), load(weights)]
    write_pth(tmp_path / "w.pth", loaded.state, loaded.header.classes, {})
    kept.append(load_weights(tmp_path / "w.pth"))
    held = Path("/proc/self/maps").read_text("utf-8") + "".join(
        f"{entry.readlink()}\n" for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()
    )
    assert len(kept) == 4
    assert not [path for path in (weights, state, tmp_path / "w.pth") if str(path) in held]


@pytest.mark.slow
def test_a_training_on_two_devices_starts_its_processes_however_it_was_started(tmp_path):
    """Windows starts `aerostat.exe`, which tells its own name without the suffix: that of no file."""
    write_balloons(tmp_path / "balloons", train=4, val=1, size=(64, 64))
    script = tmp_path / "started.py"
    script.write_text(
        "import sys\nfrom aerostat.__main__ import main\n"
        "sys.argv[0] = 'C:/nowhere/aerostat'\nsys.exit(main())\n",
        "utf-8",
    )
    words = [
        "train",
        "balloons",
        "--classes",
        "balloon",
        "--model",
        "rtmdet-nano",
        "--epochs",
        "1",
        "--input-size",
        "64",
    ]
    words += [
        "--batch-size",
        "2",
        "--device",
        "cpu",
        "--set",
        "data.threads=0",
        "--set",
        "run.devices=2",
        "--out",
        "run",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "AEROSTAT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, env=environment, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert (tmp_path / "run" / "last.safetensors").is_file()
