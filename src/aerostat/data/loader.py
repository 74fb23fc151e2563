"""Batches for training, made ahead of time by threads.

Threads suffice because decoding and resizing release Python's global lock, and they share one cache of
decoded images. What a batch holds never depends on them, only on the seed and the position in the run.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat import console
from aerostat.boxes import clip_boxes
from aerostat.data.ahead import BATCHES_AHEAD, made_ahead
from aerostat.data.augment import Augmentation, Sample, augmented_sample, drop_small, resize_to_fit
from aerostat.data.augment import sample_before_mixup as make_sample_before_mixup
from aerostat.data.dataset import ImageRecord
from aerostat.data.image import read_image
from aerostat.errors import AerostatError, InputError, clause

K = TypeVar("K")
V = TypeVar("V")

_ORDER = 0  # stands where the stage stands in the seeds of samples, whose stages are 1 and 2


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One batch of training samples.

    Args:
        images: (N, 3, S, S) uint8 BGR, contiguous.
        boxes: for each image (n, 4) float32 xyxy in pixels of the input.
        labels: for each image (n,) int64.
        file_names: for each image the file at its position; Mosaic and MixUp add others.
    """

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    file_names: list[str]


class TrainLoader:
    """Augmented batches of a data set: the same for the same seed, whatever the threads and caches.

    Positions count the samples of the whole run over all processes. An epoch has `len(self)` batches per
    process, all of them full: each image appears at least once, and the places left in the last batch are
    filled from a fresh shuffle. Images are reduced on reading, always and bilinearly, so that the longer side
    is at most twice the input; Mosaic and the resizes start from that.

    Args:
        images: the training split; crowd regions are not used as targets.
        augmentation: what is drawn from.
        batch_size: samples per process and batch.
        seed: of order and augmentation.
        threads: that decode and augment; 0 does it while the batch is asked for.
        cache_bytes: how much the decoded images may take.
        rank, world_size: which process this is of how many; each takes its share of every global batch.

    Raises:
        InputError: there is no image, or a number is out of range.
    """

    def __init__(
        self,
        images: Sequence[ImageRecord],
        *,
        augmentation: Augmentation,
        batch_size: int,
        seed: int = 0,
        threads: int = 2,
        cache_bytes: int = 1 << 30,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not images:
            raise InputError("Expected at least one image to train on, found none.")
        if batch_size < 1 or threads < 0 or seed < 0 or not 0 <= rank < world_size:
            raise InputError(
                "Expected batch_size >= 1, threads >= 0, seed >= 0 and 0 <= rank < world_size, found "
                f"{batch_size}, {threads}, {seed} and {rank} of {world_size}."
            )
        self.images = images
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.threads = threads
        self.rank = rank
        self.world_size = world_size
        # MixUp looks back `mixup_cache` positions from any sample in the making.
        recent = augmentation.mixup_cache + batch_size * (BATCHES_AHEAD + 1) if augmentation.mixup > 0 else 0
        self._decoded: _Memo[int, Sample] = _Memo(cache_bytes, lambda sample: sample.image_bgr.nbytes)
        self._before_mixup: _Memo[tuple[int, int], Sample] = _Memo(recent, lambda _: 1)
        self._orders: _Memo[int, NDArray[np.int64]] = _Memo(3, lambda _: 1)
        self._unreadable: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Batches per epoch in each process."""
        return -(-len(self.images) // self._global_batch)

    @property
    def slots_per_epoch(self) -> int:
        """Samples per epoch over all processes."""
        return len(self) * self._global_batch

    def epoch(self, epoch: int, stage: int, start_batch: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of an epoch in order.

        Args:
            epoch: counted from 0.
            stage: of the augmentation, 1 or 2.
            start_batch: where to go on within the epoch.
        """
        batches = [self._positions(epoch, batch) for batch in range(start_batch, len(self))]
        jobs = ([partial(self._target, position, stage) for position in batch] for batch in batches)
        with closing(made_ahead(jobs, self.threads)) as made:
            for positions, targets in zip(batches, made, strict=True):
                yield Batch(
                    images=torch.stack([image for image, _, _ in targets]),
                    boxes=[boxes for _, boxes, _ in targets],
                    labels=[labels for _, _, labels in targets],
                    file_names=[self.images[self.index_at(position)].file_name for position in positions],
                )

    def sample(self, position: int, stage: int) -> Sample:
        """Return the augmented sample at a position of the run, its image (S, S, 3)."""
        return augmented_sample(
            self.augmentation, self.seed, stage, position, lambda at: self._sample_before_mixup(at, stage)
        )

    def index_at(self, position: int) -> int:
        """Return which image stands at a position of the run; positions before 0 have an order too."""
        epoch, slot = divmod(position, self.slots_per_epoch)
        return int(self._orders.get(epoch, lambda: self._shuffled(epoch))[slot])

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self.world_size

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, _ORDER, epoch % 2**63])
        count = len(self.images)
        rounds = -(-self.slots_per_epoch // count)
        return np.concatenate([rng.permutation(count) for _ in range(rounds)])[: self.slots_per_epoch]

    def _positions(self, epoch: int, batch: int) -> range:
        # Each process takes neighbours, so that the partners of its samples are mostly in its own cache.
        first = epoch * self.slots_per_epoch + batch * self._global_batch + self.rank * self.batch_size
        return range(first, first + self.batch_size)

    def _target(self, position: int, stage: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sample = self.sample(position, stage)
        planes = np.ascontiguousarray(sample.image_bgr.transpose(2, 0, 1))
        # Samples may be shared between positions by the cache, tensors must not be.
        return torch.from_numpy(planes), torch.tensor(sample.boxes_xyxy), torch.tensor(sample.labels)

    def _sample_before_mixup(self, position: int, stage: int) -> Sample:
        return self._before_mixup.get(
            (stage, position),
            lambda: make_sample_before_mixup(self.augmentation, self.seed, stage, position, self._plain),
        )

    def _plain(self, position: int) -> Sample:
        """Return the image at a position, or in place of an unreadable one the next that can be read."""
        start = self.index_at(position)
        for step in range(len(self.images)):
            index = (start + step) % len(self.images)
            if index in self._unreadable:
                continue
            try:
                return self._decoded.get(index, partial(self._decode, index))
            except InputError as error:
                self._report_unreadable(index, error)
        raise AerostatError(f"Expected images to train on, found none of the {len(self.images)} readable.")

    def _decode(self, index: int) -> Sample:
        record = self.images[index]
        image_bgr = read_image(record.path)
        boxes = clip_boxes(record.boxes_xyxy(), image_bgr.shape[1], image_bgr.shape[0]).astype(np.float32)
        sample = drop_small(Sample(image_bgr, boxes, record.labels()), 0.0)
        largest = 2 * self.augmentation.input_size
        return resize_to_fit(sample, largest) if max(sample.size) > largest else sample

    def _report_unreadable(self, index: int, error: InputError) -> None:
        with self._lock:
            known = index in self._unreadable
            self._unreadable.add(index)
        if not known:
            console.note(
                f"training goes on with another image in place of {self.images[index].file_name}: "
                f"{clause(error)}"
            )


class _Memo(Generic[K, V]):
    """Results of pure functions, bounded, the least recently used going first; it saves time, no more.

    A result that a thread is about to make is made once: the others wait for it.

    Args:
        limit: what all results together may cost.
        cost: of one result.
    """

    def __init__(self, limit: int, cost: Callable[[V], int]) -> None:
        self._limit = limit
        self._cost = cost
        self._total = 0
        self._entries: OrderedDict[K, Future[V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the result for `key`, made by `make` if it is not at hand; failures are not kept."""
        with self._lock:
            future = self._entries.get(key)
            if mine := future is None:
                future = self._entries[key] = Future()
            self._entries.move_to_end(key)
        if not mine:
            return future.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._entries[key]
            future.set_exception(error)
            raise
        with self._lock:
            future.set_result(value)
            self._total += self._cost(value)
            while self._total > self._limit:
                oldest = next(key for key, entry in self._entries.items() if entry.done())
                self._total -= self._cost(self._entries.pop(oldest).result())
        return value
