"""Headers of image files, read without decoding a pixel."""

from __future__ import annotations

from typing import IO

from PIL import Image

from aerostat.images import heif
from aerostat.images.kinds import RAW, UnsupportedImageError, is_heif
from aerostat.images.tiff import Directory, read_directory

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, section 4.6.4
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_header(file: IO[bytes]) -> Image.Image | None:
    """Open an image without decoding its pixels; None if Pillow does not know its format.

    `Image.open` refuses more than 179 million pixels, which aerial photographs have; its plugins accept them.
    """
    Image.init()
    prefix = file.read(64)
    for name in PILLOW_FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is None or (accepts is not None and not accepts(prefix[:16])):
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except Exception:  # for a broken header plugins raise any type of error
            continue
    if is_heif(prefix):
        try:
            return heif.open_heif(file)
        except Exception:
            return None
    return None


def orientation_of(header: Image.Image | None) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or broken.

    `Image.getexif` is not used: it would decode a PNG's pixels to find EXIF after them, and would also read
    XMP. TIFF has its own orientation tag, which both decoders have applied.
    """
    if header is None or header.format == "TIFF" or not header.info.get("exif"):
        return 1
    exif = Image.Exif()
    try:
        exif.load(header.info["exif"])
        value = exif.get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block raises any type of error
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def refuse_unsupported(file: IO[bytes], header: Image.Image | None, name: str) -> Directory | None:
    """Refuse a whole file whose pixels are of a type that is not read; return a TIFF's directory.

    Args:
        file: that can seek; its place is changed.
        header: from `open_header`.
        name: of the file in a message.

    Raises:
        UnsupportedImageError: naming the type, and what to do.
    """
    file.seek(0)
    directory = read_directory(file) if file.read(4) in _TIFF_STARTS else None
    if directory is not None and directory.is_raw:
        raise RAW.error(name)
    pixels = directory.unsupported_pixels if directory is not None else ""
    if not pixels and header is not None and header.mode == "F":
        pixels = "32-bit floating point pixels"
    if pixels:
        raise unsupported_pixels(pixels, name)
    return directory


def unsupported_pixels(pixels: str, name: str) -> UnsupportedImageError:
    """Return the error for pixels of a type that is not read.

    Args:
        pixels: a noun, such as ``32-bit floating point pixels``.
        name: of the file.
    """
    return UnsupportedImageError(
        f"Expected an image with 8 or 16 bits per channel, found {pixels}, which are not supported: {name}; "
        "save it as 8 or 16 bits (the file is whole)."
    )
