"""The layout of a training sample: which part of which image each pixel shows, before a pixel is read.

The published pipeline puts images on a canvas, resizes it, cuts a window out of it and flips the window. All
these steps are affine, so the layout follows from a plan and the sizes of the images. Boxes pass the steps
one by one, in the published order and rounding: a box that the canvas clips stays clipped, although the
window could show more of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import clip_boxes, mirror_boxes
from aerostat.geometry.outlines import Outlines
from aerostat.images.resize import scaled_size
from aerostat.pipeline.policy import Augmentation, Plan

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Size and objects of an image, before its pixels are read.

    Args:
        size: width and height of the upright image.
        boxes_xyxy: (n, 4) float32, pixels of the image; they are clipped to it.
        labels: (n,) int64.
    """

    size: Size
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """An interval on one axis of the window, and its place in an image.

    Positions are edges of pixels: pixel j of the window reaches from j to j + 1. Position p of the window is
    position `p * scale + origin` of the image.

    Args:
        start, stop: first pixel of the window, and the pixel after the last.
        scale: pixels of the image per pixel of the window.
        origin: position in the image at position 0 of the window.
    """

    start: int
    stop: int
    scale: float
    origin: float


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of an image that the window shows.

    Args:
        source: index of the source.
        size: (width, height) that the image is read at; spans count pixels of this size.
        columns, rows: place in the window; neither is empty.
    """

    source: int
    size: Size
    columns: Span
    rows: Span


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The layout of a sample, without MixUp.

    Args:
        size: (width, height) that images cover; padding follows at the right and below, up to the input size.
        tiles: parts of images, before the flip.
        boxes_xyxy: (n, 4) float32, pixels of the window, after the flip.
        labels: (n,) int64.
        objects: (n,) int64, ascending, the place of each among the objects of all sources.
    """

    size: Size
    tiles: tuple[Tile, ...]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    objects: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class _Place:
    """An image resized to `size` with its corner at `left`, `top` of the canvas, which clips it."""

    left: int
    top: int
    size: Size


def arrange(plan: Plan, augmentation: Augmentation, stage: int, sources: Sequence[Source]) -> Layout:
    """Return the layout of a sample.

    Args:
        plan: random draws for the position.
        augmentation: ranges that the plan was drawn from.
        stage: 1 or 2.
        sources: the image of the position, followed by Mosaic's partners if the plan has any.
    """
    side = augmentation.input_size
    capped = [_capped(source.size, 2 * side) for source in sources]
    if plan.mosaic_partners is None:
        canvas, places = capped[0], [_Place(0, 0, capped[0])]
    else:
        canvas = (2 * side, 2 * side)
        centre = int(plan.mosaic_centre[0] * side), int(plan.mosaic_centre[1] * side)
        places = _mosaic_places(capped, centre, side)
    boxes, objects = _placed_boxes(sources, capped, places)
    if plan.mosaic_partners is not None:
        boxes, objects = cut(boxes, objects, canvas)
    largest = max(int((2 * side if stage == 1 else side) * plan.resize_ratio), 1)
    whole = scaled_size(canvas, min(largest / canvas[0], largest / canvas[1]))
    boxes = boxes * np.asarray(_scales(canvas, whole) * 2, np.float32)
    crop = choose_crop(boxes, whole, side, plan.crop_offsets, augmentation.min_box_size)
    size = min(side, whole[0] - crop[0]), min(side, whole[1] - crop[1])
    boxes, objects = cut(boxes - np.asarray(crop * 2, np.float32), objects, size)
    if plan.flip:
        boxes = mirror_boxes(boxes, size[0])
    kept = large(boxes, augmentation.min_box_size)
    tiles = []
    for number, (source, place) in enumerate(zip(sources, places, strict=True)):
        is_small = plan.mosaic_partners is not None or max(whole) <= side
        read_at = read_size_for(source.size, place.size, side if is_small else 2 * side)
        spans = (
            _span(canvas[axis], whole[axis], crop[axis], size[axis], start, place.size[axis], read_at[axis])
            for axis, start in enumerate((place.left, place.top))
        )
        columns, rows = spans
        if columns.start < columns.stop and rows.start < rows.stop:
            tiles.append(Tile(number, read_at, columns, rows))
    labels = np.concatenate([source.labels for source in sources])
    return Layout(size, tuple(tiles), boxes[kept], labels[objects[kept]], objects[kept])


def placed_outlines(
    layout: Layout, sources: Sequence[Source], outlines: Sequence[Outlines], flip: bool
) -> Outlines:
    """Return the outlines of a layout's objects in pixels of the window.

    Every step of the layout is affine, so an outline is moved once. It is cut to what the window shows of its
    image.

    Args:
        layout: of the sample.
        sources: that it was made from.
        outlines: of all objects of each source, in pixels of its image.
        flip: whether the sample is mirrored.
    """
    tiles = {tile.source: tile for tile in layout.tiles}
    placed = []
    for number, (source, mine) in enumerate(zip(sources, outlines, strict=True)):
        tile = tiles.get(number)
        if tile is None:  # its boxes touch the window, but no pixel centre does
            placed.append(mine.within((0.0, 0.0, 0.0, 0.0)))
            continue
        columns, rows = tile.columns, tile.rows
        scale = (
            tile.size[0] / source.size[0] / columns.scale,
            tile.size[1] / source.size[1] / rows.scale,
        )
        shift = (-columns.origin / columns.scale, -rows.origin / rows.scale)
        visible = (columns.start, rows.start, columns.stop, rows.stop)
        placed.append(mine.moved(scale, shift).within(visible))
    whole = Outlines.joined(placed).chosen(layout.objects)
    return whole.mirrored(layout.size[0]) if flip else whole


def choose_crop(
    boxes_xyxy: NDArray[np.float32],
    size: Size,
    side: int,
    offsets: Sequence[tuple[float, float]],
    min_box_size: float = 1.0,
) -> tuple[int, int]:
    """Return x, y of the first crop with an object in it; of the first crop if no crop has an object.

    Args:
        boxes_xyxy: (n, 4), pixels of the image to crop.
        size: (width, height) of that image.
        side: of the square crop in pixels; an image that is smaller has one crop.
        offsets: candidates as shares in [0, 1) of the room, so that each whole pixel is equally likely.
        min_box_size: the visible part of an object must be as wide and as high as this, in pixels.
    """
    rooms = max(size[0] - side, 0), max(size[1] - side, 0)
    places = [(int(x * (rooms[0] + 1)), int(y * (rooms[1] + 1))) for x, y in offsets]
    for x, y in places if len(boxes_xyxy) else ():
        inside = clip_boxes(boxes_xyxy - np.asarray([x, y, x, y], np.float32), side, side)
        if large(inside, min_box_size).any():
            return x, y
    return places[0]


def cut(
    boxes_xyxy: NDArray[np.float32], numbers: NDArray[np.int64], size: Size
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return boxes (n, 4) clipped to an image of `size` and their numbers (n,), without boxes outside."""
    boxes = np.asarray(clip_boxes(boxes_xyxy, *size), np.float32)
    kept = large(boxes, 0.0)
    return boxes[kept], numbers[kept]


def large(boxes_xyxy: NDArray[np.floating], min_size: float) -> NDArray[np.bool_]:
    """Return (n,) bool: whether a box (n, 4) has an area and is at least `min_size` wide and high."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return np.asarray(((sides > 0) & (sides >= min_size)).all(1))


def _capped(size: Size, largest: int) -> Size:
    """Return the size that reading reduces an image to: its longer side is at most `largest`."""
    if max(size) <= largest:
        return size
    return scaled_size(size, min(largest / size[0], largest / size[1]))


def _scales(old: Size, new: Size) -> tuple[float, float]:
    return new[0] / old[0], new[1] / old[1]


def fitted_size(size: Size, side: int) -> Size:
    """Return the size of an image in a Mosaic; the reference rounds down here, and to nearest elsewhere."""
    ratio = min(side / size[0], side / size[1])
    return max(1, int(size[0] * ratio)), max(1, int(size[1] * ratio))


def _mosaic_places(sizes: Sequence[Size], centre: Size, side: int) -> list[_Place]:
    """Return where four images lie on Mosaic's canvas (YOLOv4; MMDetection's `Mosaic`).

    Each image is resized to fit side x side. They meet at `centre` with the bottom right, bottom left, top
    right and top left corner, in this order.
    """
    places = []
    for corner, size in enumerate(sizes):
        width, height = fitted_size(size, side)
        left = centre[0] - width if corner in (0, 2) else centre[0]
        top = centre[1] - height if corner in (0, 1) else centre[1]
        places.append(_Place(left, top, (width, height)))
    return places


def _placed_boxes(
    sources: Sequence[Source], capped: Sequence[Size], places: Sequence[_Place]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the boxes of all images on the canvas, clipped to their images, and their numbers.

    A box is scaled twice, like its image: first on reading, then for the canvas.
    """
    rows = []
    for source, size, place in zip(sources, capped, places, strict=True):
        reading, placing = _scales(source.size, size), _scales(size, place.size)
        rows.append((*source.size * 2, *reading * 2, *placing * 2, *(place.left, place.top) * 2))
    counts = [len(source.labels) for source in sources]
    of_box = np.repeat(np.asarray(rows, np.float32).reshape(-1, 4, 4), counts, axis=0)
    boxes = np.concatenate([source.boxes_xyxy for source in sources])
    boxes = np.minimum(np.maximum(boxes, np.float32(0)), of_box[:, 0])
    kept = large(boxes, 0.0)
    boxes = boxes * of_box[:, 1] * of_box[:, 2] + of_box[:, 3]
    return boxes[kept], np.flatnonzero(kept)


def read_size_for(source: Size, placed: Size, largest: int) -> Size:
    """Return the size to read an image at: at most its own size, `largest`, and the size it is placed at.

    The size follows from image and plan alone, never from the content of a cache.
    """
    if max(placed) > largest:
        placed = fitted_size(placed, largest)
    return placed if max(placed) < max(source) else source


def _span(canvas: int, whole: int, crop: int, shown: int, placed_at: int, placed: int, read_at: int) -> Span:
    """Return where an image lies along one axis of the window.

    Args:
        canvas, whole: size of the canvas before and after the resize.
        crop, shown: start and size of the window in the resized canvas.
        placed_at, placed: start and size of the image on the canvas.
        read_at: size that the image is read at.
    """
    scale = canvas / whole
    first, last = max(placed_at, 0), min(placed_at + placed, canvas)
    # A pixel belongs to the image in which its centre lies, so neighbours neither overlap nor leave a gap.
    start, stop = (math.ceil(edge / scale - crop - 0.5) for edge in (first, last))
    per_placed = read_at / placed
    return Span(max(start, 0), min(stop, shown), scale * per_placed, (crop * scale - placed_at) * per_placed)
