"""Limits of decoding an image: memory in proportion to the file, and scans of a JPEG."""

from __future__ import annotations

import os
import re
import struct

from PIL import Image

from aerostat.errors import InputError

JPEG_START = b"\xff\xd8\xff"
_BYTES_PER_PIXEL = {"TIFF": 14, "GIF": 9, "WEBP": 7, "AVIF": 18, "JPEG2000": 18}
"""Memory of decoding by format, at most, measured at 4000 x 4000 with OpenCV 5.0. Other formats take 6 bytes,
a progressive JPEG 9."""
BYTES_PER_PIXEL_WITH_PILLOW = 22
"""Memory of decoding any format with Pillow, at most (measured likewise)."""
_MEMORY_PER_BYTE = 50
"""Memory of decoding that each byte of a file allows."""
_FREE_MEMORY = 180 << 20
"""Memory of decoding that any file is allowed."""
MAX_SCANS = 64
"""Scans of a JPEG, at most; progressive ones have about ten. A scan passes over all pixels, even if it has
few bytes: 51 bytes take 15 ms at 5600 x 5600, so a megabyte of scans would take five minutes."""


def memory_allowed(length: int) -> int:
    """Return the bytes of memory that decoding a file of `length` bytes may take."""
    return _MEMORY_PER_BYTE * length + _FREE_MEMORY


def trusted_pixels() -> int:
    """Return AEROSTAT_MOST_PIXELS, the pixels that are read from a file of any size; 0 if it is not set."""
    text = os.environ.get("AEROSTAT_MOST_PIXELS", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def refuse_bomb(size: tuple[int, int], header: Image.Image | None, length: int, name: str) -> None:
    """Refuse an image whose pixels need too much memory for the size of its file.

    Args:
        size: (width, height) in pixels.
        header: from Pillow, if it knows the format.
        length: of the file in bytes.
        name: of the file in a message.

    Raises:
        InputError: the image is refused; the message names both sizes.
    """
    per_pixel = _BYTES_PER_PIXEL.get(header.format or "", 6) if header else 9
    if header is not None and header.info.get("progressive"):
        per_pixel = 9
    pixels = size[0] * size[1]
    if pixels * per_pixel > memory_allowed(length) and pixels > trusted_pixels():
        raise InputError(
            f"Expected an image, found a file of {length} bytes that claims {size[0]} x {size[1]} pixels: "
            f"{name}; leave it out, or set AEROSTAT_MOST_PIXELS={pixels} to read it all the same."
        )


def coded_size(content: bytes, header: Image.Image | None) -> tuple[int, int] | None:
    """Return the size (width, height) that a decoder will find; None if the bytes state none."""
    if content.startswith(JPEG_START) and header is None:  # other segments may confuse Pillow
        return _jpeg_size(content)
    if header is None:
        return None
    width, height = header.size
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


def has_too_many_scans(content: bytes) -> bool:
    """Return whether a JPEG has more than `MAX_SCANS` scans before its end marker."""
    if not content.startswith(JPEG_START) or content.count(b"\xff\xda") <= MAX_SCANS:
        return False
    scans, at = 0, 2
    while (match := _MARKER.search(content, at)) is not None and match[0] != b"\xff\xd9":
        scans += match[0] == b"\xff\xda"
        if scans > MAX_SCANS:
            return True
        at = match.end() + int.from_bytes(content[match.end() : match.end() + 2], "big")
    return False
