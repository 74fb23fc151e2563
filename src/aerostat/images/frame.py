"""A frame: one picture of a source, with its pixels or with the file that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aerostat.errors import InputError
from aerostat.images.location import Location
from aerostat.images.read import image_of_pillow, read_image

AnyImage = Path | str | NDArray[np.uint8] | Image.Image
"""A file, an image (H, W, 3) uint8 BGR, or a PIL image."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What the frames of one moving source share: a video, a camera, a stream, an animation, or pages.

    >>> Clip("door.mp4", "door", rate=25.0).rate
    25.0

    Args:
        name: of the source in messages and files with results: a path, ``camera 0``, or an address without
            its password.
        stem: begins the names of files that are written about it; no other source of the call has it.
        rate: frames that it yields each second, on average; None for pages, which have no times.
        live: whether it goes on while a frame is worked on.
        frames: about how many frames it yields; None if that is not known.
    """

    name: str
    stem: str
    rate: float | None = None
    live: bool = False
    frames: int | None = None


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
        path: the file; None for a frame that exists in memory only. A frame of a clip has that of the clip.
        clip: the moving source that it is from; None for a still picture.
        stored: where its bytes are, if they are not in a file, such as a member of an archive.

    Raises:
        InputError: the array is no image, or there is neither an array nor a file.
    """

    image_bgr: NDArray[np.uint8] | None
    name: str
    index: int = 0
    time_s: float | None = None
    path: Path | None = None
    clip: Clip | None = None
    stored: Location | None = None

    def __post_init__(self) -> None:
        if self.image_bgr is not None:
            check_image(self.image_bgr)
        elif self.path is None and self.stored is None:
            raise InputError(f"Expected `image_bgr` or `path` for the frame {self.name!r}, found neither.")

    @property
    def location(self) -> str:
        """Where the frame comes from, for messages and files: its path, its clip, else its name."""
        if self.path is not None:
            return str(self.path)
        if self.stored is not None:
            return self.stored.name
        return self.name if self.clip is None else self.clip.name

    def read(self) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) uint8 BGR; they are read from the file if they are not at hand.

        Raises:
            InputError: the file is missing, or no image.
        """
        if self.image_bgr is not None:
            return self.image_bgr
        place = self.stored or self.path
        assert place is not None
        return read_image(place)


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
