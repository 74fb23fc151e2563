"""`python -m benchmarks.peers`: tools of our own stand for the others; no test installs or measures those."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

DRIVER = """
import sys, time
from answers import answer, multiply_adds

def start(engine, photograph, folder):
    import torch
    if engine == "broken":
        raise ValueError("no such engine")
    print("chatter is no answer")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ConvTranspose2d(4, 2, 2, 2))
    done = iter([1, 1] if engine == "short" else [1] * 99)
    return multiply_adds(net, lambda: net(torch.zeros(1, 3, 8, 8))), lambda: next(done)

def train(data, folder, epochs):
    import subprocess
    if data.endswith("bad"):
        raise SystemExit("bad data")
    block = "x = bytearray(b'x' * 60_000_000); import time; time.sleep(1.5)"
    children = [subprocess.Popen([sys.executable, "-c", block]) for _ in range(2)]
    for child in children:
        child.wait()

answer(start, train)
"""


@pytest.fixture(autouse=True)
def project_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from benchmarks.peers import measure

    folder = tmp_path / "drivers"
    folder.mkdir()
    (folder / "drive_fake.py").write_text(DRIVER)
    (folder / "answers.py").write_bytes((measure.DRIVERS / "answers.py").read_bytes())
    monkeypatch.setattr(measure, "DRIVERS", folder)
    return folder


def test_nothing_is_installed_without_a_folder_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.peers.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "--environment" in capsys.readouterr().err


def test_data_that_cannot_be_read_are_refused_before_anything_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers.__main__ import main

    assert main(["--environment", str(tmp_path / "peers"), "--data", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "peers").exists()


@pytest.mark.slow
def test_a_tool_answers_round_by_round_and_says_why_it_cannot(drivers: Path, tmp_path: Path) -> None:
    from benchmarks.case import Unavailable
    from benchmarks.peers.measure import photographs

    python, image = Path(sys.executable), tmp_path / "photograph.jpg"
    with photographs(python, "fake", "short", image, tmp_path / "work") as one:
        # 4 x 4 outputs of 4 maps from 3 x 3 x 3 cells; 4 x 4 inputs of 4 maps to 2 maps of 2 x 2 cells
        assert one.macs == 4 * 4 * 4 * 27 + 4 * 4 * 4 * 8
        assert one() >= 0 and one() >= 0
        with pytest.raises(Unavailable, match="StopIteration"):
            one()
    with (
        pytest.raises(Unavailable, match="no such engine"),
        photographs(python, "fake", "broken", image, tmp_path / "work"),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux alone tells shared memory")
@pytest.mark.slow
def test_the_memory_of_a_training_is_that_of_all_its_processes(drivers: Path, tmp_path: Path) -> None:
    from benchmarks.case import Unavailable
    from benchmarks.peers.measure import training

    found = training(Path(sys.executable), "fake", tmp_path / "data", tmp_path / "work", images=30, epochs=2)
    assert found.megabytes > 120  # two children with 60 MB each
    assert found.images_per_second == pytest.approx(60 / found.seconds)
    with pytest.raises(Unavailable, match="bad data"):
        training(Path(sys.executable), "fake", tmp_path / "bad", tmp_path / "work", images=1, epochs=1)


def test_the_stand_in_for_suppression_keeps_what_suppression_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import torch
    from benchmarks.peers.measure import DRIVERS

    from aerostat.geometry.nms import nms

    monkeypatch.syspath_prepend(DRIVERS)
    from answers import suppress

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (200, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(200).astype(np.float32)
    kept = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).tolist()
    assert kept == nms(boxes, scores, iou_threshold=0.5).tolist()
    assert 1 < len(kept) < 200
    assert len(suppress(torch.zeros(0, 4), torch.zeros(0), 0.5)) == 0


def test_a_tool_that_cannot_be_installed_has_a_reason_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.peers.environments import Peer, install

    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> object:
        calls.append(command)
        if "pip" in command:
            raise subprocess.CalledProcessError(1, command, "", "hello\nERROR: No matching distribution\nbye")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    peer = Peer("ghost", ("ghost",))
    assert install(peer, tmp_path).problem == "ERROR: No matching distribution"
    assert (tmp_path / "constraints.txt").read_text().startswith("torch==")
    made = len(calls)
    assert install(peer, tmp_path).problem == "ERROR: No matching distribution"
    assert len(calls) == made


def test_the_table_has_a_row_for_each_figure_and_for_each_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers import __main__ as program
    from benchmarks.peers.environments import Installed

    from aerostat.scenes.balloons import write_balloons

    def installed(peer: object, folder: Path) -> Installed:
        if peer.name == "rfdetr":
            return Installed("rfdetr", problem="no wheel | no compiler")
        return Installed(peer.name, 12.3, 45.6, 200.0, {"torch": "2.13.0"})

    monkeypatch.setattr(program, "install", installed)
    monkeypatch.setattr(program, "python_of", lambda environment: Path(sys.executable))
    monkeypatch.setattr(program, "ENGINES", {"mmdetection": ()})
    data, folder = write_balloons(tmp_path / "data", train=1, val=1, size=(64, 64)), tmp_path / "peers"
    folder.mkdir()
    words = ["--environment", str(folder), "--data", str(data), "--only", "mmdetection", "rfdetr"]
    assert program.main([*words, "--epochs", "0", "--scored", "0"]) == 0
    printed = capsys.readouterr().out
    assert "|  | mmdetection | 45.6 |" in printed
    assert "| installation beside torch: size, MB | rfdetr | - (no wheel / no compiler) |" in printed
    assert "| its help, ms | mmdetection | - (it has no command line) |" in printed
    assert "mmdetection: torch 2.13.0" in printed
    lines = json.loads((folder / "results.json").read_text())["lines"]
    assert {line["tool"] for line in lines} == {"mmdetection", "rfdetr"}
