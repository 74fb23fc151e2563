"""The published RTMDet augmentation, step by step, as functions of images and random draws.

The steps and numbers are those of Lyu et al., arXiv:2212.07784, section 4.1, and of the published training
configurations (MMDetection 3.x, `rtmdet_tiny_8xb32-300e_coco`). With S the input size:

- stage 1: Mosaic on a 2S canvas, resize to fit 2S x ratio, crop S, HSV jitter, flip, pad to S, MixUp;
- stage 2: resize to fit S x ratio, crop S, HSV jitter, flip, pad to S.

The published pipeline takes the partners of Mosaic and MixUp from a cache of what a worker saw last, so
its samples depend on the number of workers and cannot be repeated. Here **a sample is a pure function of
the seed, the stage and its position in the run**: `draw_plan` draws everything random about a position at
once, and the partners are the images a few positions earlier, as far back as the published caches reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.boxes import clip_boxes
from aerostat.data.image import PAD_VALUE, resize_image, scaled_size
from aerostat.errors import InputError

STAGES = (1, 2)
"""1: Mosaic and MixUp; 2: the plain images at the end of a run."""

CROP_TRIES = 20
"""So many crops are tried before one without any object is accepted; the reference takes another image."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with the objects on it.

    Args:
        image_bgr: (H, W, 3) uint8.
        boxes_xyxy: (n, 4) float32, pixels of the image.
        labels: (n,) int64.
    """

    image_bgr: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is drawn from, with the values published for RTMDet-tiny.

    Args:
        input_size: S, the side of the network's square input in pixels.
        mosaic: probability of Mosaic in stage 1.
        mixup: probability of MixUp in stage 1; 1.0 for the published s to x.
        resize_ratio: range of the resize; (0.1, 2.0) for the published m, l and x.
        hsv_delta: largest change of hue (of 180), saturation and value (of 255).
        flip: probability of a horizontal flip.
        mosaic_cache: Mosaic's partners lie at most so many positions back; 40 for the published s to x.
        mixup_cache: MixUp's partner lies at most so many positions back; 20 for the published s to x.
        min_box_size: boxes narrower or lower than this after all steps are dropped, in pixels.
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
            "min_box_size": (self.min_box_size >= 0, "a number that is not negative"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                raise InputError(
                    f"Expected {expected} for the augmentation's {name}, found {getattr(self, name)}."
                )


@dataclass(frozen=True, slots=True)
class Plan:
    """Every random draw about one position; drawn whole, so that switching a step off moves no other draw.

    Args:
        mosaic_partners: how many positions back Mosaic's three other images lie; None for no Mosaic.
        mosaic_centre: x, y of the point where the four images meet, in units of S, each in [0.5, 1.5).
        resize_ratio: of the resize.
        crop_offsets: (tries, 2) x, y of the crop as a share of the room that there is, each in [0, 1).
        hsv_gains: added to hue, saturation and value.
        flip: whether the sample is flipped.
        mixup_partner: how many positions back MixUp's partner lies; None for no MixUp.
        mixup_flip: whether that partner is flipped.
    """

    mosaic_partners: tuple[int, int, int] | None
    mosaic_centre: tuple[float, float]
    resize_ratio: float
    crop_offsets: tuple[tuple[float, float], ...]
    hsv_gains: tuple[int, int, int]
    flip: bool
    mixup_partner: int | None
    mixup_flip: bool


def draw_plan(augmentation: Augmentation, seed: int, stage: int, position: int) -> Plan:
    """Draw everything random about the sample at `position` of a run; those before 0 are drawn like others.

    Args:
        augmentation: what to draw from.
        seed: of the run, not negative.
        stage: 1 or 2; stage 2 has neither Mosaic nor MixUp.
        position: counts the samples of the whole run.

    Raises:
        InputError: there is no such stage.
    """
    if stage not in STAGES:
        raise InputError(f"Expected augmentation stage 1 or 2, found {stage}.")
    rng = np.random.default_rng([seed, stage, position % 2**63])
    mosaic, mixup = (bool(rng.random() < p) and stage == 1 for p in (augmentation.mosaic, augmentation.mixup))
    first, second, third = rng.integers(1, augmentation.mosaic_cache + 1, 3).tolist()
    centre_x, centre_y = rng.uniform(0.5, 1.5, 2).tolist()
    ratio = float(rng.uniform(*augmentation.resize_ratio))
    offsets = tuple((x, y) for x, y in rng.random((CROP_TRIES, 2)).tolist())
    # The reference multiplies by a coin per channel and cuts to int16, which rounds towards zero.
    gains = rng.uniform(-1, 1, 3) * augmentation.hsv_delta * rng.integers(0, 2, 3)
    hue, saturation, value = gains.astype(np.int16).tolist()
    flipped, mixup_flip = bool(rng.random() < augmentation.flip), bool(rng.random() < 0.5)
    partner = int(rng.integers(1, augmentation.mixup_cache + 1))
    return Plan(
        mosaic_partners=(first, second, third) if mosaic else None,
        mosaic_centre=(centre_x, centre_y),
        resize_ratio=ratio,
        crop_offsets=offsets,
        hsv_gains=(hue, saturation, value),
        flip=flipped,
        mixup_partner=partner if mixup else None,
        mixup_flip=mixup_flip,
    )


def sample_before_mixup(
    augmentation: Augmentation, seed: int, stage: int, position: int, fetch: Callable[[int], Sample]
) -> Sample:
    """Return the sample (S, S, 3) at a position with all steps but MixUp.

    Args:
        augmentation, seed, stage, position: as for `draw_plan`.
        fetch: gives the plain image at a position, also at positions before 0.
    """
    plan = draw_plan(augmentation, seed, stage, position)
    side = augmentation.input_size
    sample = fetch(position)
    if plan.mosaic_partners is not None:
        others = [fetch(position - back) for back in plan.mosaic_partners]
        centre = int(plan.mosaic_centre[0] * side), int(plan.mosaic_centre[1] * side)
        sample = mosaic([sample, *others], centre, side)
    sample = resize_to_fit(sample, int((2 * side if stage == 1 else side) * plan.resize_ratio))
    x, y = choose_crop(sample, side, plan.crop_offsets, augmentation.min_box_size)
    sample = crop(sample, x, y, side)
    sample = Sample(jitter_hsv(sample.image_bgr, plan.hsv_gains), sample.boxes_xyxy, sample.labels)
    if plan.flip:
        sample = flip(sample)
    return pad(drop_small(sample, augmentation.min_box_size), side)


def augmented_sample(
    augmentation: Augmentation,
    seed: int,
    stage: int,
    position: int,
    before_mixup: Callable[[int], Sample],
) -> Sample:
    """Return the finished training sample (S, S, 3) at a position.

    Args:
        augmentation, seed, stage, position: as for `draw_plan`.
        before_mixup: gives `sample_before_mixup` of a position in this stage, from a cache if it likes.
    """
    plan = draw_plan(augmentation, seed, stage, position)
    sample = before_mixup(position)
    if plan.mixup_partner is None:
        return sample
    partner = before_mixup(position - plan.mixup_partner)
    return mix_up(sample, flip(partner) if plan.mixup_flip else partner)


def mosaic(samples: Sequence[Sample], centre: tuple[int, int], side: int) -> Sample:
    """Return four images on one canvas (2 side, 2 side, 3) of grey 114 (YOLOv4; MMDetection's `Mosaic`).

    Each image is resized to fit side x side. They meet at `centre`: the first has its bottom right corner
    there, the second its bottom left, the third its top right, the fourth its top left corner; what leaves
    the canvas is cut off, and boxes with it.

    Args:
        samples: four.
        centre: x, y on the canvas, in pixels.
        side: of the square that each image is fitted to.
    """
    canvas = np.full((2 * side, 2 * side, 3), PAD_VALUE, np.uint8)
    boxes = []
    for corner, sample in enumerate(samples):
        # The reference cuts to whole pixels here and rounds in its other resizes.
        ratio = min(side / sample.size[0], side / sample.size[1])
        sample = resize(sample, (max(1, int(sample.size[0] * ratio)), max(1, int(sample.size[1] * ratio))))
        width, height = sample.size
        left = centre[0] - width if corner in (0, 2) else centre[0]
        top = centre[1] - height if corner in (0, 1) else centre[1]
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, 2 * side), min(top + height, 2 * side)
        canvas[y1:y2, x1:x2] = sample.image_bgr[y1 - top : y2 - top, x1 - left : x2 - left]
        boxes.append(sample.boxes_xyxy + np.asarray([left, top, left, top], np.float32))
    labels = np.concatenate([sample.labels for sample in samples])
    return _clipped(Sample(canvas, np.concatenate(boxes), labels))


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return the sample resized bilinearly to `size` = (width, height); boxes scale by new / old per axis."""
    factors = np.asarray((size[0] / sample.size[0], size[1] / sample.size[1]) * 2, np.float32)
    return Sample(resize_image(sample.image_bgr, size), sample.boxes_xyxy * factors, sample.labels)


def resize_to_fit(sample: Sample, side: int) -> Sample:
    """Return the sample resized, keeping its ratio, so that it just fits a square of `side` pixels."""
    ratio = min(max(side, 1) / sample.size[0], max(side, 1) / sample.size[1])
    return resize(sample, scaled_size(sample.size, ratio))


def choose_crop(
    sample: Sample, side: int, offsets: Sequence[tuple[float, float]], min_box_size: float = 1.0
) -> tuple[int, int]:
    """Return x, y of the first crop with an object in it, or of the first one at all if none has any.

    Args:
        sample: the image to be cropped to `side` x `side`.
        side: in pixels; where the image is smaller there is nothing to choose.
        offsets: candidates as shares in [0, 1) of the room, so that each whole pixel is equally likely.
        min_box_size: what remains of an object must be as wide and as high as this.
    """
    rooms = max(sample.size[0] - side, 0), max(sample.size[1] - side, 0)
    places = [(int(x * (rooms[0] + 1)), int(y * (rooms[1] + 1))) for x, y in offsets]
    for x, y in places if len(sample.boxes_xyxy) else ():
        inside = clip_boxes(sample.boxes_xyxy - np.asarray([x, y, x, y], np.float32), side, side)
        if _large(inside, min_box_size).any():
            return x, y
    return places[0]


def crop(sample: Sample, x: int, y: int, side: int) -> Sample:
    """Return the part of the sample from x, y on, at most `side` pixels a side, boxes clipped to it."""
    image_bgr = sample.image_bgr[y : y + side, x : x + side]
    boxes = sample.boxes_xyxy - np.asarray([x, y, x, y], np.float32)
    return _clipped(Sample(image_bgr, boxes, sample.labels))


def jitter_hsv(image_bgr: NDArray[np.uint8], gains: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the image with `gains` added to hue (modulo 180), saturation and value (clipped; YOLOX)."""
    if not any(gains):
        return image_bgr
    hsv = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2HSV), np.int16) + np.asarray(gains, np.int16)
    hsv[..., 0] %= 180  # OpenCV keeps the hue of 8-bit images in half degrees
    hsv[..., 1:] = np.clip(hsv[..., 1:], 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)


def flip(sample: Sample) -> Sample:
    """Return the sample mirrored, left for right."""
    width = np.float32(sample.size[0])
    x1, y1, x2, y2 = sample.boxes_xyxy.T
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return Sample(sample.image_bgr[:, ::-1], boxes, sample.labels)


def pad(sample: Sample, side: int) -> Sample:
    """Return the sample on a square of `side` pixels, filled at the right and below with grey 114."""
    width, height = sample.size
    canvas = np.full((side, side, 3), PAD_VALUE, np.uint8)
    canvas[:height, :width] = sample.image_bgr
    return Sample(canvas, sample.boxes_xyxy, sample.labels)


def mix_up(first: Sample, second: Sample) -> Sample:
    """Return the mean of two images of one size, rounded down, with the objects of both (YOLOX's MixUp)."""
    image = (first.image_bgr.astype(np.uint16) + second.image_bgr) >> 1
    return Sample(
        image.astype(np.uint8),
        np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        np.concatenate([first.labels, second.labels]),
    )


def drop_small(sample: Sample, min_box_size: float) -> Sample:
    """Return the sample without the boxes that are narrower or lower than `min_box_size` pixels."""
    kept = _large(sample.boxes_xyxy, min_box_size)
    return Sample(sample.image_bgr, sample.boxes_xyxy[kept], sample.labels[kept])


def _large(boxes_xyxy: NDArray[np.floating], min_size: float) -> NDArray[np.bool_]:
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return np.asarray((sides > 0).all(1) & (sides >= min_size).all(1))


def _clipped(sample: Sample) -> Sample:
    """Return the sample with its boxes cut at the edges of the image, without those that lie outside."""
    boxes = clip_boxes(sample.boxes_xyxy, *sample.size).astype(np.float32)
    return drop_small(Sample(sample.image_bgr, boxes, sample.labels), 0.0)
