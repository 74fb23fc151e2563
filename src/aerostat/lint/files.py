"""What is wrong with the files of images: their headers, and their pixels."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError, clause
from aerostat.images.depth import ValueRange, value_range
from aerostat.images.kinds import HEIF_SUFFIXES, UnsupportedImageError, kind_of
from aerostat.images.location import length, path_of, read_bytes
from aerostat.images.prefetch import prefetch
from aerostat.images.read import IMAGE_SUFFIXES, Header, decode_image, read_header
from aerostat.images.resize import shrink
from aerostat.lint.listing import Finding, finding
from aerostat.lint.similarity import SIDE, Signature, signature
from aerostat.processors import usable_processors
from aerostat.progress import track

V = TypeVar("V")
W = TypeVar("W")

SUFFIXES: dict[str, frozenset[str]] = {
    "JPEG": frozenset((".jpg", ".jpeg", ".jpe", ".jfif")),
    "MPO": frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    "PNG": frozenset((".png", ".apng")),
    "WEBP": frozenset((".webp",)),
    "BMP": frozenset((".bmp", ".dib")),
    "TIFF": frozenset((".tif", ".tiff")),
    "GIF": frozenset((".gif",)),
    "AVIF": frozenset((".avif",)),
    "JPEG2000": frozenset((".jp2", ".j2k", ".jpx", ".j2c")),
    "PPM": frozenset((".ppm", ".pgm", ".pbm", ".pnm", ".pfm")),
    "HEIF": HEIF_SUFFIXES,
}
"""Lower-case suffixes that files of each format have, by Pillow's name of it."""

SILENT_IMAGES = 500
"""Images up to which no progress is shown."""

_BATCH = 32


@dataclass(slots=True)
class ImageFile:
    """An image of the data, and the facts about its file.

    Args:
        split: name of the split.
        record: as it was read.
        length: of the file in bytes.
        header: None if it is not of a known format.
        digest: SHA-256 of the bytes, where it was asked for.
        pixel_digest: SHA-256 of size and pixels.
        signature: what the image is recognised by.
        values: the range of its values, if it has 16 bits per channel.
        broken: why its pixels cannot be read; empty if they can, or were not read.
        broken_code: of the finding about that.
        looked: whether its pixels were read.
    """

    split: str
    record: ImageRecord
    length: int = 0
    header: Header | None = None
    digest: bytes = b""
    pixel_digest: bytes = b""
    signature: Signature | None = field(default=None, repr=False)
    values: ValueRange | None = None
    broken: str = ""
    broken_code: str = "image-truncated"
    looked: bool = False


def reading_threads() -> int:
    """Return how many threads read images: as many as there are processors, eight at most."""
    return min(8, usable_processors())


def image_files(data: Dataset) -> list[ImageFile]:
    """Return the images of a data set, split by split."""
    return [ImageFile(split.name, record) for split in data.splits.values() for record in split.images]


def look_at_headers(files: Sequence[ImageFile], threads: int) -> None:
    """Read the headers, and the digests of files that are as long as another one."""
    shown = len(files) > SILENT_IMAGES
    deque(_each(_look_at_header, files, threads, "reading headers" if shown else ""), maxlen=0)
    by_length = defaultdict[int, list[ImageFile]](list)
    for file in files:
        by_length[file.length].append(file)
    alike = [file for group in by_length.values() if len(group) > 1 for file in group]
    deque(_each(_digest, alike, threads, "comparing files" if len(alike) > SILENT_IMAGES else ""), maxlen=0)


def _look_at_header(file: ImageFile) -> None:
    try:
        file.length = length(file.record.location)
        file.header = read_header(file.record.location)
    except (InputError, OSError) as error:  # it was there when the annotations were read
        file.broken = str(error)


def _digest(file: ImageFile) -> None:
    try:
        file.digest = hashlib.sha256(read_bytes(file.record.location)).digest()
    except OSError:
        return


def look_at_pixels(files: Sequence[ImageFile], threads: int, seconds: float | None = None) -> None:
    """Decode images, and keep digests, signatures and errors.

    Args:
        files: the images.
        threads: that decode.
        seconds: stop after this time; the images are then a sample from everywhere. None reads all.
    """
    order = list(files)
    if seconds is not None:
        order = [files[k] for k in np.random.default_rng(0).permutation(len(files))]
    for file, small_bgr in _each(_look_at_pixels, order, threads, "reading pixels", seconds):
        # Not in the threads: it consists of many short calls, which threads would only slow down.
        file.signature = None if small_bgr is None else signature(small_bgr)


def _look_at_pixels(file: ImageFile) -> tuple[ImageFile, NDArray[np.uint8] | None]:
    location = file.record.location
    file.looked = True
    try:
        content = read_bytes(location)
        image_bgr = decode_image(content, location.name)
    except OSError as error:
        file.broken = error.strerror or str(error)
        return file, None
    except InputError as error:
        file.broken = clause(error)
        file.broken_code = _code_of(error, content, file.header)
        return file, None
    file.values = value_range(content)
    file.digest = hashlib.sha256(content).digest()
    pixels = hashlib.sha256(f"{image_bgr.shape}".encode())
    pixels.update(np.ascontiguousarray(image_bgr).data)
    file.pixel_digest = pixels.digest()
    return file, shrink(image_bgr, SIDE)


def _code_of(error: InputError, content: bytes, header: Header | None) -> str:
    if isinstance(error, UnsupportedImageError):
        return "image-unsupported"
    if not content:
        return "image-empty"
    return "image-truncated" if header is not None or kind_of(content) is None else "image-unreadable"


def _each(
    work: Callable[[V], W],
    items: Sequence[V],
    threads: int,
    title: str,
    seconds: float | None = None,
) -> Iterator[W]:
    """Yield the result of each item, computed in threads, until all are done or the time is over."""
    started = time.monotonic()

    def batches() -> Iterator[list[Callable[[], W]]]:
        for start in range(0, len(items), _BATCH):
            if seconds is not None and time.monotonic() - started > seconds:
                return
            yield [partial(work, item) for item in items[start : start + _BATCH]]

    with closing(prefetch(batches(), threads)) as made:
        done = (one for batch in made for one in batch)
        yield from track(done, title, total=len(items)) if title else done


def check_headers(files: Sequence[ImageFile]) -> list[Finding]:
    """Return what headers tell: wrong names, and images that are turned."""
    found = []
    for file in files:
        name, header = file.record.file_name, file.header
        if header is None:
            continue
        suffix = file.record.path.suffix.lower()
        known = SUFFIXES.get(header.format)
        if known and suffix not in known and suffix in IMAGE_SUFFIXES:
            found.append(
                finding("image-misnamed", file.split, name, f"is a {header.format} file called {suffix}")
            )
        if header.orientation != 1:
            turned = f"has the EXIF orientation {header.orientation}"
            found.append(finding("image-rotated", file.split, name, turned))
    return found


def check_pixels(files: Sequence[ImageFile]) -> list[Finding]:
    """Return images whose pixels cannot be read, and what was not looked at."""
    found = [
        finding(file.broken_code, file.split, file.record.file_name, _without_path(file.broken, file.record))
        for file in files
        if file.broken
    ]
    for split in dict.fromkeys(file.split for file in files):
        mine = [file for file in files if file.split == split]
        left = sum(not file.looked for file in mine)
        if left:
            wrong = f"the pixels of {left} of {len(mine)} images were not looked at"
            found.append(finding("not-looked-at", split, "", wrong))
    return found


USED_BITS = 14
"""Bits of 16 up to which values use too little of the range: cameras give 10, 12 or 14."""
SPAN_BITS = 12
"""Bits up to which the span of values above a floor is too small: thermal cameras count from such a floor."""


def check_values(files: Sequence[ImageFile]) -> list[Finding]:
    """Return images with 16 bits per channel of which the high byte shows little."""
    found = []
    for file in files:
        values = file.values
        if values is None or values.low == values.high:  # one value says nothing about the range
            continue
        stated = f"(values from {values.low} to {values.high})"
        if values.low < 0:
            wrong = f"has negative 16-bit values {stated}, which the high byte does not show"
            remedy = "shift and scale them to 0 to 65535, or save it with 8 bits"
        elif values.bits <= USED_BITS:
            factor = 1 << (16 - values.bits)
            dark = "nearly black" if values.bits <= SPAN_BITS else "dark"
            wrong = (
                f"its 16-bit values use 1/{factor} of their range {stated}, so it is {dark} when read by "
                "their high byte"
            )
            remedy = f"multiply them by {factor}, or save it with 8 bits"
        elif values.span_bits <= SPAN_BITS:
            part = 1 << (16 - values.span_bits)
            wrong = (
                f"its 16-bit values use 1/{part} of their range {stated}, so it is nearly flat when read by "
                "their high byte"
            )
            remedy = "scale them to 0 to 65535, or save it with 8 bits"
        else:
            continue
        found.append(finding("image-bits-unused", file.split, file.record.file_name, f"{wrong}; {remedy}"))
    return found


def _without_path(sentence: str, record: ImageRecord) -> str:
    return sentence.replace(f": {record.location.name}", "").replace(record.location.name, record.file_name)


def check_unreferenced(data: Dataset) -> list[Finding]:
    """Return images that stand among those of the data and that no annotations name."""
    known: set[Path] = set()
    folders: dict[Path, str] = {}
    named: set[str] = set()
    for split in data.splits.values():
        for record in split.images:
            if (path := path_of(record.location)) is not None:
                known.add(path)
                folders.setdefault(path.parent, split.name)
        named |= {p.file_name.replace("\\", "/").rpartition("/")[2] for p in split.problems}
    found = []
    for folder, split_of in folders.items():
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            continue
        for name in names:
            path = folder / name
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES or path in known:
                continue
            if name not in named and path.is_file():
                found.append(finding("image-unreferenced", split_of, name, "no annotations name it"))
    return found


def read_again(file: ImageFile) -> NDArray[np.uint8] | None:
    """Return the pixels of an image again, None if it is not there any more."""
    try:
        return decode_image(read_bytes(file.record.location), file.record.location.name)
    except (InputError, OSError):
        return None


def name_of(file: ImageFile) -> str:
    """Return how an image is named to a person."""
    return f"{file.split}/{file.record.file_name}"
