"""The images of a training split: their sizes, and their pixels at the size that a sample needs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.instances import Rle
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import AerostatError, InputError, clause
from aerostat.geometry.outlines import Outlines
from aerostat.images.read import read_resized, read_size
from aerostat.pipeline.copy_paste import outlined
from aerostat.pipeline.layout import Size, Source
from aerostat.pipeline.memo import Memo
from aerostat.pipeline.render import Image

_log = logging.getLogger(__name__)


OUTLINE_BYTES = 64 << 20
"""Size of the cache of outlines: those of about 100,000 objects drawn by hand."""


def outlines_of(record: ImageRecord, size: Size | None = None) -> Outlines:
    """Return the outlines of the objects of an image that are trained on, in the order of its boxes.

    Args:
        record: of the image; crowd regions are left out.
        size: (width, height) of the image; None takes the size that its record states.
    """
    instances = record.instances
    if instances.crowd.any():
        instances = instances.chosen(np.flatnonzero(~instances.crowd))
    shapes = instances.outlines()
    ends = np.cumsum(instances.outline_counts).tolist()
    starts = [0, *ends[:-1]] if ends else []
    polygons = [shapes[start:end] for start, end in zip(starts, ends, strict=True)]
    masks = {
        row: mask.as_found() if isinstance(mask, Rle) else mask for row, mask in instances.masks().items()
    }
    return Outlines.of(polygons, masks, size or (record.width, record.height))


class TrainingImages:
    """The images of a split, read when a sample shows them, with a cache that threads share.

    An unreadable image is logged once.

    Args:
        records: of the split.
        cache_bytes: size of the cache, in bytes of the images as they were read.
        recent_bytes: part of the cache for the images of the samples at work. The rest holds the images that
            were read first.
    """

    def __init__(self, records: Sequence[ImageRecord], *, cache_bytes: int, recent_bytes: int) -> None:
        self.records = records
        self._pixels: Memo[tuple[int, Size], Image] = Memo(
            cache_bytes, lambda image: image.nbytes, stay=cache_bytes - recent_bytes
        )
        self._outlines: Memo[int, Outlines] = Memo(OUTLINE_BYTES, lambda outlines: outlines.nbytes)
        self._sizes = np.zeros((len(records), 2), np.int32)  # (0, 0): not read yet; (-1, -1): unreadable
        self._unreadable: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """Return the file name of an image."""
        return self.records[index].file_name

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return all images in random order."""
        return rng.permutation(len(self))

    def let_go(self) -> None:
        """Let all cached images be dropped when others need the room: other sizes are wanted now."""
        self._pixels.let_go()

    def usable(self, start: int, broken: set[int]) -> int:
        """Return the index of the first image from `start` on with a readable header that is not in `broken`.

        Raises:
            AerostatError: there is no such image.
        """
        for step in range(len(self.records)):
            index = (start + step) % len(self.records)
            if index not in broken and self.size(index) is not None:
                return index
        raise AerostatError(f"Expected images to train on, found none of the {len(self.records)} readable.")

    def source(self, index: int) -> Source:
        """Return size, boxes and labels of an image whose header is readable."""
        record, size = self.records[index], self.size(index)
        assert size is not None
        return Source(size, record.boxes_xyxy(), record.labels())

    def outlines(self, index: int) -> Outlines:
        """Return the outlines of an image's objects, in the order of its boxes."""
        return self._outlines.get(index, lambda: outlines_of(self.records[index], self.size(index)))

    def outlined(self, index: int) -> list[Instance]:
        """Return the objects of an image that can be pasted into others."""
        return outlined(self.records[index])

    def size(self, index: int) -> Size | None:
        """Return the size in an image's header; None if the header is unreadable."""
        width, height = self._sizes[index].tolist()
        if width == 0:
            try:
                width, height = read_size(self.records[index].location)
            except InputError as error:
                self._report_unreadable(index, error)
                width, height = -1, -1
            self._sizes[index] = width, height
        return (width, height) if width > 0 else None

    def read(self, index: int, size: Size) -> Image | None:
        """Return an image (h, w, 3) uint8 BGR at a size; None if it is broken."""
        if index in self._unreadable:
            return None
        try:
            return self._pixels.get((index, size), partial(read_resized, self.records[index].location, size))
        except InputError as error:
            self._report_unreadable(index, error)
            return None

    def _report_unreadable(self, index: int, error: InputError) -> None:
        with self._lock:
            known = index in self._unreadable
            self._unreadable.add(index)
        if not known:
            _log.warning(
                f"training goes on with another image in place of {self.records[index].file_name}: "
                f"{clause(error)}"
            )
