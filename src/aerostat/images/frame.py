"""A frame: one picture of a source, with its pixels or with the file that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aerostat.errors import InputError
from aerostat.images.read import image_of_pillow, read_image

AnyImage = Path | str | NDArray[np.uint8] | Image.Image
"""A file, an image (H, W, 3) uint8 BGR, or a PIL image."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    >>> frame = Frame(np.zeros((4, 6, 3), np.uint8), "black", index=0)
    >>> frame.read().shape
    (4, 6, 3)

    Args:
        image_bgr: (H, W, 3) uint8 BGR; None reads the file on demand.
        name: what tells the frame from others, such as a file name; written pictures are named after it.
        index: place within the source, from 0.
        time_s: seconds since the beginning of a video; None for a still picture.
        path: the file; None for a frame that exists in memory only.

    Raises:
        InputError: the array is no image, or there is neither an array nor a file.
    """

    image_bgr: NDArray[np.uint8] | None
    name: str
    index: int = 0
    time_s: float | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        if self.image_bgr is not None:
            check_image(self.image_bgr)
        elif self.path is None:
            raise InputError(f"Expected `image_bgr` or `path` for the frame {self.name!r}, found neither.")

    @property
    def location(self) -> str:
        """Where the frame comes from, for messages and files: its path, else its name."""
        return self.name if self.path is None else str(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) uint8 BGR; they are read from the file if they are not at hand.

        Raises:
            InputError: the file is missing, or no image.
        """
        if self.image_bgr is not None:
            return self.image_bgr
        assert self.path is not None
        return read_image(self.path)


def as_frame(image: AnyImage | Frame, index: int = 0) -> Frame:
    """Return a file, an array or a PIL image as a frame.

    Args:
        image: a path, an image (H, W, 3) uint8 BGR, or a PIL image, which is turned upright and converted to
            BGR as its file would be.
        index: place among other images.

    Raises:
        InputError: the image is of another type.
    """
    if isinstance(image, Frame):
        return image
    if isinstance(image, Path | str):
        return Frame(None, Path(image).name, index, path=Path(image))
    if isinstance(image, Image.Image):
        return Frame(image_of_pillow(image), f"image-{index}", index)
    if isinstance(image, np.ndarray):
        return Frame(image, f"image-{index}", index)
    raise InputError(
        f"Expected a path, an image (H, W, 3) of uint8 or a PIL image, found {type(image).__name__}."
    )


def check_image(image_bgr: NDArray[Any]) -> None:
    """Refuse an array that is no image (H, W, 3) of uint8.

    Raises:
        InputError: naming its shape and type.
    """
    shape = image_bgr.shape
    if len(shape) != 3 or shape[2] != 3 or not image_bgr.size or image_bgr.dtype != np.uint8:
        raise InputError(f"Expected an image (H, W, 3) of uint8, found {shape} of {image_bgr.dtype}.")
