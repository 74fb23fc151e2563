"""Instance masks of one image in little memory: the run lengths of COCO, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.errors import InputError
from aerostat.geometry import coco_masks, mask_outlines, run_lengths
from aerostat.geometry.mask_columns import ColumnSpans
from aerostat.geometry.run_lengths import Counts


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Masks of n objects on one image, stored as run lengths.

    A 640 x 640 mask takes a few kilobytes; its dense form takes 400. Iteration and integer indices give dense
    masks. Slices, indices (k,) and booleans (n,) give `Masks`.

    >>> masks = Masks.from_polygons([[[1, 1, 4, 1, 4, 3, 1, 3]]], (6, 4))
    >>> masks.area().tolist(), masks.boxes_xyxy().tolist()
    ([6], [[1.0, 1.0, 4.0, 3.0]])

    Args:
        image_size: (width, height) of the image in pixels.
        counts: run lengths of all masks, one mask after the other, each column by column from the top left,
            zeros first.
        offsets: (n + 1,) where the counts of each mask begin; the last is the number of counts.

    Raises:
        InputError: the counts of a mask are not those of an image of this size.
    """

    image_size: tuple[int, int]
    counts: Counts
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        size, counts, offsets = _checked(self.image_size, self.counts, self.offsets)
        set_field = object.__setattr__  # a frozen dataclass normalises its own fields this way
        set_field(self, "image_size", size)
        set_field(self, "counts", counts)
        set_field(self, "offsets", offsets)

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Masks:
        """Return no masks of an image of (width, height)."""
        return cls(image_size, np.zeros(0, np.uint32), np.zeros(1, np.int64))

    @classmethod
    def from_dense(cls, dense: ArrayLike) -> Masks:
        """Return the masks of an array (n, h, w) of booleans, or of numbers; 0 is outside.

        Raises:
            InputError: the array has another shape, or no pixels.
        """
        array = np.asarray(dense)
        if array.ndim != 3:
            raise InputError(f"Expected dense masks of shape (n, h, w), found {array.shape}.")
        counts, offsets = _joined([run_lengths.counts_of(mask.astype(bool, copy=False)) for mask in array])
        return cls((array.shape[2], array.shape[1]), counts, offsets)

    @classmethod
    def from_patches(
        cls,
        patches: Sequence[NDArray[np.bool_]],
        corners_xy: Sequence[tuple[int, int]] | NDArray[np.integer],
        image_size: tuple[int, int],
    ) -> Masks:
        """Return masks that are given within a rectangle each; memory follows the rectangles.

        >>> Masks.from_patches([np.ones((2, 3), bool)], [(-1, 4)], (9, 5)).boxes_xyxy().tolist()
        [[0.0, 4.0, 2.0, 5.0]]

        Args:
            patches: n arrays (h_i, w_i) of booleans.
            corners_xy: (n, 2) the top left pixel of each; what lies outside of the image is cut off.
            image_size: (width, height) of the image.

        Raises:
            InputError: there are not as many corners as patches, or a patch is no array of two dimensions.
        """
        return masks_between(_boundaries_of_patches(patches, corners_xy, image_size), image_size)

    @classmethod
    def from_polygons(cls, objects: Sequence[Sequence[ArrayLike]], image_size: tuple[int, int]) -> Masks:
        """Return the masks of objects that are given by their outlines, as pycocotools rasterises them.

        Args:
            objects: for each object its outlines, each (k, 2) or flat x, y, x, y, ... in pixels; a pixel
                belongs to the object if it is in any of them.
            image_size: (width, height) of the image.

        Raises:
            InputError: an outline is not made of pairs of finite numbers.
        """
        size = (int(image_size[0]), int(image_size[1]))
        masks = []
        for index, outlines in enumerate(objects):
            parts = [run_lengths.rasterise(_outline(outline, index), size) for outline in outlines]
            masks.append(run_lengths.union(parts, size[0] * size[1]))
        return cls(size, *_joined(masks))

    @classmethod
    def from_coco(
        cls, objects: Sequence[Mapping[str, Any]], image_size: tuple[int, int] | None = None
    ) -> Masks:
        """Return the masks of COCO's run-length objects, ``{"size": [h, w], "counts": ...}``.

        Args:
            objects: their counts are a compressed string, as text or bytes, or a list of whole numbers.
            image_size: (width, height); None takes it from the first object.

        Raises:
            InputError: an object is broken or has another size, or there is neither an object nor a size.
        """
        size, masks = coco_masks.decode(objects, image_size)
        return cls(size, *_joined(masks))

    @classmethod
    def concatenate(cls, parts: Sequence[Masks]) -> Masks:
        """Return the masks of at least one part, all of one image size, one part after the other.

        Raises:
            InputError: there is no part, or sizes differ.
        """
        if not parts:
            raise InputError("Expected at least one part to concatenate, found none.")
        sizes = list(dict.fromkeys(part.image_size for part in parts))
        if len(sizes) > 1:
            raise InputError(f"Expected masks of one image size, found {sizes[0]} and {sizes[1]}.")
        starts = np.cumsum([0, *(len(part.counts) for part in parts)])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts[:-1], strict=True)]
        counts = np.concatenate([part.counts for part in parts])
        return cls(sizes[0], counts, np.concatenate([*offsets, starts[-1:]]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        for start, stop in pairwise(self.offsets):
            yield run_lengths.dense(self.counts[start:stop], self.image_size)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.bool_]: ...

    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Masks: ...

    def __getitem__(self, index: int | slice | ArrayLike) -> NDArray[np.bool_] | Masks:
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index.astype(np.int64) if index.size == 0 and index.dtype != bool else index
        rows = np.asarray(np.arange(len(self))[index])
        if rows.ndim == 0:
            start, stop = self.offsets[rows], self.offsets[rows + 1]
            return run_lengths.dense(self.counts[start:stop], self.image_size)
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Masks(self.image_size, self.counts[places], offsets)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Masks)
            and self.image_size == other.image_size
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        width, height = self.image_size
        return f"Masks({len(self)} on {width} x {height} px, {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """The memory that the masks take, in bytes."""
        return self.counts.nbytes + self.offsets.nbytes

    def to_dense(self) -> NDArray[np.bool_]:
        """Return all masks as one array (n, h, w); it takes n x h x w bytes."""
        width, height = self.image_size
        out = np.zeros((len(self), height, width), bool)
        for place, mask in enumerate(self):
            out[place] = mask
        return out

    def to_coco(self) -> list[dict[str, Any]]:
        """Return COCO's run-length objects with compressed counts, as text that JSON can hold."""
        size = [self.image_size[1], self.image_size[0]]
        texts = run_lengths.compress(self.counts, self.offsets)
        return [{"size": size, "counts": text.decode("ascii")} for text in texts]

    def to_polygons(self, tolerance: float = 0.0, *, single: bool = False) -> list[list[NDArray[np.float64]]]:
        """Return for each mask its outlines (k, 2), x and y in pixel edges; `from_polygons` reads them.

        Each part of a mask has one outline, clockwise as the picture is seen. A hole is joined to it by a
        bridge without width, so the even-odd rule leaves it out. A mask without pixels has no outline.

        Args:
            tolerance: pixels by which an outline may leave out points; with 0 it gives the mask back exactly.
            single: whether to join the parts, too, for formats of one outline for each object.
        """
        rings = mask_outlines.simplified(self.rings(), tolerance)
        return mask_outlines.polygons_of(rings, len(self), single=single)

    def rings(self) -> mask_outlines.Rings:
        """Return the outlines of all masks along pixel edges, outer ones and holes apart."""
        return mask_outlines.trace(self.spans())

    def spans(self) -> ColumnSpans:
        """Return the pixels of all masks as spans within columns."""
        return ColumnSpans.of_runs(self.runs(), self.image_size, len(self))

    def area(self) -> NDArray[np.int64]:
        """Return the number of pixels (n,) of each mask."""
        inside, counts = self._inside(), self.counts.astype(np.int64)
        return np.add.reduceat(np.where(inside, counts, 0), self.offsets[:-1]) if len(self) else counts

    def boxes_xyxy(self) -> NDArray[np.float32]:
        """Return the box (n, 4) around each mask in pixel edges, float32; zeros for a mask without pixels."""
        return _boxes(self)

    def iou(self, other: Masks, crowd: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the intersection over union (n, m) with other masks of the same image size.

        Args:
            other: m masks.
            crowd: (m,) booleans; for a crowd the union is the area of this mask alone, as COCO defines it.

        Raises:
            InputError: sizes differ.
        """
        return _iou(self, other, crowd)

    def _inside(self) -> NDArray[np.bool_]:
        """Return for each count whether it is a run of ones."""
        place = np.arange(len(self.counts)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))
        inside: NDArray[np.bool_] = place % 2 == 1
        return inside

    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return mask, first place and place behind the last one of all runs of ones, each (r,)."""
        inside = self._inside()
        mask = np.repeat(np.arange(len(self)), np.diff(self.offsets))[inside]
        pixels = self.image_size[0] * self.image_size[1]
        ends = np.cumsum(self.counts, dtype=np.int64)[inside] - mask * pixels
        return mask, ends - self.counts[inside], ends


def masks_between(boundaries: Sequence[NDArray[np.integer]], image_size: tuple[int, int]) -> Masks:
    """Return masks that are given by the places where they change their value.

    Args:
        boundaries: for each mask its places, counted column by column from the top left pixel; two at one
            place cancel. See `run_lengths.boundaries_of`.
        image_size: (width, height) of the image.
    """
    pixels = image_size[0] * image_size[1]
    return Masks(image_size, *_joined([run_lengths.counts_between(places, pixels) for places in boundaries]))


def _checked(
    image_size: tuple[int, int], counts: Counts, offsets: NDArray[np.int64]
) -> tuple[tuple[int, int], Counts, NDArray[np.int64]]:
    """Return the fields of masks in their own types, without runs of length 0 but a first one."""
    width, height = (int(side) for side in image_size)
    if min(width, height) < 1 or width * height > run_lengths.MAX_PIXELS:
        raise InputError(f"Expected masks of an image with pixels, found the size {width} x {height}.")
    counts, offsets = np.asarray(counts, np.uint32), np.asarray(offsets, np.int64)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(counts) or (np.diff(offsets) < 1).any():
        raise InputError(f"Expected ascending offsets from 0 to {len(counts)}, found {offsets.tolist()}.")
    sums = np.add.reduceat(counts, offsets[:-1], dtype=np.int64) if len(offsets) > 1 else offsets[:0]
    wrong = np.flatnonzero(sums != width * height)
    if len(wrong):
        raise InputError(
            f"Expected run lengths of {width * height} pixels ({width} x {height}), found "
            f"{sums[wrong[0]]} pixels in mask {wrong[0]}."
        )
    empty_run = counts == 0
    empty_run[offsets[:-1]] = False
    if empty_run.any():
        counts, offsets = _joined(
            [run_lengths.canonical(counts[start:stop]) for start, stop in pairwise(offsets)]
        )
    return (width, height), counts, offsets


def _boxes(masks: Masks) -> NDArray[np.float32]:
    height = masks.image_size[1]
    boxes = np.zeros((len(masks), 4), np.float32)
    mask, start, stop = masks.runs()
    if not len(mask):
        return boxes
    owner, first = np.unique(mask, return_index=True)
    left, right = start // height, (stop - 1) // height
    several = left != right  # such a run reaches the bottom of one column and the top of the next
    top = np.where(several, 0, start % height)
    bottom = np.where(several, height, (stop - 1) % height + 1)
    boxes[owner, 0] = np.minimum.reduceat(left, first)
    boxes[owner, 1] = np.minimum.reduceat(top, first)
    boxes[owner, 2] = np.maximum.reduceat(right, first) + 1
    boxes[owner, 3] = np.maximum.reduceat(bottom, first)
    return boxes


def _iou(masks: Masks, other: Masks, crowd: ArrayLike | None) -> NDArray[np.float64]:
    if masks.image_size != other.image_size:
        raise InputError(
            f"Expected masks of one image size, found {masks.image_size} and {other.image_size}."
        )
    common = _intersections(masks, other).astype(np.float64)
    mine = masks.area().astype(np.float64)[:, None]
    union = mine + other.area()[None, :] - common
    if crowd is not None:
        union = np.where(np.asarray(crowd, bool)[None, :], mine, union)
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _intersections(one: Masks, other: Masks) -> NDArray[np.int64]:
    """Return the number of common pixels (n, m); masks whose boxes do not meet are not compared."""
    common = np.zeros((len(one), len(other)), np.int64)
    boxes, other_boxes = one.boxes_xyxy(), other.boxes_xyxy()
    mask, start, stop = one.runs()
    first_run = np.searchsorted(mask, np.arange(len(one) + 1))
    for place, (begin, end) in enumerate(pairwise(other.offsets)):
        box = other_boxes[place]
        near = np.flatnonzero(((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1))
        if not len(near):
            continue
        runs = np.concatenate([np.arange(first_run[row], first_run[row + 1]) for row in near])
        pixels = _pixels_before(other.counts[begin:end], stop[runs])
        pixels -= _pixels_before(other.counts[begin:end], start[runs])
        _, first = np.unique(mask[runs], return_index=True)
        common[near, place] = np.add.reduceat(pixels, first)
    return common


def _pixels_before(counts: Counts, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many pixels of a mask come before each place (k,)."""
    ends = np.cumsum(counts, dtype=np.int64)
    inside = np.arange(len(counts)) % 2
    pixels = np.cumsum(counts * inside, dtype=np.int64)
    run = np.searchsorted(ends, places)
    return pixels[run] - (ends[run] - places) * inside[run]


def _boundaries_of_patches(
    patches: Sequence[NDArray[np.bool_]],
    corners_xy: Sequence[tuple[int, int]] | NDArray[np.integer],
    image_size: tuple[int, int],
) -> list[NDArray[np.int64]]:
    """Return where the mask in each patch changes its value, for `masks_between`."""
    corners = np.asarray(corners_xy).reshape(-1, 2).tolist()
    if len(corners) != len(patches):
        raise InputError(f"Expected a corner for each of {len(patches)} patches, found {len(corners)}.")
    size = int(image_size[0]), int(image_size[1])
    boundaries = []
    for index, (patch, (x, y)) in enumerate(zip(patches, corners, strict=True)):
        part = np.asarray(patch)
        if part.ndim != 2:
            raise InputError(f"Expected patches of shape (h, w), found {part.shape} for mask {index}.")
        boundaries.append(run_lengths.boundaries_of(part.T.astype(bool, copy=False), (x, y), size))
    return boundaries


def _joined(masks: Sequence[Counts]) -> tuple[Counts, NDArray[np.int64]]:
    """Return the counts of masks one after the other, and their offsets."""
    offsets = np.cumsum([0, *map(len, masks)])
    return np.concatenate([np.zeros(0, np.uint32), *masks]), offsets


def _outline(outline: ArrayLike, index: int) -> NDArray[np.float64]:
    try:
        points = np.asarray(outline, np.float64)
    except (TypeError, ValueError):
        points = np.asarray([np.nan])
    flat_pairs = points.ndim == 1 and len(points) % 2 == 0
    if not (flat_pairs or (points.ndim == 2 and points.shape[1] == 2)) or not np.isfinite(points).all():
        raise InputError(
            f"Expected outlines of pairs x, y of finite numbers, found another one for object {index}."
        )
    return points.reshape(-1, 2)
