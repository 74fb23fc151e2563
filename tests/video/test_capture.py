"""Clips in files: numbers, times, rotation, and what is no clip."""

from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.video.capture import VideoFile, is_clip
from aerostat.video.times import Selection

from .clips import SIZE, number_of, turned, write_clip


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP80")])
def test_frames_have_their_numbers_and_times(tmp_path: Path, name: str, code: str) -> None:
    path = write_clip(tmp_path / name, rate=8, code=code)
    source = VideoFile(path)
    frames = list(source)
    assert [number_of(frame.read()) for frame in frames] == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == [pytest.approx(n / 8, abs=6e-4) for n in range(12)]
    assert frames[3].clip == source.clip and frames[3].path == path and frames[3].name == "a-000003"
    assert (source.clip.rate, source.clip.frames, source.clip.live) == (8, 12, False)
    assert source.problem is None
    assert len(list(source)) == 12  # a second time


def test_chosen_frames_keep_their_numbers(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi")
    source = VideoFile(path, "door", Selection(every=3, start_s=0.3, end_s=1.0))
    assert [(frame.index, number_of(frame.read())) for frame in source] == [(3, 3), (6, 6), (9, 9)]
    assert source.clip.stem == "door" and source.clip.rate == pytest.approx(10 / 3)
    assert source.problem is None


def test_a_rotation_mark_is_honoured(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", code="mp4v")
    upright = next(iter(VideoFile(path))).read()
    assert upright.shape == (SIZE[1], SIZE[0], 3)
    turned(path)
    image = next(iter(VideoFile(path))).read()
    assert image.shape == (SIZE[0], SIZE[1], 3)
    # the white corner moves from the upper left to the upper right
    assert upright[2, 2].min() > 200 and image[2, -3].min() > 200 and image[2, 2].max() < 60


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.webm", "VP80")])
def test_a_cut_clip_gives_what_it_has_and_says_so(tmp_path: Path, name: str, code: str) -> None:
    path = write_clip(tmp_path / name, frames=20, code=code)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    source = VideoFile(path)
    assert 0 < len(list(source)) < 20
    assert source.problem is not None
    assert f"states {len(content) - len(content) * 2 // 3} bytes more" in source.problem
    early = VideoFile(path, selection=Selection(end_s=0.3))
    assert len(list(early)) == 3
    assert early.problem is None  # the end was not asked for


def test_a_clip_whose_index_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", code="mp4v")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov")])
    with pytest.raises(InputError, match=r"found one that is (cut|damaged).*a\.mp4"):
        VideoFile(path)


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file"),
        (PLAYLIST, "found a text"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "found a text"),
        (b"\xff\xd8\xff" + bytes(50), "found no known container"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "damaged, or of an unknown codec"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(20), "damaged, or of an unknown codec"),
        (b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\xff" + bytes(50), "damaged, or of an unknown codec"),
    ],
)
def test_what_is_no_clip_is_refused_for_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        VideoFile(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        VideoFile(tmp_path / "a.mp4")


def test_the_content_tells_what_a_clip_is(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", frames=2)
    clip = clip.rename(tmp_path / "clip")
    (tmp_path / "list.mp4").write_bytes(PLAYLIST)
    assert is_clip(clip)
    assert not is_clip(tmp_path / "list.mp4") and not is_clip(tmp_path / "nowhere.mp4")
    assert [number_of(frame.read()) for frame in VideoFile(clip)] == [0, 1]


def test_real_clips_have_the_frames_that_they_state(shared: Path) -> None:
    source = VideoFile(shared / "data" / "video" / "car-detection.mp4", selection=Selection(every=10))
    frames = list(source)
    assert (len(frames), source.clip.frames, source.clip.rate) == (38, 38, 1.25)
    assert frames[-1].index == 370 and frames[-1].time_s == pytest.approx(29.6)
