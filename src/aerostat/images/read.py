"""The image reader: any image file as an upright (H, W, 3) uint8 BGR array.

- EXIF orientation 1 to 8 is applied (in TIFF its own orientation tag), so an image is always upright.
- Grey, palette and one-bit images become three channels.
- An alpha channel is dropped; colours stay as stored, also where they are transparent.
- 16 bits per channel are scaled to 8 (the high byte; TIFF is rounded). PGM and PPM are scaled by the
  white that they state. Floating-point, complex and 32-bit images are refused.
- CMYK (JPEG, TIFF) is converted to BGR.
- Of an animation (GIF, WebP, APNG) the first frame is read.
- A file without its end is refused, even if a decoder could read its beginning.
- HEIC is read if the package pi-heif is installed.
- A file that is no image, or of a kind that is not read, is named for what it is (see `kinds`).
- A decompression bomb is refused before a pixel is decoded: an image with more than 201 million pixels (AVIF,
  HEIC and JPEG 2000 100, TIFF 129) that would take more than 50 times the size of its file plus 180 MB. The
  environment variable AEROSTAT_MOST_PIXELS allows that number of pixels for a file of any size.

Python reads the bytes and OpenCV decodes them, so that file names may be in any script. `read_resized`
returns the same at a smaller size; a JPEG's decoder then skips details that would not be visible.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aerostat.errors import InputError
from aerostat.images import heif
from aerostat.images.header import open_header, orientation_of, refuse_unsupported, unsupported_pixels
from aerostat.images.kinds import HEIC, HEIF_SUFFIXES, kind_of
from aerostat.images.limits import (
    BYTES_PER_PIXEL_WITH_PILLOW,
    JPEG_START,
    coded_size,
    has_chunk_beyond_its_end,
    has_too_many_scans,
    memory_allowed,
    memory_needed,
    memory_of_decoding,
    refuse_bomb,
    scans_allowed,
    trusted_pixels,
)
from aerostat.images.location import AnyLocation, FileLocation, Location, location_of, read_bytes
from aerostat.images.pnm import decode_scaled, has_own_white
from aerostat.images.resize import resample

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "avif", "jp2"),
        *("ppm", "pgm", "pbm", "pnm"),
    )
).union(HEIF_SUFFIXES)
"""Lower-case suffixes of the files that `list_images` returns."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


if "OPENCV_LOG_LEVEL" not in os.environ:
    # A broken file raises an error that names it; OpenCV's lines on stderr name no file.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: AnyLocation) -> NDArray[np.uint8]:
    """Return an image file as an upright (H, W, 3) uint8 BGR array; see the module for all conversions.

    Raises:
        InputError: the file is missing, empty, cut off or no image.
    """
    location = location_of(path)
    return decode_image(_read_bytes(location), location.name)


def read_resized(path: AnyLocation, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image file as `read_image` does, resized to `size`.

    A JPEG is decoded at a half, a quarter or an eighth of its size if that is at least `size`: its decoder
    then averages blocks without computing their pixels. The rest is bilinear, in steps of at most two to one,
    because a larger step would skip pixels.

    Args:
        path: of the file, or another location.
        size: (width, height) of the result, in pixels of the upright image.

    Raises:
        InputError: the file is missing, empty, cut off or no image.
    """
    location = location_of(path)
    content = _read_bytes(location)
    header = open_header(io.BytesIO(content))
    orientation = orientation_of(header)
    target = (size[1], size[0]) if orientation >= 5 else size
    factor = 1
    if header is not None and content.startswith(JPEG_START):
        smallest = min(header.size[0] / target[0], header.size[1] / target[1])
        factor = next((factor for factor in _REDUCED if factor <= smallest), 1)
    image_bgr = _decode_stored(content, location.name, header, factor)
    covered: tuple[float, float] = (image_bgr.shape[1], image_bgr.shape[0])
    if factor > 1 and header is not None and covered != header.size:
        # The last block of a row or column may reach beyond the image.
        covered = header.size[0] / factor, header.size[1] / factor
    return np.ascontiguousarray(_turn_upright(resample(image_bgr, covered, target), orientation))


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """Return the bytes of an image file as `read_image` returns the file.

    Args:
        content: of the whole file.
        name: of the file in an error message.

    Raises:
        InputError: the bytes are no image, or their end is missing.
    """
    header = open_header(io.BytesIO(content))
    return np.ascontiguousarray(_turn_upright(_decode_stored(content, name, header), orientation_of(header)))


def _decode_stored(
    content: bytes, name: str, header: Image.Image | None, factor: int = 1
) -> NDArray[np.uint8]:
    """Return the bytes of an image file as its stored pixels (h, w, 3), not yet upright.

    Args:
        content, name: see `decode_image`.
        header: from `open_header`.
        factor: 1, 2, 4 or 8; a JPEG is decoded at 1 / factor of its size, rounded up.
    """
    if not content:
        raise InputError(f"Expected an image, found an empty file: {name}; copy it again or leave it out.")
    if _is_cut_jpeg(content):
        raise InputError(
            f"Expected a whole image, found a JPEG file whose end is missing: {name}; copy it again."
        )
    if has_chunk_beyond_its_end(content):
        raise InputError(
            f"Expected a whole image, found a PNG file with a chunk beyond its end: {name}; copy it again."
        )
    directory = refuse_unsupported(io.BytesIO(content), header, name)
    size = coded_size(content, header)
    if size is not None:
        refuse_bomb(size, header, len(content), name)
    if has_too_many_scans(content, scans_allowed(size)):
        raise InputError(
            f"Expected an image, found a JPEG file that draws its pixels more than {scans_allowed(size)} "
            f"times over: {name}; leave it out."
        )
    image_bgr = None
    if size is not None:  # without a size the memory is unknown
        with memory_of_decoding(memory_needed(size, header, factor), len(content)):
            decoded = (decode() for decode in _decoders(content, size, header, factor))
            image_bgr = next((image for image in decoded if image is not None), None)
    if image_bgr is not None:
        return image_bgr
    if directory is not None and directory.unusual:
        raise unsupported_pixels(directory.unusual, name)
    kind = kind_of(content) if header is None else None
    is_broken = header is not None or (kind is HEIC and heif.is_installed())
    if kind is not None and not is_broken:
        raise kind.error(name)
    found = "a broken or cut-off" if is_broken else "no readable"
    raise InputError(f"Expected an image, found {found} image file: {name}; mend it or leave it out.")


def _decoders(
    content: bytes, size: tuple[int, int], header: Image.Image | None, factor: int
) -> list[Callable[[], NDArray[np.uint8] | None]]:
    """Return the functions that may decode an image, the best first; each returns None if it cannot."""
    if header is not None and header.format == heif.FORMAT:
        return [partial(_decode_with_pillow, content)]
    if has_own_white(content):
        return [partial(decode_scaled, content)]
    decoders: list[Callable[[], NDArray[np.uint8] | None]] = [partial(_decode_with_opencv, content, factor)]
    if size[0] * size[1] * BYTES_PER_PIXEL_WITH_PILLOW <= max(
        memory_allowed(len(content)), trusted_pixels() * BYTES_PER_PIXEL_WITH_PILLOW
    ):
        decoders.append(partial(_decode_with_pillow, content))
    if header is not None and header.format == "TIFF" and header.mode == "RGBA":
        decoders.reverse()  # OpenCV would multiply the colours by alpha
    return decoders


def read_size(path: AnyLocation) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright image, from the header alone.

    It is the size that `read_image` returns. The pixels may still be broken; only `read_image` finds out.

    Raises:
        InputError: the file is missing, empty or no image.
    """
    location = location_of(path)
    try:
        with location.open() as file:
            header = open_header(file)
            refuse_unsupported(file, header, location.name)
            if header is not None:
                width, height = header.size
                refuse_bomb(header.size, header, file.seek(0, os.SEEK_END), location.name)
                return (height, width) if orientation_of(header) >= 5 else (width, height)
    except OSError as error:
        raise _unreadable(location, error) from None
    height, width = read_image(location).shape[:2]
    return width, height


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file.

    Args:
        format: Pillow's name, such as ``JPEG``.
        stored_size: (width, height) of the stored pixels.
        orientation: of EXIF, 1 to 8; from 5 on rows and columns are swapped.
    """

    format: str
    stored_size: tuple[int, int]
    orientation: int


def read_header(path: AnyLocation) -> Header | None:
    """Return the header of an image file; None if its format is unknown.

    Raises:
        InputError: there is no file, or it cannot be opened.
    """
    location = location_of(path)
    try:
        with location.open() as file:
            header = open_header(file)
            if header is None:
                return None
            return Header(header.format or "", header.size, orientation_of(header))
    except OSError as error:
        raise _unreadable(location, error) from None


def list_images(folder: Path | str, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder by their suffix, sorted by path, without hidden files.

    Args:
        folder: with the files.
        recursive: whether to include sub-folders.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Expected a folder of images, found {what_stands_at(folder)}: {folder}.")
    found = folder.rglob("*") if recursive else folder.iterdir()
    images = (p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in images if p.is_file()), key=lambda p: p.as_posix())


def _read_bytes(location: Location) -> bytes:
    try:
        return read_bytes(location)
    except (OSError, ValueError) as error:
        raise _unreadable(location, error) from None


def _unreadable(location: Location, error: Exception) -> InputError:
    if isinstance(location, FileLocation) and not location.path.is_file():
        found = what_stands_at(location.path)
        return InputError(f"Expected an image file, found {found}: {location.name}.")
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"Expected a readable image file, found one that cannot be opened ({reason}): {location.name}."
    )


def what_stands_at(path: Path) -> str:
    """Return what is at a path: ``a folder``, ``a file`` or ``nothing``."""
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing"


def _is_cut_jpeg(content: bytes) -> bool:
    """Return whether a JPEG has no end marker after the start of its first scan (ITU-T T.81, annex B).

    The segments before the scan are skipped, because a preview in an EXIF segment has its own end marker.
    """
    if not content.startswith(JPEG_START):
        return False
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xDA:  # start of scan
            return content.rfind(b"\xff\xd9", at) < 0  # from the back, where a whole file has it
        is_fill = content[at + 1] == 0xFF
        at += 1 if is_fill else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at + 4 > len(content)


def _decode_with_opencv(content: bytes, factor: int = 1) -> NDArray[np.uint8] | None:
    # OpenCV's versions differ in the formats that they turn upright; `_turn_upright` does it for all.
    flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _decode_with_pillow(content: bytes) -> NDArray[np.uint8] | None:
    """Decode a format that this build of OpenCV lacks, such as GIF before 4.11."""
    header = open_header(io.BytesIO(content))
    if header is None or header.mode not in _EIGHT_BIT_MODES:
        return None
    try:
        image_rgb = np.asarray(header.convert("RGB"), np.uint8)
    except Exception:  # for broken pixels plugins raise any type of error
        return None
    return image_rgb[:, :, ::-1]


def image_of_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """Return a PIL image as (H, W, 3) uint8 BGR, upright, as `read_image` would return its file.

    The EXIF orientation is applied, alpha is dropped, 16 bits per channel become 8 (the high byte).

    Raises:
        InputError: its pixels are floating-point or 32-bit numbers, or cannot be decoded.
    """
    orientation = orientation_of(image)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        image_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    elif image.mode in _EIGHT_BIT_MODES:
        try:
            image_rgb = np.asarray(image.convert("RGB"), np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"Expected a PIL image that can be decoded, found {image} ({error}).") from None
    else:
        raise InputError(
            f"Expected a PIL image with 8 or 16 bits per channel, found the mode {image.mode}; convert it."
        )
    return np.ascontiguousarray(_turn_upright(image_rgb[:, :, ::-1], orientation))


def _turn_upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.3: the visual side of row 0 and column 0 of the stored pixels)."""
    if orientation >= 5:  # rows and columns are swapped
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):  # row 0 is at the bottom
        image = image[::-1]
    if orientation in (2, 3, 6, 7):  # column 0 is at the right
        image = image[:, ::-1]
    return image
