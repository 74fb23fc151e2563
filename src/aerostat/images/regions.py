"""Images that are read region by region: arrays, and files that are decoded as a whole once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height in pixels."""


class Regions(Protocol):
    """An upright image whose parts are read on their own. Threads read at the same time."""

    @property
    def size(self) -> Size:
        """Width and height of the whole image in pixels."""

    def read(self, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the pixels (h, w, 3) BGR of x1, y1, x2, y2, which lies within the image.

        Raises:
            InputError: they cannot be decoded.
        """

    def reduced(self, size: Size) -> NDArray[np.uint8]:
        """Return the whole image (h, w, 3) BGR, smaller where that saves memory, and at least `size`.

        Raises:
            InputError: it cannot be decoded.
        """


@dataclass(frozen=True, slots=True, eq=False)
class ArrayRegions:
    """An image in memory.

    >>> ArrayRegions(np.zeros((40, 60, 3), np.uint8)).read((10, 0, 30, 40)).shape
    (40, 20, 3)

    Args:
        image_bgr: (H, W, 3) uint8 BGR.
    """

    image_bgr: NDArray[np.uint8]

    @property
    def size(self) -> Size:
        """Width and height of the whole image in pixels."""
        return self.image_bgr.shape[1], self.image_bgr.shape[0]

    def read(self, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the pixels (h, w, 3) BGR of x1, y1, x2, y2; they are not copied."""
        x1, y1, x2, y2 = box
        return self.image_bgr[y1:y2, x1:x2]

    def reduced(self, size: Size) -> NDArray[np.uint8]:
        """Return the whole image as it is, since it is in memory anyway."""
        return self.image_bgr
