"""Clips that are explained along their tracks: the video, the table, and what is said about them."""

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.explanation.along_tracks import CarryOptions
from aerostat.explanation.explain_clips import HEADER, TrackFiles, draw_maps, explain_clip
from aerostat.explanation.track_rows import COLUMNS
from aerostat.inference.clip_sources import Chain, open_sources
from aerostat.inference.detector import Detector
from aerostat.inference.sources import Files
from aerostat.video.capture import VideoFile, be_quiet

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)

FRAMES = 5


@pytest.fixture(scope="module")
def detector(lively: Callable[..., Detector]) -> Detector:
    return lively(side=96)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A picture that stands still."""
    be_quiet()
    path = tmp_path / "door.avi"
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 90))
    noise = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for _ in range(FRAMES):
        video.write(noise)
    video.release()
    return path


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
    assert (done.frames, done.tracks) == (FRAMES, 2)
    assert [path.name for path in done.files] == ["door.webm", "door-maps.csv"]
    rows = rows_of(done.files[1])
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["frame"]) for row in rows] == [i for i in range(FRAMES) for _ in range(2)]
    assert [row["map"] for row in rows[::2]] == ["full", "carried", "carried", "full", "carried"]
    assert [row["reason"] for row in rows[::2]] == ["new", "", "", "age", ""]
    assert [int(row["source_frame"]) for row in rows[::2]] == [0, 0, 0, 3, 3]
    assert [int(row["age"]) for row in rows[::2]] == [0, 1, 2, 0, 1]
    assert not any(row["full_deletion"] for row in rows)
    video = VideoFile(done.files[0])
    assert sum(1 for _ in video) == FRAMES
    said = done.lines()
    assert said[0].endswith(f"{FRAMES} frames, 2 tracks, 10 maps: 4 full, 6 carried on")
    assert said[1] == "full maps: 2 of new tracks, 2 because of the age"
    assert done.faithfulness_rows() == []


def test_measures_stand_in_the_rows_and_in_a_table(detector: Detector, clip: Path, tmp_path: Path) -> None:
    done = explain_clip(
        lambda: detector,
        source_of(clip),
        tmp_path / "out",
        options=CarryOptions(measure_every=4, tolerance=10, top=1),
        files=TrackFiles("jsonl", "vp8"),
        score=0.1,
        progress=False,
    )
    rows = rows_of(done.files[1])
    assert [row["full_deletion"] is not None for row in rows] == [True, False, False, False, True]
    assert [row["carried_insertion"] is not None for row in rows] == [False] * 4 + [True]
    summary = json.loads(json.dumps(done.to_dict()))
    assert summary["measured"] == 1
    assert summary["maps"] == {"full": 1, "carried": 4}
    assert summary["faithfulness"]["carried"]["deletion"] == pytest.approx(rows[-1]["carried_deletion"])
    table = done.faithfulness_rows()
    assert [row[0] for row in table] == ["carried", "full, made on the same frame", "Gaussian in the box"]
    assert {len(row) for row in table} == {len(HEADER)}


def test_files_end_whole_when_an_error_comes(detector: Detector, clip: Path, tmp_path: Path) -> None:
    class Broken:
        """Behaves as the clip until its third frame."""

        def __init__(self) -> None:
            self.real = VideoFile(clip)
            self.clip, self.problem, self.remark = self.real.clip, None, None

        def __iter__(self) -> Any:
            for frame in self.real:
                if frame.index == 2:
                    raise KeyboardInterrupt
                yield frame

    options = CarryOptions(top=1)
    done = explain_clip(
        lambda: detector, Chain((Broken(),)), tmp_path / "out", options=options, score=0.1, progress=False
    )
    assert isinstance(done.stopped, KeyboardInterrupt)
    assert len(rows_of(done.files[1])) == done.frames
    assert sum(1 for _ in VideoFile(done.files[0])) == done.frames > 0


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
