"""Heat maps that are carried on along a track: moved and resized with the box of the object."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.images.letterbox import Letterbox

LOOK_SIDE = 24
"""Side in pixels of what is kept of the look of an object."""
_FLAT = 1e-6
"""Contrast below which a look is one colour."""


def carry_heat(
    heat: NDArray[np.float32],
    from_box_xyxy: NDArray[np.floating],
    to_box_xyxy: NDArray[np.floating],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """Return a map that is moved and resized as a box was.

    This is the transform of IncX (Calderon-Pena et al., arXiv:2408.11963): a translation and a scale for each
    axis, which take the old box to the new one.

    Args:
        heat: (h, w), over the old picture.
        from_box_xyxy: (4,), the old box in pixels of `heat`; it has an area.
        to_box_xyxy: (4,), the new box in pixels of the returned map; it has an area.
        size: (width, height) of the returned map.

    Returns:
        (height, width); 0 where the old picture shows nothing.

    >>> heat = np.eye(4, dtype=np.float32)
    >>> carry_heat(heat, np.asarray([0, 0, 2, 2]), np.asarray([1, 0, 3, 2]), (4, 2)).tolist()
    [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    start, new_start = np.asarray(from_box_xyxy[:2], np.float64), np.asarray(to_box_xyxy[:2], np.float64)
    scale = (from_box_xyxy[2:] - start) / (to_box_xyxy[2:] - new_start)
    # Coordinates of boxes are pixel edges, those of `warpAffine` are pixel centres.
    shift = start - new_start * scale + 0.5 * scale - 0.5
    back = np.asarray([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(heat, back, size, flags=flags, borderValue=0), np.float32)


def look_of(image_bgr: NDArray[np.uint8], box_xyxy: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the look of a box: its grey pixels at a fixed size, without their mean and contrast.

    Args:
        image_bgr: (H, W, 3) uint8.
        box_xyxy: (4,) in pixels of the image, at least one pixel within it.

    Returns:
        (LOOK_SIDE ** 2,) of length 1; all 0 for a box of one colour.
    """
    height, width = image_bgr.shape[:2]
    x1, y1 = min(max(int(box_xyxy[0]), 0), width - 1), min(max(int(box_xyxy[1]), 0), height - 1)
    x2, y2 = max(int(np.ceil(box_xyxy[2])), x1 + 1), max(int(np.ceil(box_xyxy[3])), y1 + 1)
    small = cv2.resize(image_bgr[y1:y2, x1:x2], (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32).ravel()
    grey -= grey.mean()
    length = float(np.linalg.norm(grey))
    return grey / length if length > _FLAT else np.zeros_like(grey)


@dataclass(frozen=True, slots=True, eq=False)
class SourceMap:
    """A full map of an object on one frame, and what is needed to carry it on.

    Args:
        heat: (h, w) over the frame at the size that the network sees, from 0 to 1.
        box_xyxy: (4,) in pixels of `heat`.
        look: of the box, see `look_of`.
        frame: place of the frame in its clip.
        count: frames that had been looked at before it.
    """

    heat: NDArray[np.float32]
    box_xyxy: NDArray[np.float64]
    look: NDArray[np.float32]
    frame: int
    count: int

    def carried(self, box_xyxy: NDArray[np.float64], letterbox: Letterbox) -> NDArray[np.float32]:
        """Return the map for a later box, given in pixels of the network's input."""
        return carry_heat(self.heat, self.box_xyxy, box_xyxy, letterbox.resized_size)

    def change(self, box_xyxy: NDArray[np.float64]) -> float:
        """Return how much a side of the box grew or shrank: the larger factor, at least 1."""
        sides = (box_xyxy[2:] - box_xyxy[:2]) / (self.box_xyxy[2:] - self.box_xyxy[:2])
        return float(np.maximum(sides, 1 / sides).max())

    def likeness(self, look: NDArray[np.float32]) -> float:
        """Return how alike the object looks, from -1 to 1: the correlation of the pixels of its boxes."""
        return float(self.look @ look)
