"""Image files: written atomically, under names in any script."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import AerostatError, InputError
from aerostat.files import write_bytes

_OPTIONS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 93],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 93],
    ".png": [],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 90],
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
}


def save_image(path: Path | str, image_bgr: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """Write an image in the format of the suffix, and return the path.

    The image is (H, W, 3) or (H, W) uint8. A PNG takes (H, W, 4) with opacity, and (H, W) uint16, too.

    Python writes the file, because OpenCV's writer refuses some file names outside ASCII on Windows.

    Raises:
        InputError: no format has that suffix.
        AerostatError: the image cannot be encoded, such as a JPEG wider than 65535 pixels.
    """
    path = Path(path)
    options = _OPTIONS.get(path.suffix.lower())
    if options is None:
        known = " ".join(_OPTIONS)
        raise InputError(
            f"Expected a picture's suffix ({known}), found {path.suffix!r} in {path}: rename the output."
        )
    try:
        done, encoded = cv2.imencode(path.suffix.lower(), image_bgr, options)
    except cv2.error as error:
        raise AerostatError(
            f"An image of shape {image_bgr.shape} could not be written as {path}: {error.err}."
        ) from error
    if not done:
        raise AerostatError(
            f"An image of shape {image_bgr.shape} could not be written as {path}: use another format."
        )
    write_bytes(path, encoded.tobytes())
    return path
