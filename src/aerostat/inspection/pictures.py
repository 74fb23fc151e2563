"""Pictures of a split: its images, the same with labels, and the batches that training makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.draw.boxes import draw_boxes
from aerostat.draw.grid import image_grid
from aerostat.errors import InputError, clause
from aerostat.images.read import read_image
from aerostat.pipeline.loader import Batch
from aerostat.text import counted

Picture = NDArray[np.uint8]
Unreadable = Callable[[ImageRecord, InputError], None]

SHEET_WIDTH = 1960
"""Pixels across a sheet of pictures: it fills a screen, and a page of the report."""
MAX_CELL, MIN_CELL = 960, 160
PICTURE_PIXELS, PICTURE_SIDE = 1600 * 1200, 6400
"""A picture that stands alone has at most so many pixels, and so many along its longer side."""
MAX_MASK_PIXELS = 1 << 24
"""Beyond this the outline of a run-length mask is not worth the memory: its box is shown."""
MIN_SHARE_WITH_OBJECTS = 0.5
"""Of the images shown at least so many have objects, if there are as many."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image of a split as it is shown, without and with its labels.

    Args:
        record: the image.
        image_bgr: (h, w, 3) uint8, resized to what is shown.
        labelled_bgr: the same with boxes, outlines and class names.
        caption: file name, size and number of objects.
    """

    record: ImageRecord
    image_bgr: Picture
    labelled_bgr: Picture
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class SplitPictures:
    """Some images of a split.

    Args:
        split: its name.
        images: how many it has.
        shown: what is shown, in the order of the split.
        unreadable: images that were chosen and could not be read: file name and reason.
    """

    split: str
    images: int
    shown: tuple[LabelledImage, ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """How many are shown of how many."""
        return f"{self.split}: {len(self.shown)} of {counted(self.images, 'image')}"

    def plain_grid(self) -> Picture:
        """Return a sheet of the images."""
        return self._grid([image.image_bgr for image in self.shown], self.title)

    def labelled_grid(self) -> Picture:
        """Return a sheet of the same images with boxes, outlines and class names."""
        title = f"{self.title}, {_told([i for image in self.shown for i in image.record.instances])}"
        return self._grid([image.labelled_bgr for image in self.shown], title)

    def _grid(self, images: Sequence[Picture], title: str) -> Picture:
        columns, cell = sheet_layout(len(images), [image.record for image in self.shown])
        captions = [image.caption for image in self.shown]
        return image_grid(images, columns=columns, cell=cell, captions=captions, title=title)


@dataclass(frozen=True, slots=True, eq=False)
class StagePictures:
    """The first samples of a stage of training as the network sees them.

    Args:
        stage: 1 (Mosaic and MixUp) or 2 (plain images).
        epoch: counted from 1, of which they are the first.
        batch_size: samples in a batch.
        images_bgr: (S, S, 3) uint8 each, pixel by pixel what the loader gives.
        labelled_bgr: the same with the boxes that the network is to find.
        captions: where each stands in its batch, and the file that stands at its position.
    """

    stage: int
    epoch: int
    batch_size: int
    images_bgr: tuple[Picture, ...]
    labelled_bgr: tuple[Picture, ...]
    captions: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is shown."""
        side = self.images_bgr[0].shape[0]
        kind = "with Mosaic and MixUp" if self.stage == 1 else "without Mosaic and MixUp"
        return (
            f"stage {self.stage} of training, {kind}: the first samples of epoch {self.epoch}, "
            f"{side} × {side} pixels"
        )

    def grid(self, labelled: bool = True) -> Picture:
        """Return a sheet whose cells are the network's input, pixel for pixel unless that is very large."""
        images = self.labelled_bgr if labelled else self.images_bgr
        side = min(images[0].shape[0], MAX_CELL)
        columns = max(1, min(len(images), 4, round(2 * SHEET_WIDTH / side)))
        return image_grid(
            images, columns=columns, cell=(side, side), captions=self.captions, title=self.title
        )


def split_pictures(split: Split, *, limit: int = 16, seed: int = 0) -> SplitPictures:
    """Return pictures of some images of a split; those that cannot be read are left out and named.

    Args:
        split: any, also without images or objects.
        limit: at most so many images.
        seed: of the choice, see `choose_images`.
    """
    records = choose_images(split, limit, seed)
    unreadable: list[tuple[str, str]] = []
    cell = sheet_layout(len(records), records)[1]
    shown = [
        show(record, image, cell, split.classes, scale)
        for record, image, scale in read_shown(
            records, lambda record, error: unreadable.append((record.file_name, clause(error)))
        )
    ]
    return SplitPictures(split.name, len(split), tuple(shown), tuple(unreadable))


def choose_images(split: Split, limit: int, seed: int = 0) -> list[ImageRecord]:
    """Choose images of a split, spread over it, in its order.

    The split is cut into as many stretches as images are wanted, and one is drawn from each. Images with
    objects are among them in proportion, but at least half of the choice where there are as many.

    Args:
        split: to choose from.
        limit: at most so many images, at least 1.
        seed: of the choice; the same seed chooses the same images.

    Raises:
        InputError: the limit is below 1.
    """
    if limit < 1:
        raise InputError(f"Expected a limit of at least 1 image to show, found {limit}.")
    total = len(split)
    has_objects = np.asarray([bool(image.instances) for image in split.images], bool)
    filled, empty = np.flatnonzero(has_objects), np.flatnonzero(~has_objects)
    wanted = min(limit, total)
    share = max(MIN_SHARE_WITH_OBJECTS, len(filled) / max(total, 1))
    with_objects = min(len(filled), max(math.ceil(wanted * share), wanted - len(empty)))
    rng = np.random.default_rng([seed, total])
    chosen = [*_spread(filled, with_objects, rng), *_spread(empty, wanted - with_objects, rng)]
    return [split.images[index] for index in sorted(chosen)]


def _spread(indices: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """Return `count` of the indices, one drawn from each of as many stretches."""
    if count == 0:
        return []
    return [int(rng.choice(stretch)) for stretch in np.array_split(indices, count)]


def sheet_layout(count: int, records: Sequence[ImageRecord] = ()) -> tuple[int, tuple[int, int]]:
    """Return the columns of a sheet of `count` pictures, and the width and height of its cells.

    Args:
        count: of the pictures.
        records: the images, whose middle proportion the cells take; 4:3 if there are none.
    """
    columns = max(1, math.ceil(math.sqrt(count)))
    width = min(max(SHEET_WIDTH // columns - 8, MIN_CELL), MAX_CELL)
    ratios = [record.width / record.height for record in records if record.width and record.height]
    ratio = min(max(float(np.median(ratios)), 0.6), 2.0) if ratios else 4 / 3
    return columns, (width, round(width / ratio))


def read_shown(
    records: Sequence[ImageRecord], on_unreadable: Unreadable
) -> Iterator[tuple[ImageRecord, Picture, tuple[float, float]]]:
    """Yield images no larger than `PICTURE_PIXELS`, one at a time, with the factors (x, y) of their resize.

    An image of 8000 pixels is let go before the next one is read.
    """
    for record in records:
        try:
            image = read_image(record.path)
        except InputError as error:
            on_unreadable(record, error)
            continue
        high, wide = image.shape[:2]
        scale = min(1.0, math.sqrt(PICTURE_PIXELS / (wide * high)), PICTURE_SIDE / max(wide, high))
        small = fit_into(image, (math.ceil(wide * scale), math.ceil(high * scale)))
        yield record, small, (small.shape[1] / wide, small.shape[0] / high)


def show(
    record: ImageRecord,
    image_bgr: Picture,
    size: tuple[int, int],
    classes: Sequence[str],
    scale: tuple[float, float] = (1.0, 1.0),
) -> LabelledImage:
    """Return an image as it is shown: resized first and labelled then, so that lines and letters stay sharp.

    Args:
        record: what is annotated.
        image_bgr: its pixels.
        size: width and height of the place that it is to fill, keeping its proportions.
        classes: that the labels index.
        scale: factors (x, y) by which `image_bgr` was resized before.
    """
    shown = fit_into(image_bgr, size)
    factors = (
        scale[0] * shown.shape[1] / image_bgr.shape[1],
        scale[1] * shown.shape[0] / image_bgr.shape[0],
    )
    caption = f"{record.file_name}, {record.width} × {record.height}, {_told(record.instances)}"
    return LabelledImage(record, shown, draw_labels(shown, record, classes, factors), caption)


def _told(instances: Sequence[Instance]) -> str:
    """Say how many objects there are; crowd regions count apart, as in the data card."""
    crowds = sum(instance.crowd for instance in instances)
    objects = counted(len(instances) - crowds, "object")
    return f"{objects}, {counted(crowds, 'crowd region')}" if crowds else objects


def fit_into(image_bgr: Picture, size: tuple[int, int]) -> Picture:
    """Return the image as large as fits into `size` = (width, height), keeping its proportions."""
    high, wide = image_bgr.shape[:2]
    scale = min(size[0] / wide, size[1] / high)
    target = (max(1, round(wide * scale)), max(1, round(high * scale)))
    if target == (wide, high):
        return image_bgr
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_bgr, target, interpolation=how), np.uint8)


def draw_labels(
    image_bgr: Picture,
    record: ImageRecord,
    classes: Sequence[str],
    scale: tuple[float, float] = (1.0, 1.0),
) -> Picture:
    """Return a copy of an image with what is annotated on it; crowd regions are called so.

    Args:
        image_bgr: (H, W, 3) uint8.
        record: what is annotated, in pixels of the original.
        classes: that the labels index.
        scale: factors (x, y) from the original to `image_bgr`.
    """
    factors = np.asarray(scale, np.float64)
    return draw_boxes(
        image_bgr,
        record.boxes_xyxy(crowd=True) * np.tile(factors, 2),
        record.labels(crowd=True),
        classes,
        polygons=[[polygon * factors for polygon in outlines(i)] for i in record.instances],
        names=[classes[i.label] + (" (crowd)" if i.crowd else "") for i in record.instances],
    )


def outlines(instance: Instance) -> tuple[NDArray[np.float64], ...]:
    """Return the polygons (n, 2) of an object; those around its mask where it has one instead."""
    if instance.polygons or instance.rle is None:
        return instance.polygons
    from faster_coco_eval.core import mask as masks

    high, wide = instance.rle["size"]
    if high * wide > MAX_MASK_PIXELS:
        return ()
    counts = instance.rle["counts"]
    try:
        packed = (
            instance.rle if isinstance(counts, str) else masks.frPyObjects(dict(instance.rle), high, wide)
        )
        filled = np.ascontiguousarray(masks.decode(packed), np.uint8).reshape(high, wide)
    except (ValueError, RuntimeError, TypeError, OverflowError):  # its runs are none of a mask of this size
        return ()
    found, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return tuple(np.asarray(contour, np.float64).reshape(-1, 2) + 0.5 for contour in found)


def stage_pictures(
    batches: Sequence[Batch], classes: Sequence[str], *, stage: int, epoch: int, limit: int
) -> StagePictures:
    """Turn training batches back into pictures.

    Args:
        batches: the first ones of an epoch, in order, all of one size.
        classes: that the labels index.
        stage: of the augmentation.
        epoch: counted from 1.
        limit: at most so many samples.
    """
    plain, labelled = list[Picture](), list[Picture]()
    captions = list[str]()
    for number, batch in enumerate(batches, start=1):
        size = len(batch.images)
        for place in range(min(size, limit - len(plain))):
            image = np.ascontiguousarray(batch.images[place].numpy().transpose(1, 2, 0))
            boxes, labels = batch.boxes[place].numpy(), batch.labels[place].numpy()
            plain.append(image)
            labelled.append(draw_boxes(image, boxes, labels, classes))
            where = f"batch {number}, {place + 1}/{size}"
            captions.append(f"{where}: {batch.file_names[place]}, {counted(len(boxes), 'box', 'boxes')}")
    return StagePictures(stage, epoch, len(batches[0].images), tuple(plain), tuple(labelled), tuple(captions))
