"""Binary PGM and PPM files whose white is another value than 255 or 65535, such as 4095 for 12 bits.

OpenCV ignores the stated value, and Pillow takes seconds for a photograph.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
"""Format, width, height and the value of white (Netpbm, `pgm` and `ppm`)."""
_HEADER_BYTES = 4096


def has_own_white(content: bytes) -> bool:
    """Return whether a file is a binary PGM or PPM that only this module scales as it states."""
    match = _HEADER.match(content[:_HEADER_BYTES])
    return match is not None and 0 < int(match[4]) < 65535 and int(match[4]) != 255


def decode_scaled(content: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels (h, w, 3) uint8 BGR with the stated white as 255; None if the file is cut off.

    Args:
        content: of a file for which `has_own_white` holds.
    """
    match = _HEADER.match(content[:_HEADER_BYTES])
    if match is None:
        return None
    channels = 1 if match[1] == b"5" else 3
    width, height, white = (int(match[group]) for group in (2, 3, 4))
    dtype = np.dtype(">u2" if white > 255 else "u1")
    number = width * height * channels
    if not number or len(content) - match.end() < number * dtype.itemsize:
        return None
    values = np.frombuffer(content, dtype, number, match.end()).reshape(height, width, channels)
    table = np.minimum((np.arange(65536) * 255 + white // 2) // white, 255).astype(np.uint8)
    image = table[values]
    return np.repeat(image, 3, axis=2) if channels == 1 else np.ascontiguousarray(image[:, :, ::-1])
