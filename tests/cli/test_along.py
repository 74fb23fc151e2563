"""The verb `explain` along the tracks of a clip."""

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.draw.saving import save_image

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)
Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path, write_mjpg: Callable[..., Path]) -> Path:
    noise = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return write_mjpg(tmp_path / "door.avi", [noise] * 4)


@pytest.fixture
def explain(aerostat: Run, finder: Path) -> Run:
    return lambda *words: aerostat("explain", finder, *words, "--device", "cpu")


def test_a_clip_is_explained_along_its_tracks(explain: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--track", "--top", 2, "--out", out, "--video-format", "vp8", "--end", "0.35")
    ended = explain(clip, *words, "--faithfulness", "--measure-every", 3)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"{clip}: 4 frames, ")
    assert any(line.split()[:1] == ["carried"] for line in lines)
    assert f"wrote {out / 'door.webm'}" in lines
    with (out / "door-maps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["frame"] for row in rows if row["full_deletion"]} == {"0", "3"}


def test_the_summary_is_a_document_for_programs(explain: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = explain(
        clip,
        "--track",
        "--top",
        1,
        "--out",
        out,
        "--table",
        "jsonl",
        "--every",
        2,
        "--full-every",
        1,
        "--json",
    )
    document = json.loads(ended.out)
    assert document["frames"] == 2
    assert document["maps"] == {"full": 2, "carried": 0}
    assert document["files"] == [str(out / "door.webm"), str(out / "door-maps.jsonl")]
    assert len((out / "door-maps.jsonl").read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--full-every", "5"], "--full-every is for --track"),
        (["--track", "--measure-every", "5"], "--measure-every is for --faithfulness"),
        (["--track", "--full-every", "0"], "--full-every"),
        (["--track", "--box-change", "0.5"], "--box-change"),
        (["--track", "--likeness", "2"], "--likeness"),
        (["--track", "--box", "1,2,3,4"], "--box is for photographs"),
        (["--track", "--per", "all"], "--per is for photographs"),
        (["--track", "--save", "npz"], "--save is for photographs"),
        (["--track", "--method", "gradcam", "layercam"], "found 2 methods"),
        (["--track", "--layer", "nowhere"], "nowhere"),
        (["--track", "--start", "soon"], "soon"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(
    explain: Run, clip: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    out = tmp_path / "out"
    ended = explain(clip, "--out", out, *words)
    assert ended.code == 2
    assert message in ended.err
    assert not list(out.glob("*"))


def test_a_photograph_or_a_missing_clip_is_refused(explain: Run, tmp_path: Path) -> None:
    photograph = save_image(tmp_path / "party.png", np.full((40, 60, 3), 90, np.uint8))
    for path, found in ((photograph, "a photograph"), (tmp_path / "no.mp4", "no such file")):
        ended = explain(path, "--track")
        assert ended.code == 2
        assert f"found {found}" in ended.err
