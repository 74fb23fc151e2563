"""Which class is taken for which: the confusion matrix of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.matching import UNMATCHED, Ints, match
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often objects of one class are found as another.

    Args:
        classes: names.
        counts: (k + 1, k + 1); rows are the annotated classes, then background; columns the detected classes,
            then missed. The last row counts detections where nothing is, the last column objects that
            nothing found; their common cell is 0.
        score: detections below it do not count.
    """

    classes: tuple[str, ...]
    counts: Ints
    score: float

    def confused(self) -> list[tuple[str, str, int, int]]:
        """Return pairs of classes, the commonest first: annotated, detected, how often, of how many."""
        between = self.counts[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        rows, columns = np.nonzero(between)
        order = np.argsort(-between[rows, columns], kind="stable")
        objects = self.counts[:-1].sum(axis=1)
        return [
            (self.classes[r], self.classes[c], int(between[r, c]), int(objects[r]))
            for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
        ]

    def most_confused(self, most: int) -> Confusion:
        """Return the matrix of the `most` classes with most mistakes, in their order; else the whole.

        TideResult between classes come first, then what is missed or found where nothing is. Rows and columns
        of other classes are left out.
        """
        if len(self.classes) <= most:
            return self
        between = self.counts[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        mixed = between.sum(axis=0) + between.sum(axis=1)
        other = self.counts[:-1, -1] + self.counts[-1, :-1]
        ranked = np.lexsort((np.arange(len(mixed)), -other, -mixed))
        kept = np.sort(ranked[:most])
        places = np.append(kept, len(self.classes))
        return Confusion(
            tuple(self.classes[k] for k in kept.tolist()), self.counts[np.ix_(places, places)], self.score
        )


def confusion_matrix(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
) -> Confusion:
    """Return how often each class is found as each other.

    Detections take objects by score, the best first, at an IoU of at least 0.5 whatever the classes; of
    objects in one place they take that of their class. Crowd regions are neither found nor missed, and what
    lies in one of its class is left out.

    Args:
        images: the annotated images.
        detections: what was found on each, parallel to `images`, matched to `classes` by name.
        classes: names that the labels of `images` index.
        score: the lowest score of detections that count.

    Raises:
        InputError: lengths differ, a label has no class, or the detector knows none of the classes.
    """
    matching = match(images, detections, classes, score=score, within_class=False)
    found, objects = matching.detections, matching.objects
    last = len(matching.classes)
    counts = np.zeros((last + 1, last + 1), np.int64)
    detected = np.full(len(objects.label), last)
    detected[found.taken[found.right]] = found.label[found.right]
    np.add.at(counts, (objects.label[~objects.crowd], detected[~objects.crowd]), 1)
    false = found.label[(found.taken == UNMATCHED) & ~found.ignored]
    counts[last, :last] = np.bincount(false, minlength=last)
    return Confusion(matching.classes, counts, score)
