"""Kinds of error of a detector, and what each kind costs in AP, as in TIDE.

Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors*, arXiv:2008.08115. A detection
that finds no object is the first of these kinds whose condition holds:

- *localisation*: overlaps an object of its class with an IoU from 0.1 to 0.5,
- *classification*: overlaps an object of another class with an IoU of at least 0.5,
- *duplicate*: overlaps an object of its class enough, but a detection with a better score has found it,
- *background*: overlaps no object with an IoU of 0.1,
- *both*: overlaps an object of another class with an IoU from 0.1 to 0.5.

An object without a detection is *missed*, unless a localisation or classification error points at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

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
from aerostat.text import counted, html_table

Kind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds, in the order of the paper."""

BACKGROUND_IOU = 0.1
"""Below this IoU with every object a detection lies on the background."""

_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(len(KINDS))
_RIGHT, _IGNORED = -1, -2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One error.

    Args:
        kind: one of `KINDS`.
        image: index into the images.
        detection: index into the detections of the image; None for a missed object.
        instance: index into the instances of the image: the missed object, or the object that the detection
            overlaps most (of its class or another one, according to the kind); None without an object.
        label: class index of the detection, or of the missed object.
        score: score of the detection; None for a missed object.
        iou: IoU of the detection with the object; 0 without an object.
        severity: rank among its kind, larger is worse: the score, times 1 - IoU for a localisation error,
            times IoU for a classification error; for a missed object the square root of its share of the
            image.
        first: for a duplicate, the detection of the image that found the object first; else None.
    """

    kind: Kind
    image: int
    detection: int | None
    instance: int | None
    label: int
    score: float | None
    iou: float
    severity: float
    first: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TideResult:
    """Errors of a detector on a split.

    Args:
        classes: class names.
        score: minimum score of the detections in `mistakes`, `counts`, `right` and `shown`.
        mistakes: errors by kind, the worst first.
        counts: (k, 6) number of errors by class and kind; the class is that of the detection, or of the
            missed object.
        right: (k,) number of right detections of each class.
        shown: (k,) number of detections of each class without those in crowd regions.
        objects: (k,) number of objects of each class without crowd regions.
        ap50: COCO's AP at IoU 0.5 over all detections; -1 without objects.
        ap50_gain: gain of AP50, over all detections, if the errors of one kind are corrected (TIDE's dAP); 0
            or more, -1 without objects.
        best: score threshold with the best F1; None without a right detection.
        masks: whether the IoU is that of masks.
    """

    classes: tuple[str, ...]
    score: float
    mistakes: tuple[Mistake, ...]
    counts: Ints
    right: Ints
    shown: Ints
    objects: Ints
    ap50: float
    ap50_gain: dict[Kind, float]
    best: OperatingPoint | None
    masks: bool = False

    def count(self, kind: Kind) -> int:
        """Return the number of errors of a kind."""
        return int(self.counts[:, KINDS.index(kind)].sum())

    def of_kind(self, kind: Kind) -> list[Mistake]:
        """Return the errors of a kind, the worst first."""
        return [mistake for mistake in self.mistakes if mistake.kind == kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the errors as JSON values; undefined figures are None."""
        return {
            "classes": list(self.classes),
            **({"masks": True} if self.masks else {}),
            "score": self.score,
            "ap50": None if self.ap50 == UNDEFINED else self.ap50,
            "kinds": {
                kind: {
                    "count": self.count(kind),
                    "ap50_gain": None if self.ap50_gain[kind] == UNDEFINED else self.ap50_gain[kind],
                }
                for kind in KINDS
            },
            "right": self.right.tolist(),
            "shown": self.shown.tolist(),
            "objects": self.objects.tolist(),
            "best_f1": None if self.best is None else asdict(self.best),
            "errors": [asdict(mistake) for mistake in self.mistakes],
        }

    def __repr__(self) -> str:
        """Return the errors in one line."""
        right = f"{int(self.right.sum())} of {counted(int(self.objects.sum()), 'object')} found"
        return f"TideResult({right}, {counted(len(self.mistakes), 'error')} at a score of {self.score:g})"

    def _repr_html_(self) -> str:
        """Return a table of the kinds for a notebook."""
        rows = [
            (
                kind,
                self.count(kind),
                "–" if self.ap50_gain[kind] == UNDEFINED else f"{self.ap50_gain[kind]:.3f}",
            )
            for kind in KINDS
        ]
        return html_table(("error", "number", "AP50 to gain"), rows, repr(self))


def tide(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
    masks: bool = False,
) -> TideResult:
    """Return the errors of detections, their kinds, and the AP that each kind costs.

    At the score every object has one state: found, missed, or claimed by a classification or localisation
    error. So has every detection: right, one of the other five kinds, or within a crowd region. The costs are
    over all detections, as AP is; so pass detections with scores down to 0.001.

    Args:
        images: annotated images.
        detections: detections on each image; their classes are matched by name.
        classes: names that the labels of `images` index.
        score: minimum score of the detections that are shown to a person.
        masks: whether the IoU is that of masks. An object without a mask then is a crowd region in its box.

    Raises:
        InputError: lengths differ, a label has no class, the detector knows none of the classes, or masks
            are asked for and detections lack them.
    """
    matching = match(images, detections, classes, masks=masks)
    kinds = _kinds(matching)
    claims = _claims(matching, kinds)
    shown = matching.detections.score >= np.float32(score)
    states = _states(matching, claims, shown)
    class_count = len(matching.classes)
    objects = matching.objects.count(class_count)
    ap50, gain = _gains(matching, kinds, claims, objects)
    labels = matching.detections.label
    return TideResult(
        classes=matching.classes,
        score=score,
        mistakes=tuple(_list(images, matching, kinds, states, shown)),
        counts=_count(matching, kinds, states, shown),
        right=np.bincount(labels[shown & (kinds == _RIGHT)], minlength=class_count),
        shown=np.bincount(labels[shown & (kinds != _IGNORED)], minlength=class_count),
        objects=objects,
        ap50=ap50,
        ap50_gain=gain,
        best=best_f1(matching),
        masks=masks,
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


def _states(matching: Matching, claims: Ints, shown: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return the state (m,) of each object: `_MISSED`, `_RIGHT` (found or claimed) or `_IGNORED` (crowd)."""
    objects, found = matching.objects, matching.detections
    states = np.full(len(objects.label), _MISSED, np.int8)
    states[_winners(matching, claims, shown) != UNMATCHED] = _RIGHT
    states[found.taken[shown & found.right]] = _RIGHT
    states[objects.crowd] = _IGNORED
    return states


def _gains(
    matching: Matching, kinds: NDArray[np.int8], claims: Ints, objects: Ints
) -> tuple[float, dict[Kind, float]]:
    """Return AP50, and its gain if the errors of one kind are corrected, as by TIDE's oracles.

    A localisation or classification error becomes right if its object is free and no better score claims it.
    All other detections of the kind are removed. Missed objects are removed from the objects.
    """
    found = matching.detections
    everything = np.ones(len(kinds), np.bool_)
    counted = kinds != _IGNORED

    def ap(keep: NDArray[np.bool_], labels: Ints, right: NDArray[np.bool_], to_find: Ints) -> float:
        values = average_precision(labels[keep], found.score[keep], right[keep], to_find)
        emptied = (objects > 0) & (to_find == 0)
        # Where all objects of a class were missed, only its false detections can do harm.
        if emptied.any():
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
    gain: dict[Kind, float] = {}
    for index, kind in enumerate(KINDS[:_MISSED]):
        corrected = wins & (kinds == index)
        labels = found.label.copy()
        labels[corrected] = matching.objects.label[claims[corrected]]
        keep = counted & ((kinds != index) | corrected)
        gain[kind] = max(0.0, ap(keep, labels, found.right | corrected, objects) - ap50)
    missed = matching.objects.label[_states(matching, claims, everything) == _MISSED]
    to_find = objects - np.bincount(missed, minlength=len(objects))
    gain[KINDS[_MISSED]] = max(0.0, ap(counted, found.label, found.right, to_find) - ap50)
    return ap50, gain


def _count(
    matching: Matching, kinds: NDArray[np.int8], states: NDArray[np.int8], shown: NDArray[np.bool_]
) -> Ints:
    """Return the number of errors (k, 6) by class and kind."""
    counts = np.zeros((len(matching.classes), len(KINDS)), np.int64)
    wrong = shown & (kinds >= 0)
    np.add.at(counts, (matching.detections.label[wrong], kinds[wrong]), 1)
    missed = states == _MISSED
    np.add.at(counts, (matching.objects.label[missed], _MISSED), 1)
    return counts


def _list(
    images: Sequence[ImageRecord],
    matching: Matching,
    kinds: NDArray[np.int8],
    states: NDArray[np.int8],
    shown: NDArray[np.bool_],
) -> list[Mistake]:
    """Return all errors, kind by kind, the worst first."""
    found, objects = matching.detections, matching.objects
    finder = np.full(len(objects.label), UNMATCHED)
    finder[found.taken[found.right]] = np.flatnonzero(found.right)
    mistakes = []
    for row in np.flatnonzero(shown & (kinds >= 0)).tolist():
        kind = int(kinds[row])
        own_class = kind in (_LOCALISATION, _DUPLICATE)
        if kind == _BACKGROUND:  # the object that it overlaps most, if any
            own_class = bool(found.own_iou[row] >= found.other_iou[row])
        nearest = int((found.own if own_class else found.other)[row])
        iou = float((found.own_iou if own_class else found.other_iou)[row])
        score = float(found.score[row])
        severity = {_LOCALISATION: score * (1 - iou), _CLASSIFICATION: score * iou}.get(kind, score)
        mistakes.append(
            Mistake(
                kind=KINDS[kind],
                image=int(found.image[row]),
                detection=int(found.place[row]),
                instance=None if nearest == UNMATCHED else int(objects.place[nearest]),
                label=int(found.label[row]),
                score=score,
                iou=iou,
                severity=severity,
                first=int(found.place[finder[nearest]]) if kind == _DUPLICATE else None,
            )
        )
    for row in np.flatnonzero(states == _MISSED).tolist():
        image, place = int(objects.image[row]), int(objects.place[row])
        share = _share_of_image(images[image], images[image].instances[place].box_xyxy)
        mistakes.append(Mistake("missed", image, None, place, int(objects.label[row]), None, 0.0, share**0.5))
    return sorted(mistakes, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.severity))


def _share_of_image(image: ImageRecord, box_xyxy: Sequence[float]) -> float:
    x1, y1, x2, y2 = box_xyxy
    return max(0.0, (x2 - x1) * (y2 - y1)) / max(1, image.width * image.height)


# ----------------------------------------------------------------------------------------------- worst images


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image and its errors of one kind, the worst first."""

    image: int
    mistakes: tuple[Mistake, ...]


def worst_images(
    mistakes: TideResult, most: int, kinds: Sequence[Kind] = KINDS
) -> dict[Kind, list[BadImage]]:
    """Return the worst images of each kind of error, the worst first.

    Images with missed objects are ranked by the sum of the severities, so by number and size. Others are
    ranked by the worst error, then by their number. Kinds without errors are left out. Neighbouring kinds do
    not show the same image next to each other if there is another one.

    Args:
        mistakes: result of `tide`.
        most: maximum number of images of each kind.
        kinds: kinds in the order in which they are shown.
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
    severities = [mistake.severity for mistake in bad.mistakes]
    missed = bad.mistakes[0].kind == "missed"
    return (sum(severities) if missed else max(severities)), len(severities)
