"""Outlines of the objects of one image as edges in columns, and their masks on a coarse grid; no torch.

Coordinates are edges of pixels: pixel (i, j) reaches from j to j + 1 in x and from i to i + 1 in y. A point
is inside of a part if a line from it to the left crosses an odd number of the part's edges. An object covers
what any of its parts covers.

Edges are computed once for each image. Placing them in a sample changes a few numbers for each image, and
`rasterise` moves all edges of a sample together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.mask_targets import MaskTargets, patches_of
from aerostat.geometry.outline_edges import Edges, Floats, Ints, borders_of

Rectangle = tuple[float, float, float, float]

NEVER = -1
"""Of `Placed.covers_from`: the image hides no other."""
MAX_COORDINATE = 2.0**31
"""Coordinate beyond which an outline counts as broken; no image is that wide."""
_AT_ONCE = 1 << 18
"""Crossings of edges with rows, and cells of parts, that are in memory at a time: about 20 MB."""
_EVERYWHERE = (-np.inf, -np.inf, np.inf, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """An image with outlines, in a sample.

    Args:
        edges: of its objects.
        scale, shift: a place (x, y) of the image is at x * scale[0] + shift[0], y * scale[1] + shift[1].
        limits: x1, y1, x2, y2 in the sample outside of which nothing of the image is visible.
        covers_from: the image lies on top of those from this number up to itself; `NEVER` for no other.
    """

    edges: Edges
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    limits: Rectangle = _EVERYWHERE
    covers_from: int = NEVER

    def moved(self, scale: tuple[float, float], shift: tuple[float, float]) -> Placed:
        """Return the image with x and y multiplied by `scale`, which is positive, then moved by `shift`."""
        (sx, sy), (tx, ty), (x1, y1, x2, y2) = self.scale, self.shift, self.limits
        (ax, ay), (bx, by) = scale, shift
        return Placed(
            self.edges,
            (sx * ax, sy * ay),
            (tx * ax + bx, ty * ay + by),
            (x1 * ax + bx, y1 * ay + by, x2 * ax + bx, y2 * ay + by),
            self.covers_from,
        )

    def mirrored(self, width: float) -> Placed:
        """Return the image in a sample of `width` pixels that is mirrored left to right."""
        (sx, sy), (tx, ty), (x1, y1, x2, y2) = self.scale, self.shift, self.limits
        limits = (width - x2, y1, width - x1, y2)
        return Placed(self.edges, (-sx, sy), (width - tx, ty), limits, self.covers_from)

    def within(self, box_xyxy: Rectangle) -> Placed:
        """Return the image, of which nothing outside of a box is visible."""
        (x1, y1, x2, y2), (a1, b1, a2, b2) = self.limits, box_xyxy
        limits = (max(x1, a1), max(y1, b1), min(x2, a2), min(y2, b2))
        return Placed(self.edges, self.scale, self.shift, limits, self.covers_from)

    def covering(self, covers_from: int) -> Placed:
        """Return the image on top of those from a number on."""
        return Placed(self.edges, self.scale, self.shift, self.limits, covers_from)


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The outlines of n objects of one sample.

    Args:
        images: that the objects are on.
        rows: (n,) numbers of the objects among those of all images, ascending.
    """

    images: tuple[Placed, ...]
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each object (n,) has an outline."""
        every = [np.zeros(0, np.bool_), *(image.edges.known for image in self.images)]
        return np.asarray(np.concatenate(every)[self.rows])

    @property
    def nbytes(self) -> int:
        """The memory that the outlines take, in bytes."""
        return sum(48 * image.edges.ends.shape[1] + 41 * len(image.edges.known) for image in self.images)

    @classmethod
    def of(
        cls,
        polygons: Sequence[Sequence[NDArray[np.floating]]],
        masks: Mapping[int, Mapping[str, Any]],
        image_size: tuple[int, int],
    ) -> Outlines:
        """Return the outlines of n objects. A broken outline costs only itself.

        Args:
            polygons: for each object its outlines, each (k, 2); one of fewer than three points, or with a
                number that is not finite or beyond `MAX_COORDINATE`, is left out.
            masks: COCO's run-length objects by the number of their object; one that is broken or of another
                size is left out, and so is one of an object with polygons.
            image_size: (width, height) of the image.
        """
        parts, owners = [], []
        for number, outlines in enumerate(polygons):
            for outline in outlines:
                points = np.asarray(outline, np.float64)
                if len(points) >= 3 and (np.abs(points) <= MAX_COORDINATE).all():
                    parts.append(np.concatenate([points, np.roll(points, -1, axis=0)], 1))
                    owners.append(number)
            if not outlines and number in masks:
                borders = borders_of(masks[number], image_size)
                if borders is not None:
                    parts.append(borders)
                    owners.append(number)
        return cls((Placed(Edges.of(parts, owners, len(polygons))),), np.arange(len(polygons)))

    def chosen(self, rows: Ints) -> Outlines:
        """Return the objects at these numbers, which ascend."""
        return Outlines(self.images, self.rows[rows])

    def moved(self, scale: tuple[float, float], shift: tuple[float, float]) -> Outlines:
        """Return the outlines with every x and y multiplied by `scale`, then moved by `shift`."""
        return Outlines(tuple(image.moved(scale, shift) for image in self.images), self.rows)

    def mirrored(self, width: float) -> Outlines:
        """Return the outlines of the sample mirrored left to right; `width` is that of the sample."""
        return Outlines(tuple(image.mirrored(width) for image in self.images), self.rows)

    def within(self, box_xyxy: Rectangle) -> Outlines:
        """Return the outlines of which nothing outside of a box is visible."""
        return Outlines(tuple(image.within(box_xyxy) for image in self.images), self.rows)

    def with_on_top(self, other: Outlines) -> Outlines:
        """Return the objects of both, those of `other` on top of these."""
        joined = Outlines.joined([self, other])
        on_top = (image.covering(0) for image in other.images)
        return Outlines((*self.images, *on_top), joined.rows)

    @classmethod
    def joined(cls, several: Sequence[Outlines]) -> Outlines:
        """Return the objects of several samples of one size, which do not hide each other."""
        images: list[Placed] = []
        rows = [np.zeros(0, np.int64)]
        count = 0
        for one in several:
            first = len(images)
            images += [
                image
                if image.covers_from == NEVER or not first
                else image.covering(image.covers_from + first)
                for image in one.images
            ]
            rows.append(one.rows + count if count else one.rows)
            count += sum(len(image.edges.known) for image in one.images)
        return cls(tuple(images), np.concatenate(rows))


def rasterise(
    outlines: Outlines, boxes_xyxy: NDArray[np.floating], size: tuple[int, int], stride: int
) -> MaskTargets:
    """Return the masks of a sample on the cells of a stride.

    Args:
        outlines: of n objects, in pixels of the sample.
        boxes_xyxy: (n, 4) whose centres take the place of an unknown centre of mass.
        size: (width, height) of the sample in pixels.
        stride: pixels between neighbouring cells.

    Example:
        >>> square = Outlines.of([[np.asarray([(0, 0), (8, 0), (8, 4), (0, 4)])]], {}, (16, 8))
        >>> targets = rasterise(square, np.asarray([[0, 0, 8, 4]]), (16, 8), 4)
        >>> targets.windows.tolist(), targets.bits.tolist(), targets.centres.tolist()
        ([[0, 0, 2, 1]], [1, 1], [[4.0, 2.0]])
    """
    counts = [len(image.edges.known) for image in outlines.images]
    number = np.repeat(np.arange(len(counts)), counts)[outlines.rows]  # the image of each object
    places = _places(outlines.images, stride)[:, number]
    windows = _windows(outlines, places, (size[0] // stride, size[1] // stride))
    bits = _bits(outlines, places, windows)
    if any(image.covers_from != NEVER for image in outlines.images):
        _cover(outlines, number, windows, bits)
    centres = _centres(windows, bits, np.asarray(boxes_xyxy, np.float64).reshape(-1, 4), stride)
    return MaskTargets(stride, windows, bits, outlines.known, centres)


def _places(images: Sequence[Placed], stride: int) -> Floats:
    """Return scale (2), shift (2) and limits (4) of images (m,) in cells, as (8, m)."""
    first = stride // 2 + 0.5  # place of the first cell's sample
    rows = [
        (
            *(factor / stride for factor in image.scale),
            *((place - first) / stride for place in (*image.shift, *image.limits)),
        )
        for image in images
    ]
    return np.asarray(rows, np.float64).reshape(-1, 8).T


def _windows(outlines: Outlines, places: Floats, cells: tuple[int, int]) -> Ints:
    """Return x, y, width and height (n, 4) of the cells that each object may cover."""
    every = [np.zeros((0, 4)), *(image.edges.bounds for image in outlines.images)]
    corners = np.concatenate(every)[outlines.rows].T.reshape(2, 2, -1) * places[:2] + places[2:4]
    low, high = np.minimum(corners[0], corners[1]), np.maximum(corners[0], corners[1])
    room = np.asarray(cells, np.float64)[:, None]
    low = np.ceil(np.minimum(np.maximum(np.maximum(low, places[4:6]), 0), room))
    high = np.ceil(np.minimum(np.maximum(np.minimum(high, places[6:8]), 0), room))
    windows = np.concatenate([low, high - low])
    windows[:, (windows[2:] <= 0).any(0)] = 0
    return np.ascontiguousarray(windows.T.astype(np.int64))


def _bits(outlines: Outlines, places: Floats, windows: Ints) -> NDArray[np.uint8]:
    """Return the cells of all windows, one object after the other, row by row."""
    ends, owner, part = _visible_edges(outlines, windows)
    scale, shift = places[:2, owner], places[2:4, owner]
    moved = np.concatenate([ends[:2] * scale + shift, ends[2:] * scale + shift])
    if part is None:  # each object is one part
        return _filled(moved, owner, windows)
    return _united(moved, owner, part, windows)


def _filled(ends: Floats, owner: Ints, windows: Ints) -> NDArray[np.uint8]:
    """Return the cells of windows, one after the other, row by row; each has edges of its own.

    Args:
        ends: (4, e) x0, y0, x1, y1 of each edge in cells.
        owner: (e,) its window, ascending.
        windows: (m, 4) x, y, width and height.
    """
    lengths = windows[:, 2] * windows[:, 3]
    x0, y0, x1, y1 = ends
    x, y, width, height = windows.T[:, owner]
    top = np.maximum(np.ceil(np.minimum(y0, y1)), y)
    rows = np.maximum(np.minimum(np.ceil(np.maximum(y0, y1)), y + height) - top, 0).astype(np.int64)
    start = (np.cumsum(lengths) - lengths)[owner]
    slope = (x1 - x0) / (y1 - y0)
    # Where an edge crosses its first row, how far it moves from row to row, and that row's first cell.
    edges = np.stack([x0 + (top - y0) * slope - x, slope, start + (top - y) * width, width])
    inside = np.zeros(int(lengths.sum()), np.uint8)
    total = np.cumsum(rows)
    cuts = np.searchsorted(total, np.arange(_AT_ONCE, total[-1] if len(total) else 0, _AT_ONCE))
    for begin, stop in pairwise([0, *(cuts + 1).tolist(), len(rows)]):
        _toggle(edges[:, begin:stop], rows[begin:stop], inside)
    np.cumsum(inside, dtype=np.uint8, out=inside)
    inside &= 1
    return inside


def _toggle(edges: Floats, rows: Ints, cells: NDArray[np.uint8]) -> None:
    """Add 1 to the cells at the right of where edges cross rows, in place; see `_filled`."""
    edge = np.repeat(np.arange(len(rows)), rows)
    if not len(edge):
        return
    row = np.arange(len(edge)) - (np.cumsum(rows) - rows)[edge]
    crossing, slope, start, width = edges[:, edge]
    column = np.minimum(np.maximum(np.ceil(crossing + row * slope), 0), width)
    # Every row of a part is crossed an even number of times. A crossing at the right of the window counts at
    # the begin of the next row, which is thus outside again.
    places = (start + row * width + column).astype(np.int64)
    first = int(places.min())
    toggles = np.bincount(places - first)[: len(cells) - first]
    cells[first : first + len(toggles)] += toggles.astype(np.uint8)


def _visible_edges(outlines: Outlines, windows: Ints) -> tuple[Floats, Ints, Ints | None]:
    """Return ends (4, e), object (e,) and part (e,) of the edges of objects with a window.

    There are no parts where no image has an object with several.
    """
    images = outlines.images
    objects = np.cumsum([0, *(len(image.edges.known) for image in images)]).tolist()
    visible = np.flatnonzero(windows[:, 2])
    row_of = np.full(objects[-1], -1)
    row_of[outlines.rows[visible]] = visible
    owners = [row_of[first:][image.edges.owners] for first, image in zip(objects, images, strict=False)]
    owner = np.concatenate([np.zeros(0, np.int64), *owners])
    kept = np.flatnonzero(owner >= 0)
    ends = np.concatenate([np.zeros((4, 0)), *(image.edges.ends for image in images)], axis=1)[:, kept]
    if all(image.edges.single for image in images):
        return ends, owner[kept], None
    parts, count = [], 0
    for image in images:
        parts.append(image.edges.parts + count)
        count += len(image.edges.parts)  # at least as many as there are parts
    return ends, owner[kept], np.concatenate(parts)[kept]


def _united(ends: Floats, owner: Ints, part: Ints, windows: Ints) -> NDArray[np.uint8]:
    """Return the cells of windows that any part of their objects covers, row by row.

    Each part has a window of its own, so that the work follows the parts. They are filled some at a time.

    Args:
        ends: (4, e) x0, y0, x1, y1 of each edge in cells.
        owner: (e,) its object.
        part: (e,) its part, ascending.
        windows: (n, 4) x, y, width and height of each object.
    """
    bits = np.zeros(int((windows[:, 2] * windows[:, 3]).sum()), np.uint8)
    masks, corners = patches_of(windows, bits), windows[:, :2].tolist()
    first = np.flatnonzero(np.diff(part, prepend=-1))
    mine = owner[first]
    of_parts = _part_windows(ends, first, windows[mine])
    number = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(part))))
    total = np.cumsum(of_parts[:, 2] * of_parts[:, 3])
    cuts = np.searchsorted(total, np.arange(_AT_ONCE, total[-1] if len(total) else 0, _AT_ONCE))
    for begin, stop in pairwise([0, *(np.unique(cuts) + 1).tolist(), len(first)]):
        if begin == stop:
            continue
        edges = slice(int(first[begin]), int(first[stop]) if stop < len(first) else len(part))
        group = of_parts[begin:stop]
        patches = patches_of(group, _filled(ends[:, edges], number[edges] - begin, group))
        for at, (px, py, width, height), patch in zip(
            mine[begin:stop].tolist(), group.tolist(), patches, strict=True
        ):
            x, y = corners[at]
            target = masks[at][py - y : py - y + height, px - x : px - x + width]
            target |= patch
    return bits


def _part_windows(ends: Floats, first: Ints, windows: Ints) -> Ints:
    """Return x, y, width and height (m, 4) of the cells that each part may cover of its object's window.

    Args:
        ends: (4, e) x0, y0, x1, y1 of each edge in cells, part by part.
        first: (m,) the first edge of each part.
        windows: (m, 4) of the object of each part.
    """
    if not len(first):
        return windows
    low = np.minimum.reduceat(np.ceil(np.minimum(ends[:2], ends[2:])), first, axis=1)
    high = np.maximum.reduceat(np.ceil(np.maximum(ends[:2], ends[2:])), first, axis=1)
    start, stop = windows[:, :2].T, (windows[:, :2] + windows[:, 2:]).T
    low, high = np.clip(low, start, stop), np.clip(high, start, stop)
    found = np.concatenate([low, high - low])
    found[2:, (found[2:] <= 0).any(0)] = 0
    return np.ascontiguousarray(found.T.astype(np.int64))


def _cover(outlines: Outlines, number: Ints, windows: Ints, bits: NDArray[np.uint8]) -> None:
    """Take what lies on top of other objects out of them, in place; `number` is the image of each object."""
    masks = patches_of(windows, bits)
    corners = windows[:, :2], windows[:, :2] + windows[:, 2:]
    for above, image in enumerate(number.tolist()):
        covers_from = outlines.images[image].covers_from
        first, last = (
            np.searchsorted(number, [covers_from, image]).tolist() if covers_from != NEVER else (0, 0)
        )
        for below in range(first, last):
            x1, y1 = np.maximum(corners[0][above], corners[0][below]).tolist()
            x2, y2 = np.minimum(corners[1][above], corners[1][below]).tolist()
            if x1 < x2 and y1 < y2:
                (ax, ay), (bx, by) = corners[0][above].tolist(), corners[0][below].tolist()
                hidden = masks[below][y1 - by : y2 - by, x1 - bx : x2 - bx]
                hidden &= 1 - masks[above][y1 - ay : y2 - ay, x1 - ax : x2 - ax]


def _centres(windows: Ints, bits: NDArray[np.uint8], boxes_xyxy: Floats, stride: int) -> NDArray[np.float32]:
    """Return the centres of mass (n, 2); those of the boxes where no cell is set."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    if len(bits):
        heights = windows[:, 3]
        owner = np.repeat(np.arange(len(windows)), heights)
        width = windows[owner, 2]
        stop = np.cumsum(width)
        start = stop - width
        # With p(c) cells set up to column c of a row, the sum of p is the sum of width - c over set cells.
        up_to = np.cumsum(bits, dtype=np.int64)
        before = up_to[start] - bits[start]
        cells = up_to[stop - 1] - before
        columns = width * cells - (np.add.reduceat(up_to, start) - width * before)
        row = np.arange(len(owner)) - (np.cumsum(heights) - heights)[owner]
        x, y = windows[owner, 0], windows[owner, 1]
        counts, *sums = (
            np.bincount(owner, weights, len(windows))
            for weights in (cells, columns + x * cells, (row + y) * cells)
        )
        present = counts > 0
        for axis in (0, 1):
            centres[present, axis] = sums[axis][present] / counts[present] * stride + stride // 2
    return centres.astype(np.float32)
