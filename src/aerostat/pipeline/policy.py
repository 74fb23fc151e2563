"""The random draws of the published RTMDet augmentation for one sample.

The steps and numbers are those of Lyu et al., arXiv:2212.07784, section 4.1, and of the published training
configurations (MMDetection 3.x, `rtmdet_tiny_8xb32-300e_coco`). With S the input size:

- stage 1: Mosaic on a 2S canvas, resize to fit 2S x ratio, crop S, HSV jitter, flip, pad to S, MixUp;
- stage 2: resize to fit S x ratio, crop S, HSV jitter, flip, pad to S.

The published pipeline takes the partners of Mosaic and MixUp from a cache of the images that a worker read
last. Its samples therefore depend on the number of workers and cannot be repeated. Here **a sample is a pure
function of the seed, the stage and its position in the run**. `draw_plan` makes all random draws for a
position, and partners are images a few positions earlier, as far back as the published caches reach.
`aerostat.pipeline.layout` turns a plan into a layout, `aerostat.pipeline.render` a layout into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.outlines import Outlines

STAGES = (1, 2)
"""1 has Mosaic and MixUp; 2, at the end of a run, has single images."""

PASTE_PLACES = 8
"""Places that are tried before an object is left out."""
CROP_TRIES = 20
"""Crops that are tried before one without objects is accepted; the reference takes another image then."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with the objects on it.

    Args:
        image_bgr: (H, W, 3) uint8.
        boxes_xyxy: (n, 4) float32, pixels of the image.
        labels: (n,) int64.
        outlines: of the n objects, in pixels of the image; None if they are not wanted.
    """

    image_bgr: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    outlines: Outlines | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges and probabilities of the random draws; the defaults are those published for RTMDet-tiny.

    Args:
        input_size: S, the side of the network's square input in pixels.
        mosaic: probability of Mosaic in stage 1.
        mixup: probability of MixUp in stage 1; 1.0 for the published s to x.
        resize_ratio: range of the resize; (0.1, 2.0) for the published m, l and x.
        hsv_delta: largest change of hue (of 180), saturation and value (of 255).
        flip: probability of a horizontal flip.
        mosaic_cache: largest distance in positions of Mosaic's partners; 40 for the published s to x.
        mixup_cache: largest distance in positions of MixUp's partner; 20 for the published s to x.
        min_box_size: smallest width and height in pixels of a box that is kept after all steps.
        copy_paste: outlined objects of other images pasted into a sample of stage 1, at most.
        mask_stride: pixels between neighbouring cells of the masks of samples; None for boxes alone.
        windows: side in pixels of the windows of photographs that are the images, and the share of it that
            neighbours have in common; None for whole photographs.
    """

    input_size: int = 640
    mosaic: float = 1.0
    mixup: float = 0.5
    resize_ratio: tuple[float, float] = (0.5, 2.0)
    hsv_delta: tuple[float, float, float] = (5.0, 30.0, 30.0)
    flip: float = 0.5
    mosaic_cache: int = 20
    mixup_cache: int = 10
    min_box_size: float = 1.0
    copy_paste: int = 0
    mask_stride: int | None = None
    windows: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        low, high = self.resize_ratio
        checks = {
            "input_size": (self.input_size >= 1, "at least 1 pixel"),
            "mosaic": (0 <= self.mosaic <= 1, "a probability between 0 and 1"),
            "mixup": (0 <= self.mixup <= 1, "a probability between 0 and 1"),
            "flip": (0 <= self.flip <= 1, "a probability between 0 and 1"),
            "resize_ratio": (0 < low <= high, "two positive numbers in ascending order"),
            "hsv_delta": (min(self.hsv_delta) >= 0, "three numbers that are not negative"),
            "mosaic_cache": (self.mosaic_cache >= 1, "at least 1"),
            "mixup_cache": (self.mixup_cache >= 1, "at least 1"),
            "copy_paste": (self.copy_paste >= 0, "a number that is not negative"),
            "mask_stride": (self.mask_stride in (None, 1, 2, 4, 8), "1, 2, 4, 8 or none"),
            "min_box_size": (self.min_box_size >= 0, "a number that is not negative"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                raise InputError(
                    f"Expected {expected} for the augmentation's `{name}`, found {getattr(self, name)}."
                )


@dataclass(frozen=True, slots=True)
class Pasting:
    """The random draws about one pasted object.

    Args:
        back: distance in positions of the object's image.
        choice: of one of the image's outlined objects, as a share of their number, in [0, 1).
        ratio: of the object's size to its size in the image fitted to the input.
        places: x, y as shares in [0, 1) of the room, tried in turn.
        flip: whether it is mirrored.
    """

    back: int
    choice: float
    ratio: float
    places: tuple[tuple[float, float], ...]
    flip: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All random draws for one position; switching a step off changes no other draw.

    Args:
        mosaic_partners: distances in positions of Mosaic's three other images; None for no Mosaic.
        mosaic_centre: x, y of the point where the four images meet, in units of S, each in [0.5, 1.5).
        resize_ratio: of the resize.
        crop_offsets: (tries, 2) x, y of the crop as shares of the room, each in [0, 1).
        hsv_gains: added to hue, saturation and value.
        flip: whether the sample is flipped.
        mixup_partner: distance in positions of MixUp's partner; None for no MixUp.
        mixup_flip: whether the partner is flipped.
        pastings: objects of other images that are pasted in before MixUp.
    """

    mosaic_partners: tuple[int, int, int] | None
    mosaic_centre: tuple[float, float]
    resize_ratio: float
    crop_offsets: tuple[tuple[float, float], ...]
    hsv_gains: tuple[int, int, int]
    flip: bool
    mixup_partner: int | None
    mixup_flip: bool
    pastings: tuple[Pasting, ...] = ()


def draw_plan(augmentation: Augmentation, seed: int, stage: int, position: int) -> Plan:
    """Return all random draws for the sample at a position of a run.

    Args:
        augmentation: ranges and probabilities.
        seed: of the run, not negative.
        stage: 1 or 2; stage 2 has neither Mosaic nor MixUp.
        position: of the sample in the whole run; partners may lie before position 0.

    Raises:
        InputError: there is no such stage.

    Example:
        >>> plan = draw_plan(Augmentation(), seed=0, stage=2, position=7)
        >>> plan.mosaic_partners is None, plan == draw_plan(Augmentation(), 0, 2, 7)
        (True, True)
    """
    if stage not in STAGES:
        raise InputError(f"Expected augmentation stage 1 or 2, found {stage}.")
    rng = np.random.default_rng([seed, stage, position % 2**63])
    mosaic, mixup = (bool(rng.random() < p) and stage == 1 for p in (augmentation.mosaic, augmentation.mixup))
    first, second, third = rng.integers(1, augmentation.mosaic_cache + 1, 3).tolist()
    centre_x, centre_y = rng.uniform(0.5, 1.5, 2).tolist()
    ratio = float(rng.uniform(*augmentation.resize_ratio))
    offsets = tuple((x, y) for x, y in rng.random((CROP_TRIES, 2)).tolist())
    # The reference switches each channel on or off at random and casts to int16, which rounds towards zero.
    gains = rng.uniform(-1, 1, 3) * augmentation.hsv_delta * rng.integers(0, 2, 3)
    hue, saturation, value = gains.astype(np.int16).tolist()
    flipped, mixup_flip = bool(rng.random() < augmentation.flip), bool(rng.random() < 0.5)
    partner = int(rng.integers(1, augmentation.mixup_cache + 1))
    pastings: tuple[Pasting, ...] = ()
    if augmentation.copy_paste and stage == 1:  # drawn last, so that it changes no other draw
        pastings = _draw_pastings(
            rng, augmentation.copy_paste, augmentation.mosaic_cache, augmentation.resize_ratio
        )
    return Plan(
        mosaic_partners=(first, second, third) if mosaic else None,
        mosaic_centre=(centre_x, centre_y),
        resize_ratio=ratio,
        crop_offsets=offsets,
        hsv_gains=(hue, saturation, value),
        flip=flipped,
        mixup_partner=partner if mixup else None,
        mixup_flip=mixup_flip,
        pastings=pastings,
    )


def _draw_pastings(
    rng: np.random.Generator, max_count: int, max_back: int, ratio: tuple[float, float]
) -> tuple[Pasting, ...]:
    """Draw up to `max_count` objects, of images up to `max_back` positions back."""
    return tuple(
        Pasting(
            back=int(rng.integers(1, max_back + 1)),
            choice=float(rng.random()),
            ratio=float(rng.uniform(*ratio)),
            places=tuple((x, y) for x, y in rng.random((PASTE_PLACES, 2)).tolist()),
            flip=bool(rng.random() < 0.5),
        )
        for _ in range(int(rng.integers(0, max_count + 1)))
    )
