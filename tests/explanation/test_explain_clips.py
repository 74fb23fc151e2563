"""Clips that are explained along their tracks: the video, the table, and what is said about them."""

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.explanation.along_tracks import CarryOptions, TrackExplainer, TrackMap
from aerostat.explanation.explain_clips import HEADER, TrackFiles, draw_maps, explain_clip
from aerostat.explanation.track_rows import COLUMNS
from aerostat.images.frame import Frame
from aerostat.inference.clip_sources import Chain, open_sources
from aerostat.inference.detector import Detector
from aerostat.inference.sources import Files
from aerostat.results.detections import Detections
from aerostat.video.capture import VideoFile

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)

FRAMES = 5


@pytest.fixture(scope="module")
def detector(lively: Callable[..., Detector]) -> Detector:
    detector = lively(side=96)
    for level in range(3):  # surer of itself, so that tracks begin
        torch.nn.init.constant_(detector.net.bbox_head.rtm_cls[level].bias, 0.0)
    return detector


@pytest.fixture
def clip(tmp_path: Path, write_mjpg: Callable[..., Path]) -> Path:
    """A picture that stands still."""
    noise = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return write_mjpg(tmp_path / "door.avi", [noise] * FRAMES)


def source_of(clip: Path) -> Chain:
    source = open_sources([str(clip)])
    assert source is not None
    return source


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_clip_gets_a_video_and_a_row_for_each_map(detector: Detector, clip: Path, tmp_path: Path) -> None:
    options = CarryOptions(full_every=3, top=2)
    done = explain_clip(
        lambda: detector, source_of(clip), tmp_path / "out", options=options, score=0.1, progress=False
    )
    assert done.stopped is None and done.problem is None
    assert done.frames == FRAMES
    assert [path.name for path in done.files] == ["door.webm", "door-maps.csv"]
    rows = rows_of(done.files[1])
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["frame"]) for row in rows] == [i for i in range(FRAMES) for _ in range(2)]
    assert done.tracks == len({row["track_id"] for row in rows})
    kinds = [row["map"] for row in rows]
    assert kinds[:2] == ["full", "full"]
    assert kinds.count("carried") > 2
    for row in rows:
        age = int(row["age"])
        assert (row["map"] == "carried") == (age > 0) == (not row["reason"])
        assert age < 3
        assert int(row["source_frame"]) == int(row["frame"]) - age
    assert not any(row["full_deletion"] for row in rows)
    assert sum(1 for _ in VideoFile(done.files[0])) == FRAMES
    said, new = done.lines(), sum(row["reason"] == "new" for row in rows)
    assert said[0].endswith(f"10 maps: {kinds.count('full')} full, {kinds.count('carried')} carried on")
    assert said[1].startswith(f"full maps: {new} of new tracks, ")
    assert done.faithfulness_rows() == []


def test_measures_stand_in_the_rows_and_in_a_table(detector: Detector, clip: Path, tmp_path: Path) -> None:
    done = explain_clip(
        lambda: detector,
        source_of(clip),
        tmp_path / "out",
        options=CarryOptions(measure_every=2, tolerance=10, top=1),
        files=TrackFiles("jsonl", "vp8"),
        score=0.1,
        progress=False,
    )
    rows = rows_of(done.files[1])
    assert [row["full_deletion"] is not None for row in rows] == [i % 2 == 0 for i in range(FRAMES)]
    measured = [row for row in rows if row["carried_deletion"] is not None]
    assert measured == [row for row in rows if row["map"] == "carried" and row["frame"] % 2 == 0]
    summary = json.loads(json.dumps(done.to_dict()))
    assert summary["measured"] == len(measured) > 0
    assert summary["maps"]["carried"] == sum(row["map"] == "carried" for row in rows)
    mean = np.mean([row["carried_deletion"] for row in measured])
    assert summary["faithfulness"]["carried"]["deletion"] == pytest.approx(mean, abs=1e-3)
    table = done.faithfulness_rows()
    assert [row[0] for row in table] == ["carried", "full, made on the same frame", "Gaussian in the box"]
    assert {len(row) for row in table} == {len(HEADER)}


def test_files_end_whole_after_ctrl_c(
    detector: Detector, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = TrackExplainer.update

    def interrupted(self: TrackExplainer, frame: Frame, tracked: Detections) -> tuple[TrackMap, ...]:
        if frame.index == 3:
            raise KeyboardInterrupt
        return update(self, frame, tracked)

    monkeypatch.setattr(TrackExplainer, "update", interrupted)
    done = explain_clip(
        lambda: detector,
        source_of(clip),
        tmp_path / "out",
        options=CarryOptions(top=1),
        score=0.1,
        progress=False,
    )
    assert isinstance(done.stopped, KeyboardInterrupt)
    assert len(rows_of(done.files[1])) == 3
    assert sum(1 for _ in VideoFile(done.files[0])) == 3


def test_photographs_and_several_clips_are_refused(detector: Detector, clip: Path, tmp_path: Path) -> None:
    for source in (Chain((Files([tmp_path / "a.png"]),)), Chain((*source_of(clip).moving,) * 2)):
        with pytest.raises(InputError, match="one clip"):
            explain_clip(lambda: detector, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_frame_without_objects_is_drawn_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    drawn = draw_maps(image, (), ("thing",))
    assert np.array_equal(drawn, image)
    assert drawn is not image
