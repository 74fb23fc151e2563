"""COCO's protocol over columns of boxes, a few classes at a time, computed by faster-coco-eval.

The library takes some kilobytes for each box. The protocol compares boxes of one class only, so the classes
are evaluated in parts, which limits the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from aerostat.collector import gc_disabled
from aerostat.geometry.boxes import Floats
from aerostat.progress import track

UNDEFINED = -1.0
"""COCO's value without objects, such as AP of small objects in a split without small objects."""

AREA_RANGES = ("all", "small", "medium", "large")
"""Below 32**2, up to 96**2, above: square pixels of the annotated area; a border belongs to both sides."""

AT_ONCE = 20_000
"""Maximum number of boxes in a part, unless one class has more."""

Ints = NDArray[np.int64]
Rle = dict[str, Any]
"""COCO's run-length object with compressed counts, ``{"size": [h, w], "counts": text}``."""


@dataclass(frozen=True, slots=True, eq=False)
class TruthColumns:
    """Annotated objects as columns (m,), image by image.

    Args:
        image: number of the image.
        label: index into the classes.
        boxes_xywh: (m, 4) x, y, width, height in pixels.
        area: area in square pixels, which decides between small, medium and large.
        crowd: whether it is a crowd region.
        masks: COCO's run-length object of each; None to compare boxes.
    """

    image: Ints
    label: Ints
    boxes_xywh: Floats
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: Sequence[Rle] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionColumns:
    """Detections as columns (n,), image by image in the same order as the objects.

    Args:
        image: number of the image.
        label: index into the classes.
        boxes_xywh: (n, 4) x, y, width, height in pixels.
        score: float32 score.
        masks: COCO's run-length object of each; None to compare boxes.
        area: (n,) area of each mask in square pixels; None takes that of the box.
    """

    image: Ints
    label: Ints
    boxes_xywh: Floats
    score: NDArray[np.float32]
    masks: Sequence[Rle] | None = None
    area: NDArray[np.int64] | None = None


def precision_and_recall(
    truth: TruthColumns,
    found: DetectionColumns,
    class_count: int,
    limits: Sequence[int],
    areas: Sequence[str] = AREA_RANGES,
    progress: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return COCO's precision (10 IoUs, 101 recalls, k, areas, limits) and recall (10, k, areas, limits).

    Objects and detections that have masks are compared by these, others by their boxes.

    Args:
        truth: annotated objects.
        found: detections.
        class_count: number of classes k; a class without objects has `UNDEFINED` everywhere.
        limits: ascending limits on the detections per image and class, best first; COCO's ``maxDets``.
        areas: first names of `AREA_RANGES`.
        progress: whether progress is shown if there are several parts.
    """
    precision = np.full((10, 101, class_count, len(areas), len(limits)), UNDEFINED)
    recall = np.full((10, class_count, len(areas), len(limits)), UNDEFINED)
    objects, detections = _by_class(truth.label, class_count), _by_class(found.label, class_count)
    parts = list(_parts(np.diff(objects.ends) + np.diff(detections.ends)))
    for part in track(parts, "scoring classes") if progress and len(parts) > 1 else parts:
        annotations = list(_annotations(truth, objects.places(part)))
        if not annotations:  # all stays undefined
            continue
        with gc_disabled():
            results = list(_results(found, detections.places(part)))
            evaluation = _evaluate(annotations, results, part, limits, areas)
        precision[:, :, part.start : part.stop] = evaluation["precision"]
        recall[:, part.start : part.stop] = evaluation["recall"]
    return precision, recall


@dataclass(frozen=True, slots=True)
class _ByClass:
    """The rows of each class.

    Args:
        order: (n,) rows by class; within a class in their own order.
        ends: (k + 1,) borders of the classes in `order`.
    """

    order: Ints
    ends: Ints

    def places(self, classes: range) -> Ints:
        """Return the rows of consecutive classes."""
        return self.order[self.ends[classes.start] : self.ends[classes.stop]]


def _by_class(labels: Ints, class_count: int) -> _ByClass:
    order = np.argsort(labels, kind="stable")
    return _ByClass(order, np.searchsorted(labels[order], np.arange(class_count + 1)))


def _parts(counts: Ints) -> Iterator[range]:
    """Yield consecutive classes with at most `AT_ONCE` boxes; a class is never split."""
    start = boxes = 0
    for k, count in enumerate(counts.tolist()):
        if k > start and boxes + count > AT_ONCE:
            yield range(start, k)
            start, boxes = k, 0
        boxes += count
    if start < len(counts):
        yield range(start, len(counts))


def _annotations(truth: TruthColumns, places: Ints) -> Iterator[dict[str, Any]]:
    """Yield objects in COCO's form; ids count from 1, because the annotation 0 means "no match"."""
    columns = (truth.image + 1, truth.label + 1, truth.boxes_xywh, truth.area, truth.crowd.astype(np.int64))
    rows = zip(*(column[places].tolist() for column in columns), strict=True)
    for number, (place, (image, category, box, area, crowd)) in enumerate(zip(places, rows, strict=True), 1):
        yield {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "iscrowd": crowd,
            **_segmentation(truth.masks, place),
        }


def _results(found: DetectionColumns, places: Ints) -> Iterator[dict[str, Any]]:
    """Yield detections in COCO's form."""
    areas = found.boxes_xywh[places, 2] * found.boxes_xywh[places, 3]
    if found.area is not None:
        areas = found.area[places].astype(np.float64)
    columns = (found.image + 1, found.label + 1, found.boxes_xywh, found.score)
    rows = zip(*(column[places].tolist() for column in columns), areas.tolist(), strict=True)
    for number, (place, (image, category, box, score, area)) in enumerate(zip(places, rows, strict=True), 1):
        yield {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "score": score,
            **_segmentation(found.masks, place),
        }


def _segmentation(masks: Sequence[Rle] | None, place: int) -> dict[str, Any]:
    return {} if masks is None else {"segmentation": masks[place]}


def _evaluate(
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    classes: range,
    limits: Sequence[int],
    areas: Sequence[str],
) -> dict[str, NDArray[np.float64]]:
    """Return the library's figures of several classes; images without boxes change nothing."""
    images = {row["image_id"]: _size(row) for row in (*annotations, *results)}
    listed = {
        "images": [{"id": image, **images[image]} for image in sorted(images)],
        "categories": [{"id": k + 1, "name": str(k)} for k in classes],
    }
    truth = COCO({**listed, "annotations": annotations}, print_function=_print_nothing)
    result = COCO({**listed, "annotations": results}, print_function=_print_nothing)
    kind = "segm" if "segmentation" in annotations[0] else "bbox"
    evaluation = COCOeval_faster(truth, result, kind, print_function=_print_nothing)
    evaluation.params.maxDets = list(limits)
    evaluation.params.areaRng = evaluation.params.areaRng[: len(areas)]
    evaluation.params.areaRngLbl = list(areas)
    evaluation.evaluate()
    evaluation.accumulate()
    return {name: np.asarray(evaluation.eval[name]) for name in ("precision", "recall")}


def _size(row: dict[str, Any]) -> dict[str, int]:
    """Return height and width of the image of an object with a mask."""
    return (
        dict(zip(("height", "width"), row["segmentation"]["size"], strict=True))
        if "segmentation" in row
        else {}
    )


def _print_nothing(*_: object, **__: object) -> None:
    """Take the place of the library's print function."""
