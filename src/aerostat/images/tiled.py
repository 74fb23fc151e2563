"""Tiled TIFF files, read region by region, so that memory does not follow the size of the image.

The optional package tifffile tells where tiles and levels of a pyramid are. Each tile is decoded as a TIFF
file of its own by the reader of whole images, so its pixels are the same, and no further codecs are needed.
"""

from __future__ import annotations

import importlib.util
import logging
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.images.location import AnyLocation, Location, location_of
from aerostat.images.read import decode_image
from aerostat.images.regions import Regions, Size
from aerostat.images.resize import resample

COMPRESSIONS = frozenset({1, 5, 7, 8, 32773, 32946})
"""None, LZW, JPEG, Deflate, PackBits, old Deflate: what OpenCV and Pillow decode."""
MAX_TILE = 4096
"""Largest side of a tile in pixels; a larger one is no saving."""
CACHED_BYTES = 48 << 20
"""Decoded tiles that are kept: neighbouring windows share some."""
BLOCK = 1024
"""Side in pixels of the blocks that are reduced at a time."""

_WIDTH, _LENGTH, _COMPRESSION, _OFFSETS, _ROWS, _COUNTS = 256, 257, 259, 273, 278, 279
_COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 531, 532)
"""Tags of a tile's own file: bits, compression, colours, predictor, palette, samples, JPEG tables, YCbCr."""
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 2: "B"}


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One resolution of the image.

    Args:
        size, tile: (width, height) in pixels.
        offsets, counts: place and bytes of each tile in the file, row by row.
        tags: of a tile's own file.
        order: of bytes in the file, ``<`` or ``>``.
    """

    size: Size
    tile: Size
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tags: tuple[tuple[int, int, int, bytes], ...]
    order: str

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size[0] // self.tile[0])

    def file_of(self, content: bytes) -> bytes:
        """Return a TIFF file with one tile as its only strip."""
        width, height = self.tile
        own = {_WIDTH: width, _LENGTH: height, _OFFSETS: 8, _ROWS: height, _COUNTS: len(content)}
        entries = [(tag, 4, 1, struct.pack(f"{self.order}I", value)) for tag, value in own.items()]
        entries = sorted([*entries, *self.tags])
        start = 8 + len(content) + len(content) % 2
        body, extra = b"", b""
        after = start + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            place = value.ljust(4, b"\0")
            if len(value) > 4:
                place = struct.pack(f"{self.order}I", after + len(extra))
                extra += value + b"\0" * (len(value) % 2)
            body += struct.pack(f"{self.order}HHI", tag, kind, count) + place
        mark = b"II" if self.order == "<" else b"MM"
        head = mark + struct.pack(f"{self.order}HI", 42, start)
        number = struct.pack(f"{self.order}H", len(entries))
        return b"".join((head, content, b"\0" * (len(content) % 2), number, body, bytes(4), extra))


class TiledImage:
    """A tiled TIFF file; see `aerostat.images.regions.Regions`.

    Args:
        file: of the image; it is read by one thread at a time.
        name: in messages.
        levels: at least one, the largest first.
    """

    def __init__(self, file: BinaryIO, name: str, levels: list[_Level]) -> None:
        self._file, self._name, self._levels = file, name, levels
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    @property
    def size(self) -> Size:
        """Width and height of the whole image in pixels."""
        return self._levels[0].size

    def read(self, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the pixels (h, w, 3) BGR of x1, y1, x2, y2.

        Raises:
            InputError: a tile is broken.
        """
        return self._read(0, box)

    def reduced(self, size: Size) -> NDArray[np.uint8]:
        """Return the whole image, reduced to at least `size`, from the smallest level that is as large.

        Raises:
            InputError: a tile is broken.
        """
        large = [
            number
            for number, level in enumerate(self._levels)
            if level.size[0] >= size[0] or level.size[1] >= size[1]
        ]
        number = max(large, default=0, key=lambda number: -self._levels[number].size[0])
        width, height = self._levels[number].size
        factor = max(1, min(max(width // size[0], 1), max(height // size[1], 1)))
        if width <= BLOCK and height <= BLOCK:
            factor = 1
        out = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
        step = max(1, BLOCK // factor) * factor
        for y in range(0, height, step):
            for x in range(0, width, step):
                block = self._read(number, (x, y, min(x + step, width), min(y + step, height)))
                missing = -block.shape[0] % factor, -block.shape[1] % factor
                if any(missing):
                    block = np.pad(block, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
                to = block.shape[1] // factor, block.shape[0] // factor
                shrunk = cv2.resize(block, to, interpolation=cv2.INTER_AREA)
                out[y // factor : y // factor + to[1], x // factor : x // factor + to[0]] = shrunk
        covered = width / factor, height / factor
        return resample(out, covered, (max(1, round(covered[0])), max(1, round(covered[1]))))

    def _read(self, number: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        level, (x1, y1, x2, y2) = self._levels[number], box
        wide, high = level.tile
        out = np.empty((y2 - y1, x2 - x1, 3), np.uint8)
        for row in range(y1 // high, -(-y2 // high)):
            for column in range(x1 // wide, -(-x2 // wide)):
                tile = self._tile(number, row * level.columns + column)
                left, top = column * wide, row * high
                a, b, c, d = max(x1, left), max(y1, top), min(x2, left + wide), min(y2, top + high)
                out[b - y1 : d - y1, a - x1 : c - x1] = tile[b - top : d - top, a - left : c - left]
        return out

    def _tile(self, number: int, index: int) -> NDArray[np.uint8]:
        """Return a decoded tile (h, w, 3)."""
        level, key = self._levels[number], (number, index)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
            self._file.seek(level.offsets[index])
            content = self._file.read(level.counts[index])
        if len(content) < level.counts[index]:
            raise InputError(f"Expected a whole image, found a TIFF file that is cut off: {self._name}.")
        if content:
            pixels = decode_image(level.file_of(content), f"{self._name} (tile {index + 1})")
        else:  # a sparse file leaves out tiles without content
            pixels = np.zeros((level.tile[1], level.tile[0], 3), np.uint8)
        if pixels.shape[:2] != (level.tile[1], level.tile[0]):
            raise InputError(f"Expected tiles of one size, found another one in {self._name}.")
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > CACHED_BYTES and len(self._tiles) > 1:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        return pixels


def is_tiff_name(name: str) -> bool:
    """Return whether a file has the suffix of a TIFF file or of a slide scan in that format."""
    return name.lower().endswith((".tif", ".tiff", ".btf", ".tf8", ".svs"))


@contextmanager
def open_tiled(place: AnyLocation) -> Iterator[Regions | None]:
    """Yield a tiled TIFF file; None for another file, or without tifffile.

    A file that is stored or compressed in a way that is not read tile by tile gives None, too.
    """
    location = location_of(place)
    if not is_tiff_name(location.name) or importlib.util.find_spec("tifffile") is None:
        yield None
        return
    levels = _levels(location)
    if not levels:
        yield None
        return
    with location.open() as file:
        yield TiledImage(file, location.name, levels)


def _levels(location: Location) -> list[_Level]:
    """Return the levels of the first image in a file that can be read tile by tile, the largest first."""
    import tifffile

    # It logs what is wrong with a file; the reader of images says it in one sentence.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with location.open() as file, tifffile.TiffFile(file) as tiff:
            first = tiff.series[0]
            pages = [level.pages[0] for level in first.levels if len(level.pages) == 1]
            found = [_level(page, tiff.byteorder) for page in pages]
    except Exception:  # for a broken file tifffile raises any type of error; the reader of images names it
        return []
    return [level for level in found if level is not None] if found and found[0] is not None else []


def _level(page: Any, order: str) -> _Level | None:
    """Return a page as a level; None if it is not read tile by tile."""
    tile, size = (page.tilewidth, page.tilelength), (page.imagewidth, page.imagelength)
    orientation = page.tags.get(274)
    if (
        not page.is_tiled
        or page.planarconfig != 1
        or int(page.compression) not in COMPRESSIONS
        or not 0 < min(tile) <= max(tile) <= MAX_TILE
        or (orientation is not None and int(orientation.value) != 1)
        or page.imagedepth != 1
    ):
        return None
    level = _Level(
        size, tile, tuple(page.dataoffsets), tuple(page.databytecounts), tuple(_tags(page, order)), order
    )
    rows = -(-size[1] // tile[1])
    if not len(level.offsets) == len(level.counts) == level.columns * rows:
        return None
    return level


def _tags(page: Any, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield number, type, count and bytes of the tags that tell how tiles are decoded."""
    for number in _COPIED:
        tag = page.tags.get(number)
        if tag is None:
            continue
        kind, value = int(tag.dtype), tag.value
        code = _FORMATS.get(kind)
        if code is None:
            raise InputError(f"Expected tags of whole numbers, found another type in tag {number}.")
        if isinstance(value, bytes):
            yield number, kind, len(value), value
            continue
        numbers = [int(v) for v in np.asarray(value).ravel().tolist()]
        count = len(numbers) // 2 if kind == 5 else len(numbers)
        yield number, kind, count, struct.pack(f"{order}{len(numbers)}{code[0]}", *numbers)
