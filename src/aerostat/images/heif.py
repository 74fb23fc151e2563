"""HEIC and HEIF photographs, read by the optional package pi-heif."""

from __future__ import annotations

from importlib.util import find_spec
from typing import IO

from PIL import Image

FORMAT = "HEIF"
"""Pillow's name of the format."""


def is_installed() -> bool:
    """Return whether pi-heif can be imported."""
    return find_spec("pi_heif") is not None


def open_heif(file: IO[bytes]) -> Image.Image | None:
    """Return an opened photograph whose pixels are not decoded yet; None if pi-heif is not installed.

    Its size is that of the upright image: libheif applies the boxes `irot` and `imir` (ISO/IEC 23008-12,
    6.5.10 and 6.5.12). EXIF repeats the turn and is ignored, as the standard demands.

    Pillow's list of plugins is not changed, because other code of the process may use it.

    Args:
        file: at any place.

    Raises:
        Exception: the file is broken.
    """
    try:
        from pi_heif import HeifImageFile
    except ImportError:
        return None
    file.seek(0)
    image: Image.Image = HeifImageFile(file, "")
    return image
