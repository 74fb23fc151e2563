"""Work done ahead of its use by threads: images read and prepared, batches made.

Threads suffice because decoding and resizing release Python's global lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.images.read import read_image

V = TypeVar("V")


class ImageFile(Protocol):
    """Anything whose pixels stand in a file."""

    @property
    def path(self) -> Path:
        """Where the file can be opened."""


Image = TypeVar("Image", bound=ImageFile)

BATCHES_AHEAD = 2
"""Batches in the making while one is used."""


def prefetch_images(
    images: Sequence[Image],
    prepare: Callable[[Image, NDArray[np.uint8]], V],
    batch_size: int,
    threads: int = 2,
    *,
    on_unreadable: Callable[[Image, InputError], None] | None = None,
) -> Iterator[tuple[list[Image], list[V]]]:
    """Yield batches of whole images in order, each with what was made of its pixels; the last may be smaller.

    Args:
        images: what to read; only `path` is looked at.
        prepare: is given an image and its pixels (H, W, 3) uint8 BGR, in the thread that has read it.
        batch_size: images per batch.
        threads: that read and prepare ahead; 0 does it while the batch is asked for.
        on_unreadable: told of each image that cannot be read, which is then left out; None raises instead.

    Raises:
        InputError: an image cannot be read and nobody wants to be told.
    """

    def load(record: Image) -> tuple[Image, V] | InputError:
        try:
            image_bgr = read_image(record.path)
        except InputError as error:
            return error
        return record, prepare(record, image_bgr)

    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    jobs = ([partial(load, record) for record in batch] for batch in batches)
    with closing(prefetch(jobs, threads)) as made:
        for records, loaded in zip(batches, made, strict=True):
            whole = []
            for record, outcome in zip(records, loaded, strict=True):
                if not isinstance(outcome, InputError):
                    whole.append(outcome)
                elif on_unreadable is None:
                    raise outcome
                else:
                    on_unreadable(record, outcome)
            if whole:
                yield [record for record, _ in whole], [prepared for _, prepared in whole]


def prefetch(batches: Iterable[Sequence[Callable[[], V]]], threads: int) -> Generator[list[V]]:
    """Yield the results of batches of jobs in order, a few batches ahead of the caller.

    No thread outlives the iterator, also when it is abandoned half-way.
    """
    if threads == 0:
        for batch in batches:
            yield [job() for job in batch]
        return
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the parallelism is between images; OpenCV's own threads would fight with torch's
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
