"""Annotated objects in columns: one numpy array per property, with light views of rows.

A Python object for each of COCO's 860,000 objects takes a gigabyte. In columns they take what their outlines
take, and a million of them are counted, chosen or measured at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerostat.text import counted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Instance:
    """One annotated object of an image.

    >>> Instance((5, 5, 20, 15), 0).area
    0.0

    Args:
        box_xyxy: (x1, y1, x2, y2) in pixels of the upright image (EXIF orientation applied), float64.
        label: index into `classes` of the split.
        polygons: outlines, each (n, 2) float64 x, y in pixels; empty if the object has only a box.
        rle: COCO run-length mask ``{"size": [h, w], "counts": ...}`` as it was found, or None.
        crowd: COCO's ``iscrowd``, a region of many objects: not trained on, matched softly in evaluation.
        area: stated area in square pixels; evaluation bins objects into size ranges by it. It is not
            computed: 0 means that none is stated.
        difficult: Pascal VOC's mark of an object that is hard to recognise. It is kept for output; such an
            object is learned and measured like any other.
    """

    box_xyxy: tuple[float, float, float, float]
    label: int
    polygons: tuple[NDArray[np.float64], ...] = ()
    rle: Mapping[str, Any] | None = None
    crowd: bool = False
    area: float = 0.0
    difficult: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and (
            (self.box_xyxy, self.label, self.rle, self.crowd, self.area, self.difficult)
            == (other.box_xyxy, other.label, other.rle, other.crowd, other.area, other.difficult)
            and len(self.polygons) == len(other.polygons)
            and all(np.array_equal(a, b) for a, b in zip(self.polygons, other.polygons, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        box = ", ".join(f"{value:g}" for value in self.box_xyxy)
        parts = [f"label {self.label}", f"box ({box})"]
        parts += [counted(len(self.polygons), "outline")] * bool(self.polygons)
        parts += ["mask"] * (self.rle is not None) + ["crowd"] * self.crowd + ["difficult"] * self.difficult
        return f"Instance({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the object as JSON can hold it."""
        return {
            "box_xyxy": list(self.box_xyxy),
            "label": self.label,
            "polygons": [polygon.tolist() for polygon in self.polygons],
            "rle": self.rle,
            "crowd": self.crowd,
            "area": self.area,
            **({"difficult": True} if self.difficult else {}),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Rle:
    """A run-length mask whose counts are packed into an array; `as_found` gives back what was stated."""

    height: int
    width: int
    counts: NDArray[np.uint32] | str

    @staticmethod
    def pack(found: Mapping[str, Any]) -> Rle | Mapping[str, Any]:
        """Return a mask in the packed form, or as it is if the form cannot hold it exactly."""
        size, counts = found.get("size"), found.get("counts")
        if len(found) != 2 or type(size) is not list or [type(side) for side in size] != [int, int]:
            return found
        if isinstance(counts, str):
            return Rle(size[0], size[1], counts)
        if type(counts) is not list or any(type(run) is not int or not 0 <= run < 2**32 for run in counts):
            return found
        return Rle(size[0], size[1], np.asarray(counts, np.uint32))

    def as_found(self) -> dict[str, Any]:
        """Return ``{"size": [h, w], "counts": ...}``."""
        counts = self.counts if isinstance(self.counts, str) else self.counts.tolist()
        return {"size": [self.height, self.width], "counts": counts}


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Outlines and masks to which objects point. Objects that are chosen from others share theirs.

    Args:
        points: (p, 2) float64, x, y of all outlines, one after the other.
        stops: (m + 1,) where outlines begin and end in `points`; outline i reaches from i to i + 1.
        masks: run-length masks.
    """

    points: Floats
    stops: Ints
    masks: Sequence[Rle | Mapping[str, Any]]

    def outline(self, place: int) -> Floats:
        """Return one outline (n, 2)."""
        return self.points[self.stops[place] : self.stops[place + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class InstanceColumns:
    """The properties of n objects.

    Args:
        boxes_xyxy: (n, 4) float64, pixels of the upright image.
        labels: (n,) int64.
        crowd: (n,) bool.
        areas: (n,) float64, square pixels.
        difficult: (n,) bool.
        outline_starts: (n,) int32, the object's first outline in `shapes`.
        outline_counts: (n,) int32, how many outlines it has.
        masks: (n,) int32, the object's mask in `shapes`, -1 for none.
        shapes: outlines and masks.
    """

    boxes_xyxy: Floats
    labels: Ints
    crowd: NDArray[np.bool_]
    areas: Floats
    difficult: NDArray[np.bool_]
    outline_starts: NDArray[np.int32]
    outline_counts: NDArray[np.int32]
    masks: NDArray[np.int32]
    shapes: Shapes

    def __post_init__(self) -> None:
        for column in (self.boxes_xyxy, self.labels, self.crowd, self.areas, self.difficult):
            column.flags.writeable = False
        self.shapes.points.flags.writeable = False

    def chosen(self, places: Ints) -> InstanceColumns:
        """Return the rows at these places, in this order; outlines and masks are shared."""
        return InstanceColumns(
            self.boxes_xyxy[places],
            self.labels[places],
            self.crowd[places],
            self.areas[places],
            self.difficult[places],
            self.outline_starts[places],
            self.outline_counts[places],
            self.masks[places],
            self.shapes,
        )


def same_rows(one: Sequence[object], other: Sequence[object]) -> bool:
    """Return whether two sequences have equal rows in the same order, whatever their types."""
    return len(one) == len(other) and all(a == b for a, b in zip(one, other, strict=True))


class Instances(Sequence[Instance]):
    """Annotated objects of one image or of many, in columns. Indexing gives a row as an `Instance`.

    >>> cats = Instances.of([Instance((0, 0, 4, 4), 2), Instance((1, 1, 9, 5), 0)])
    >>> cats.labels.tolist(), cats[1].box_xyxy
    ([2, 0], (1.0, 1.0, 9.0, 5.0))
    """

    __slots__ = ("_columns", "_start", "_stop")

    def __init__(self, columns: InstanceColumns, start: int = 0, stop: int | None = None) -> None:
        """Take rows of columns.

        Args:
            columns: columns, which may hold further rows.
            start: the first row.
            stop: one behind the last row; None takes all.
        """
        self._columns = columns
        self._start = start
        self._stop = len(columns.labels) if stop is None else stop

    @staticmethod
    def of(rows: Iterable[Instance]) -> Instances:
        """Return rows in columns; columns stay as they are."""
        if isinstance(rows, Instances):
            return rows
        if isinstance(rows, tuple) and not rows:
            return NO_INSTANCES
        builder = InstanceBuilder()
        for number, row in enumerate(rows):
            builder.add_one(0, number, row)
        return builder.finish(1)[0]

    @property
    def boxes_xyxy(self) -> Floats:
        """Corners (n, 4) float64 in pixels of the upright image."""
        return self._columns.boxes_xyxy[self._start : self._stop]

    @property
    def labels(self) -> Ints:
        """Labels (n,) int64."""
        return self._columns.labels[self._start : self._stop]

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """Whether each (n,) is a crowd region."""
        return self._columns.crowd[self._start : self._stop]

    @property
    def areas(self) -> Floats:
        """Stated areas (n,) float64 in square pixels."""
        return self._columns.areas[self._start : self._stop]

    @property
    def difficult(self) -> NDArray[np.bool_]:
        """Whether each (n,) is marked as difficult."""
        return self._columns.difficult[self._start : self._stop]

    @property
    def outline_counts(self) -> NDArray[np.int32]:
        """Number of outlines (n,) of each."""
        return self._columns.outline_counts[self._start : self._stop]

    def has_masks(self) -> NDArray[np.bool_]:
        """Return whether each (n,) has an outline or a run-length mask."""
        found: NDArray[np.bool_] = (self.outline_counts > 0) | (
            self._columns.masks[self._start : self._stop] >= 0
        )
        return found

    def outlines(self) -> list[Floats]:
        """Return the outlines (k, 2) of all objects, one object after the other."""
        starts = self._columns.outline_starts[self._start : self._stop].tolist()
        shapes = self._columns.shapes
        return [
            shapes.outline(place)
            for start, count in zip(starts, self.outline_counts.tolist(), strict=True)
            for place in range(start, start + count)
        ]

    def masks(self) -> dict[int, Rle | Mapping[str, Any]]:
        """Return the run-length masks by the place of their object."""
        places = self._columns.masks[self._start : self._stop]
        return {int(row): self._columns.shapes.masks[places[row]] for row in np.flatnonzero(places >= 0)}

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, place: int) -> Instance: ...
    @overload
    def __getitem__(self, place: slice) -> Instances: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step == 1:
                return Instances(self._columns, self._start + start, self._start + max(start, stop))
            return self.chosen(range(start, stop, step))
        place = range(len(self))[place]  # refuses what lies outside
        return next(iter(Instances(self._columns, self._start + place, self._start + place + 1)))

    def __iter__(self) -> Iterator[Instance]:
        shapes = self._columns.shapes
        rows = zip(
            self.boxes_xyxy.tolist(),
            self.labels.tolist(),
            self._columns.outline_starts[self._start : self._stop].tolist(),
            self.outline_counts.tolist(),
            self._columns.masks[self._start : self._stop].tolist(),
            self.crowd.tolist(),
            self.areas.tolist(),
            self.difficult.tolist(),
            strict=True,
        )
        for box, label, first, outlines, mask, crowd, area, difficult in rows:
            polygons = tuple(map(shapes.outline, range(first, first + outlines))) if outlines else ()
            rle = None if mask < 0 else shapes.masks[mask]
            found = rle.as_found() if isinstance(rle, Rle) else rle
            yield Instance(tuple(box), label, polygons, found, crowd, area, difficult)

    def __eq__(self, other: object) -> bool:
        return same_rows(self, other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Instances({len(self)})"

    def chosen(self, places: Iterable[int] | Ints) -> Instances:
        """Return the objects at these places, in this order."""
        rows = np.fromiter(places, np.int64) if not isinstance(places, np.ndarray) else places
        return Instances(self._columns.chosen(self._start + rows))

    def relabelled(self, labels: Ints) -> Instances:
        """Return the objects with other labels.

        Args:
            labels: (n,) int64.
        """
        columns = self._columns
        if len(self) < len(columns.labels):
            columns = columns.chosen(np.arange(self._start, self._stop))
        return Instances(replace(columns, labels=labels.copy()))

    def without_crowd_marks(self) -> Instances:
        """Return the objects as plain objects: none of them is a crowd region."""
        columns = self._columns
        if len(self) < len(columns.labels):
            columns = columns.chosen(np.arange(self._start, self._stop))
        return Instances(replace(columns, crowd=np.zeros(len(self), np.bool_)))

    def outline_bounds(self) -> Floats:
        """Return the box (n, 4) around the outlines of each object; NaN for one without an outline."""
        shapes, counts = self._columns.shapes, self.outline_counts.astype(np.int64)
        bounds = np.full((len(self), 4), np.nan)
        rows = np.flatnonzero(counts)
        if not len(rows):
            return bounds
        each = np.full((len(shapes.stops) - 1, 4), np.nan)
        filled = np.flatnonzero(np.diff(shapes.stops))
        if len(filled):
            starts = shapes.stops[filled]
            each[filled, :2] = np.minimum.reduceat(shapes.points, starts)
            each[filled, 2:] = np.maximum.reduceat(shapes.points, starts)
        counts = counts[rows]
        begins = np.cumsum(counts) - counts
        first = self._columns.outline_starts[self._start : self._stop][rows].astype(np.int64)
        mine = each[np.repeat(first - begins, counts) + np.arange(counts.sum())]
        bounds[rows, :2] = np.minimum.reduceat(mine[:, :2], begins)
        bounds[rows, 2:] = np.maximum.reduceat(mine[:, 2:], begins)
        return bounds


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Objects without masks, to be added to an `InstanceBuilder`.

    Args:
        images: (k,) places of their images.
        numbers: (k,) that sort the objects of an image.
        boxes_xyxy: (k, 4).
        labels, crowd, areas, difficult: (k,).
        outline_counts: (k,) how many outlines each has.
        outline_lengths: how many points each outline has, one object after the other.
        points: (p, 2) of all outlines.
    """

    images: Ints
    numbers: Ints
    boxes_xyxy: Floats
    labels: Ints
    crowd: NDArray[np.bool_]
    areas: Floats
    difficult: NDArray[np.bool_]
    outline_counts: Ints
    outline_lengths: Ints
    points: Floats


class GrowingArray:
    """An array of numbers that grows at its end without holding its content twice.

    Args:
        dtype: of the numbers.
        width: numbers in a row; 0 for an array of one dimension.
    """

    __slots__ = ("_bytes", "_dtype", "_width")

    def __init__(self, dtype: type[np.generic], width: int = 0) -> None:
        self._bytes = bytearray()  # grows in place, where the system can
        self._dtype = np.dtype(dtype)
        self._width = width

    def extend(self, values: ArrayLike) -> None:
        """Add rows."""
        added = np.ascontiguousarray(values, self._dtype)
        if added.size:
            self._bytes += added.reshape(-1).data.cast("B")

    def __len__(self) -> int:
        return len(self._bytes) // (self._dtype.itemsize * max(self._width, 1))

    def array(self) -> NDArray[Any]:
        """Return the rows; none can be added any more."""
        numbers = np.frombuffer(self._bytes, self._dtype)
        return numbers.reshape(-1, self._width) if self._width else numbers


_ROWS_AT_ONCE = 1024
"""Rows that are put into columns together: one at a time takes five times as long."""


class InstanceBuilder:
    """Collects objects of many images in any order, and returns them image by image."""

    def __init__(self) -> None:
        self._points = GrowingArray(np.float64, 2)
        self._lengths = GrowingArray(np.int32)
        self._masks: list[Rle | Mapping[str, Any]] = []
        self._rows: list[tuple[Any, ...]] = []  # not in the columns yet
        self._images = GrowingArray(np.int32)
        self._numbers = GrowingArray(np.int64)
        self._columns = {
            "boxes_xyxy": GrowingArray(np.float64, 4),
            "labels": GrowingArray(np.int64),
            "crowd": GrowingArray(np.bool_),
            "areas": GrowingArray(np.float64),
            "difficult": GrowingArray(np.bool_),
            "outline_starts": GrowingArray(np.int32),
            "outline_counts": GrowingArray(np.int32),
            "masks": GrowingArray(np.int32),
        }

    def add(self, block: Block) -> None:
        """Add many objects without masks."""
        stops = len(self._lengths) + np.cumsum(block.outline_counts)
        self._add(
            *(block.images, block.numbers, block.boxes_xyxy, block.labels, block.crowd, block.areas),
            *(block.difficult, stops - block.outline_counts, block.outline_counts),
            np.full(len(block.labels), -1),
        )
        self._points.extend(block.points)
        self._lengths.extend(block.outline_lengths)

    def add_one(self, image: int, number: int, row: Instance) -> None:
        """Add one object of the image at a place; `number` sorts the objects of an image."""
        start, count, mask = len(self._lengths), len(row.polygons), -1
        for polygon in row.polygons:
            self._points.extend(polygon)
        if count:
            self._lengths.extend([len(polygon) for polygon in row.polygons])
        if row.rle is not None:
            mask = len(self._masks)
            self._masks.append(Rle.pack(row.rle))
        stated = (row.box_xyxy, row.label, row.crowd, row.area, row.difficult)
        self._rows.append((image, number, *stated, start, count, mask))
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._add_rows()

    def add_all(self, image: int, instances: Instances) -> None:
        """Add objects of the image at a place, in their order."""
        outlines, masks = instances.outlines(), instances.masks()
        stops = len(self._lengths) + np.cumsum(instances.outline_counts)
        for outline in outlines:
            self._points.extend(outline)
        self._lengths.extend([len(outline) for outline in outlines])
        places = np.full(len(instances), -1)
        places[list(masks)] = len(self._masks) + np.arange(len(masks))
        self._masks.extend(masks.values())
        self._add(
            *(np.full(len(instances), image), np.arange(len(instances)), instances.boxes_xyxy),
            *(instances.labels, instances.crowd, instances.areas, instances.difficult),
            *(stops - instances.outline_counts, instances.outline_counts, places),
        )

    def _add_rows(self) -> None:
        if self._rows:
            self._add(*zip(*self._rows, strict=True))
            self._rows = []

    def _add(self, images: ArrayLike, numbers: ArrayLike, *columns: ArrayLike) -> None:
        self._images.extend(images)
        self._numbers.extend(numbers)
        for column, values in zip(self._columns.values(), columns, strict=True):
            column.extend(values)

    def finish(self, images: int) -> tuple[Instances, Ints]:
        """Return all objects, image by image, and where the objects of each image begin.

        Args:
            images: how many images there are.

        Returns:
            The objects, and offsets (images + 1,).
        """
        self._add_rows()
        order = np.lexsort((self._numbers.array(), self._images.array()))
        counts = np.bincount(self._images.array(), minlength=images)
        del self._images, self._numbers
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        stops = np.concatenate([[0], np.cumsum(self._lengths.array(), dtype=np.int64)])
        shapes = Shapes(self._points.array(), stops, tuple(self._masks))
        # One column after the other, so that only one is there twice.
        columns = {name: self._columns.pop(name).array()[order] for name in tuple(self._columns)}
        return Instances(InstanceColumns(**columns, shapes=shapes)), offsets


NO_INSTANCES = InstanceBuilder().finish(0)[0]
