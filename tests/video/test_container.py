"""Whether a clip has all of its bytes."""

import struct
from pathlib import Path

import pytest

from aerostat.video.container import missing_bytes

from .clips import write_clip


@pytest.mark.parametrize(
    ("name", "code"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP80"), ("a.mkv", "VP80")]
)
def test_a_whole_clip_lacks_nothing_and_a_cut_one_what_was_cut_off(
    tmp_path: Path, name: str, code: str
) -> None:
    path = write_clip(tmp_path / name, code=code)
    assert missing_bytes(path) == 0
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert missing_bytes(path) == 100
    path.write_bytes(content[: len(content) // 2])
    # in an MP4 the index after the pictures is missed by the decoder alone
    assert missing_bytes(path) == len(content) - len(content) // 2 or path.suffix == ".mp4"
    assert missing_bytes(path) > 0


BOX = struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\0\0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        BOX,
        BOX + struct.pack(">I4s", 0, b"mdat") + bytes(5),  # to the end of the file
        BOX + struct.pack(">I4s", 3, b"mdat"),  # no size of a box
        BOX + b"\0\0",
        b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(9),  # of unknown size
        b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\xff",
        b"\x1aE\xdf\xa3\x00",
        b"\x1aE\xdf\xa3",
        b"G" + bytes(187),
    ],
)
def test_a_container_that_states_no_length_lacks_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip"
    path.write_bytes(content)
    assert missing_bytes(path) == 0


def test_a_large_box_states_its_size_in_eight_bytes(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(BOX + struct.pack(">I4sQ", 1, b"mdat", 1 << 40))
    assert missing_bytes(path) == (1 << 40) - 16


def test_many_boxes_are_passed_over_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(BOX + struct.pack(">I4s", 8, b"free") * 300_000)
    assert missing_bytes(path) == 0
