"""Video files: formats, sizes, order, errors, and files that are whole whenever they end."""

import shutil
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.errors import AerostatError, InputError
from aerostat.video.capture import VideoFile
from aerostat.video.writer import ENCODINGS, VideoFormat, VideoWriter, check_format, opencv_muffled, padded

from .clips import STEP, number_of


def grey(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size[1], size[0], 3), number * STEP, np.uint8)


def written(
    path: Path, format_: VideoFormat, numbers: range = range(6), size: tuple[int, int] = (64, 48)
) -> VideoWriter:
    writer = VideoWriter(path, 8, format_)
    for number in numbers:
        writer.write(lambda number=number: grey(number, size))
    writer.close()
    return writer


@pytest.mark.parametrize("format_", ENCODINGS)
def test_every_format_holds_the_pictures_in_order(tmp_path: Path, format_: VideoFormat) -> None:
    path = tmp_path / "sub" / f"a{ENCODINGS[format_].suffix}"
    writer = written(path, format_)
    source = VideoFile(path)
    assert [number_of(frame.read()) for frame in source] == list(range(6))
    assert source.clip.rate == 8
    assert writer.codec in {"VP9", "VP8", "Motion JPEG", "H.264"} and writer.frames == 6
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [(65, 49), (16, 16), (500, 20)])
def test_any_size_can_be_written(tmp_path: Path, size: tuple[int, int]) -> None:
    written(tmp_path / "a.webm", "vp8", range(2), size)
    assert len(list(VideoFile(tmp_path / "a.webm"))) == 2


def test_a_size_without_pixels_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AerostatError, match="cannot write VP9 of 1 x 1 px"):
        written(tmp_path / "a.webm", "webm", range(1), (1, 1))
    assert not list(tmp_path.iterdir())


def test_pictures_of_another_size_are_fitted_into_the_first(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.avi", 8, "avi")
    writer.write(lambda: grey(5))
    writer.write(lambda: grey(5, (48, 64)))
    writer.write(lambda: grey(5, (128, 96)))
    writer.close()
    assert writer.resized == 2
    first, tall, large = (frame.read() for frame in VideoFile(tmp_path / "a.avi"))
    assert first.shape == tall.shape == large.shape == (48, 64, 3)
    assert tall[24, 32].mean() > 40 and tall[24, 4].mean() < 10  # bars at its sides
    assert number_of(large) == 5


def test_a_wide_picture_gets_bars_above_and_below() -> None:
    image = padded(np.full((10, 40, 3), 200, np.uint8), (20, 20))
    assert image.shape == (20, 20, 3)
    assert (image.max(axis=(1, 2)) > 0).nonzero()[0].tolist() == list(range(7, 12)) or image[10].min() == 200
    assert image[0].max() == 0 and image[-1].max() == 0


def test_a_picture_may_last_for_several_frames(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.avi", 8, "avi")
    writer.write(lambda: grey(1), 3)
    writer.write(lambda: grey(2))
    writer.close()
    assert [number_of(frame.read()) for frame in VideoFile(tmp_path / "a.avi")] == [1, 1, 1, 2]


def test_an_error_while_drawing_reaches_the_caller_and_what_was_written_stays(tmp_path: Path) -> None:
    def broken() -> np.ndarray:
        raise InputError("this picture is broken.")

    writer = VideoWriter(tmp_path / "a.avi", 8, "avi")
    writer.write(lambda: grey(1))
    writer.write(broken)
    with pytest.raises(InputError, match="this picture is broken"):
        for _ in range(20):  # the thread may be a few pictures behind
            writer.write(lambda: grey(2))
        writer.close()
    writer.close()
    assert [number_of(frame.read()) for frame in VideoFile(tmp_path / "a.avi")] == [1]


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.avi", 8, "avi").close()
    assert not list(tmp_path.iterdir())


def test_a_nearly_full_disk_ends_the_video_which_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = VideoWriter(tmp_path / "a.avi", 8, "avi")
    writer.write(lambda: grey(1))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 5 << 20))
    with pytest.raises(AerostatError, match=r"nearly full \(5 MB are free"):
        writer.write(lambda: grey(2))
    writer.close()
    assert len(list(VideoFile(tmp_path / "a.avi"))) == 1


def test_opencv_prints_nothing_and_the_lines_of_others_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import os

    with opencv_muffled():
        video = cv2.VideoWriter(
            str(tmp_path / "a.webm"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), 8, (64, 48)
        )
        os.write(2, b"of another thread\n")
    video.release()
    written(tmp_path / "b.mp4", "mp4")  # tries H.264 first
    assert capfd.readouterr().err == "of another thread\n"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="`video_format` among webm, vp8, avi, mp4, found 'gif'"):
        check_format("gif")
