"""Files of several pictures: pages of a TIFF, and animations in GIF, WebP and PNG."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from PIL import Image

from aerostat.errors import InputError
from aerostat.images.frame import Clip, Frame
from aerostat.images.header import open_header
from aerostat.images.limits import refuse_bomb
from aerostat.images.read import decode_image, image_of_pillow
from aerostat.images.tiff import HEIGHT, SUBFILE, WIDTH, directories
from aerostat.video.times import Selection

ANIMATED = {"GIF", "WEBP", "PNG"}
"""Formats of Pillow that may be animated and are read so."""
DEFAULT_DURATION_S = 0.1
"""How long a picture of an animation lasts that states 10 ms or less, as browsers show it."""
SHORTEST_S = 0.011
MAX_PAGES = 100_000
MAX_CHUNKS = 100
"""Chunks of a PNG before its pixels that are passed over."""


def open_pages(path: Path, stem: str, selection: Selection) -> Animation | Pages | None:
    """Return the pictures of a file that has several; None if it has one, or is no such file.

    Args:
        path: the file.
        stem: begins the names of files that are written about it.
        selection: which of them are looked at.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                pages = tiff_pages(file)
                return Pages(path, stem, selection, pages) if len(pages) > 1 else None
            if not _may_be_animated(start, file):
                return None
            file.seek(0)
            image = open_header(file)
            if image is None or image.format not in ANIMATED or not getattr(image, "is_animated", False):
                return None
            return Animation(path, stem, selection, int(getattr(image, "n_frames", 2)))
    except (OSError, ValueError, EOFError, SyntaxError, struct.error):
        return None  # the reader of images says what is wrong with it


def _may_be_animated(start: bytes, file: io.BufferedReader) -> bool:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _has_animation_chunk(file)
    is_webp = start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X" and bool(start[20] & 2)
    return start[:6] in (b"GIF87a", b"GIF89a") or is_webp


def _has_animation_chunk(file: io.BufferedReader) -> bool:
    """Return whether a PNG is animated: acTL stands before the pixels (PNG 3, section 11.3.4).

    Pillow would take five times as long, for each of the PNG files in a folder.
    """
    file.seek(8)
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if head[4:] in (b"acTL", b"IDAT", b""):
            return head[4:] == b"acTL"
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def tiff_pages(file: io.BufferedReader) -> list[int]:
    """Return the places of the directories of a TIFF's pages.

    Reduced copies and masks are no pages (TIFF 6.0, NewSubfileType). A file whose pages shrink is a pyramid,
    the same picture at several sizes, and has one page.
    """
    found = [(place, page.values) for place, page in directories(file, MAX_PAGES)]
    pages = [(place, values) for place, values in found if not values.get(SUBFILE, 0) & 0b101]
    sizes = [(values.get(WIDTH, 0), values.get(HEIGHT, 0)) for _, values in pages]
    is_pyramid = len(sizes) > 2 and all(
        0 < later[0] <= 0.6 * size[0] and later[1] <= 0.6 * size[1] for size, later in pairwise(sizes)
    )
    return [place for place, _ in pages][: 1 if is_pyramid else None]


class Pages:
    """The pages of a TIFF, which have no times.

    Args:
        path: the file.
        stem: begins the names of files that are written about it.
        selection: which pages are looked at; `every` alone counts.
        places: of the directories of its pages.

    Raises:
        InputError: times are selected.
    """

    def __init__(self, path: Path, stem: str, selection: Selection, places: list[int]) -> None:
        if selection != Selection(every=selection.every):
            raise InputError(f"Expected `every` alone for the pages of {path}, found times: pages have none.")
        self.path, self._places = path, places[:: selection.every]
        self._every = selection.every
        self.problem: str | None = None
        self.remark: str | None = None
        self.clip = Clip(str(path), stem, frames=len(self._places))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pages.

        Raises:
            InputError: a page cannot be read.
        """
        content = bytearray(self.path.read_bytes())
        order = "<" if bytes(content[:2]) == b"II" else ">"
        is_big = bytes(content[2:4]) in (b"+\0", b"\0+")
        for number, place in enumerate(self._places):
            # The page is read as the first one of the file, by the reader of images.
            struct.pack_into(f"{order}{'Q' if is_big else 'I'}", content, 8 if is_big else 4, place)
            index = number * self._every
            image_bgr = decode_image(bytes(content), f"{self.path}, page {index + 1}")
            name = f"{self.clip.stem}-{index:06d}"
            yield Frame(image_bgr, name, index, None, self.path, self.clip)


class Animation:
    """The pictures of a GIF, WebP or PNG animation, with their times.

    Args:
        path: the file.
        stem: begins the names of files that are written about it.
        selection: which of them are looked at.
        frames: how many there are.
    """

    def __init__(self, path: Path, stem: str, selection: Selection, frames: int) -> None:
        self.path, self.selection = path, selection
        self.problem: str | None = None
        self.remark: str | None = None
        with Image.open(path) as image:
            refuse_bomb(image.size, image, path.stat().st_size, str(path))
            durations = [_duration_s(image, index) for index in range(min(frames, 100))]
        rate = len(durations) / sum(durations)
        self.clip = Clip(str(path), stem, selection.rate(rate), frames=selection.frames(frames, rate))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures.

        Raises:
            InputError: the file cannot be opened any more.
        """
        wanted = self.selection.chooser()
        time_s, index = 0.0, 0
        with Image.open(self.path) as image:
            while True:
                try:
                    image.seek(index)
                    duration_s = _duration_s(image, index)
                    choice = wanted(index, time_s)
                    image_bgr = image_of_pillow(image) if choice else None
                except EOFError:
                    return
                except Exception as error:  # for broken pictures plugins raise any type of error
                    self.problem = f"picture {index + 1} is damaged ({type(error).__name__})"
                    return
                if choice is None:
                    return
                if image_bgr is not None:
                    name = f"{self.clip.stem}-{index:06d}"
                    yield Frame(image_bgr, name, index, round(time_s, 6), self.path, self.clip)
                time_s += duration_s
                index += 1


def _duration_s(image: Image.Image, index: int) -> float:
    image.seek(index)
    image.load()  # WebP states the duration with the pixels
    stated = float(image.info.get("duration", 0) or 0) / 1000
    return stated if stated >= SHORTEST_S else DEFAULT_DURATION_S
