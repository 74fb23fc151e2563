"""What a detector does wrong: each mistake has one kind, and each kind its price in AP.

The kinds, their order of precedence and their price are those of TIDE: Bolya et al., *TIDE: A General
Toolbox for Identifying Object Detection Errors*, arXiv:2008.08115. A detection that finds no object is,
whichever holds first,

- *localisation*: overlaps an object of its class with an IoU from 0.1 to 0.5,
- *classification*: overlaps an object of another class with an IoU of at least 0.5,
- *duplicate*: overlaps an object of its class enough, but a better score has found that already,
- *background*: overlaps no object with an IoU of 0.1,
- *both*: overlaps an object of another class with an IoU from 0.1 to 0.5.

An object that no detection finds is *missed*, unless a localisation or classification error points at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.coco import UNDEFINED
from aerostat.evaluation.matching import (
    FOREGROUND_IOU,
    UNMATCHED,
    Ints,
    Matching,
    OperatingPoint,
    average_precision,
    best_f1,
    match,
    mean_ap,
)
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections

Kind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which TIDE's paper lists them."""

BACKGROUND_IOU = 0.1
"""A detection that overlaps every object by less has found nothing at all."""

_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(len(KINDS))
_RIGHT, _IGNORED = -1, -2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Args:
        kind: one of `KINDS`.
        image: index into the images given.
        detection: index into the detections of the image; None for a missed object.
        instance: index into the instances of the image: the object that was missed, or the one that the
            detection overlaps most (of its class or another, as the kind has it); None if there is none.
        label: index into the classes, of the detection, or of a missed object.
        score: of the detection; None for a missed object.
        iou: overlap of the detection with the object; 0 if there is none.
        badness: how bad it is among its kind, larger is worse: a score for what should not be there, times
            1 - IoU for a localisation error, times IoU for a classification error; for a missed object the
            square root of its share of the image.
        rival: of a duplicate, the detection of the image that found the object first; else None.
    """

    kind: Kind
    image: int
    detection: int | None
    instance: int | None
    label: int
    score: float | None
    iou: float
    badness: float
    rival: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TideResult:
    """What a detector does wrong on a split.

    Args:
        classes: names, which labels index.
        score: detections below it are not shown, so neither right nor wrong.
        mistakes: those at this score, kind by kind, the worst first.
        counts: (k, 6) how many of each kind, by class: a missed object's, else the detection's.
        right: (k,) detections of each class that are right at this score.
        shown: (k,) detections of each class at this score, without those in crowd regions.
        objects: (k,) objects of each class, without crowd regions.
        ap50: COCO's AP at IoU 0.5 over all detections; -1 without objects.
        won: AP50 that is won, over all detections, if one kind of mistake is mended (TIDE's dAP); 0 or more,
            -1 without objects.
        best: the score threshold with the best F1; None if no detection is right.
    """

    classes: tuple[str, ...]
    score: float
    mistakes: tuple[Mistake, ...]
    counts: Ints
    right: Ints
    shown: Ints
    objects: Ints
    ap50: float
    won: dict[Kind, float]
    best: OperatingPoint | None

    def count(self, kind: Kind) -> int:
        """Return how many mistakes of a kind there are."""
        return int(self.counts[:, KINDS.index(kind)].sum())

    def of_kind(self, kind: Kind) -> list[Mistake]:
        """Return the mistakes of a kind, the worst first."""
        return [mistake for mistake in self.mistakes if mistake.kind == kind]


def tide(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
) -> TideResult:
    """Return what is wrong, of which kind, and what each kind costs.

    At the score every object has one fate (found, missed, or claimed by a classification or localisation
    error), and so has every detection (right, one of the other five kinds, or within a crowd region, which
    counts as COCO has it). The prices are over all detections, as AP is: give those above 0.001.

    Args:
        images: the annotated images.
        detections: what was found on each, parallel to `images`, matched to `classes` by name.
        classes: names that the labels of `images` index.
        score: the lowest score that a person is shown.

    Raises:
        InputError: lengths differ, a label has no class, or the detector knows none of the classes.
    """
    matching = match(images, detections, classes)
    kinds = _kinds(matching)
    claims = _claims(matching, kinds)
    shown = matching.detections.score >= np.float32(score)
    fates = _fates(matching, claims, shown)
    class_count = len(matching.classes)
    objects = matching.objects.count(class_count)
    ap50, won = _prices(matching, kinds, claims, objects)
    labels = matching.detections.label
    return TideResult(
        classes=matching.classes,
        score=score,
        mistakes=tuple(_list(images, matching, kinds, fates, shown)),
        counts=_count(matching, kinds, fates, shown),
        right=np.bincount(labels[shown & (kinds == _RIGHT)], minlength=class_count),
        shown=np.bincount(labels[shown & (kinds != _IGNORED)], minlength=class_count),
        objects=objects,
        ap50=ap50,
        won=won,
        best=best_f1(matching),
    )


def _kinds(matching: Matching) -> NDArray[np.int8]:
    """Return the kind (n,) of each detection as an index into `KINDS`, or `_RIGHT` or `_IGNORED`."""
    found = matching.detections
    order = (
        (found.right, _RIGHT),
        (found.ignored, _IGNORED),
        ((found.own_iou >= BACKGROUND_IOU) & (found.own_iou < FOREGROUND_IOU), _LOCALISATION),
        (found.other_iou >= FOREGROUND_IOU, _CLASSIFICATION),
        (found.own_iou >= FOREGROUND_IOU, _DUPLICATE),
        (found.other_iou < BACKGROUND_IOU, _BACKGROUND),
    )
    kinds = np.select([holds for holds, _ in order], [kind for _, kind in order], default=_BOTH)
    return kinds.astype(np.int8)


def _claims(matching: Matching, kinds: NDArray[np.int8]) -> Ints:
    """Return the object (n,) that each detection would find with the right class and box, or `UNMATCHED`."""
    found = matching.detections
    claims = np.where(kinds == _LOCALISATION, found.own, UNMATCHED)
    return np.where(kinds == _CLASSIFICATION, found.other, claims)


def _winners(matching: Matching, claims: Ints, shown: NDArray[np.bool_]) -> Ints:
    """Return for each object (m,) the best-scored of the shown detections that claim it, or `UNMATCHED`."""
    winners = np.full(len(matching.objects.label), UNMATCHED)
    claiming = np.flatnonzero(shown & (claims != UNMATCHED))[::-1]  # best last: the last of equals stays
    winners[claims[claiming]] = claiming
    return winners


def _fates(matching: Matching, claims: Ints, shown: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return the fate (m,) of each object: `_MISSED`, `_RIGHT` if found or claimed, `_IGNORED` if a crowd."""
    objects, found = matching.objects, matching.detections
    fates = np.full(len(objects.label), _MISSED, np.int8)
    fates[_winners(matching, claims, shown) != UNMATCHED] = _RIGHT
    fates[found.taken[shown & found.right]] = _RIGHT
    fates[objects.crowd] = _IGNORED
    return fates


def _prices(
    matching: Matching, kinds: NDArray[np.int8], claims: Ints, objects: Ints
) -> tuple[float, dict[Kind, float]]:
    """Return AP50, and how much higher it is with each kind of mistake mended alone, as TIDE's oracles do.

    A mended localisation or classification error is right, if its object is free and no better score claims
    it; all other detections of the kind are taken away. Missed objects are no longer to be found.
    """
    found = matching.detections
    everything = np.ones(len(kinds), np.bool_)
    counted = kinds != _IGNORED

    def ap(keep: NDArray[np.bool_], labels: Ints, right: NDArray[np.bool_], to_find: Ints) -> float:
        values = average_precision(labels[keep], found.score[keep], right[keep], to_find)
        emptied = (objects > 0) & (to_find == 0)
        if emptied.any():  # all that there was to find was missed: only false detections are left to do harm
            values[emptied] = np.bincount(labels[keep], minlength=len(objects))[emptied] == 0
        return mean_ap(values)

    ap50 = ap(counted, found.label, found.right, objects)
    if ap50 == UNDEFINED:
        return ap50, dict.fromkeys(KINDS, UNDEFINED)
    winners = _winners(matching, claims, everything)
    taken = np.zeros(len(winners), np.bool_)
    taken[found.taken[found.right]] = True
    wins = np.zeros(len(kinds), np.bool_)
    wins[winners[(winners != UNMATCHED) & ~taken]] = True
    won: dict[Kind, float] = {}
    for index, kind in enumerate(KINDS[:_MISSED]):
        mended = wins & (kinds == index)
        labels = found.label.copy()
        labels[mended] = matching.objects.label[claims[mended]]
        keep = counted & ((kinds != index) | mended)
        won[kind] = max(0.0, ap(keep, labels, found.right | mended, objects) - ap50)
    missed = matching.objects.label[_fates(matching, claims, everything) == _MISSED]
    to_find = objects - np.bincount(missed, minlength=len(objects))
    won[KINDS[_MISSED]] = max(0.0, ap(counted, found.label, found.right, to_find) - ap50)
    return ap50, won


def _count(
    matching: Matching, kinds: NDArray[np.int8], fates: NDArray[np.int8], shown: NDArray[np.bool_]
) -> Ints:
    """Return the mistakes (k, 6) by class and kind."""
    counts = np.zeros((len(matching.classes), len(KINDS)), np.int64)
    wrong = shown & (kinds >= 0)
    np.add.at(counts, (matching.detections.label[wrong], kinds[wrong]), 1)
    missed = fates == _MISSED
    np.add.at(counts, (matching.objects.label[missed], _MISSED), 1)
    return counts


def _list(
    images: Sequence[ImageRecord],
    matching: Matching,
    kinds: NDArray[np.int8],
    fates: NDArray[np.int8],
    shown: NDArray[np.bool_],
) -> list[Mistake]:
    """Return all mistakes, kind by kind, the worst first."""
    found, objects = matching.detections, matching.objects
    finder = np.full(len(objects.label), UNMATCHED)
    finder[found.taken[found.right]] = np.flatnonzero(found.right)
    mistakes = []
    for row in np.flatnonzero(shown & (kinds >= 0)).tolist():
        kind = int(kinds[row])
        own_class = kind in (_LOCALISATION, _DUPLICATE)
        if kind == _BACKGROUND:  # the nearest object, if it overlaps any
            own_class = bool(found.own_iou[row] >= found.other_iou[row])
        nearest = int((found.own if own_class else found.other)[row])
        iou = float((found.own_iou if own_class else found.other_iou)[row])
        score = float(found.score[row])
        badness = {_LOCALISATION: score * (1 - iou), _CLASSIFICATION: score * iou}.get(kind, score)
        mistakes.append(
            Mistake(
                kind=KINDS[kind],
                image=int(found.image[row]),
                detection=int(found.place[row]),
                instance=None if nearest == UNMATCHED else int(objects.place[nearest]),
                label=int(found.label[row]),
                score=score,
                iou=iou,
                badness=badness,
                rival=int(found.place[finder[nearest]]) if kind == _DUPLICATE else None,
            )
        )
    for row in np.flatnonzero(fates == _MISSED).tolist():
        image, place = int(objects.image[row]), int(objects.place[row])
        share = _share_of_image(images[image], images[image].instances[place].box_xyxy)
        mistakes.append(Mistake("missed", image, None, place, int(objects.label[row]), None, 0.0, share**0.5))
    return sorted(mistakes, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.badness))


def _share_of_image(image: ImageRecord, box_xyxy: Sequence[float]) -> float:
    x1, y1, x2, y2 = box_xyxy
    return max(0.0, (x2 - x1) * (y2 - y1)) / max(1, image.width * image.height)


# ----------------------------------------------------------------------------------------------- worst images


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image and its mistakes of one kind, the worst first."""

    image: int
    mistakes: tuple[Mistake, ...]


def worst_images(
    mistakes: TideResult, most: int, kinds: Sequence[Kind] = KINDS
) -> dict[Kind, list[BadImage]]:
    """Return for each kind of mistake the images that are worst, the worst first.

    Images with missed objects are ranked by the sum of their mistakes' badness, so by how many and how large;
    others by the worst alone, then by how many. Kinds without mistakes are left out. Where the first image of
    a kind would repeat the last one of the kind before, the second takes its place if there is one.

    Args:
        mistakes: what `tide` returned.
        most: images of each kind.
        kinds: in the order in which they will be shown.
    """
    chosen: dict[Kind, list[BadImage]] = {}
    last: int | None = None
    for kind in kinds:
        by_image: dict[int, list[Mistake]] = {}
        for mistake in mistakes.of_kind(kind):
            by_image.setdefault(mistake.image, []).append(mistake)
        bad = [BadImage(image, tuple(found)) for image, found in by_image.items()]
        bad = sorted(bad, key=_rank, reverse=True)
        if len(bad) > 1 and bad[0].image == last:
            bad[:2] = bad[1::-1]
        if bad[:most]:
            chosen[kind] = bad[:most]
            last = chosen[kind][-1].image
    return chosen


def _rank(bad: BadImage) -> tuple[float, int]:
    badness = [mistake.badness for mistake in bad.mistakes]
    missed = bad.mistakes[0].kind == "missed"
    return (sum(badness) if missed else max(badness)), len(badness)
