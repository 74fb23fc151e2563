"""Streams and cameras: the latest frame, breaks, time limits, passwords."""

import logging
import time
from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.video.live import LiveStream, Patience, RemoteClip, open_live
from aerostat.video.times import Selection

from .clips import number_of, write_clip
from .servers import PASSWORD, answer_once, serve

HASTY = Patience(answer_s=2, first_pause_s=0.05, longest_pause_s=0.1, give_up_s=0.5)


def test_a_live_source_gives_the_latest_frame_and_counts_those_that_it_drops() -> None:
    with serve(frames=60, pause_s=0.01) as host:
        source = open_live(f"http://{host}/live", "door", Selection(), HASTY)
        assert isinstance(source, LiveStream)
        assert source.clip.live and source.clip.frames is None and source.clip.name == f"http://{host}/live"
        numbers = []
        for frame in source:
            assert number_of(frame.read()) == frame.index % 25  # the picture is that of its number
            numbers.append(frame.index)
            if frame.index >= 40:
                break
            time.sleep(0.1)
    assert numbers == sorted(set(numbers)) and len(numbers) < 20
    assert source.dropped >= numbers[-1] - len(numbers) - 1 > 0
    assert source.remark is not None and f"{source.dropped} frames dropped" in source.remark


def test_a_broken_stream_is_opened_again_and_times_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with serve(frames=5) as host, caplog.at_level(logging.WARNING):
        source = open_live(f"http://me:{PASSWORD}@{host}/live", "door", Selection(), HASTY)
        frames = []
        for frame in source:
            frames.append(frame)
            if frame.index >= 12:
                break
    assert isinstance(source, LiveStream) and source.connections >= 3
    times = [frame.time_s for frame in frames]
    assert times == sorted(times) and "opened again 2 times" in str(source.remark)
    assert "broke after" in caplog.text and PASSWORD not in caplog.text
    assert PASSWORD not in str([frame.clip for frame in frames]) and source.problem is None


def test_a_stream_that_does_not_come_back_ends_with_a_reason() -> None:
    with serve(frames=5) as host:
        source = open_live(f"http://{host}/live", "door", Selection(), HASTY)
        frames = iter(source)
        next(frames)
    assert len(list(frames)) < 5
    assert source.problem == "it broke and did not come back within 0.5 s"


def test_a_live_source_ends_at_the_time_that_is_asked_for() -> None:
    with serve(frames=1000) as host:
        source = open_live(f"http://{host}/live", "door", Selection(end_s=0.3), HASTY)
        assert all(frame.time_s < 0.3 for frame in source)
        assert source.problem is None


def test_frames_that_nobody_asked_for_are_not_dropped_ones() -> None:
    with serve(frames=40, pause_s=0.02) as host:
        source = open_live(f"http://{host}/live", "door", Selection(every=10, end_s=0.6), HASTY)
        assert all(frame.index % 10 == 0 for frame in source)
    assert isinstance(source, LiveStream) and source.dropped <= 1


def test_a_stream_with_a_password_is_read_and_the_password_is_not_shown() -> None:
    with serve() as host:
        source = open_live(f"http://me:{PASSWORD}@{host}/secret", "door", Selection(end_s=0.1), HASTY)
        assert next(frame.location for frame in source) == f"http://{host}/secret"
        assert PASSWORD not in repr(source.clip)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/secret", "it asks for a name and a password"),
        ("/secret?pwd=" + PASSWORD, "it asks for a name and a password"),
        ("/nothing", "it has nothing at this address"),
        ("/page", "what it sends is no video"),
        ("/hang", "it does not answer within 0.5 s"),
    ],
)
def test_a_stream_that_cannot_be_opened_says_why(
    path: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve() as host, pytest.raises(InputError, match=words) as refused:
        open_live(f"http://{host}{path}", "door", Selection(), Patience(answer_s=0.5))
    assert host in str(refused.value) and PASSWORD not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_wrong_password_is_not_shown() -> None:
    with answer_once(b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n") as host:
        with pytest.raises(InputError, match="asks for a name and a password") as refused:
            open_live(f"rtsp://me:{PASSWORD}@{host}/1", "door", Selection(), HASTY)
        assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"RTSP/1.0 404 Not Found\r\n\r\n", "it has nothing at this address"),
        (b"RTSP/1.0 500 Broken\r\n\r\n", "the status 500"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "it cannot be reached"),
        (b"", "it cannot be reached"),
    ],
)
def test_answers_of_rtsp_are_told(answer: bytes, words: str) -> None:
    with answer_once(answer) as host, pytest.raises(InputError, match=words):
        open_live(f"rtsp://{host}/1", "door", Selection(), HASTY)


def test_a_port_where_nothing_listens_is_told() -> None:
    with pytest.raises(InputError, match=r"rtsp://127\.0\.0\.1:9/x cannot be opened: nothing listens there"):
        open_live(f"rtsp://me:{PASSWORD}@127.0.0.1:9/x", "door", Selection(), HASTY)


def test_a_clip_on_a_server_is_read_frame_by_frame(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", code="mp4v")
    with serve(tmp_path) as host:
        source = open_live(f"http://{host}/a.mp4", "door", Selection(every=2), HASTY)
        assert isinstance(source, RemoteClip) and not source.clip.live
        frames = []
        for frame in source:
            frames.append(number_of(frame.read()))
            time.sleep(0.02)
        assert frames == [0, 2, 4, 6, 8, 10]
        assert source.problem is None
        with pytest.raises(InputError, match="open it again"):
            list(source)


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"camera 97"):
        open_live("97", "door", Selection(), HASTY)
