"""Records of annotated images: instances, images, splits, and what was wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.problems import CONSEQUENCES, ProblemKind
from aerostat.errors import InputError

SPLIT_NAMES = ("train", "val", "test")
"""Splits in the order in which people name them; ``valid`` and ``validation`` are read as ``val``."""


ONLY_SPLIT = "all"
"""Name of the one split of a data set whose folder or file names none."""


class OtherClassesError(InputError):
    """The data have other classes than those that were asked for; they can be read without asking."""


def split_name(name: str) -> str:
    """Return the name by which a split called `name` is known: ``Valid`` and ``validation`` are ``val``."""
    lower = name.lower()
    return "val" if lower in ("valid", "validation") else lower if lower in SPLIT_NAMES else name


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One annotated object of an image.

    Args:
        box_xyxy: (x1, y1, x2, y2) in pixels of the upright image (EXIF orientation applied), float64.
        label: index into `classes` of the split.
        polygons: outlines, each (n, 2) float64 x, y in pixels; empty if the object has only a box.
        rle: COCO run-length mask ``{"size": [h, w], "counts": ...}`` as it was found, or None.
        crowd: COCO's ``iscrowd``, a region of many objects: not trained on, matched softly in evaluation.
        area: the area in square pixels that the annotation states, which evaluation sorts by size.
    """

    box_xyxy: tuple[float, float, float, float]
    label: int
    polygons: tuple[NDArray[np.float64], ...] = ()
    rle: Mapping[str, Any] | None = None
    crowd: bool = False
    area: float = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and (
            (self.box_xyxy, self.label, self.rle, self.crowd, self.area)
            == (other.box_xyxy, other.label, other.rle, other.crowd, other.area)
            and len(self.polygons) == len(other.polygons)
            and all(np.array_equal(a, b) for a, b in zip(self.polygons, other.polygons, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image and what is annotated on it.

    Args:
        path: where the file can be opened.
        file_name: its name as the annotation file states it.
        width, height: of the upright image, in pixels.
        instances: what is on it; empty for an image without objects.
        id: COCO's image id, kept on output.
    """

    path: Path
    file_name: str
    width: int
    height: int
    instances: tuple[Instance, ...] = ()
    id: int = 0

    def boxes_xyxy(self, crowd: bool = False) -> NDArray[np.float32]:
        """Return the boxes (n, 4), without crowd regions unless `crowd`."""
        boxes = [i.box_xyxy for i in self.instances if crowd or not i.crowd]
        return np.asarray(boxes, np.float32).reshape(-1, 4)

    def labels(self, crowd: bool = False) -> NDArray[np.int64]:
        """Return the labels (n,) in the order of `boxes_xyxy`."""
        return np.asarray([i.label for i in self.instances if crowd or not i.crowd], np.int64)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the annotations that was dropped, clipped or kept with a reservation.

    Args:
        split: name of the split.
        file_name: the image concerned.
        kind: what happened, a key of `aerostat.datasets.problems.CONSEQUENCES`.
        detail: one clause for a person: which record, what was found, what was done.
        record: the annotation or region concerned; empty if it is the image or the file.
        box_xyxy: the box as it is stated, where the problem is about one.
    """

    split: str
    file_name: str
    kind: ProblemKind
    detail: str
    record: str = ""
    box_xyxy: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in CONSEQUENCES:
            raise ValueError(f"{self.kind!r} is not in the table of problems; add a row for it")


@dataclass(frozen=True, slots=True)
class Split:
    """The images of one split, with the classes that their labels index.

    Args:
        name: ``train``, ``val``, ``test``, or what the source calls it.
        classes: class names.
        category_ids: original category ids, parallel to `classes`, restored on output.
        images: in the order of the source.
        problems: what was wrong on reading, by file name.
        source_format: the format it was read from; empty if it was made in memory.
    """

    name: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[ImageRecord, ...]
    problems: tuple[Problem, ...] = field(default=())
    source_format: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, most: int) -> Split:
        """Return a split of at most so many of the images, spread evenly over the whole."""
        if len(self) <= most:
            return self
        return self.chosen(np.linspace(0, len(self) - 1, most).round().astype(int))

    def chosen(self, places: Iterable[int]) -> Split:
        """Return a split of the images at these places, in this order, without what reading met."""
        return replace(self, images=tuple(self.images[i] for i in places), problems=())

    @property
    def box_count(self) -> int:
        """Number of boxes that training can use (crowd regions left out)."""
        return sum(not i.crowd for image in self.images for i in image.instances)
