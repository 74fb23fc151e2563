"""Pictures of a split: its images, its labels, and the training batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.drawn_outlines import drawn_outline
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.draw.boxes import Style, draw_boxes
from aerostat.draw.grid import image_grid
from aerostat.draw.shapes import Outline, shapes_of
from aerostat.errors import InputError, clause
from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.masks import Masks
from aerostat.images.read import read_image
from aerostat.pipeline.loader import Batch
from aerostat.results.detections import Picture
from aerostat.text import counted

Pixels = NDArray[np.uint8]
Unreadable = Callable[[ImageRecord, InputError], None]

SHEET_WIDTH = 1960
"""Width of a sheet in pixels: it fills a screen, and a page of the report."""
MAX_CELL, MIN_CELL = 960, 160
"""Width of a picture on a sheet in pixels."""
PICTURE_PIXELS, PICTURE_SIDE = 1600 * 1200, 6400
"""Maximum number of pixels, and maximum longer side, of the picture of a single image."""
MIN_SHARE_WITH_OBJECTS = 0.5
"""Minimum share of images with objects on a sheet, if there are enough."""

BOXES_TOO = Style(boxes=True)
"""Of training samples: every run learns the boxes, whatever the number of masks."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image of a split as it is drawn, without and with its labels.

    Args:
        record: the image.
        image_bgr: (h, w, 3) uint8, resized.
        labelled_bgr: the same with boxes, outlines and class names.
        caption: file name, size and number of objects.
    """

    record: ImageRecord
    image_bgr: Pixels
    labelled_bgr: Pixels
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class SplitPictures:
    """The drawn images of a split.

    Args:
        split: name of the split.
        images: number of images in the split.
        shown: drawn images, in the order of the split.
        unreadable: file name and reason of images that could not be read.
    """

    split: str
    images: int
    shown: tuple[LabelledImage, ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """Number of drawn images and number of images."""
        return f"{self.split}: {len(self.shown)} of {counted(self.images, 'image')}"

    def __repr__(self) -> str:
        """Return the title as one line."""
        return f"SplitPictures({self.title})"

    def _repr_png_(self) -> bytes | None:
        """Return the sheet with labels for a notebook."""
        return Picture(self.labelled_grid())._repr_png_() if self.shown else None

    def plain_grid(self) -> Pixels:
        """Return a sheet of the images."""
        return self._grid([image.image_bgr for image in self.shown], self.title)

    def labelled_grid(self) -> Pixels:
        """Return a sheet of the same images with boxes, outlines and class names."""
        title = f"{self.title}, {_object_count([i for image in self.shown for i in image.record.instances])}"
        return self._grid([image.labelled_bgr for image in self.shown], title)

    def _grid(self, images: Sequence[Pixels], title: str) -> Pixels:
        columns, cell = sheet_layout(len(images), [image.record for image in self.shown])
        captions = [image.caption for image in self.shown]
        return image_grid(images, columns=columns, cell=cell, captions=captions, title=title)


@dataclass(frozen=True, slots=True, eq=False)
class StagePictures:
    """The first samples of a stage of training, as they go into the network.

    Args:
        stage: 1 (Mosaic and MixUp) or 2 (plain images).
        epoch: the stage's first epoch, counted from 1.
        batch_size: number of samples in a batch.
        images_bgr: samples (S, S, 3) uint8, pixel by pixel as the loader gives them.
        labelled_bgr: the same with their boxes, and with the masks that the loss of masks compares.
        captions: place of each sample in its batch, and its file.
    """

    stage: int
    epoch: int
    batch_size: int
    images_bgr: tuple[Pixels, ...]
    labelled_bgr: tuple[Pixels, ...]
    captions: tuple[str, ...]

    @property
    def title(self) -> str:
        """Stage, epoch and size of the samples."""
        side = self.images_bgr[0].shape[0]
        kind = "with Mosaic and MixUp" if self.stage == 1 else "without Mosaic and MixUp"
        return (
            f"stage {self.stage} of training, {kind}: the first samples of epoch {self.epoch}, "
            f"{side} × {side} pixels"
        )

    def __repr__(self) -> str:
        """Return the title as one line."""
        return f"StagePictures({self.title})"

    def _repr_png_(self) -> bytes:
        """Return the sheet for a notebook."""
        return Picture(self.grid())._repr_png_()

    def grid(self, labelled: bool = True) -> Pixels:
        """Return a sheet of the samples, pixel for pixel unless they are very large."""
        images = self.labelled_bgr if labelled else self.images_bgr
        side = min(images[0].shape[0], MAX_CELL)
        columns = max(1, min(len(images), 4, round(2 * SHEET_WIDTH / side)))
        return image_grid(
            images, columns=columns, cell=(side, side), captions=self.captions, title=self.title
        )


def split_pictures(split: Split, *, limit: int = 16, seed: int = 0) -> SplitPictures:
    """Return pictures of several images of a split; unreadable ones are named.

    Args:
        split: a split, also without images or objects.
        limit: maximum number of images.
        seed: seed of the choice, see `choose_images`.
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
    """Return images of a split, spread over it, in its order.

    One image is drawn from each stretch of the split. Images with objects are chosen in proportion, but make
    up at least half of the choice if there are enough.

    Args:
        split: a split.
        limit: maximum number of images, at least 1.
        seed: seed of the choice; the same seed chooses the same images.

    Raises:
        InputError: the limit is below 1.
    """
    if limit < 1:
        raise InputError(f"Expected a limit of at least 1 image to show, found {limit}.")
    total = len(split)
    has_objects = split.images.instance_counts > 0
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
        count: number of pictures.
        records: the images; a cell has the median of their proportions, or 4:3 without images.
    """
    columns = max(1, math.ceil(math.sqrt(count)))
    width = min(max(SHEET_WIDTH // columns - 8, MIN_CELL), MAX_CELL)
    ratios = [record.width / record.height for record in records if record.width and record.height]
    ratio = min(max(float(np.median(ratios)), 0.6), 2.0) if ratios else 4 / 3
    return columns, (width, round(width / ratio))


def read_shown(
    records: Sequence[ImageRecord], on_unreadable: Unreadable
) -> Iterator[tuple[ImageRecord, Pixels, tuple[float, float]]]:
    """Yield record, pixels and the factors (x, y) of the resize; no image has more than `PICTURE_PIXELS`.

    A large image is released before the next one is read.
    """
    for record in records:
        try:
            image = read_image(record.location)
        except InputError as error:
            on_unreadable(record, error)
            continue
        high, wide = image.shape[:2]
        scale = min(1.0, math.sqrt(PICTURE_PIXELS / (wide * high)), PICTURE_SIDE / max(wide, high))
        small = fit_into(image, (math.ceil(wide * scale), math.ceil(high * scale)))
        yield record, small, (small.shape[1] / wide, small.shape[0] / high)


def show(
    record: ImageRecord,
    image_bgr: Pixels,
    size: tuple[int, int],
    classes: Sequence[str],
    scale: tuple[float, float] = (1.0, 1.0),
) -> LabelledImage:
    """Return an image resized, and the same with labels; lines and letters are drawn after the resize.

    Args:
        record: annotations of the image.
        image_bgr: pixels of the image.
        size: (width, height) that the image must fit into; it keeps its proportions.
        classes: names that the labels index.
        scale: factors (x, y) of an earlier resize of `image_bgr`.
    """
    shown = fit_into(image_bgr, size)
    factors = (
        scale[0] * shown.shape[1] / image_bgr.shape[1],
        scale[1] * shown.shape[0] / image_bgr.shape[0],
    )
    caption = f"{record.file_name}, {record.width} × {record.height}, {_object_count(record.instances)}"
    return LabelledImage(record, shown, draw_labels(shown, record, classes, factors), caption)


def _object_count(instances: Sequence[Instance]) -> str:
    """Return the number of objects; crowd regions count apart, as in the data card."""
    crowds = sum(instance.crowd for instance in instances)
    objects = counted(len(instances) - crowds, "object")
    return f"{objects}, {counted(crowds, 'crowd region')}" if crowds else objects


def fit_into(image_bgr: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the image as large as fits into `size` = (width, height), keeping its proportions."""
    high, wide = image_bgr.shape[:2]
    scale = min(size[0] / wide, size[1] / high)
    target = (max(1, round(wide * scale)), max(1, round(high * scale)))
    if target == (wide, high):
        return image_bgr
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_bgr, target, interpolation=how), np.uint8)


def draw_labels(
    image_bgr: Pixels,
    record: ImageRecord,
    classes: Sequence[str],
    scale: tuple[float, float] = (1.0, 1.0),
) -> Pixels:
    """Return a copy of an image with its labels; the names of crowd regions say that they are crowds.

    Args:
        image_bgr: (H, W, 3) uint8.
        record: annotations in pixels of the original.
        classes: names that the labels index.
        scale: factors (x, y) from the original to `image_bgr`.
    """
    return draw_boxes(
        image_bgr,
        record.boxes_xyxy(crowd=True) * np.tile(np.asarray(scale, np.float64), 2),
        record.labels(crowd=True),
        classes,
        polygons=[drawn_outline(i, scale) for i in record.instances],
        names=[classes[i.label] + (" (crowd)" if i.crowd else "") for i in record.instances],
    )


def stage_pictures(
    batches: Sequence[Batch], classes: Sequence[str], *, stage: int, epoch: int, limit: int
) -> StagePictures:
    """Return the pictures of training batches.

    Args:
        batches: first batches of an epoch, in order, all of one size.
        classes: names that the labels index.
        stage: stage of the augmentation, 1 or 2.
        epoch: epoch of the batches, counted from 1.
        limit: maximum number of samples.
    """
    plain, labelled = list[Pixels](), list[Pixels]()
    captions = list[str]()
    for number, batch in enumerate(batches, start=1):
        size = len(batch.images)
        for place in range(min(size, limit - len(plain))):
            image = np.ascontiguousarray(batch.images[place].numpy().transpose(1, 2, 0))
            boxes, labels = batch.boxes[place].numpy(), batch.labels[place].numpy()
            plain.append(image)
            shapes = None if batch.masks is None else target_shapes(batch.masks[place], image.shape[0])
            labelled.append(draw_boxes(image, boxes, labels, classes, polygons=shapes, style=BOXES_TOO))
            where = f"batch {number}, {place + 1}/{size}"
            count = counted(len(boxes), "box", "boxes")
            if batch.masks is not None:
                count += f", {counted(int(batch.masks[place].known.sum()), 'mask')}"
            captions.append(f"{where}: {batch.file_names[place]}, {count}")
    return StagePictures(stage, epoch, len(batches[0].images), tuple(plain), tuple(labelled), tuple(captions))


def target_shapes(targets: MaskTargets, side: int) -> list[Outline]:
    """Return the shape of each mask of a training sample in pixels, None for an object without outline.

    Args:
        targets: masks, with a stride that is at most `side`.
        side: of the square sample in pixels.
    """
    cells, stride = side // targets.stride, targets.stride
    patches = [patch.astype(np.bool_) for patch in targets.patches()]
    masks = Masks.from_patches(patches, targets.windows[:, :2], (cells, cells))
    shapes = shapes_of(masks, (stride, stride))
    return [shape if known else None for shape, known in zip(shapes, targets.known.tolist(), strict=True)]
