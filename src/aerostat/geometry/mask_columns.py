"""Masks as spans of pixels within one column, the form in which outlines and measures are worked out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSpans:
    """The pixels of n masks as spans (s,), sorted by mask, column and row. Spans of a column do not touch.

    Args:
        image_size: (width, height) of the image.
        count: n, masks without a pixel included.
        mask: (s,) the mask of each span.
        column: (s,) its column.
        top: (s,) its first row.
        bottom: (s,) the row behind its last one.
    """

    image_size: tuple[int, int]
    count: int
    mask: Ints
    column: Ints
    top: Ints
    bottom: Ints

    @classmethod
    def of_runs(cls, runs: tuple[Ints, Ints, Ints], image_size: tuple[int, int], count: int) -> ColumnSpans:
        """Return the spans of runs that are counted column by column; a run may pass several columns.

        Args:
            runs: mask, first place and place behind the last one of each run, as `Masks.runs` gives them.
            image_size: (width, height) of the image.
            count: number of masks.
        """
        mask, start, stop = runs
        height = image_size[1]
        first = start // height
        columns = (stop - 1) // height - first + 1
        run = np.repeat(np.arange(len(mask)), columns)
        column = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(columns) - columns, columns)
        top = np.maximum(start[run] - column * height, 0)
        bottom = np.minimum(stop[run] - column * height, height)
        return cls(image_size, count, mask[run], column, top, bottom)

    def span_at(self, mask: Ints, column: Ints, row: Ints) -> Ints:
        """Return for each pixel (k,) of a mask the number of the span that holds it."""
        found: Ints = np.searchsorted(
            self._key(self.mask, self.column, self.top), self._key(mask, column, row), "right"
        )
        return found - 1

    def pixels_before(self, mask: Ints, column: Ints, row: Ints) -> Ints:
        """Return for each place (k,) how many pixels of all masks come before it, in the order of spans.

        Args:
            mask, column, row: (k,) each; a column or a row may lie one beside the image.
        """
        keys = self._key(self.mask, self.column, self.top)
        place = self._key(mask, column, row)
        span = np.searchsorted(keys, place, "right") - 1
        lengths = self.bottom - self.top
        ends = np.concatenate([np.cumsum(lengths), [0]])
        beyond = np.where(
            span < 0, 0, np.maximum(np.append(keys, 0)[span] + np.append(lengths, 0)[span] - place, 0)
        )
        return ends[span] - beyond

    def _key(self, mask: Ints, column: Ints, row: Ints) -> Ints:
        width, height = self.image_size  # with a row on each side of a column, and a column behind the last
        return (mask * (width + 1) + column) * (height + 2) + row + 1

    def patches(self) -> Iterator[tuple[NDArray[np.bool_], tuple[int, int]]]:
        """Yield each mask within the box around it (h, w), and the column and row of the box's first pixel.

        A mask without pixels has the shape (0, 0). No full frame is made.
        """
        bounds = np.searchsorted(self.mask, np.arange(self.count + 1)).tolist()
        for begin, end in pairwise(bounds):
            if begin == end:
                yield np.zeros((0, 0), np.bool_), (0, 0)
                continue
            column, top, bottom = self.column[begin:end], self.top[begin:end], self.bottom[begin:end]
            x, y = int(column[0]), int(top.min())
            steps = np.zeros((int(column[-1]) - x + 1, int(bottom.max()) - y + 1), np.int8)
            steps[column - x, top - y] = 1
            steps[column - x, bottom - y] = -1
            yield np.cumsum(steps, axis=1, dtype=np.int8)[:, :-1].astype(np.bool_).T, (x, y)
