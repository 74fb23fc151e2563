"""Overlapping windows over a large image: where they lie, and which of their boxes they cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """Windows of one size, in rows and columns, that together cover an image.

    Args:
        image_size: (width, height) of the image.
        side: (width, height) of each window, at most that of the image.
        columns, rows: first pixel of each column and row of windows, ascending.

    Example:
        >>> grid = WindowGrid.cover((1000, 600), (640, 640), overlap=0.2)
        >>> grid.columns, grid.rows, grid.side
        ((0, 360), (0,), (640, 600))
    """

    image_size: Size
    side: Size
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def cover(cls, image_size: Size, side: Size, overlap: float) -> WindowGrid:
        """Return the fewest windows whose neighbours have at least a share of their side in common.

        They are spread evenly, so neighbours may have more in common.

        Args:
            image_size: (width, height) of the image.
            side: (width, height) of a window; a smaller image has one window.
            overlap: share in [0, 1).
        """
        fitted = min(side[0], image_size[0]), min(side[1], image_size[1])
        columns, rows = (
            _starts(length, own, overlap) for length, own in zip(image_size, fitted, strict=True)
        )
        return cls(image_size, fitted, columns, rows)

    def __len__(self) -> int:
        return len(self.columns) * len(self.rows)

    def box(self, number: int) -> tuple[int, int, int, int]:
        """Return x1, y1, x2, y2 of a window in pixels of the image; they are numbered row by row."""
        row, column = divmod(number, len(self.columns))
        x, y = self.columns[column], self.rows[row]
        return x, y, x + self.side[0], y + self.side[1]


def _starts(length: int, side: int, overlap: float) -> tuple[int, ...]:
    """Return where windows begin on one axis."""
    step = max(1, math.floor(side * (1 - overlap) + 1e-9))
    count = -(-(length - side) // step) + 1
    return tuple(round(place * (length - side) / max(count - 1, 1)) for place in range(count))


@dataclass(frozen=True, slots=True, eq=False)
class CutSides:
    """How windows show their boxes, along both axes.

    Args:
        low, high: (n, 2) bool, x and y: whether the box ends at an inner border of its window there, so that
            its object may go on behind it.
        better: (n,) bool: whether another window shows all of the box, and more of what is behind a border
            that cuts it.
    """

    low: NDArray[np.bool_]
    high: NDArray[np.bool_]
    better: NDArray[np.bool_]

    @property
    def any(self) -> NDArray[np.bool_]:
        """Whether the box (n,) is cut on any side."""
        return np.asarray((self.low | self.high).any(axis=1))


def cut_sides(
    grid: WindowGrid,
    numbers: NDArray[np.integer],
    boxes_xyxy: NDArray[np.floating],
    slack: NDArray[np.floating],
) -> CutSides:
    """Return how the windows of a grid show boxes that were found in them.

    Args:
        grid: the windows.
        numbers: (n,) the window of each box.
        boxes_xyxy: (n, 4) in pixels of the image.
        slack: (n, 2) pixels: an edge that is nearer to an inner border than this is taken as cut.
    """
    low, high = np.zeros((2, len(boxes_xyxy), 2), bool)
    better = np.zeros(len(boxes_xyxy), bool)
    places = np.asarray(numbers) % len(grid.columns), np.asarray(numbers) // len(grid.columns)
    for axis, (starts, place) in enumerate(zip((grid.columns, grid.rows), places, strict=True)):
        side, start = grid.side[axis], np.asarray(starts, np.float64)
        begin, room = start[place], slack[:, axis]
        first, last = boxes_xyxy[:, axis].astype(np.float64), boxes_xyxy[:, axis + 2].astype(np.float64)
        low[:, axis] = (first <= begin + room) & (place > 0)
        high[:, axis] = (last >= begin + side - room) & (place < len(start) - 1)
        # The window that shows most behind the border, of those that show the other edge with room to spare.
        after = np.searchsorted(start, first - room, side="left") - 1
        before = np.searchsorted(start, last + room - side, side="right")
        after, before = np.clip(after, 0, None), np.clip(before, None, len(start) - 1)
        beyond_high = (start[after] > begin + room) & high[:, axis] & ~low[:, axis]
        beyond_low = (start[before] < begin - room) & low[:, axis] & ~high[:, axis]
        better |= beyond_high | beyond_low
    return CutSides(low, high, better)
