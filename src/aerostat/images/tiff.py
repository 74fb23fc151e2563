"""The first directory of a TIFF file: which pixels it has, and whether it is a camera's raw file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MAX_ENTRIES = 4096
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of the integer types of TIFF 6.0, section 2, and of BigTIFF."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, SUB_DIRECTORIES, SAMPLE_FORMAT, DNG_VERSION = 277, 330, 339, 50706

_FORMATS = {2: "signed integer", 3: "floating point", 5: "complex integer", 6: "complex"}
_RAW_PHOTOMETRIC = (32803, 34892)
"""Colour filter array, and linear raw (Adobe DNG 1.4)."""
_COMPRESSIONS = {
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34925: "LZMA",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a TIFF file.

    Args:
        values: the first value of each integer tag, the most bits of `BITS`.
        is_canon: whether it is a CR2 file.
    """

    values: dict[int, int]
    is_canon: bool = False

    @property
    def bits(self) -> int:
        """Bits per channel."""
        return self.values.get(BITS, 1)

    @property
    def is_raw(self) -> bool:
        """Whether it is a camera's raw file; what decoders find in it is a thumbnail."""
        has_thumbnail_first = bool(self.values.get(SUBFILE, 0) & 1) and SUB_DIRECTORIES in self.values
        is_sensor = self.values.get(PHOTOMETRIC) in _RAW_PHOTOMETRIC
        return self.is_canon or DNG_VERSION in self.values or is_sensor or has_thumbnail_first

    @property
    def unsupported_pixels(self) -> str:
        """What its pixels are, if they are of a type that is never read, such as floating point."""
        kind = self.values.get(SAMPLE_FORMAT, 1)
        if kind in (3, 5, 6) or self.bits > 16:
            return f"{self.bits}-bit {_FORMATS.get(kind, 'integer')} pixels"
        return ""

    @property
    def unusual(self) -> str:
        """What decoders may lack for these pixels; empty if they are ordinary."""
        compression, samples = self.values.get(COMPRESSION, 1), self.values.get(SAMPLES, 1)
        if compression in _COMPRESSIONS:
            return f"TIFF pixels compressed as {_COMPRESSIONS[compression]}"
        if samples == 2 or samples > 4:
            return f"TIFF pixels of {samples} channels"
        kind = self.values.get(SAMPLE_FORMAT, 1)
        if kind == 2:
            return f"{self.bits}-bit {_FORMATS[kind]} pixels"
        return f"{self.bits}-bit pixels" if self.bits not in (1, 2, 4, 8, 16) else ""


def read_directory(file: IO[bytes]) -> Directory | None:
    """Return the first directory of a TIFF or BigTIFF file; None for another file or a broken one.

    Args:
        file: that can seek; its place is changed.
    """
    return next((directory for _, directory in directories(file, 1)), None)


def directories(file: IO[bytes], most: int) -> Iterator[tuple[int, Directory]]:
    """Yield the directories of a TIFF or BigTIFF file with their places; a broken one ends them.

    Args:
        file: that can seek; its place is changed.
        most: directories, at most.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return
    seen = set[int]()
    try:
        version = struct.unpack(f"{order}H", head[2:4])[0]
        if version not in (42, 43):
            return
        codes = ("H", "I") if version == 42 else ("Q", "Q")
        place = head[4:8] if version == 42 else head[8:16]
        is_canon = version == 42 and head[8:10] == b"CR"
        while len(seen) < most:
            (start,) = struct.unpack(f"{order}{codes[1]}", place)
            if not start or start in seen:  # the last one, or a circle
                return
            seen.add(start)
            values = _entries(file, start, order, *codes)
            yield start, Directory(values, is_canon)
            place = _next_place(file, start, order, *codes)
    except (struct.error, OverflowError, ValueError, OSError):
        return


def _next_place(file: IO[bytes], start: int, order: str, count_code: str, word: str) -> bytes:
    """Return the bytes that state the place of the next directory."""
    file.seek(start)
    (number,) = struct.unpack(f"{order}{count_code}", file.read(struct.calcsize(count_code)))
    file.seek(number * (4 + 2 * struct.calcsize(word)), 1)
    return file.read(struct.calcsize(word))


def _entries(file: IO[bytes], start: int, order: str, count_code: str, word: str) -> dict[int, int]:
    """Return the first value of each integer tag of a directory, and the most bits of all channels."""
    file.seek(start)
    (number,) = struct.unpack(f"{order}{count_code}", file.read(struct.calcsize(count_code)))
    entry = struct.Struct(f"{order}HH{word}{struct.calcsize(word)}s")
    table = file.read(entry.size * min(number, _MAX_ENTRIES))
    values: dict[int, int] = {}
    for tag, type_, count, place in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
        size = _SIZES.get(type_)
        if size is None or not count:
            continue
        code, wanted = _CODES[size], min(count, 8)
        content = place
        if count * size > len(place):
            if tag not in (BITS, SAMPLE_FORMAT):
                values[tag] = 0
                continue
            file.seek(struct.unpack(f"{order}{word}", place)[0])
            content = file.read(wanted * size)
        found = struct.unpack(f"{order}{wanted}{code}", content[: wanted * size])
        values[tag] = max(found) if tag == BITS else found[0]
    return values
