"""Tracking between a detector and its sinks."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.images.frame import Clip, Frame
from aerostat.inference.clip_sources import Chain
from aerostat.inference.clip_tracks import ClipTracks, Tracking, TrackSink
from aerostat.inference.sinks import ListSink
from aerostat.inference.sources import Files
from aerostat.results.detections import Detections
from aerostat.tracking.counting import Line, Zone
from aerostat.tracking.options import TrackerOptions
from aerostat.tracking.track_log import LogOptions

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lap") is None, reason="the extra [tracking] is not installed"
)

DOOR = Line((50, 80), (50, 0), "door")


def frames(clip: Clip, count: int, start: float = 20) -> list[tuple[Frame, Detections]]:
    """Return frames in which a kite flies to the right, ten pixels each."""
    found = []
    for index in range(count):
        image = np.full((80, 120, 3), 90, np.uint8)
        x = start + 10 * index
        detections = Detections([[x, 20, x + 20, 60]], [0.9], [0], ("kite",), image_size=(120, 80))
        found.append((Frame(image, f"{clip.stem}-{index}", index, index / 10, clip=clip), detections))
    return found


def test_tracked_detections_go_to_the_sinks_and_the_table_to_its_file(tmp_path: Path) -> None:
    kept = ListSink()
    tracks = ClipTracks(Tracking(log=LogOptions((DOOR,))), tmp_path)
    sink = TrackSink(tracks, [kept])
    for frame, detections in frames(Clip("a.mp4", "a", 10.0), 5):
        sink.write(frame, detections)
    sink.close()
    assert [found.track_ids.tolist() for _, found in kept.results] == [[1]] * 5
    assert tracks.files == [tmp_path / "a-tracks.csv"]
    with tracks.files[0].open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["track_id"], row["last_time_s"], row["door_in"]) == ("1", "0.4", "1")
    assert tracks.logs["a.mp4"].describe() == ["1 track (1 kite)", "door: 1 in, 0 out"]


def test_each_clip_has_its_own_numbers_and_its_own_table(tmp_path: Path) -> None:
    kept = ListSink()
    tracks = ClipTracks(Tracking(), tmp_path)
    sink = TrackSink(tracks, [kept])
    for name in "ab":
        for frame, detections in frames(Clip(f"{name}.mp4", name, 10.0), 3):
            sink.write(frame, detections)
    sink.close()
    assert [found.track_ids.tolist() for _, found in kept.results] == [[1]] * 6
    assert [path.name for path in tracks.files] == ["a-tracks.csv", "b-tracks.csv"]


def test_what_was_tracked_before_an_error_is_kept(tmp_path: Path) -> None:
    tracks = ClipTracks(Tracking(), tmp_path)
    sink = TrackSink(tracks, [ListSink()])
    for frame, detections in frames(Clip("a.mp4", "a", 10.0), 3):
        sink.write(frame, detections)
    sink.stop()
    assert len((tmp_path / "a-tracks.csv").read_text("utf-8").splitlines()) == 2


class FullDisk(ListSink):
    """A sink that cannot finish."""

    def stop(self) -> None:
        raise OSError("no space")


class Counting(ListSink):
    """A sink that counts how often it was stopped."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1


def test_a_sink_that_cannot_finish_does_not_cost_the_other_files(tmp_path: Path) -> None:
    other = Counting()
    sink = TrackSink(ClipTracks(Tracking(), tmp_path), [FullDisk(), other])
    for frame, detections in frames(Clip("a.mp4", "a", 10.0), 2):
        sink.write(frame, detections)
    sink.stop()
    assert other.stops == 1
    assert (tmp_path / "a-tracks.csv").is_file()


def test_a_zone_outside_of_the_picture_leaves_no_file(tmp_path: Path) -> None:
    zone = Zone(((0, 0), (121, 0), (121, 80)))
    sink = TrackSink(ClipTracks(Tracking(log=LogOptions(zones=(zone,))), tmp_path), [])
    with pytest.raises(InputError, match="120 x 80 pixels, found the point 121,0 outside"):
        sink.write(*frames(Clip("a.mp4", "a", 10.0), 1)[0])
    sink.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_frame_is_drawn_as_it_was_when_later_ones_have_come(tmp_path: Path) -> None:
    tracks = ClipTracks(Tracking(log=LogOptions((DOOR,))), None)
    shown = frames(Clip("a.mp4", "a", 10.0), 5)
    first = tracks.paint(shown[0][0], tracks.update(*shown[0]))
    before = first()
    for frame, detections in shown[1:]:
        last = tracks.paint(frame, tracks.update(frame, detections))
    assert (first() == before).all()
    assert not (last() == before).all()
    tracks.finish()
    assert tracks.files == []


def test_the_score_of_a_prediction_is_that_of_new_objects_and_weak_ones_reach_the_tracker() -> None:
    tracking, options = Tracking().with_score({"score": 0.6, "nms_iou": 0.5})
    assert options == {"score": 0.1, "nms_iou": 0.5}
    assert (tracking.tracker.high_score, tracking.tracker.low_score) == (0.6, 0.1)
    tracking, options = Tracking(TrackerOptions(lost_s=3)).with_score({"score": 0.05})
    assert options == {"score": 0.05}
    assert (tracking.tracker.high_score, tracking.tracker.low_score) == (0.05, 0.05)
    assert tracking.tracker.lost_s == 3


def test_photographs_cannot_be_tracked() -> None:
    with pytest.raises(InputError, match="photographs among them"):
        Tracking().check(Chain((Files(["a.jpg"]),)))
