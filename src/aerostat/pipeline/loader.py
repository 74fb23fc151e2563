"""Batches for training, made ahead of time by threads.

Threads suffice because decoding and resizing release Python's global lock, and they share one cache of
decoded images. What a batch holds never depends on them, only on the seed and the position in the run.

Of a sample first the layout is worked out, then what shows is read, at the size that the layout asks for,
and drawn straight into the batch. An image out of sight is not read at all.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import AerostatError, InputError, clause
from aerostat.images.prefetch import BATCHES_AHEAD, prefetch
from aerostat.images.read import read_resized, read_size
from aerostat.pipeline.copy_paste import CutOut, outlined, paste, place_for
from aerostat.pipeline.layout import Layout, Size, Source, arrange, fitted_size, mirror_boxes, read_size_for
from aerostat.pipeline.policy import Augmentation, Plan, Sample, draw_plan
from aerostat.pipeline.render import Image, mix, render

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

Objects = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Boxes (n, 4) xyxy in pixels of the input, and labels (n,)."""

RECENT_IMAGES = 64
"""Mosaic's partners lie up to 20 or 40 positions back: of a small cache, so many images pass through."""

_ORDER = 0  # stands where the stage stands in the seeds of samples, whose stages are 1 and 2


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One batch of training samples.

    Args:
        images: (N, 3, S, S) uint8 BGR, in channels-last memory: the samples one after the other as drawn.
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
    filled from a fresh shuffle.

    Args:
        images: the training split; crowd regions are not used as targets.
        augmentation: what is drawn from.
        batch_size: samples per process and batch.
        seed: of order and augmentation.
        threads: that decode and augment; 0 does it while the batch is asked for.
        cache_bytes: how much the images may take that are kept, each at the size it was needed at.
        rank, world_size: which process this is of how many; each takes its share of every global batch.
        pin_memory: whether batches lie in memory that a GPU can copy from while others work; needs CUDA.

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
        pin_memory: bool = False,
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
        self.pin_memory = pin_memory
        # MixUp looks back `mixup_cache` positions from any sample in the making.
        recent = augmentation.mixup_cache + batch_size * (BATCHES_AHEAD + 1) if augmentation.mixup > 0 else 0
        recent_bytes = max(cache_bytes // 4, RECENT_IMAGES * 3 * augmentation.input_size**2)
        self._images: Memo[tuple[int, Size], Image] = Memo(
            cache_bytes, lambda image: image.nbytes, stay=cache_bytes - recent_bytes
        )
        self._stage = 0  # whose images are kept
        self._before_mixup: Memo[tuple[int, int], Sample] = Memo(recent, lambda _: 1)
        self._orders: Memo[int, NDArray[np.int64]] = Memo(3, lambda _: 1)
        self._sizes = np.zeros((len(images), 2), np.int32)  # (0, 0): not looked at yet
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
        if stage != self._stage:
            self._images.let_go()  # the other stage wants other sizes
            self._stage = stage
        batches = [self._positions(epoch, batch) for batch in range(start_batch, len(self))]
        drawn_to: deque[torch.Tensor] = deque()  # of the batches in the making

        def jobs() -> Iterator[list[Callable[[], Objects]]]:
            for batch in batches:
                drawn_to.append(self._empty_batch())
                rows = drawn_to[-1].numpy()
                yield [partial(self._draw, at, stage, row) for at, row in zip(batch, rows, strict=True)]

        with closing(prefetch(jobs(), self.threads)) as made:
            for positions, objects in zip(batches, made, strict=True):
                yield Batch(
                    images=drawn_to.popleft().permute(0, 3, 1, 2),
                    # Objects may be shared between positions by the cache, tensors must not be.
                    boxes=[torch.tensor(boxes) for boxes, _ in objects],
                    labels=[torch.tensor(labels) for _, labels in objects],
                    file_names=[self.images[self.index_at(position)].file_name for position in positions],
                )

    def sample(self, position: int, stage: int) -> Sample:
        """Return the augmented sample at a position of the run, its image (S, S, 3)."""
        image_bgr = self._empty_image()
        return Sample(image_bgr, *self._draw(position, stage, image_bgr))

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

    def _empty_batch(self) -> torch.Tensor:
        side = self.augmentation.input_size
        return torch.empty((self.batch_size, side, side, 3), dtype=torch.uint8, pin_memory=self.pin_memory)

    def _empty_image(self) -> Image:
        side = self.augmentation.input_size
        return np.empty((side, side, 3), np.uint8)

    def _draw(self, position: int, stage: int, out_bgr: Image) -> Objects:
        """Draw the sample at a position to `out_bgr` (S, S, 3) and return the objects on it."""
        plan = draw_plan(self.augmentation, self.seed, stage, position)
        if stage == 2 or self.augmentation.mixup == 0:  # nobody's partner: it need not be kept
            return self._draw_before_mixup(position, stage, plan, out_bgr)
        sample = self._kept_before_mixup(position, stage, plan)
        if plan.mixup_partner is None:
            np.copyto(out_bgr, sample.image_bgr)
            return sample.boxes_xyxy, sample.labels
        partner = self._kept_before_mixup(position - plan.mixup_partner, stage)
        image_bgr, boxes = partner.image_bgr, partner.boxes_xyxy
        if plan.mixup_flip:
            image_bgr = np.asarray(cv2.flip(image_bgr, 1), np.uint8)
            boxes = mirror_boxes(boxes, self.augmentation.input_size)
        mix(sample.image_bgr, image_bgr, out_bgr)
        return np.concatenate([sample.boxes_xyxy, boxes]), np.concatenate([sample.labels, partner.labels])

    def _kept_before_mixup(self, position: int, stage: int, plan: Plan | None = None) -> Sample:
        def make() -> Sample:
            drawn = plan or draw_plan(self.augmentation, self.seed, stage, position)
            image_bgr = self._empty_image()
            return Sample(image_bgr, *self._draw_before_mixup(position, stage, drawn, image_bgr))

        return self._before_mixup.get((stage, position), make)

    def _draw_before_mixup(self, position: int, stage: int, plan: Plan, out_bgr: Image) -> Objects:
        """Draw the sample at a position with all steps but MixUp, and return the objects on it.

        An image that turns out to be broken when its pixels are needed is replaced and the sample laid out
        anew. What is known of other samples' images must not count: those out of sight here are never read.
        """
        positions = [position, *(position - back for back in plan.mosaic_partners or ())]
        broken: set[int] = set()
        while True:
            indices = [self._usable(self.index_at(at), broken) for at in positions]
            sources = [self._source(index) for index in indices]
            layout = arrange(plan, self.augmentation, stage, sources)
            read = [(indices[tile.source], tile.size) for tile in layout.tiles]
            images = [self._image(index, size) for index, size in read]
            whole = [image for image in images if image is not None]
            if len(whole) == len(images):
                render(layout, whole, plan.hsv_gains, plan.flip, out_bgr)
                return self._pasted(position, plan, layout, out_bgr)
            broken |= {index for (index, _), image in zip(read, images, strict=True) if image is None}

    def _pasted(self, position: int, plan: Plan, layout: Layout, out_bgr: Image) -> Objects:
        """Paste objects of other images into what was drawn, and return all objects on it."""
        side = self.augmentation.input_size
        boxes, labels = layout.boxes_xyxy, layout.labels
        for pasting in plan.pastings:
            index = self._usable(self.index_at(position - pasting.back), set())
            size, found = self._size(index), outlined(self.images[index])
            if size is None or not found:
                continue
            instance = found[int(pasting.choice * len(found))]
            fitted = fitted_size(size, side)
            cut_out = CutOut(instance, size, fitted[0] / size[0] * pasting.ratio, pasting.flip)
            at = place_for(cut_out.pasted_size, layout.size, boxes, pasting.places, side)
            image = None if at is None else self._image(index, read_size_for(size, fitted, side))
            if at is None or image is None:
                continue
            box = paste(cut_out, image, at, plan.hsv_gains, out_bgr)
            boxes, labels = np.concatenate([boxes, box[None]]), np.append(labels, instance.label)
        return boxes, labels

    def _usable(self, start: int, broken: set[int]) -> int:
        """Return the image `start`, or in place of one without a header or a broken one the next other."""
        for step in range(len(self.images)):
            index = (start + step) % len(self.images)
            if index not in broken and self._size(index) is not None:
                return index
        raise AerostatError(f"Expected images to train on, found none of the {len(self.images)} readable.")

    def _source(self, index: int) -> Source:
        record, size = self.images[index], self._size(index)
        assert size is not None
        return Source(size, record.boxes_xyxy(), record.labels())

    def _size(self, index: int) -> Size | None:
        """Return the size that an image's header states, None if it has none that can be read."""
        width, height = self._sizes[index].tolist()
        if width == 0:
            try:
                width, height = read_size(self.images[index].path)
            except InputError as error:
                self._report_unreadable(index, error)
                width, height = -1, -1
            self._sizes[index] = width, height
        return (width, height) if width > 0 else None

    def _image(self, index: int, size: Size) -> Image | None:
        """Return an image at a size, None if it is broken."""
        if index in self._unreadable:
            return None
        try:
            return self._images.get((index, size), partial(read_resized, self.images[index].path, size))
        except InputError as error:
            self._report_unreadable(index, error)
            return None

    def _report_unreadable(self, index: int, error: InputError) -> None:
        with self._lock:
            known = index in self._unreadable
            self._unreadable.add(index)
        if not known:
            _log.warning(
                f"training goes on with another image in place of {self.images[index].file_name}: "
                f"{clause(error)}"
            )


class Memo(Generic[K, V]):
    """Results of pure functions, bounded, the least recently used going first; it saves time, no more.

    A result that a thread is about to make is made once: the others wait for it. Where all results are asked
    for in turn and there is room for half of them, most would go before they are wanted again: so some stay
    that came first (2,000 images in shuffled epochs, with room for 1,000: 0.57 reads per sample, not 0.78).

    Args:
        limit: what all results together may cost.
        cost: of one result.
        stay: how much of that is for results that do not go.
    """

    def __init__(self, limit: int, cost: Callable[[V], int], stay: int = 0) -> None:
        self._limit = limit
        self._cost = cost
        self._stay = stay
        self._total = 0
        self._entries: OrderedDict[K, Future[V]] = OrderedDict()
        self._staying: dict[K, V] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """What the results at hand cost together."""
        return self._total

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the result for `key`, made by `make` if it is not at hand; failures are not kept."""
        with self._lock:
            if key in self._staying:
                return self._staying[key]
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
            self._keep(key, value)
        return value

    def let_go(self) -> None:
        """Let the results that have stayed go like others from now on, as the oldest of them."""
        with self._lock:
            for key, value in self._staying.items():
                future: Future[V] = Future()
                future.set_result(value)
                self._entries[key] = future
                self._entries.move_to_end(key, last=False)
                self._stay += self._cost(value)
            self._staying.clear()

    def _keep(self, key: K, value: V) -> None:
        cost = self._cost(value)
        self._total += cost
        if cost <= self._stay:
            self._stay -= cost
            self._staying[key] = value
            del self._entries[key]
        while self._total > self._limit:
            oldest = next(key for key, entry in self._entries.items() if entry.done())
            self._total -= self._cost(self._entries.pop(oldest).result())
