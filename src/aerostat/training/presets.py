"""Recipes to start from: the published one, and one that follows from a small data set."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aerostat.datasets.records import Split
from aerostat.errors import InputError, nearest
from aerostat.geometry.boxes import box_area
from aerostat.model import SIZES
from aerostat.runs.commands import PYTHON, Commands
from aerostat.text import counted
from aerostat.training.recipe import Recipe

Preset = Literal["auto", "small", "published"]
PRESETS: tuple[Preset, ...] = ("auto", "small", "published")

SMALL_IMAGES = 5000
"""Training images up to which `auto` takes the small preset; the published one needs 10^5 iterations."""

PUBLISHED_BATCH = 256
"""8 GPUs with 32 images each (published RTMDet configs)."""
PUBLISHED_LR = 0.004
"""Learning rate for `PUBLISHED_BATCH` (published RTMDet configs)."""

WARMUP_SHARE = 0.1
"""Share of the iterations; the published 1000 are often the whole of a small run."""
STAGE2_SHARE = 0.25
"""Share of the epochs; the published 20 of 300 would leave a short run one or two."""
EMA_HORIZON_SHARE = 0.1
"""Share of the iterations that the averaged weights look back."""
FINE_TUNE_LR = 0.001
"""Learning rate from pretrained weights, for `SMALL_REFERENCE_BATCH`."""
FROM_SCRATCH_LR = 0.002
"""Learning rate from fresh weights, for `SMALL_REFERENCE_BATCH`."""
FRESH_HEAD_LR_FACTOR = 3.0
"""Of a head whose masks are fresh, from weights without masks (benchmarks/balloon.md)."""
EPOCHS = ((100, 100), (200, 80), (500, 50), (2000, 30), (math.inf, 20))
"""(images, epochs): up to this many images, this many epochs. Few images have to be seen more often."""
FEW_IMAGES = 500
"""Images up to which the batch is at most 8. AP at 4 and 8 was equal (benchmarks/balloon.md)."""
SMALL_REFERENCE_BATCH = 12
"""Batch of the two rates above. Other batches scale them with the square root, as AdamW's noise does."""

INPUT_SIZES = (320, 480, 640, 800, 960, 1280)
"""Sides of the input to choose from. A few more images do not change the input by a little."""
SMALL_QUANTILE = 0.25
"""Share of the objects that are smaller than the small object that the input size follows from."""
SMALL_SIDE = 70.0
"""Side in pixels of that small object in the input (benchmarks/balloon.md)."""
MAX_MEASURED = 2000
"""Images whose objects are measured for it, spread evenly over the split."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of objects and images. The input size of a small recipe follows from it.

    Args:
        small_share: side of a small object (square root of its box's area) as a share of its image's longest
            side; `SMALL_QUANTILE` of the objects are smaller.
        longest_side: median of the images' longest sides in pixels.
    """

    small_share: float
    longest_side: float

    @classmethod
    def of(cls, split: Split) -> Extent | None:
        """Return the extent of a split; None if it has no object with an area."""
        images = split.sample(MAX_MEASURED).images
        longest = np.asarray([max(image.width, image.height, 1) for image in images], np.float64)
        sides = [
            np.sqrt(box_area(boxes)) / side
            for image, side in zip(images, longest, strict=True)
            if len(boxes := image.boxes_xyxy().astype(np.float64))
        ]
        shares = np.concatenate(sides) if sides else np.zeros(0)
        shares = shares[shares > 0]
        if not len(shares):
            return None
        return cls(float(np.quantile(shares, SMALL_QUANTILE)), float(np.median(longest)))


@dataclass(frozen=True)
class Choice:
    """A recipe with the reasons for what it says, one sentence each."""

    recipe: Recipe
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PresetBasis:
    """What the values of a preset follow from.

    Args:
        size: of the network.
        train_images: in the training split.
        weights: what the network starts from; empty for fresh weights.
        input_size: side in pixels of the input that the network is published or was trained with.
        extent: of the training data; the small preset then takes a larger input where objects need one.
        epochs, batch_size: asked for in place of the preset's; what depends on them follows.
        accumulate: iterations whose gradients make one step; rates and averaging follow the steps.
        fresh_head: whether most of the head is fresh, because the network has masks and the weights have not.
    """

    size: str
    train_images: int
    weights: str
    input_size: int
    extent: Extent | None = None
    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    fresh_head: bool = False


def choose(preset: str, basis: PresetBasis, commands: Commands = PYTHON) -> Choice:
    """Return the recipe of a preset for a data set.

    Args:
        preset: auto, small or published; auto takes small for up to `SMALL_IMAGES` training images.
        basis: what the recipe follows from.
        commands: what to type, as the caller words it.

    Raises:
        InputError: for an unknown preset or size.
    """
    if preset not in PRESETS:
        raise InputError(
            f"Unknown preset {preset!r}; the presets are {', '.join(PRESETS)}.{nearest(preset, PRESETS)}"
        )
    size, images = basis.size, basis.train_images
    if size not in SIZES:
        raise InputError(f"Unknown size {size!r}; the sizes are {', '.join(SIZES)}.{nearest(size, SIZES)}")
    small = preset == "small" or (preset == "auto" and images <= SMALL_IMAGES)
    why = f"preset {'small' if small else 'published'}: {counted(images, 'training image')}"
    if preset == "auto":
        why += f", {'at most' if small else 'more than'} {SMALL_IMAGES}"
    values, reasons = (_small if small else _published)(basis)
    values["model"] = {"size": size, "weights": basis.weights}
    values["data"] = {"input_size": basis.input_size}
    if small and basis.extent is not None:
        values["data"]["input_size"], reason = fitting_input(basis.extent, basis.input_size, commands)
        reasons.append(reason)
    if size not in ("nano", "tiny"):  # the published configs of the larger sizes augment more
        values["augment"] = {"mixup": 1.0, "mosaic_cache": 40, "mixup_cache": 20}
        if size != "s":
            values["augment"]["resize_ratio"] = (0.1, 2.0)
    return Choice(Recipe().override(values, source=f"preset {preset}"), (why, *reasons))


def fitting_input(extent: Extent, start: int, commands: Commands = PYTHON) -> tuple[int, str]:
    """Return the side of the input that shows small objects at `SMALL_SIDE` pixels, and the reason.

    It is at least the side that the weights were trained with. It is at most the longest side of the images,
    because enlarging them shows nothing new.

    Args:
        extent: of the training data.
        start: the side that the weights were trained with, or that of the published recipe.
        commands: what to type, as the caller words it.
    """
    wanted = SMALL_SIDE / extent.small_share
    nearest_size = min(INPUT_SIZES, key=lambda size: abs(math.log(size / wanted)))
    most = max((size for size in INPUT_SIZES if size <= extent.longest_side), default=0)
    size = max(start, min(nearest_size, most))
    share = extent.small_share
    small = f"a quarter of the objects are below {share:.1%} of their image's longest side"
    if size == start:
        return size, f"input {size} px, as the network starts from: {small}, {share * size:.0f} px"
    slower = f"{commands.argument('input_size', start)} is {_times((size / start) ** 2)} as fast"
    return size, (
        f"input {size} px in place of {start}: {small}, {share * start:.0f} px at {start} and "
        f"{share * size:.0f} at {size} ({slower})"
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio > 1.75 else f"{ratio:.1f} times"


def _published(basis: PresetBasis) -> tuple[dict[str, Any], list[str]]:
    batch, accumulate = basis.batch_size or 32, basis.accumulate
    lr = PUBLISHED_LR * batch * accumulate / PUBLISHED_BATCH
    epochs = basis.epochs or 300
    iterations = epochs * math.ceil(basis.train_images / batch)
    warmup = min(1000, iterations // 10)
    values = {
        "optim": {"batch_size": batch, "lr": lr},
        "schedule": {"epochs": epochs, "warmup_iterations": warmup},
        "run": {"log_interval": 20},
    }
    return values, [
        f"batch {_batch(batch, accumulate)}, lr {lr:.2g}: the published {PUBLISHED_LR} is for a batch of "
        f"{PUBLISHED_BATCH}, scaled linearly",
        f"{counted(epochs, 'epoch')}, {counted(iterations, 'iteration')}, {warmup} of them warm-up "
        "(published: 300 epochs, 1000)",
    ]


def _small(basis: PresetBasis) -> tuple[dict[str, Any], list[str]]:
    images, accumulate, pretrained = basis.train_images, basis.accumulate, bool(basis.weights)
    batch = basis.batch_size or max(2, min(8 if images <= FEW_IMAGES else 16, 4 * round(images / 20)))
    epochs = basis.epochs or next(count for most, count in EPOCHS if images <= most)
    per_epoch = math.ceil(images / batch)
    iterations = epochs * per_epoch
    steps = epochs * math.ceil(per_epoch / accumulate)
    lr = FINE_TUNE_LR if pretrained else FROM_SCRATCH_LR
    lr = float(f"{lr * math.sqrt(batch * accumulate / SMALL_REFERENCE_BATCH):.2g}")
    warmup = max(1, min(1000, round(iterations * WARMUP_SHARE)))
    horizon = max(1.0, min(5000.0, steps * EMA_HORIZON_SHARE))  # the average moves with every step
    schedule = {
        "epochs": epochs,
        "warmup_iterations": warmup,
        "stage2_share": STAGE2_SHARE,
        "ema_momentum": float(f"{1 / horizon:.2g}"),
        "ema_gamma": round(horizon / 2, 1),
    }
    head = FRESH_HEAD_LR_FACTOR if basis.fresh_head else 1.0
    values: dict[str, Any] = {
        "optim": {"batch_size": batch, "lr": lr, "clip_grad_norm": 35.0, "head_lr_factor": head},
        "schedule": schedule,
    }
    start = "pretrained weights" if pretrained else "fresh weights"
    head_reason = f"the head learns {head:g} times as fast: the weights have no masks, so most of it is fresh"
    return values, [
        f"batch {_batch(batch, accumulate)}: about {counted(per_epoch, 'iteration')} an epoch from "
        f"{counted(images, 'image')}",
        f"lr {lr:g}: for {start} at this batch",
        *([head_reason] if basis.fresh_head else []),
        f"{counted(epochs, 'epoch')}, {counted(iterations, 'iteration')}: {warmup} of warm-up "
        f"(the published 1000 would be {'all of it' if iterations <= 1000 else f'{1000 / iterations:.0%}'})",
        _stage2_reason(epochs),
        f"EMA looks back {counted(round(horizon), 'step')}, {horizon / steps:.0%} of the run "
        "(published: 5000)",
    ]


def _batch(batch: int, accumulate: int) -> str:
    return f"{batch} x {accumulate}" if accumulate > 1 else f"{batch}"


def _stage2_reason(epochs: int) -> str:
    first = dataclasses.replace(Recipe().schedule, epochs=epochs, stage2_share=STAGE2_SHARE).stage2_epoch
    if first == epochs:
        return f"no stage 2: {STAGE2_SHARE:.0%} of {counted(epochs, 'epoch')} is less than half an epoch"
    return (
        f"stage 2 (no Mosaic, no MixUp) from epoch {first + 1}: the last {STAGE2_SHARE:.0%} of the run, "
        "not a fixed 20 epochs"
    )
