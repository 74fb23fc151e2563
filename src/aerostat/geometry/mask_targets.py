"""Masks of a training sample at the stride of the mask loss, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class MaskTargets:
    """Masks of the n objects of one training sample, each within its window.

    Cell (i, j) is the pixel in row ``i * stride + stride // 2`` and column ``j * stride + stride // 2`` of
    the sample: the published loss reads full masks there (MMDetection 3, `RTMDetInsHead`).

    Args:
        stride: pixels between neighbouring cells.
        windows: (n, 4) int64 x, y, width and height in cells, within the sample; width and height are 0 for
            an object without an outline.
        bits: (b,) uint8, 0 or 1: the cells of all windows, one object after the other, row by row.
        known: (n,) bool, whether an object has an outline. Objects without one have no mask loss.
        centres: (n, 2) float32, x and y of the centre of mass, as the mean index of the mask's pixels in
            pixels of the sample; the centre of the box if there is no outline, or no cell in it.
    """

    stride: int
    windows: NDArray[np.int64]
    bits: NDArray[np.uint8]
    known: NDArray[np.bool_]
    centres: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.known)

    def dense(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the masks (n, h, w) on the cells of a whole sample of (width, height) cells."""
        out = np.zeros((len(self), size[1], size[0]), np.uint8)
        start = 0
        for row, (x, y, width, height) in enumerate(self.windows.tolist()):
            stop = start + width * height
            out[row, y : y + height, x : x + width] = self.bits[start:stop].reshape(height, width)
            start = stop
        return out
