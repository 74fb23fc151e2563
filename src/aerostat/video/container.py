"""Whether a clip's file has all the bytes that its container states.

Decoders read a clip that is cut as if it ended there. The containers say how long they are in their first
levels, so a few bytes tell. A container that was written as a stream states no length.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

MAX_BOXES = 100_000
"""Boxes of the first level that are passed over. A fragmented clip of a day has two each second."""


def missing_bytes(path: Path) -> int:
    """Return how many bytes a clip lacks at its end; 0 if it is whole, or does not tell.

    Raises:
        OSError: the file cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == b"\x1aE\xdf\xa3":
            end = _end_of_matroska(file)
        elif start[:4] == b"RIFF":
            end = 8 + int.from_bytes(start[4:8], "little")
        elif start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            end = _end_of_boxes(file, length)
        else:
            end = 0
    return max(0, end - length)


def _end_of_boxes(file: BinaryIO, length: int) -> int:
    """Return where the last box of the first level ends (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size == 0:  # to the end of the file
            return length
        if size < 8:
            break
        at += size
    return at


def _end_of_matroska(file: BinaryIO) -> int:
    """Return where the segment ends (RFC 8794, section 4); 0 if its size is unknown."""
    file.seek(4)
    header = _element_size(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    size = _element_size(file)
    return 0 if size is None else file.tell() + size


def _element_size(file: BinaryIO) -> int | None:
    """Return the size of an element of EBML; None if it is unknown, or no size."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    size = int.from_bytes(first + rest, "big") & ((1 << 7 * width) - 1)
    return None if size == (1 << 7 * width) - 1 or len(rest) < width - 1 else size
