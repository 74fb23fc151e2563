"""Batches of training samples, made in advance by threads.

Threads suffice because decoding and resizing release Python's global lock, and they share one cache of
decoded images. The content of a batch never depends on the threads, only on the seed and the position in
the run.

A sample is laid out first. Then the images that it shows are read, at the sizes of the layout, and drawn
straight into the batch. An image that the sample does not show is not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.geometry.boxes import mirror_boxes
from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.images.prefetch import BATCHES_AHEAD, prefetch
from aerostat.pipeline.copy_paste import CutOut, paste, pasted_outlines, place_for
from aerostat.pipeline.layout import Size, arrange, fitted_size, placed_outlines, read_size_for
from aerostat.pipeline.memo import Memo
from aerostat.pipeline.policy import Augmentation, Plan, Sample, draw_plan
from aerostat.pipeline.render import Image, mix, render
from aerostat.pipeline.training_images import TrainingImages
from aerostat.pipeline.training_windows import TrainingWindows


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects of a sample.

    Args:
        boxes_xyxy: (n, 4) float32, in pixels of the input.
        labels: (n,) int64.
        outlines: of the n objects; None if they are not wanted.
    """

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    outlines: Outlines | None = None


RECENT_IMAGES = 64
"""Images that pass through even a small cache: Mosaic's partners lie up to 20 or 40 positions back."""

_ORDER = 0  # in the place of the stage (1 or 2) in the seeds of samples: the seed of an epoch's order


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch of training samples.

    Args:
        images: (N, 3, S, S) uint8 BGR, in channels-last memory.
        boxes: for each image (n, 4) float32 xyxy in pixels of the input.
        labels: for each image (n,) int64.
        file_names: for each image the file at its position; Mosaic and MixUp add pixels of other files.
        masks: for each image the masks of its n objects; None if they are not wanted.
    """

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    file_names: list[str]
    masks: list[MaskTargets] | None = None


class TrainLoader:
    """Augmented batches of a split, which depend on the seed and never on threads or caches.

    Positions count the samples of the whole run over all processes. An epoch has `len(self)` full batches,
    however many processes share them. Each image appears at least once; a further shuffle fills the rest of
    the last batch.

    Args:
        images: the training split; crowd regions are not used as targets.
        augmentation: ranges and probabilities of the random draws.
        batch_size: samples of a batch over all processes.
        seed: of order and augmentation.
        threads: that decode and augment; with 0 the caller's thread does.
        cache_bytes: size of the cache of decoded images, each at the size that a sample needed.
        rank, world_size: number of this process and of all; each takes its part of every batch.

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
        if threads < 0 or seed < 0 or not 0 <= rank < world_size <= batch_size:
            raise InputError(
                "Expected batch_size >= 1, threads >= 0, seed >= 0 and 0 <= rank < world_size <= batch_size, "
                f"found {batch_size}, {threads}, {seed} and {rank} of {world_size}."
            )
        self.images = images
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.threads = threads
        # Parts differ by one sample at most.
        self._part = range(batch_size * rank // world_size, batch_size * (rank + 1) // world_size)
        # MixUp looks back `mixup_cache` positions from any sample of the batches in the making.
        recent = (
            augmentation.mixup_cache + len(self._part) * (BATCHES_AHEAD + 1) if augmentation.mixup > 0 else 0
        )
        self._pixels: TrainingImages | TrainingWindows
        if augmentation.windows is None:
            self._pixels = TrainingImages(
                images,
                cache_bytes=cache_bytes,
                recent_bytes=max(cache_bytes // 4, RECENT_IMAGES * 3 * augmentation.input_size**2),
            )
        else:
            self._pixels = TrainingWindows(images, *augmentation.windows, cache_bytes=cache_bytes)
        self._stage = 0  # that the cached images are for
        self._before_mixup: Memo[tuple[int, int], Sample] = Memo(recent, lambda _: 1)
        self._orders: Memo[int, NDArray[np.int64]] = Memo(3, lambda _: 1)

    def __len__(self) -> int:
        """Return the batches per epoch."""
        return -(-len(self._pixels) // self.batch_size)

    @property
    def slots_per_epoch(self) -> int:
        """Samples per epoch over all processes."""
        return len(self) * self.batch_size

    def epoch(self, epoch: int, stage: int, start_batch: int = 0) -> Iterator[Batch]:
        """Yield this process's parts of the batches of an epoch in order.

        Args:
            epoch: counted from 0.
            stage: of the augmentation, 1 or 2.
            start_batch: first batch to yield, from 0.
        """
        if stage != self._stage:
            self._pixels.let_go()  # the other stage needs other sizes
            self._stage = stage
        batches = [self.positions(epoch, batch) for batch in range(start_batch, len(self))]
        drawn_to: deque[torch.Tensor] = deque()  # (N, S, S, 3) of each batch in the making

        def jobs() -> Iterator[list[Callable[[], Objects]]]:
            for batch in batches:
                drawn_to.append(self._empty_batch())
                rows = drawn_to[-1].numpy()
                yield [partial(self._draw, at, stage, row) for at, row in zip(batch, rows, strict=True)]

        with closing(prefetch(jobs(), self.threads)) as made:
            for positions, objects in zip(batches, made, strict=True):
                yield Batch(
                    images=drawn_to.popleft().permute(0, 3, 1, 2),
                    # Positions may share objects through the cache; tensors must not be shared.
                    boxes=[torch.tensor(each.boxes_xyxy) for each in objects],
                    labels=[torch.tensor(each.labels) for each in objects],
                    file_names=[self._pixels.name(self.index_at(position)) for position in positions],
                    masks=self._masks(objects),
                )

    def sample(self, position: int, stage: int) -> Sample:
        """Return the augmented sample at a position of the run, its image (S, S, 3)."""
        image_bgr = self._empty_image()
        return _sample(image_bgr, self._draw(position, stage, image_bgr))

    def index_at(self, position: int) -> int:
        """Return the index of the image at a position of the run; positions before 0 have an order, too."""
        epoch, slot = divmod(position, self.slots_per_epoch)
        return int(self._orders.get(epoch, lambda: self._shuffled(epoch))[slot])

    def positions(self, epoch: int, batch: int) -> range:
        """Return the positions of this process's samples of a batch; both numbers count from 0."""
        # Each process takes consecutive positions, so most partners of its samples are in its own cache.
        first = epoch * self.slots_per_epoch + batch * self.batch_size
        return range(first + self._part.start, first + self._part.stop)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, _ORDER, epoch % 2**63])
        count = len(self._pixels)
        rounds = -(-self.slots_per_epoch // count)
        return np.concatenate([self._pixels.shuffled(rng) for _ in range(rounds)])[: self.slots_per_epoch]

    def _empty_batch(self) -> torch.Tensor:
        side = self.augmentation.input_size
        return torch.empty((len(self._part), side, side, 3), dtype=torch.uint8)

    def _empty_image(self) -> Image:
        side = self.augmentation.input_size
        return np.empty((side, side, 3), np.uint8)

    def _masks(self, samples: Sequence[Objects]) -> list[MaskTargets] | None:
        """Return the masks of the samples of a batch; together they take half the time."""
        stride, side = self.augmentation.mask_stride, self.augmentation.input_size
        outlines = [sample.outlines for sample in samples if sample.outlines is not None]
        if stride is None or len(outlines) < len(samples):
            return None
        boxes = np.concatenate([sample.boxes_xyxy for sample in samples])
        together = rasterise(Outlines.joined(outlines), boxes, (side, side), stride)
        return together.split([len(each) for each in outlines])

    def _draw(self, position: int, stage: int, out_bgr: Image) -> Objects:
        """Draw the sample at a position into `out_bgr` (S, S, 3) and return its objects."""
        plan = draw_plan(self.augmentation, self.seed, stage, position)
        if stage == 2 or self.augmentation.mixup == 0:  # never a partner of MixUp
            return self._draw_before_mixup(position, stage, plan, out_bgr)
        sample = self._kept_before_mixup(position, stage, plan)
        if plan.mixup_partner is None:
            np.copyto(out_bgr, sample.image_bgr)
            return Objects(sample.boxes_xyxy, sample.labels, sample.outlines)
        partner = self._kept_before_mixup(position - plan.mixup_partner, stage)
        image_bgr, boxes, outlines = partner.image_bgr, partner.boxes_xyxy, partner.outlines
        if plan.mixup_flip:
            side = self.augmentation.input_size
            image_bgr = np.asarray(cv2.flip(image_bgr, 1), np.uint8)
            boxes = mirror_boxes(boxes, side)
            outlines = None if outlines is None else outlines.mirrored(side)
        mix(sample.image_bgr, image_bgr, out_bgr)
        both = [each for each in (sample.outlines, outlines) if each is not None]
        return Objects(
            np.concatenate([sample.boxes_xyxy, boxes]),
            np.concatenate([sample.labels, partner.labels]),
            Outlines.joined(both) if both else None,
        )

    def _kept_before_mixup(self, position: int, stage: int, plan: Plan | None = None) -> Sample:
        def make() -> Sample:
            drawn = plan or draw_plan(self.augmentation, self.seed, stage, position)
            image_bgr = self._empty_image()
            return _sample(image_bgr, self._draw_before_mixup(position, stage, drawn, image_bgr))

        return self._before_mixup.get((stage, position), make)

    def _draw_before_mixup(self, position: int, stage: int, plan: Plan, out_bgr: Image) -> Objects:
        """Draw the sample at a position with all steps but MixUp, and return its objects.

        If an image that the sample shows is broken, the next image replaces it and the sample is laid out
        again. An image known to be broken that the sample does not show stays, because its pixels are not
        read here: samples must not depend on what was read before.
        """
        positions = [position, *(position - back for back in plan.mosaic_partners or ())]
        broken: set[int] = set()
        while True:
            indices = [self._pixels.usable(self.index_at(at), broken) for at in positions]
            sources = [self._pixels.source(index) for index in indices]
            layout = arrange(plan, self.augmentation, stage, sources)
            read = [(indices[tile.source], tile.size) for tile in layout.tiles]
            images = [self._pixels.read(index, size) for index, size in read]
            whole = [image for image in images if image is not None]
            if len(whole) == len(images):
                render(layout, whole, plan.hsv_gains, plan.flip, out_bgr)
                outlines = None
                if self.augmentation.mask_stride:
                    stated = [self._pixels.outlines(index) for index in indices]
                    outlines = placed_outlines(layout, sources, stated, plan.flip)
                objects = Objects(layout.boxes_xyxy, layout.labels, outlines)
                return self._pasted(position, plan, layout.size, objects, out_bgr)
            broken |= {index for (index, _), image in zip(read, images, strict=True) if image is None}

    def _pasted(self, position: int, plan: Plan, window: Size, objects: Objects, out_bgr: Image) -> Objects:
        """Paste objects of other images into a drawn sample, and return all its objects."""
        side = self.augmentation.input_size
        boxes, labels, outlines = objects.boxes_xyxy, objects.labels, objects.outlines
        for pasting in plan.pastings:
            index = self._pixels.usable(self.index_at(position - pasting.back), set())
            size, found = self._pixels.size(index), self._pixels.outlined(index)
            if size is None or not found:
                continue
            instance = found[int(pasting.choice * len(found))]
            fitted = fitted_size(size, side)
            cut_out = CutOut(instance, size, fitted[0] / size[0] * pasting.ratio, pasting.flip)
            at = place_for(cut_out.pasted_size, window, boxes, pasting.places, side)
            image = None if at is None else self._pixels.read(index, read_size_for(size, fitted, side))
            if at is None or image is None:
                continue
            box = paste(cut_out, image, at, plan.hsv_gains, out_bgr)
            if box is None:
                continue
            boxes, labels = np.concatenate([boxes, box[None]]), np.append(labels, instance.label)
            if outlines is not None:
                outlines = outlines.with_on_top(pasted_outlines(cut_out, at))
        return Objects(boxes, labels, outlines)


def _sample(image_bgr: Image, objects: Objects) -> Sample:
    return Sample(image_bgr, objects.boxes_xyxy, objects.labels, objects.outlines)
