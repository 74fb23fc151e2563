"""Sinks that write detections as annotations: drafts for an annotation tool, and results with COCO's ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets import formats
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import Format, WriteOptions
from aerostat.datasets.records import ONLY_SPLIT, ImageRecord, Images, Instance, Split
from aerostat.errors import InputError, nearest
from aerostat.geometry import polygons
from aerostat.images.frame import Frame
from aerostat.images.location import path_of
from aerostat.results.detections import Detections
from aerostat.results.io import MaskFormat, decimals, write_coco
from aerostat.text import listed


def as_instances(detections: Detections) -> tuple[Instance, ...]:
    """Return detections as annotated objects; their scores are lost.

    >>> one = Detections([[1, 2, 5, 8]], [0.9], [0], ("kite",))
    >>> as_instances(one)[0].box_xyxy, as_instances(one)[0].area
    ((1.0, 2.0, 5.0, 8.0), 24.0)
    """
    boxes = decimals(detections.boxes_xyxy)
    masks: list[Any] = [None] * len(boxes) if detections.masks is None else detections.masks.to_coco()
    if detections.masks is None:
        areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    else:
        areas = detections.masks.area().tolist()
    rows = zip(boxes, detections.labels.tolist(), masks, areas, strict=True)
    return tuple(
        Instance((x1, y1, x2, y2), label, rle=mask, area=area) for (x1, y1, x2, y2), label, mask, area in rows
    )


def with_extent(detections: Detections) -> Detections:
    """Return the detections without those whose box has no width or no height: they are no annotations."""
    boxes = detections.boxes_xyxy
    return detections[(boxes[:, :2] < boxes[:, 2:]).all(axis=1)]


MOVED = 1.0
"""Pixels by which the side of a box may move without notice."""
OUTLINE_TOLERANCE = 0.75
"""Pixels by which the outlines of drafts may leave out points: a person moves them one by one.

It leaves the steps of the pixels out, which are 0.71 at most on a slanted edge.
"""


def as_outlined(detections: Detections, *, single: bool = False) -> tuple[Instance, ...]:
    """Return detections with masks as annotated objects with outlines, and the box around these.

    A hole, which outlines cannot say, is joined to its outline by a bridge without width. An empty mask
    leaves the box that was detected, without an outline.

    Args:
        detections: with masks.
        single: whether to join the parts of a mask by bridges, too.
    """
    assert detections.masks is not None
    found = []
    outlines = detections.masks.to_polygons(OUTLINE_TOLERANCE, single=single)
    for plain, mine in zip(as_instances(detections), outlines, strict=True):
        box = polygons.bounds(np.concatenate(mine)) if mine else plain.box_xyxy
        found.append(replace(plain, box_xyxy=box, polygons=tuple(mine), rle=None))
    return tuple(found)


class DraftSink:
    """Annotations of all frames in the form that an annotation tool opens, written at the end.

    Masks become outlines where the format holds them. An object then has the box around its outline, as
    annotation tools draw it, and `lost` counts the boxes that this has moved by more than a pixel.

    Args:
        folder: gets a file, or a folder with one file per image, named after the format.
        format_: the format.
    """

    def __init__(self, folder: Path, format_: Format) -> None:
        self.format = format_
        self.path = folder / (format_.name if format_.per_image else f"{format_.name}{format_.suffix}")
        self.lost: Counter[str] = Counter()
        self._records: list[ImageRecord] = []
        self._scores: list[float] = []
        self._classes: tuple[str, ...] = ()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the detections of one frame."""
        width, height = detections.image_size or _size_of(frame)
        number = len(self._records) + 1
        location = frame.path.absolute() if frame.path else frame.location
        kept = with_extent(detections)
        objects, numbers = self._objects(kept)
        self._scores += decimals(kept.scores[numbers])
        self._records.append(ImageRecord(location, frame.location, width, height, objects, number))
        self._classes = detections.classes

    def close(self) -> None:
        """Write the annotations."""
        ids = tuple(range(1, len(self._classes) + 1))
        split = Split(ONLY_SPLIT, self._classes, ids, Images.of(self._records))
        options = WriteOptions(scores=self._scores, model="aerostat")
        if self.format.write_all is None:
            self.lost += self.format.write(split, self.path, options)
        else:
            self.lost += self.format.write_all({ONLY_SPLIT: split}, self.path, options)[ONLY_SPLIT]

    def _objects(self, detections: Detections) -> tuple[tuple[Instance, ...], NDArray[np.int64]]:
        """Return the objects to write, and their numbers among the detections."""
        numbers = np.arange(len(detections))
        if detections.masks is None or self.format.outlines in ("box", "masks"):
            return as_instances(detections), numbers
        empty = detections.masks.area() == 0
        if self.format.name == "yolo" and empty.any():
            # Its label files hold outlines or boxes. One box would cost all other objects their outlines.
            self.lost["objects with an empty mask left out"] += int(empty.sum())
            detections, numbers = detections[~empty], numbers[~empty]
        else:
            self.lost["empty masks written as a box"] += int(empty.sum())
        objects = as_outlined(detections, single=self.format.outlines == "one")
        boxes = np.asarray([one.box_xyxy for one in objects]).reshape(-1, 4)
        moved = np.abs(boxes - detections.boxes_xyxy).max(axis=1, initial=0) > MOVED
        self.lost["boxes replaced by those around their masks"] += int(moved.sum())
        self.lost = +self.lost  # `+` drops counts of 0
        return objects, numbers


def _size_of(frame: Frame) -> tuple[int, int]:
    height, width = frame.read().shape[:2]
    return width, height


@dataclass(frozen=True, slots=True)
class CocoResults:
    """COCO results with the image and category ids of annotations, as ``loadRes`` and servers take them.

    Args:
        truth: the annotations.
        mask_format: how masks are stated.
    """

    truth: Dataset
    mask_format: MaskFormat = "rle"

    def sink(self, path: Path, photographs: Sequence[Path]) -> CocoResultSink:
        """Return the sink that writes the results on photographs to a file.

        Raises:
            InputError: the annotations list none of them, or those of several splits.
        """
        wanted = {photograph.resolve() for photograph in photographs}
        ids = {name: _ids_by_path(split) for name, split in self.truth.splits.items()}
        holding = [name for name, known in ids.items() if wanted & known.keys()]
        if len(holding) != 1:
            names = listed(holding) if holding else "none"
            raise InputError(
                f"Expected the photographs in one split of `truth`, found them in {names}; name the "
                "annotation file of the photographs."
            )
        return CocoResultSink(path, self.truth.splits[holding[0]], ids[holding[0]], self.mask_format)


class CocoResultSink:
    """A list of detections with the ids of annotations, written at the end.

    Photographs that the annotations do not list are left out and counted in `unknown`.

    Args:
        path: the file.
        truth: the annotations.
        ids: of the images by their resolved paths.
        mask_format: how masks are stated.
    """

    def __init__(
        self, path: Path, truth: Split, ids: Mapping[Path, int], mask_format: MaskFormat = "rle"
    ) -> None:
        self.path, self.mask_format = path, mask_format
        self.unknown: list[str] = []
        self._category_ids = dict(zip(truth.classes, truth.category_ids, strict=True))
        self._ids = ids
        self._found: list[tuple[int, Detections]] = []

    def write(self, frame: Frame, detections: Detections) -> None:
        """Keep the detections of one frame.

        Raises:
            InputError: a class has no category in the annotations.
        """
        known = self._category_ids
        lacking = next((name for name in detections.classes if name not in known), None)
        if lacking is not None:
            raise InputError(
                f"`truth` has no category for the detected class {lacking!r}; it has "
                f"{listed(map(repr, known))}.{nearest(lacking, known)}"
            )
        id_ = self._ids.get(frame.path.resolve()) if frame.path else None
        if id_ is None:
            self.unknown.append(frame.location)
        else:
            self._found.append((id_, detections))

    def close(self) -> None:
        """Write the list."""
        classes = self._found[0][1].classes if self._found else ()
        ids = [self._category_ids[name] for name in classes]
        write_coco(self.path, self._found, ids, self.mask_format)


def _ids_by_path(split: Split) -> dict[Path, int]:
    rows = zip(split.images.locations, split.images.ids, strict=True)
    paths = ((path_of(location), id_) for location, id_ in rows)
    return {path.resolve(): int(id_) for path, id_ in paths if path is not None}


def draft_format(name: str) -> Format | None:
    """Return the annotation format of a name, None if there is no such format."""
    return next((format_ for format_ in formats.FORMATS if format_.name == name), None)
