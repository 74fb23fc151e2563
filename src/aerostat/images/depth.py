"""The values of images with 16 bits per channel: how much of their range they use."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np

from aerostat.images.tiff import read_directory

_MAX_SAMPLES = 1 << 20
_IGNORED = 0.0005
"""Share of the lowest and of the highest values that does not count: dead and hot pixels, marks, borders."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The range of an image's values, without the few lowest and highest.

    Args:
        low, high: of nearly all values.
    """

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Bits that the values from 0 to `high` need, of 16."""
        return int(self.high).bit_length()

    @property
    def span_bits(self) -> int:
        """Bits that the values need once `low` is taken off."""
        return int(self.high - self.low).bit_length()


def value_range(content: bytes) -> ValueRange | None:
    """Return the range of the values of an image with 16 bits per channel; None for all others.

    A PNG, a TIFF and a JPEG 2000 do not state which values their cameras can reach, so only the values tell.

    Args:
        content: of a file that `decode_image` has read.
    """
    if not _may_be_deep(content):
        return None
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # without alpha
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    if image is None or image.dtype not in (np.uint16, np.int16):
        return None
    values = image.reshape(-1)
    values = np.sort(values[:: max(1, values.size // _MAX_SAMPLES) | 1])
    ignored = int(_IGNORED * values.size)
    return ValueRange(int(values[ignored]), int(values[-1 - ignored]))


def _may_be_deep(content: bytes) -> bool:
    if content.startswith(b"\x89PNG"):
        return content[24:25] == b"\x10"  # the bit depth of IHDR (PNG, 11.2.1)
    if content.startswith((b"II", b"MM")):
        directory = read_directory(io.BytesIO(content))
        return directory is not None and 8 < directory.bits <= 16
    return content[4:8] == b"jP  " or content.startswith(b"\xff\x4f\xff\x51")
