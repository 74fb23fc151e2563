"""Figures of a split behind the plots: number, size, shape and place of objects, and sizes of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import Split
from aerostat.text import counted

Counts = NDArray[np.int64]

SIZE_EDGES: NDArray[np.float64] = 2.0 ** (np.arange(0, 3 * 14 + 1) / 3)
"""Bins of sizes in pixels, three to a doubling, from 1 to 16384."""
SHARE_EDGES: NDArray[np.float64] = 2.0 ** (np.arange(-3 * 9, 1) / 3)
"""Bins of sizes as shares of the image's longer side, three to a doubling, from 1/512 to 1."""
RATIO_EDGES: NDArray[np.float64] = 2.0 ** (np.arange(-3 * 4 - 0.5, 3 * 4 + 1) / 3)
"""Bins of width / height, three to a doubling, around 1/16 to 16; the middle one is around 1."""
MAX_COUNT_BINS = 60
"""Maximum number of bars in the plot of objects per image; with more counts a bar covers several."""
PLACE_CELLS = 48
"""Cells along each side of the map of places."""
LISTED_SIZES = 100
"""Maximum number of image sizes in a JSON document, the commonest first."""

_BOXES_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class SplitStatistics:
    """Figures of one split without crowd regions, which training leaves out, too.

    Args:
        split: name of the split.
        classes: class names.
        images: number of images.
        objects: number of objects.
        per_class: (C,) number of objects of each class.
        per_image: (N,) number of objects on each image.
        sizes: histogram over `SIZE_EDGES` of the square root of the boxes' area, in pixels of the image.
        shares: histogram over `SHARE_EDGES` of the same divided by the image's longer side. Times the side
            of a network's square input, it is the size in pixels of the input.
        ratios: histogram over `RATIO_EDGES` of the boxes' width / height.
        places: (PLACE_CELLS, PLACE_CELLS) share of the boxes that cover each cell of the image, rows from
            the top; images of all sizes are stretched to one square.
        centres: (k, 2) x, y in [0, 1] of the boxes' centres, at most 2000 of them, spread over the split.
        image_sizes: (k, 3) int64 width, height and number of images, the commonest first.

    The outermost bins of a histogram also count values beyond its edges.
    """

    split: str
    classes: tuple[str, ...]
    images: int
    objects: int
    per_class: Counts
    per_image: Counts
    sizes: Counts
    shares: Counts
    ratios: Counts
    places: NDArray[np.float64]
    centres: NDArray[np.float64]
    image_sizes: Counts

    def __repr__(self) -> str:
        """Return the figures in one line."""
        counts = f"{counted(self.images, 'image')}, {counted(self.objects, 'object')}"
        return f"SplitStatistics({self.split}: {counts})"

    def to_dict(self, count_edges: NDArray[np.int64]) -> dict[str, Any]:
        """Return the figures as JSON values.

        Args:
            count_edges: bins of the objects per image, see `count_edges`.
        """
        per_image = histogram(self.per_image, count_edges)
        return {
            "images": self.images,
            "objects": self.objects,
            "objects_per_class": dict(zip(self.classes, self.per_class.tolist(), strict=True)),
            "objects_per_image": _bins(count_edges, per_image),
            "box_size_px": _bins(SIZE_EDGES, self.sizes),
            "box_size_share": _bins(SHARE_EDGES, self.shares),
            "box_aspect_ratio": _bins(RATIO_EDGES, self.ratios),
            "box_places": [[round(value, 6) for value in row] for row in self.places.tolist()],
            "image_sizes": [
                {"width": width, "height": height, "images": count}
                for width, height, count in self.image_sizes[:LISTED_SIZES].tolist()
            ],
            "image_sizes_not_listed": max(0, len(self.image_sizes) - LISTED_SIZES),
        }


def _bins(edges: NDArray[Any], counts: Counts) -> dict[str, list[float]]:
    return {"edges": [round(edge, 6) for edge in edges.tolist()], "counts": counts.tolist()}


def measure(split: Split, max_centres: int = 2000) -> SplitStatistics:
    """Return the figures of a split; a million objects take seconds.

    Args:
        split: a split, also without images or objects.
        max_centres: maximum number of boxes whose centres are kept.
    """
    kept = ~split.images.instances.crowd
    per_image = np.bincount(split.images.places[kept], minlength=len(split))
    labels, boxes = split.images.instances.labels[kept], split.images.instances.boxes_xyxy[kept]
    image_sizes = split.images.sizes
    sides = np.repeat(image_sizes, per_image, axis=0).astype(np.float64)
    wide, high = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).T
    sizes = np.sqrt(wide * high)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.nan_to_num(sizes / sides.max(axis=1, initial=0))
        ratios = np.nan_to_num(wide / high, nan=1.0, posinf=math.inf)
        stretched = np.nan_to_num(boxes / np.tile(sides, 2)).clip(0, 1)
    some = np.linspace(0, len(boxes) - 1, min(len(boxes), max_centres)).astype(np.int64)
    return SplitStatistics(
        split=split.name,
        classes=split.classes,
        images=len(split),
        objects=len(boxes),
        per_class=np.bincount(labels, minlength=len(split.classes)).astype(np.int64),
        per_image=per_image,
        sizes=histogram(sizes, SIZE_EDGES),
        shares=histogram(shares, SHARE_EDGES),
        ratios=histogram(ratios, RATIO_EDGES),
        places=coverage(stretched, PLACE_CELLS),
        centres=(stretched[some, :2] + stretched[some, 2:]) / 2,
        image_sizes=_counted_sizes(image_sizes),
    )


def histogram(values: NDArray[Any], edges: NDArray[Any]) -> Counts:
    """Return the number of values in each bin [edge, next edge); the outermost bins take values beyond."""
    places = np.searchsorted(edges, values, side="right") - 1
    return np.bincount(places.clip(0, len(edges) - 2), minlength=len(edges) - 1).astype(np.int64)


def count_edges(statistics: Sequence[SplitStatistics]) -> NDArray[np.int64]:
    """Return the bins of objects per image that fit all splits: one bin for each count if there are few."""
    most = max((int(s.per_image.max(initial=0)) for s in statistics), default=0)
    step = math.ceil((most + 1) / MAX_COUNT_BINS)
    return np.arange(0, most + 1 + step, step, dtype=np.int64)


def coverage(boxes_xyxy: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Return (cells, cells): the mean share of each cell of the unit square that a box covers.

    It is exact: a box covers a cell by the covered share of its column times that of its row. So the sum over
    all boxes is one product of matrices.

    Args:
        boxes_xyxy: (n, 4) in [0, 1].
        cells: number of cells along each side.
    """
    total = np.zeros((cells, cells))
    left = np.arange(cells)
    for start in range(0, len(boxes_xyxy), _BOXES_AT_ONCE):
        some = boxes_xyxy[start : start + _BOXES_AT_ONCE] * cells
        columns = (np.minimum(some[:, 2:3], left + 1) - np.maximum(some[:, 0:1], left)).clip(0, 1)
        rows = (np.minimum(some[:, 3:4], left + 1) - np.maximum(some[:, 1:2], left)).clip(0, 1)
        total += rows.T @ columns
    return total / max(len(boxes_xyxy), 1)


def _counted_sizes(sizes: NDArray[np.int64]) -> Counts:
    if not len(sizes):
        return np.zeros((0, 3), np.int64)
    unique, counts = np.unique(sizes, axis=0, return_counts=True)
    table = np.column_stack([unique, counts]).astype(np.int64)
    return table[np.argsort(-counts, kind="stable")]
