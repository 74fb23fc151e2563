"""The published augmentation step by step: images are resized, copied and cut as the published pipeline does.

It is the reference for what the package draws at once: tests compare the two for the same plan, and
`benchmarks/augmentation.py` times them. The random draws come from `aerostat.pipeline.policy.draw_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.geometry.boxes import clip_boxes
from aerostat.images.letterbox import PAD_VALUE
from aerostat.images.read import read_image
from aerostat.images.resize import resize_image, scaled_size
from aerostat.pipeline.policy import Augmentation, Sample, draw_plan


def plain_sample(record: ImageRecord, input_size: int) -> Sample:
    """Return a whole image with its objects, reduced so that its longer side is at most twice the input."""
    image_bgr = read_image(record.path)
    boxes = clip_boxes(record.boxes_xyxy(), image_bgr.shape[1], image_bgr.shape[0]).astype(np.float32)
    sample = drop_small(Sample(image_bgr, boxes, record.labels()), 0.0)
    largest = 2 * input_size
    return resize_to_fit(sample, largest) if max(sample.size) > largest else sample


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
    return clipped(Sample(canvas, np.concatenate(boxes), labels))


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
    return clipped(Sample(image_bgr, boxes, sample.labels))


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


def clipped(sample: Sample) -> Sample:
    """Return the sample with its boxes cut at the edges of the image, without those that lie outside."""
    boxes = clip_boxes(sample.boxes_xyxy, *sample.size).astype(np.float32)
    return drop_small(Sample(sample.image_bgr, boxes, sample.labels), 0.0)
