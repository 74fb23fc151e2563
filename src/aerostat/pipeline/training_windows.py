"""Windows of large photographs as the images that a run is trained on.

A window is an image like any other: it has a size, objects and pixels. So samples stay a function of seed,
stage and position. An epoch goes through the photographs in random order, a few at a time, because a
photograph is decoded as a whole. The windows of those few are shuffled together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import AerostatError, InputError
from aerostat.geometry.boxes import box_area
from aerostat.geometry.outlines import Outlines
from aerostat.geometry.windows import WindowGrid
from aerostat.images.resize import resample
from aerostat.pipeline.layout import Size, Source
from aerostat.pipeline.render import Image
from aerostat.pipeline.training_images import TrainingImages

MIN_VISIBLE = 0.25
"""Share of an object's box, or of the window, that its visible part must cover. A smaller part is no object:
prediction leaves it to the window that shows more of it."""
BLOCK_BYTES = 512 << 20
"""Decoded photographs whose windows are shuffled together."""


class TrainingWindows:
    """The windows of a split's photographs, with the methods of `TrainingImages`.

    Windows with objects are all there. Of the others there are at most as many, spread evenly.

    Args:
        records: of the photographs.
        side: of the windows in pixels.
        overlap: share of the side that neighbours have in common.
        cache_bytes: size of the cache of decoded photographs.

    Raises:
        AerostatError: no photograph can be read.
    """

    def __init__(
        self, records: Sequence[ImageRecord], side: int, overlap: float, *, cache_bytes: int
    ) -> None:
        self._records = records
        self._photographs = TrainingImages(
            records, cache_bytes=cache_bytes, recent_bytes=min(BLOCK_BYTES, cache_bytes)
        )
        photographs, boxes = [np.zeros(0, np.int64)], [np.zeros((0, 4), np.int64)]
        for number in range(len(records)):
            size = self._photographs.size(number)
            if size is None:
                continue
            grid = WindowGrid.cover(size, (side, side), overlap)
            boxes.append(np.asarray([grid.box(window) for window in range(len(grid))], np.int64))
            photographs.append(np.full(len(grid), number, np.int64))
        if len(boxes) == 1:
            raise AerostatError(f"Expected images to train on, found none of the {len(records)} readable.")
        self._boxes, self._photograph = np.concatenate(boxes), np.concatenate(photographs)
        kept = self._worth_showing()
        self._boxes, self._photograph = self._boxes[kept], self._photograph[kept]

    def __len__(self) -> int:
        return len(self._boxes)

    def name(self, index: int) -> str:
        """Return the name of a window: that of its photograph, with its corner."""
        x, y = self._boxes[index, :2].tolist()
        return f"{self._records[self._photograph[index]].file_name} ({x}, {y})"

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return all windows in random order, those of a few photographs at a time."""
        windows = np.split(np.arange(len(self)), np.flatnonzero(np.diff(self._photograph)) + 1)
        order, block, room = [np.zeros(0, np.int64)], list[NDArray[np.int64]](), BLOCK_BYTES
        for place in rng.permutation(len(windows)).tolist():
            size = self._photographs.size(int(self._photograph[windows[place][0]]))
            assert size is not None
            cost = 3 * size[0] * size[1]
            if block and cost > room:
                order.append(rng.permutation(np.concatenate(block)))
                block, room = [], BLOCK_BYTES
            block.append(windows[place])
            room -= cost
        return np.concatenate([*order, rng.permutation(np.concatenate(block))])

    def let_go(self) -> None:
        """Do nothing: photographs are kept at one size in all stages."""

    def usable(self, start: int, broken: set[int]) -> int:
        """Return the index of the first window from `start` on that is not in `broken`.

        Raises:
            AerostatError: there is no such window.
        """
        for step in range(len(self)):
            index = (start + step) % len(self)
            if index not in broken:
                return index
        raise AerostatError(f"Expected images to train on, found none of the {len(self)} windows readable.")

    def size(self, index: int) -> Size | None:
        """Return the size of a window."""
        x1, y1, x2, y2 = self._boxes[index].tolist()
        return x2 - x1, y2 - y1

    def source(self, index: int) -> Source:
        """Return size, boxes and labels of a window; objects are clipped to it."""
        boxes, rows = self._visible(index)
        size = self.size(index)
        assert size is not None
        labels = self._records[self._photograph[index]].labels()
        return Source(size, boxes, labels[rows])

    def outlines(self, index: int) -> Outlines:
        """Return the outlines of a window's objects, in the order of its boxes."""
        x1, y1, x2, y2 = self._boxes[index].tolist()
        _, rows = self._visible(index)
        whole = self._photographs.outlines(int(self._photograph[index])).chosen(rows)
        return whole.moved((1.0, 1.0), (-x1, -y1)).within((0.0, 0.0, float(x2 - x1), float(y2 - y1)))

    def read(self, index: int, size: Size) -> Image | None:
        """Return a window (h, w, 3) uint8 BGR at a size; None if its photograph is broken."""
        number = int(self._photograph[index])
        whole = self._photographs.size(number)
        photograph = None if whole is None else self._photographs.read(number, whole)
        if photograph is None:
            return None
        x1, y1, x2, y2 = self._boxes[index].tolist()
        return np.ascontiguousarray(resample(photograph[y1:y2, x1:x2], (x2 - x1, y2 - y1), size))

    def outlined(self, index: int) -> tuple[()]:
        """Return no objects to paste: those of windows may be cut."""
        return ()

    def _visible(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the visible boxes (n, 4) in pixels of a window, and their rows in its photograph."""
        window = self._boxes[index].astype(np.float32)
        boxes = self._records[self._photograph[index]].boxes_xyxy()
        shown = np.concatenate(
            [np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])], axis=1
        )
        area = box_area(shown)
        enough = np.minimum(box_area(boxes), box_area(window[None])) * MIN_VISIBLE
        rows = np.flatnonzero((area > 0) & (area >= enough))
        return (shown[rows] - np.tile(window[:2], 2)).astype(np.float32), rows

    def _worth_showing(self) -> NDArray[np.int64]:
        """Return the windows with objects, and at most as many without, spread evenly."""
        has_objects = np.asarray([bool(len(self._visible(index)[1])) for index in range(len(self))])
        empty = np.flatnonzero(~has_objects)
        most = max(1, int(has_objects.sum()))
        if len(empty) > most:
            empty = empty[np.linspace(0, len(empty) - 1, most).round().astype(int)]
        return np.sort(np.concatenate([np.flatnonzero(has_objects), empty]))


def window_count(records: Sequence[ImageRecord], side: int, overlap: float) -> int:
    """Return how many windows a run is trained on.

    Raises:
        InputError: no photograph can be read.
    """
    try:
        return len(TrainingWindows(records, side, overlap, cache_bytes=0))
    except AerostatError as error:
        raise InputError(str(error)) from None
