"""The verb `predict` with a tracker."""

import csv
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.__main__ import main

needs_solver = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)


@pytest.fixture
def clip(tmp_path: Path, write_mjpg: Callable[..., Path]) -> Path:
    return write_mjpg(tmp_path / "door.avi", [np.full((48, 64, 3), 90, np.uint8)] * 5)


def run(*words: str | Path) -> int:
    return main(["predict", *map(str, words), "--device", "cpu"])


@needs_solver
def test_rows_video_table_and_summary_have_tracks(
    finder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    places = ("--line", "gate=32,48,32,0", "--zone", "0,0,64,0,64,48,0,48")
    assert run(finder, clip, "--out", out, "--format", "jsonl,csv,mot", "--json", *places) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    tracks = len(source["tracks"])
    assert tracks > 1
    assert source["zones"][0]["name"] == "zone"
    assert source["zones"][0]["visited"] == tracks
    assert source["zones"][0]["mean_s"] == pytest.approx(0.4)  # nothing moves for five frames
    assert source["lines"] == [{"name": "gate", "in": 0, "out": 0, "classes": {"disc": {"in": 0, "out": 0}}}]
    expected = sorted(row["track_id"] for row in source["tracks"])
    lines = [json.loads(line) for line in (out / "detections.jsonl").read_text("utf-8").splitlines()]
    assert [sorted(row["track_id"] for row in line["detections"]) for line in lines] == [expected] * 5
    with (out / "detections.csv").open(encoding="utf-8") as file:
        assert sorted({int(row["track_id"]) for row in csv.DictReader(file)}) == expected
    mot = [line.split(",") for line in (out / "door.txt").read_text("utf-8").splitlines()]
    assert sorted({int(row[1]) for row in mot}) == expected
    with (out / "door-tracks.csv").open(encoding="utf-8") as file:
        assert [int(row["track_id"]) for row in csv.DictReader(file)] == expected
    assert (out / "door.webm").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--zone", "0,0,65,0,65,48"], "--zone within the picture of 64 x 48 pixels, found the point 65,0"),
        (["--line", "0,0,5"], "four numbers x1,y1,x2,y2 in --line, found 3"),
        (["--line", "5,5,5,5"], "different points in --line"),
        (["--lost-time", "2s"], "--lost-time is for --track"),
        (["--track", "--lost-time", "soon"], "found 'soon'"),
        (["--line", "a=0,0,5,5", "--zone", "a=0,0,5,0,5,5"], "found 'a' twice"),
    ],
)
@needs_solver
def test_bad_requests_are_refused_in_one_sentence(
    finder: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    out = tmp_path / "out"
    assert run(finder, clip, "--out", out, *words) == 2
    assert message in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_photographs_have_no_tracks(finder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    assert run(finder, tmp_path / "a.png", "--track", "--out", tmp_path / "out") == 2
    assert "--track is for clips, cameras and streams" in capsys.readouterr().err


def test_without_the_solver_nothing_is_written(
    finder: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lap", None)
    assert run(finder, clip, "--track", "--out", tmp_path / "out") == 2
    assert "pip install 'aerostat[tracking]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
