"""Annotated objects and detections of a split as columns, for the protocol of COCO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.evaluation.coco_protocol import DetectionColumns, TruthColumns
from aerostat.geometry.boxes import xyxy_to_xywh
from aerostat.results.detections import Detections
from aerostat.text import counted, listed


def coco_order(images: Sequence[ImageRecord], detections: Sequence[Detections]) -> list[int]:
    """Return the indices of images by ascending id, the order of the COCO protocol.

    Raises:
        InputError: there are not as many detections as images.
    """
    if len(images) != len(detections):
        raise InputError(
            f"Expected detections for each of {counted(len(images), 'image')}, "
            f"found those of {len(detections)}."
        )
    return sorted(range(len(images)), key=lambda i: images[i].id)


def box_columns(
    images: Sequence[ImageRecord], detections: Sequence[Detections], classes: tuple[str, ...]
) -> tuple[TruthColumns, DetectionColumns]:
    """Return objects and detections as columns, the images numbered by ascending id."""
    order = coco_order(images, detections)
    labels = list(labels_among(detections, classes))
    return (
        _truth([images[i] for i in order], len(classes)),
        _found([detections[i] for i in order], [labels[i] for i in order]),
    )


def _truth(images: Sequence[ImageRecord], class_count: int) -> TruthColumns:
    for image in images:
        check_labels(image, class_count)
    columns = [image.instances for image in images]
    boxes_xywh = xyxy_to_xywh(np.concatenate([np.zeros((0, 4)), *(c.boxes_xyxy for c in columns)]))
    stated = np.concatenate([np.zeros(0), *(c.areas for c in columns)])
    return TruthColumns(
        image=np.repeat(np.arange(len(images)), list(map(len, columns))),
        label=np.concatenate([np.zeros(0, np.int64), *(c.labels for c in columns)]),
        boxes_xywh=boxes_xywh,
        area=np.where(stated > 0, stated, boxes_xywh[:, 2] * boxes_xywh[:, 3]),
        crowd=np.concatenate([np.zeros(0, np.bool_), *(c.crowd for c in columns)]),
    )


def _found(detections: Sequence[Detections], labels: Sequence[NDArray[np.int64]]) -> DetectionColumns:
    """Return the detections of all images without those of other classes, whose label is negative."""
    label = np.concatenate([np.zeros(0, np.int64), *labels])
    boxes_xyxy = np.concatenate([np.zeros((0, 4), np.float32), *(found.boxes_xyxy for found in detections)])
    score = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in detections)])
    image = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    kept = label >= 0
    boxes_xywh = xyxy_to_xywh(boxes_xyxy[kept].astype(np.float64))
    return DetectionColumns(image[kept], label[kept], boxes_xywh, score[kept])


def check_labels(image: ImageRecord, class_count: int) -> None:
    """Check that the label of each object has a class.

    Raises:
        InputError: a label has none.
    """
    for instance in image.instances:
        if not 0 <= instance.label < class_count:
            raise InputError(
                f"Expected labels that index {counted(class_count, 'class', 'classes')}, "
                f"found {instance.label} on {image.file_name}."
            )


def labels_among(detections: Sequence[Detections], classes: tuple[str, ...]) -> Iterator[NDArray[np.int64]]:
    """Yield for each image the labels (n,) of its detections as indices into `classes`, -1 for others.

    Classes are matched by name.

    Raises:
        InputError: no class of the detections is among `classes`.
    """
    known = {found.classes: _category_of_label(found.classes, classes) for found in detections}
    if known and classes and not any(categories.any() for categories in known.values()):
        theirs = next(iter(known))
        raise InputError(
            f"Expected a detector of {listed(classes)}, found one of {listed(theirs)}: "
            "no class name is in both, so every figure would be 0."
        )
    for found in detections:
        yield known[found.classes][found.labels] - 1


def _category_of_label(theirs: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return for each class of a detector its category (from 1) among `classes`, 0 for others."""
    if theirs == classes:  # holds for repeated names, too
        return np.arange(1, len(classes) + 1)
    category = {name: k for k, name in enumerate(classes, start=1)}
    return np.asarray([category.get(name, 0) for name in theirs], np.int64)
