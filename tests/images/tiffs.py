"""TIFF files of any type of pixels, written by hand (TIFF 6.0), since no library here writes all of them."""

import struct
from collections.abc import Mapping

import numpy as np

FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def tiff(values: np.ndarray, tags: Mapping[int, int] | None = None, *, order: str = "<") -> bytes:
    """Return an uncompressed TIFF of values (h, w) or (h, w, channels), with further or other tags."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    bits, format_ = 8 * values.dtype.itemsize, FORMATS[values.dtype.kind]
    data = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(order))).tobytes()
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: 2 if channels == 3 else 1, 273: 0}
    entries |= {277: channels, 278: height, 279: len(data), 284: 1, 339: format_, **(tags or {})}
    start = 8 + 2 + 12 * len(entries) + 4
    more, table = b"", b""
    wide = (258, 339) if channels > 2 else ()
    entries[273] = start + 2 * channels * len(wide)
    for tag, value in sorted(entries.items()):
        if tag in wide:
            table += struct.pack(f"{order}HHII", tag, 3, channels, start + len(more))
            more += struct.pack(f"{order}{channels}H", *[value] * channels)
        elif tag in (258, 339):
            table += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
        else:
            table += struct.pack(f"{order}HHII", tag, 4, 1, value)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}IH", 8, len(entries)) + table + bytes(4) + more + data
