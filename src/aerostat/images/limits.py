"""Limits of decoding an image: memory in proportion to the file, and scans of a JPEG."""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from aerostat.errors import InputError

JPEG_START = b"\xff\xd8\xff"
_BYTES_PER_PIXEL = {"TIFF": 14, "GIF": 9, "WEBP": 7, "AVIF": 18, "JPEG2000": 18, "HEIF": 18}
"""Memory of decoding by format, at most, measured at 4000 x 4000 with OpenCV 5.0. Other formats take 6 bytes,
a progressive JPEG 9."""
CAMERA_PIXELS = 16_384 * 12_288
"""Pixels up to which the size of the file does not count: 201 million. No sensor of a camera has more in one
shot: telephones reach 16320 x 12240 (Samsung ISOCELL HP1), medium format 14204 x 10652 (Phase One IQ4)."""
CAMERA_MEMORY = 9 * CAMERA_PIXELS
"""Memory of decoding that goes with `CAMERA_PIXELS`: that of a progressive JPEG, 1.8 GB."""
BYTES_PER_PIXEL_WITH_PILLOW = 22
"""Memory of decoding any format with Pillow, at most (measured likewise)."""
_MEMORY_PER_BYTE = 50
"""Memory of decoding that each byte of a file allows."""
_FREE_MEMORY = 180 << 20
"""Memory of decoding that any file is allowed."""
MAX_SCANS = 64
"""Scans of a JPEG, at most; progressive ones have about ten. A scan passes over all pixels, even if it has
few bytes: 51 bytes take 15 ms at 5600 x 5600, so a megabyte of scans would take five minutes."""
_MAX_SCANNED_PIXELS = 4_000_000_000
"""Pixels of all scans together, at most: two seconds. 62 megapixels may have 64 scans, 201 may have 19."""


def memory_allowed(length: int) -> int:
    """Return the bytes of memory that decoding a file of `length` bytes may take beside others."""
    return _MEMORY_PER_BYTE * length + _FREE_MEMORY


def scans_allowed(size: tuple[int, int] | None) -> int:
    """Return how many scans a JPEG of a size (width, height) may have."""
    pixels = max(1, size[0] * size[1]) if size else 1
    return max(1, min(MAX_SCANS, _MAX_SCANNED_PIXELS // pixels))


class _SharedMemory:
    """Memory that threads divide; one that needs more than is left waits."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, amount: int) -> Iterator[None]:
        """Hold an amount of memory, at most all of it."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_LARGE_IMAGES = _SharedMemory(CAMERA_MEMORY)


@contextmanager
def memory_of_decoding(amount: int, length: int) -> Iterator[None]:
    """Wait until an image may be decoded, and let others know when it is.

    Images that need more memory than their files allow share `CAMERA_MEMORY`, so many threads that read such
    files take no more than one.

    Args:
        amount: bytes of memory that decoding takes.
        length: of the file in bytes.
    """
    if amount <= memory_allowed(length):
        yield
        return
    with _LARGE_IMAGES.reserved(amount):
        yield


def trusted_pixels() -> int:
    """Return AEROSTAT_MOST_PIXELS, the pixels that are read from a file of any size; 0 if it is not set."""
    text = os.environ.get("AEROSTAT_MOST_PIXELS", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def memory_needed(size: tuple[int, int], header: Image.Image | None, factor: int = 1) -> int:
    """Return the bytes of memory that decoding takes, at most.

    Args:
        size: (width, height) in pixels.
        header: from Pillow, if it knows the format.
        factor: by which a JPEG is decoded smaller; a progressive one still keeps all its coefficients.
    """
    per_pixel = _BYTES_PER_PIXEL.get(header.format or "", 6) if header else 9
    if header is not None and header.info.get("progressive"):
        per_pixel, factor = 9, 1
    return size[0] * size[1] * per_pixel // factor**2


def refuse_bomb(size: tuple[int, int], header: Image.Image | None, length: int, name: str) -> None:
    """Refuse an image that is larger than a camera's and needs too much memory for the size of its file.

    Args:
        size: (width, height) in pixels.
        header: from Pillow, if it knows the format.
        length: of the file in bytes.
        name: of the file in a message.

    Raises:
        InputError: the image is refused; the message names both sizes.
    """
    pixels, needed = size[0] * size[1], memory_needed(size, header)
    is_of_camera = pixels <= CAMERA_PIXELS and needed <= CAMERA_MEMORY
    if not is_of_camera and needed > memory_allowed(length) and pixels > trusted_pixels():
        raise InputError(
            f"Expected an image, found a file of {length} bytes that claims {size[0]} x {size[1]} pixels: "
            f"{name}; leave it out, or set AEROSTAT_MOST_PIXELS={pixels} to read it all the same."
        )


_STATED_SIZE = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
"""The size of an item of HEIF (ISO/IEC 23008-12, 6.5.3)."""
_META_BYTES = 1 << 20


def coded_size(content: bytes, header: Image.Image | None) -> tuple[int, int] | None:
    """Return the size (width, height) that a decoder will find; None if the bytes state none."""
    if content.startswith(JPEG_START) and header is None:  # other segments may confuse Pillow
        return _jpeg_size(content)
    if header is None:
        return None
    width, height = header.size
    if header.format == "HEIF":  # a crop may hide the size of what is decoded
        stated = _STATED_SIZE.findall(content[:_META_BYTES])
        sizes = [struct.unpack(">2I", size) for size in stated]
        return max([(width, height), *sizes], key=lambda size: size[0] * size[1])
    start = content.find(b"\xff\x4f\xff\x51") if header.format == "JPEG2000" else -1
    if start >= 0:  # the codestream (ITU-T T.800, A.5.1) may contradict the box before it
        right, bottom, left, top = struct.unpack(">4I", content[start + 8 : start + 24].ljust(16, b"\0"))
        return max(width, right - left), max(height, bottom - top)
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return the size in a JPEG's frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def has_too_many_scans(content: bytes, allowed: int) -> bool:
    """Return whether a JPEG has more scans before its end marker than are allowed."""
    if not content.startswith(JPEG_START) or content.count(b"\xff\xda") <= allowed:
        return False
    scans, at = 0, 2
    while (match := _MARKER.search(content, at)) is not None and match[0] != b"\xff\xd9":
        scans += match[0] == b"\xff\xda"
        if scans > allowed:
            return True
        at = match.end() + int.from_bytes(content[match.end() : match.end() + 2], "big")
    return False


_PNG_START = b"\x89PNG\r\n\x1a\n"


def has_chunk_beyond_its_end(content: bytes) -> bool:
    """Return whether a PNG has a chunk that states more bytes than the file has: a decoder allocates them.

    Each chunk is a length, a type, the data and a checksum (PNG specification, section 5.3).
    """
    if not content.startswith(_PNG_START):
        return False
    at = len(_PNG_START)
    while at + 8 <= len(content) and content[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return at > len(content)
