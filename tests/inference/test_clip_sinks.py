"""Sinks for clips: parts, videos of live sources, rows in every state of the disk."""

import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest

from aerostat.images.frame import Clip, Frame
from aerostat.inference.clip_sinks import PartSink, RowSink, VideoSink, frame_document
from aerostat.results.detections import Detections
from aerostat.video.capture import VideoFile

CLIP = Clip("door.mp4", "door", rate=10)
LIVE = Clip("camera 0", "camera-0", live=True)
GREY = np.full((48, 64, 3), 90, np.uint8)


def frame(index: int, time_s: float | None = None, clip: Clip = CLIP) -> Frame:
    return Frame(GREY, f"{clip.stem}-{index:06d}", index, index / 10 if time_s is None else time_s, clip=clip)


def found(track_ids: list[int] | None = None) -> Detections:
    return Detections([[1, 2, 11, 22]], [0.5], [0], ("cat",), image_size=(64, 48), track_ids=track_ids)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.1, 0.2], 3),
        ([5, 5.3, 5.4], 5),  # 1, then the frame lasts for 3 and for 1
        ([0, 0.01, 0.02, 0.2], 3),  # frames that come too soon are left out
        ([0, 3600, 3600.1], 102),  # a stream that was away does not fill the disk: at most 10 s
    ],
)
def test_the_video_of_a_live_source_is_as_long_as_the_time_that_passed(
    tmp_path: Path, times: list[float], expected: int
) -> None:
    sink = VideoSink(tmp_path / "a.webm", "vp8", 10)
    for index, time_s in enumerate(times):
        sink.write(frame(index, time_s, LIVE), found())
    sink.close()
    assert len(list(VideoFile(tmp_path / "a.webm"))) == expected


def test_each_frame_of_a_clip_is_written_once_whatever_its_time(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.webm", "vp8", 10)
    for index, time_s in enumerate((0, 0.01, 9)):
        sink.write(frame(index, time_s), found())
    sink.close()
    assert len(list(VideoFile(tmp_path / "a.webm"))) == 3


class Kept:
    def __init__(self, key: object, said: list[object]) -> None:
        self.key, self.said = key, said

    def write(self, frame: Frame, _: Detections) -> None:
        self.said.append((self.key, frame.index))

    def close(self) -> None:
        self.said.append((self.key, "closed"))


def test_a_part_is_closed_before_the_next_one_begins() -> None:
    said: list[object] = []
    sink = PartSink(lambda frame: None if frame.index == 2 else frame.index // 3, lambda key: Kept(key, said))
    for index in range(5):
        sink.write(frame(index), found())
    sink.stop()
    sink.close()  # once is enough
    assert said == [(0, 0), (0, 1), (0, "closed"), (1, 3), (1, 4), (1, "closed")]


def test_optional_columns_follow_from_the_first_frame(tmp_path: Path) -> None:
    sink = RowSink(tmp_path / "a.csv", "csv")
    sink.write(frame(0), found([7]))
    sink.write(frame(1), found())
    sink.close()
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "file,frame,time_s,class,score,x1,y1,x2,y2,track_id",
        "door.mp4,0,0.000000,cat,0.5,1.0,2.0,11.0,22.0,7",
        "door.mp4,1,0.100000,cat,0.5,1.0,2.0,11.0,22.0,",
    ]
    sink = RowSink(tmp_path / "a.txt", "mot")
    sink.write(frame(4), found([7]))
    sink.close()
    assert (tmp_path / "a.txt").read_text() == "5,7,1.00,2.00,10.00,20.00,0.5000,-1,-1,-1\n"


def test_a_line_is_what_detections_are_read_from() -> None:
    document = json.loads(json.dumps(frame_document(frame(3), found([7]))))
    assert (document["file"], document["frame"], document["time_s"]) == ("door.mp4", 3, 0.3)
    again = Detections.from_dict(document)
    assert np.array_equal(again.boxes_xyxy, found().boxes_xyxy) and again.track_ids.tolist() == [7]


class FullDisk(io.BytesIO):
    """Takes 150 bytes more, then none."""

    left = 150

    def write(self, content: bytes) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = super().write(bytes(content)[: self.left])
        self.left -= done
        return done


def test_a_row_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    sink = RowSink(tmp_path / "a.jsonl", "jsonl")
    sink.write(frame(0), found())
    file, disk = sink._file, FullDisk()
    sink._file = disk
    with pytest.raises(OSError, match="No space left"):
        sink.write(frame(1), found())
    assert disk.getvalue() == b""
    sink._file = file
    sink.stop()
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["frame"] == 0


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "mot"])
def test_without_a_frame_there_is_no_file(tmp_path: Path, format_: str) -> None:
    RowSink(tmp_path / "a", format_).close()  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    odd = Clip("d\udce9\n,door.mp4", "door", rate=10)
    for format_ in ("csv", "jsonl"):
        sink = RowSink(tmp_path / f"a.{format_}", format_)  # type: ignore[arg-type]
        sink.write(frame(0, clip=odd), found())
        sink.close()
    assert len((tmp_path / "a.jsonl").read_text("utf-8").splitlines()) == 1
