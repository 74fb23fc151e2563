"""The run lengths of Label Studio's brush: bits that pack the RGBA bytes of a picture row by row.

The format is rle-pack's (https://github.com/thi-ng/umbrella, packages/rle-pack). 32 bits: how many values
follow. 5 bits: the bits of a value, less one. Four times 4 bits: the bits of a length, less one. Then blocks:
one bit says whether the block repeats one value; two bits choose the bits of its length; the length, less
one; the value, or the values. The alpha of a pixel, the last of its four bytes, is above zero inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.formats import placed_masks
from aerostat.datasets.formats.placed_masks import Rle

_LENGTH_BITS = (3, 4, 8, 16)
_HEADER_BITS = 32 + 5 + 4 * 4
_FREE_NUMBERS = 1 << 22
_NUMBERS_PER_BYTE = 64
"""Numbers that the mask of a brush may take for each of its bytes, beside the free ones."""
_FEW = 16


def decode(values: Sequence[int], size: tuple[int, int]) -> Rle:
    """Return the mask of a brush as COCO's run-length object.

    Args:
        values: the packed bytes, each 0 to 255.
        size: (width, height) of the picture that was painted on.

    Raises:
        ValueError, TypeError: they are no brush of this size.
    """
    data = bytes(values)
    if len(data) * 8 < _HEADER_BITS:
        raise ValueError(f"a brush of {len(data)} bytes")
    header = int.from_bytes(data[:7], "big") >> 3
    count, value_bits = header >> 21, (header >> 16 & 31) + 1
    length_bits = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    pixels = size[0] * size[1]
    if value_bits != 8 or pixels < 1 or count not in (pixels, 4 * pixels):
        raise ValueError(f"a brush of {count} values of {value_bits} bits for {size[0]} x {size[1]} pixels")
    starts, stops = _runs(data, count, count // pixels, length_bits)
    return placed_masks.from_rows(starts, stops, size, _FREE_NUMBERS + _NUMBERS_PER_BYTE * len(data))


def _runs(
    data: bytes, count: int, channels: int, length_bits: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first pixel and pixel behind the last one of the runs inside, counted row by row.

    Args:
        data: the packed bytes.
        count: values in them.
        channels: values of a pixel; the last one counts.
        length_bits: four sizes of a length.
    """
    end = len(data) * 8
    padded = data + bytes(8)
    array = np.frombuffer(padded, np.uint8)
    pieces: list[NDArray[np.int64]] = []
    single: list[tuple[int, int]] = []
    at, bit = 0, _HEADER_BITS
    while at < count:
        byte = bit >> 3
        window = int.from_bytes(padded[byte : byte + 5], "big") << (bit & 7) & 0xFF_FFFF_FFFF
        bits = length_bits[window >> 37 & 3]
        stop = at + 1 + (window >> (37 - bits) & ((1 << bits) - 1))
        bit += 3 + bits
        repeated = window >> 39
        after = bit + (8 if repeated else 8 * (stop - at))
        if after > end or stop > count:
            raise ValueError(f"a brush that ends after {at} of {count} values")
        first, last = at // channels, stop // channels  # pixels whose last byte is in the block
        if repeated:
            if window >> (29 - bits) & 255:
                single.append((first, last))
        elif last - first <= _FEW:
            for pixel in range(first, last):
                place = bit + 8 * (channels * pixel + channels - 1 - at)
                if int.from_bytes(padded[place >> 3 : (place >> 3) + 2], "big") >> (8 - (place & 7)) & 255:
                    single.append((pixel, pixel + 1))
        else:
            alpha = _values(array, bit, stop - at)[channels * first + channels - 1 - at :: channels]
            edges = np.flatnonzero(np.diff(alpha > 0, prepend=False, append=False)) + first
            pieces.append(edges.reshape(-1, 2))
        bit, at = after, stop
    runs = np.concatenate([np.asarray(single, np.int64).reshape(-1, 2), *pieces])
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    runs = runs[runs[:, 0] < runs[:, 1]]
    return runs[:, 0], runs[:, 1]


def _values(array: NDArray[np.uint8], bit: int, count: int) -> NDArray[np.uint8]:
    """Return `count` values of 8 bits that begin at a bit."""
    byte, shift = bit >> 3, bit & 7
    if not shift:
        return array[byte : byte + count]
    pairs = array[byte : byte + count].astype(np.uint16) << 8 | array[byte + 1 : byte + count + 1]
    return (pairs >> (8 - shift) & 255).astype(np.uint8)


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """Return a mask (h, w) as Label Studio stores a brush: opaque white inside, transparent black outside.

    >>> from aerostat.geometry.masks import Masks
    >>> Masks.from_coco([decode(encode(np.eye(3, dtype=bool)), (3, 3))]).area().tolist()
    [3]
    """
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, len(flat)) * 4
    inside = bool(flat[0])
    parts = [f"{4 * len(flat):032b}{7:05b}", *(f"{bits - 1:04b}" for bits in _LENGTH_BITS)]
    for length in np.diff(ends, prepend=0).tolist():
        value = "11111111" if inside else "00000000"
        while length > 0:
            step = min(length, 1 << _LENGTH_BITS[-1])
            choice = next(n for n, bits in enumerate(_LENGTH_BITS) if step <= 1 << bits)
            parts.append(f"1{choice:02b}{step - 1:0{_LENGTH_BITS[choice]}b}{value}")
            length -= step
        inside = not inside
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
