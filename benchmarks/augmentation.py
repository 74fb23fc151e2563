"""Training samples on one core: laid out first and drawn at once, against the published steps one by one.

Figures are samples per second of one thread's processor time; OpenCV uses no threads of its own. Both forms
make the same samples of the same files and may keep the same number of bytes of images; beside that each
keeps finished samples as far back as MixUp reaches. Files come from the operating system's cache, so "from
disk" is decoding, not the disk.

Tried and dropped: warping each tile straight into the window (`cv2.warpAffine` 1.30 ms for 640 x 640,
against 0.42 ms for `cv2.resize` from an aligned place; a tile without one is still warped). The jitter
by table alone (`cv2.LUT` on three channels 0.50 ms, saturating sums 0.06 ms). A hue that turns back by
swapping blue and red (0.06 ms, but 1.2 % of all colours are off by more than a level). Means in floating
point (`cv2.addWeighted` 0.134 ms, integers 0.125 ms). Pillow's decoder (7.49 ms a photograph, OpenCV's 7.54).
Area interpolation after reduced decoding (2048 to 640: 2.55 ms in place of 0.43 and 1.23 grey levels from the
published steps in place of 1.14).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord
from aerostat.images.read import read_image, read_resized
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.memo import Memo
from aerostat.pipeline.policy import Augmentation, Sample
from aerostat.scenes.balloons import write_balloons
from benchmarks.case import Case
from benchmarks.machine import ROOT

BATCH = 8
DEFAULT_CACHE = 1 << 30
REFERENCE = (
    "MMDetection 3.3, one worker, 1024 x 768 JPEGs at 640: 25.5 samples/s wall, 20 per second of processor "
    "time (decode 4.0 ms, mosaic 8.5, resize 5.0, crop 0.5, HSV 3.9, pad 1.5, MixUp 8.9)"
)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of augmentation."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        records, what = _images(Path(folder), 12 if quick else 61)
        for size in (640,) if quick else (640, 320):
            yield from _cases(records, what, size, quick)
            yield _with_masks(records, what, size)


def _cases(records: Sequence[ImageRecord], what: str, size: int, quick: bool) -> Iterator[Case]:
    few = len(records) if quick else 48
    largest = [min(1.0, 2 * size / max(r.width, r.height)) for r in records]
    kept = [r.width * r.height * 3 * f * f for r, f in zip(records, largest, strict=True)]
    published = int(20 * np.mean(kept))

    def both(make: Callable[..., Callable[[], float]], **options: Any) -> dict[str, Callable[[], float]]:
        return {
            "published steps": make(_Stepwise, records, size, **options),
            "drawn at once": make(TrainLoader, records, size, **options),
        }

    def case(
        name: str,
        variants: dict[str, Callable[[], float]],
        *,
        predicted: str,
        goal: str = "",
        reference: str = "",
        note: str = "",
    ) -> Case:
        return Case(
            name=f"training samples at {size}, {name} ({what})",
            unit="images/s",
            variants=variants,
            baseline="published steps",
            higher_is_better=True,
            goal=goal,
            predicted=predicted,
            reference=reference,
            note=note,
            rounds=5 if size == 640 else 3,
        )

    yield case(
        "stage 1, everything in the cache",
        both(_steady, stage=1, count=few, cache_bytes=DEFAULT_CACHE, warm=True),
        goal="at least 4 times",
        predicted="6 times: one resize in place of two and a quarter of the copies, no transposing",
        reference=REFERENCE if size == 640 else "",
    )
    if quick:  # too few images to outgrow a cache
        return
    yield case(
        f"stage 1, caches of {published >> 20} MB, as large as the published 20 images",
        both(_steady, stage=1, count=few, cache_bytes=published, warm=True),
        goal="at least 8 times" if size == 640 else "",
        predicted="10 times: images that are kept at the size of a tile nearly all fit where 20 did",
        note="of a data set that does not fit either way, each image is read about once an epoch: see below",
    )
    yield case(
        "stage 1, each image for the first time",
        {
            **both(_first_epoch, count=few),
            "reading alone, at the size of a tile": _reading(records, partial(_at_tile_size, size), few),
            "reading alone, whole": _reading(records, lambda record: read_image(record.path), few),
        },
        predicted="3 times: entropy decoding, which no smaller size spares, is most of what is left",
        note="the floor is reading: 97 % of the images are in sight somewhere and have to be decoded once",
    )
    yield case(
        "stage 1, nothing kept",
        both(_steady, stage=1, count=16, cache_bytes=0, warm=False),
        predicted="2.5 times: of four images two and a half are in sight",
        note="2.8 of four images are in sight on average; the floor is their decoding",
    )
    yield case(
        "stage 2, everything in the cache",
        both(_steady, stage=2, count=few, cache_bytes=DEFAULT_CACHE, warm=True),
        predicted="4 times",
    )


def _with_masks(records: Sequence[ImageRecord], what: str, size: int) -> Case:
    """Return what outlines cost: the same pixels and boxes, with and without masks at stride 4."""
    options: dict[str, Any] = {"stage": 1, "count": len(records), "cache_bytes": DEFAULT_CACHE, "warm": True}
    return Case(
        name=f"training samples at {size} with masks, stage 1, everything in the cache ({what})",
        unit="images/s",
        variants={
            "boxes alone": _steady(TrainLoader, records, size, **options),
            "with masks": _steady(TrainLoader, records, size, **options, mask_stride=4),
        },
        baseline="boxes alone",
        higher_is_better=True,
        goal="at least 0.8 times the rate of boxes alone",
        predicted="0.85 times: an outline is moved once, and cells are filled at a sixteenth of the pixels",
        rounds=9,
    )


def _images(folder: Path, count: int) -> tuple[Sequence[ImageRecord], str]:
    """Return the balloon photographs if they are beside the project, else drawn scenes, and their name."""
    photographs = ROOT.parent / "shared" / "data" / "balloon"
    if photographs.is_dir():
        records = Dataset.read(photographs, classes=["balloon"]).split("train").images[:count]
        return records, f"{len(records)} balloon photographs"
    scenes = min(count, 24)
    write_balloons(folder, train=scenes, val=0, size=(1024, 768))
    return Dataset.read(folder, classes=["balloon"]).split("train").images, f"{scenes} drawn scenes"


def _loader(
    kind: Any, records: Sequence[ImageRecord], size: int, cache_bytes: int, mask_stride: int | None = None
) -> Any:
    augmentation = Augmentation(input_size=size, mask_stride=mask_stride)
    return kind(records, augmentation=augmentation, batch_size=BATCH, threads=0, cache_bytes=cache_bytes)


def _steady(
    kind: Any,
    records: Sequence[ImageRecord],
    size: int,
    *,
    stage: int,
    count: int,
    cache_bytes: int,
    warm: bool,
    mask_stride: int | None = None,
) -> Callable[[], float]:
    """Return what makes the next samples of a run, after some epochs if `warm`."""
    made: list[Iterator[Any]] = []

    def batches() -> Iterator[Any]:
        loader, epoch = _loader(kind, records, size, cache_bytes, mask_stride), 0
        while True:
            yield from loader.epoch(epoch, stage)
            epoch += 1

    def run() -> float:
        if not made:
            made.append(batches())
            # In stage 2 it takes some epochs until every image has been wanted at each of its two sizes.
            epochs = (5 if stage == 2 else 2) if warm else 0
            for _ in range(epochs * -(-len(records) // BATCH)):
                next(made[0])
        return _rate(made[0], count)

    return run


def _first_epoch(kind: Any, records: Sequence[ImageRecord], size: int, *, count: int) -> Callable[[], float]:
    """Return what begins a run, in which every image is new."""
    return lambda: _rate(_loader(kind, records, size, DEFAULT_CACHE).epoch(0, 1), count)


def _rate(batches: Iterator[Any], count: int) -> float:
    begun = time.thread_time()
    seen = 0
    for batch in batches:
        seen += len(batch.images)
        if seen >= count:
            break
    return seen / (time.thread_time() - begun)


def _at_tile_size(side: int, record: ImageRecord) -> Any:
    ratio = min(side / record.width, side / record.height, 1)
    return read_resized(record.path, (int(record.width * ratio), int(record.height * ratio)))


def _reading(
    records: Sequence[ImageRecord], read: Callable[[ImageRecord], Any], count: int
) -> Callable[[], float]:
    def run() -> float:
        begun = time.thread_time()
        for record in records[:count]:
            read(record)
        return min(count, len(records)) / (time.thread_time() - begun)

    return run


class _Stepwise:
    """The loader that the published steps had here: whole images are kept, at most twice the input large."""

    def __init__(
        self,
        records: Sequence[ImageRecord],
        *,
        augmentation: Augmentation,
        batch_size: int,
        threads: int,
        cache_bytes: int,
    ) -> None:
        self._steps = _load_steps()
        self._records, self._augmentation, self._batch_size = records, augmentation, batch_size
        # Of today's loader just the order, so that the samples are the same.
        self._order = TrainLoader(records, augmentation=augmentation, batch_size=batch_size, threads=threads)
        self._images: Memo[int, Sample] = Memo(cache_bytes, lambda sample: sample.image_bgr.nbytes)
        self._recent: Memo[tuple[int, int], Sample] = Memo(
            augmentation.mixup_cache + 3 * batch_size, lambda _: 1
        )

    def epoch(self, epoch: int, stage: int) -> Iterator[Any]:
        for batch in range(len(self._order)):
            samples = [self._sample(position, stage) for position in self._order.positions(epoch, batch)]
            planes = [np.ascontiguousarray(sample.image_bgr.transpose(2, 0, 1)) for sample in samples]
            yield _Images(torch.stack([torch.from_numpy(plane) for plane in planes]))

    def _sample(self, position: int, stage: int) -> Sample:
        before_mixup = partial(self._before_mixup, stage)
        made = self._steps.augmented_sample(self._augmentation, 0, stage, position, before_mixup)
        assert isinstance(made, Sample)
        return made

    def _before_mixup(self, stage: int, position: int) -> Sample:
        make = partial(self._steps.sample_before_mixup, self._augmentation, 0, stage, position, self._plain)
        return self._recent.get((stage, position), make)

    def _plain(self, position: int) -> Sample:
        index = self._order.index_at(position)
        size = self._augmentation.input_size
        return self._images.get(index, partial(self._steps.plain_sample, self._records[index], size))


class _Images:
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images


def _load_steps() -> ModuleType:
    """Load the published steps from where they stand, beside the tests that compare with them."""
    name = "stepwise_augmentation"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "pipeline" / "stepwise.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
