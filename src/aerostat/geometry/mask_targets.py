"""Masks of a training sample at the stride of the mask loss, without torch."""

from __future__ import annotations

from collections.abc import Sequence
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
        for row, (patch, (x, y)) in enumerate(zip(self.patches(), self.windows[:, :2].tolist(), strict=True)):
            out[row, y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        return out

    def patches(self) -> list[NDArray[np.uint8]]:
        """Return the cells (h, w) of each window."""
        return patches_of(self.windows, self.bits)

    def split(self, counts: Sequence[int]) -> list[MaskTargets]:
        """Return the masks of the samples that these objects are on, one sample after the other.

        Args:
            counts: number of objects of each sample.
        """
        ends = np.cumsum(counts)[:-1]
        cells = np.concatenate([[0], np.cumsum(self.windows[:, 2] * self.windows[:, 3])])[ends]
        parts = zip(
            *(np.split(column, ends) for column in (self.windows, self.known, self.centres)),
            np.split(self.bits, cells),
            strict=True,
        )
        return [
            MaskTargets(self.stride, windows, bits, known, centres) for windows, known, centres, bits in parts
        ]


def patches_of(windows: NDArray[np.int64], bits: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return views (h, w) of the cells of each window; see `MaskTargets`."""
    stops = np.cumsum(windows[:, 2] * windows[:, 3]).tolist()
    return [
        bits[stop - height * width : stop].reshape(height, width)
        for stop, (width, height) in zip(stops, windows[:, 2:].tolist(), strict=True)
    ]
