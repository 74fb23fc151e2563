"""Matches of detections and objects by COCO's rules at IoU 0.5, and figures that follow from them.

`aerostat.evaluation.coco` uses a library that does not return its matches. This module does. Tests check that
both give the same AP50.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.coco import MAX_DETS
from aerostat.evaluation.coco_columns import check_labels, coco_order, labels_among
from aerostat.evaluation.coco_protocol import UNDEFINED
from aerostat.evaluation.object_masks import mask_iou, masks_of, object_masks
from aerostat.geometry.boxes import Floats, xyxy_to_xywh
from aerostat.results.detections import Detections

FOREGROUND_IOU = 0.5
"""Minimum IoU at which a detection finds an object."""

UNMATCHED = -1
"""Index in place of an object or a class: none is taken, none overlaps, or the class is another one."""

PAIRS_AT_ONCE = 1 << 22
"""Maximum number of pairs of detection and object whose overlaps are in memory at a time."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """All annotated objects as columns (m,), image by image.

    Args:
        image: index into the images given.
        place: index into the instances of its image.
        label: index into the classes.
        crowd: whether it is a crowd region, which is neither found nor missed.
    """

    image: Ints
    place: Ints
    label: Ints
    crowd: NDArray[np.bool_]

    def count(self, class_count: int) -> Ints:
        """Return the number of objects (k,) of each class without crowd regions."""
        return np.bincount(self.label[~self.crowd], minlength=class_count)


@dataclass(frozen=True, slots=True, eq=False)
class MatchedDetections:
    """All detections of the classes as columns (n,), image by image, best score first.

    Args:
        image: index into the images given.
        place: index into the detections of its image.
        label: index into the classes.
        score: score of the detection.
        taken: index of the object that it finds, or `UNMATCHED`.
        ignored: whether it finds no object but lies in a crowd region of its class: neither right nor wrong.
        own, own_iou: object of its own class with the largest IoU, and the IoU; else `UNMATCHED` and 0.
        other, other_iou: the same for all other classes.
    """

    image: Ints
    place: Ints
    label: Ints
    score: NDArray[np.float32]
    taken: Ints
    ignored: NDArray[np.bool_]
    own: Ints
    own_iou: Floats
    other: Ints
    other_iou: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each detection (n,) finds an object."""
        right: NDArray[np.bool_] = self.taken != UNMATCHED
        return right


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Objects and detections of a split, matched by `match`."""

    objects: Objects
    detections: MatchedDetections
    classes: tuple[str, ...]


def match(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float | None = None,
    within_class: bool = True,
    max_detections: int = MAX_DETS[-1],
    masks: bool = False,
) -> Matching:
    """Return the matches of detections and objects at IoU 0.5 by COCO's rules.

    The best score chooses first, and each detection takes the free object with the largest IoU. So weaker
    detections do not change the matches of stronger ones.

    Args:
        images: annotated images.
        detections: detections on each image; their classes are matched by name.
        classes: names that the labels of `images` index.
        score: minimum score of the detections; None takes all.
        within_class: whether a detection only takes objects of its own class, as in COCO.
        max_detections: maximum number per image and class, best first; COCO's ``maxDets``.
        masks: whether the IoU is that of masks. An object without a mask then is a crowd region in its box.

    Raises:
        InputError: lengths differ, a label has no class, the detector knows none of the classes, or masks
            are asked for and detections lack them.
    """
    order = coco_order(images, detections)
    labels = list(labels_among(detections, tuple(classes)))
    objects: list[tuple[NDArray[np.generic], ...]] = []
    found: list[tuple[NDArray[np.generic], ...]] = []
    before = 0  # number of objects on earlier images
    for i in order:
        check_labels(images[i], len(classes))
        chosen = _best(detections[i], labels[i], score, max_detections)
        truth, overlaps = _overlaps(images[i], detections[i], chosen, masks)
        one = _match_image(overlaps, labels[i][chosen], truth, within_class)
        columns = (np.where(c >= 0, c + before, UNMATCHED) if c.dtype == np.int64 else c for c in one)
        found.append(
            (np.full(len(chosen), i), chosen, labels[i][chosen], detections[i].scores[chosen], *columns)
        )
        count = len(truth.labels)
        objects.append((np.full(count, i), np.arange(count), truth.labels, truth.crowd))
        before += count
    return Matching(
        Objects(*_columns(objects, (np.int64, np.int64, np.int64, np.bool_))),
        MatchedDetections(*_columns(found, _FOUND)),
        tuple(classes),
    )


_FOUND = (
    *(np.int64, np.int64, np.int64, np.float32),
    *(np.int64, np.bool_, np.int64, np.float64, np.int64, np.float64),
)
"""Types of the columns of `MatchedDetections`, in their order."""


def _columns(rows: Sequence[Sequence[NDArray[np.generic]]], types: Sequence[type]) -> list[NDArray]:  # type: ignore[type-arg]
    """Join the columns of all images."""
    return [
        np.concatenate([np.zeros(0, kind), *(row[i] for row in rows)], dtype=kind)
        for i, kind in enumerate(types)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """The objects of one image: labels (m,); crowd (m,)."""

    labels: Ints
    crowd: NDArray[np.bool_]


_Overlaps = Callable[[slice], Floats]
"""Returns COCO's overlaps (r, m) of a slice of an image's detections, best score first, with its objects."""


def _overlaps(
    image: ImageRecord, detections: Detections, chosen: Ints, masks: bool
) -> tuple[_Truth, _Overlaps]:
    """Return the objects of an image and what computes the overlaps of chosen detections with them."""
    instances = image.instances
    if masks:
        theirs = object_masks(image)
        crowd = instances.crowd | ~theirs.own
        of_image = masks_of(image, detections)
        return (
            _Truth(instances.labels, crowd),
            lambda rows: mask_iou(of_image[chosen[rows]].to_coco(), theirs.rles, crowd),
        )
    boxes_xywh = xyxy_to_xywh(detections.boxes_xyxy[chosen].astype(np.float64))
    objects_xywh = xyxy_to_xywh(instances.boxes_xyxy)
    return (
        _Truth(instances.labels, instances.crowd),
        lambda rows: _coco_iou(boxes_xywh[rows], objects_xywh, instances.crowd),
    )


def _best(found: Detections, labels: Ints, score: float | None, max_detections: int) -> Ints:
    """Return the indices of an image's detections that count, best score first; equals keep their order."""
    counts = labels != UNMATCHED
    if score is not None:
        counts &= found.scores >= np.float32(score)
    places = np.flatnonzero(counts)
    places = places[np.argsort(-found.scores[places], kind="stable")]
    if len(places) <= max_detections:
        return places
    by_class = np.argsort(labels[places], kind="stable")
    sorted_labels = labels[places][by_class]
    first = np.searchsorted(sorted_labels, sorted_labels)  # where the class of each begins
    return places[np.sort(by_class[np.arange(len(places)) - first < max_detections])]


def _match_image(
    overlaps: _Overlaps, labels: Ints, truth: _Truth, within_class: bool
) -> tuple[Ints, NDArray[np.bool_], Ints, Floats, Ints, Floats]:
    """Return the last six columns of `MatchedDetections` for one image's detections, best score first."""
    count = len(labels)
    taken, ignored = np.full(count, UNMATCHED), np.zeros(count, np.bool_)
    own, other = np.full(count, UNMATCHED), np.full(count, UNMATCHED)
    own_iou, other_iou = np.zeros(count), np.zeros(count)
    if not count or not len(truth.labels):
        return taken, ignored, own, own_iou, other, other_iou
    free = ~truth.crowd
    step = max(1, PAIRS_AT_ONCE // len(truth.labels))
    for rows in (slice(start, start + step) for start in range(0, count, step)):
        iou = overlaps(rows)
        same = labels[rows, None] == truth.labels
        regular = np.where(truth.crowd, 0.0, iou)
        own[rows], own_iou[rows] = _most(np.where(same, regular, 0.0))
        other[rows], other_iou[rows] = _most(np.where(same, 0.0, regular))
        # Of two objects in one place a detection that may take either takes that of its class.
        wanted = np.where(same, regular, 0.0) if within_class else regular + 1e-9 * same * (regular > 0)
        taken[rows] = _take(wanted, free)
        in_crowd = (iou >= FOREGROUND_IOU) & same & truth.crowd
        ignored[rows] = in_crowd.any(axis=1) & (taken[rows] == UNMATCHED)
    return taken, ignored, own, own_iou, other, other_iou


def _take(wanted: Floats, free: NDArray[np.bool_]) -> Ints:
    """Return for each detection (n,) the object that it takes, and clear it in `free` (m,).

    Args:
        wanted: (n, m) overlaps, best score first; 0 where a detection may not take an object.
        free: (m,) whether an object is free; changed in place.
    """
    taken = np.full(len(wanted), UNMATCHED)
    last = wanted.shape[1] - 1
    for row in np.flatnonzero((wanted >= FOREGROUND_IOU).any(axis=1)).tolist():
        left = np.where(free, wanted[row], 0.0)
        best = last - int(left[::-1].argmax())  # of equals the last, as COCO has it
        if left[best] >= FOREGROUND_IOU:
            taken[row], free[best] = best, False
    return taken


def _most(iou: Floats) -> tuple[Ints, Floats]:
    """Return in each row (n,) the column of the largest overlap, or `UNMATCHED`, and the overlap."""
    best = iou.argmax(axis=1)
    overlap = iou[np.arange(len(iou)), best]
    return np.where(overlap > 0, best, UNMATCHED), overlap


def _coco_iou(boxes_xywh: Floats, objects_xywh: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """Return COCO's overlaps (n, m): IoU, or the share of the detection within a crowd region.

    They are computed from x, y, width and height, so that an overlap at a threshold is rounded as in COCO.
    """
    (x, y, w, h), (tx, ty, tw, th) = boxes_xywh.T[..., None], objects_xywh.T
    wide = np.minimum(x + w, tx + tw) - np.maximum(x, tx)
    high = np.minimum(y + h, ty + th) - np.maximum(y, ty)
    overlap = np.maximum(wide, 0) * np.maximum(high, 0)
    area = w * h
    union = np.where(crowd, area, area + tw * th - overlap)
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


# ------------------------------------------------------------------------------------------------ figures

_RECALLS = np.linspace(0.0, 1.0, 101)


def average_precision(
    labels: Ints, scores: NDArray[np.float32], right: NDArray[np.bool_], objects: Ints
) -> Floats:
    """Return COCO's AP (k,) of each class at one IoU, -1 without objects.

    AP is the mean over 101 recalls of the highest precision at this recall or a higher one.

    Args:
        labels, scores, right: (n,) label and score of each detection, and whether it finds an object; equal
            scores keep their order.
        objects: (k,) number of objects of each class.
    """
    ap = np.full(len(objects), UNDEFINED)
    order = np.argsort(-scores, kind="stable")
    order = order[np.argsort(labels[order].astype(np.int32), kind="stable")]
    ends = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    for k in np.flatnonzero(objects).tolist():
        hits = np.cumsum(right[order[ends[k] : ends[k + 1]]])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(hits / objects[k], _RECALLS)  # the first that reaches each recall
        ap[k] = np.append(precision, 0.0)[reached].mean()
    return ap


def mean_ap(ap: Floats) -> float:
    """Return the mean of the defined values, or -1 without any."""
    defined = ap[ap > UNDEFINED]
    return float(defined.mean()) if len(defined) else UNDEFINED


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision and recall at a score threshold, over all classes together, at IoU 0.5.

    Args:
        score: the threshold, rounded as far as the same detections stay above it.
        precision: share of the detections that are right.
        recall: share of the objects that are found.
        f1: their harmonic mean.
    """

    score: float
    precision: float
    recall: float
    f1: float


def best_f1(matching: Matching) -> OperatingPoint | None:
    """Return the score threshold with the highest F1, the higher one of equals, None without a match."""
    found, objects = matching.detections, int((~matching.objects.crowd).sum())
    counts = ~found.ignored
    order = np.argsort(-found.score[counts], kind="stable")
    scores = found.score[counts][order].astype(np.float64)
    hits = np.cumsum(found.right[counts][order])
    if not objects or not len(hits) or not hits[-1]:
        return None
    ends = np.flatnonzero(
        np.append(scores[1:] != scores[:-1], True)
    )  # a threshold keeps equal scores together
    f1 = 2 * hits[ends] / (ends + 1 + objects)
    best = int(f1.argmax())
    end = ends[best]
    below = scores[end + 1] if end + 1 < len(scores) else -np.inf
    return OperatingPoint(
        score=_round_between(below, float(scores[end])),
        precision=float(hits[end] / (end + 1)),
        recall=float(hits[end] / objects),
        f1=float(f1[best]),
    )


def _round_between(below: float, most: float) -> float:
    """Return the number with the fewest decimals, at least two, above `below` and at most `most`.

    The comparison is in float32 as for scores: otherwise 0.41 would be above a score of 0.41.
    """
    for digits in range(2, 9):
        floor = math.floor(most * 10**digits) / 10**digits
        for rounded in (round(most, digits), floor):
            if below < np.float32(rounded) <= most:
                return rounded
    return most
