"""Prefetching by threads: images that are read and prepared, and batches, before they are used.

Threads suffice because decoding and resizing release Python's global lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.images.location import Location
from aerostat.images.read import read_image

V = TypeVar("V")
Image = TypeVar("Image")
Read = Callable[[Any], NDArray[np.uint8]]
"""Returns the pixels (H, W, 3) uint8 BGR of an item."""

BATCHES_AHEAD = 2
"""Batches that are prepared while one is used."""


class ImageFile(Protocol):
    """Any object whose pixels are in a file."""

    @property
    def path(self) -> Path:
        """Path of the file."""


def read_file(image: ImageFile) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) uint8 BGR of an image that is known by its file or its location."""
    location = getattr(image, "location", None)
    return read_image(location if isinstance(location, Location) else image.path)


def prefetch_images(
    images: Iterable[Image],
    prepare: Callable[[Image, NDArray[np.uint8]], V],
    batch_size: int,
    threads: int = 2,
    *,
    read: Read = read_file,
    on_unreadable: Callable[[Image, InputError], None] | None = None,
) -> Iterator[tuple[list[Image], list[V]]]:
    """Yield batches of readable images in order, with the results of `prepare`; the last may be smaller.

    Images are taken from `images` a few batches in advance, so that it may be endless.

    Args:
        images: to read.
        prepare: called with an image and its pixels (H, W, 3) uint8 BGR, in the thread that read it.
        batch_size: images per batch.
        threads: that read and prepare in advance; with 0 the caller's thread does.
        read: returns the pixels of an image.
        on_unreadable: called with each unreadable image, which is left out; None raises its error instead.

    Raises:
        InputError: an image is unreadable, and `on_unreadable` is None.
    """

    def load(image: Image) -> tuple[Image, V] | InputError:
        try:
            image_bgr = read(image)
        except InputError as error:
            return error
        return image, prepare(image, image_bgr)

    waiting: deque[list[Image]] = deque()

    def jobs() -> Iterator[list[Callable[[], tuple[Image, V] | InputError]]]:
        source = iter(images)
        while batch := list(islice(source, batch_size)):
            waiting.append(batch)
            yield [partial(load, image) for image in batch]

    with closing(prefetch(jobs(), threads)) as made:
        for loaded in made:
            readable = []
            for image, outcome in zip(waiting.popleft(), loaded, strict=True):
                if not isinstance(outcome, InputError):
                    readable.append(outcome)
                elif on_unreadable is None:
                    raise outcome
                else:
                    on_unreadable(image, outcome)
            if readable:
                yield [image for image, _ in readable], [prepared for _, prepared in readable]


def prefetch(batches: Iterable[Sequence[Callable[[], V]]], threads: int) -> Generator[list[V]]:
    """Yield the results of batches of jobs in order, computed a few batches in advance.

    Args:
        batches: functions without arguments.
        threads: that call them; with 0 the caller's thread does.

    All threads end with the iterator, even if it is closed before its end.

    Example:
        >>> list(prefetch([[lambda: 1, lambda: 2], [lambda: 3]], threads=2))
        [[1, 2], [3]]
    """
    if threads == 0:
        for batch in batches:
            yield [job() for job in batch]
        return
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # images are processed in parallel; OpenCV's threads would compete with torch's
    pool = ThreadPoolExecutor(threads, thread_name_prefix="aerostat-loader")
    waiting: deque[list[Future[V]]] = deque()
    try:
        for batch in batches:
            waiting.append([pool.submit(job) for job in batch])
            if len(waiting) > BATCHES_AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(opencv_threads)
