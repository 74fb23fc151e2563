"""Confusion matrix of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.matching import UNMATCHED, Ints, match
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections
from aerostat.text import counted, html_table


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Numbers of objects by annotated and detected class.

    Args:
        classes: class names.
        counts: (k + 1, k + 1); rows are the annotated classes, then background; columns are the detected
            classes, then missed. The last row counts detections without an object, the last column objects
            without a detection; their common cell is 0.
        score: minimum score of the detections.
    """

    classes: tuple[str, ...]
    counts: Ints
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return the matrix as JSON values."""
        return {"classes": list(self.classes), "counts": self.counts.tolist(), "score": self.score}

    def __repr__(self) -> str:
        """Return the matrix in one line."""
        confused = int(self.counts[:-1, :-1].sum() - np.trace(self.counts[:-1, :-1]))
        classes = counted(len(self.classes), "class", "classes")
        return f"Confusion({classes}, {counted(confused, 'object')} found as another class)"

    def _repr_html_(self) -> str:
        """Return the matrix for a notebook."""
        names = (*self.classes, "background")
        rows = [(name, *row) for name, row in zip(names, self.counts.tolist(), strict=True)]
        caption = f"Annotated (rows) and detected (columns) at a score of {self.score:g} or more"
        return html_table(("", *self.classes, "missed"), rows, caption)

    def confused(self) -> list[tuple[str, str, int, int]]:
        """Return the confused pairs, the commonest first: annotated, detected, number, objects."""
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
        """Return the matrix of at most `most` classes, those with the most errors, in their order.

        Confusion between classes counts first, then missed objects and false detections. Rows and columns of
        other classes are left out.
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
    """Return the confusion matrix of detections.

    Detections take objects by score, the best first, at an IoU of at least 0.5, whatever the classes. Of two
    objects in one place a detection takes that of its class. Crowd regions are left out, and so are
    detections in a crowd region of their class.

    Args:
        images: annotated images.
        detections: detections on each image; their classes are matched by name.
        classes: names that the labels of `images` index.
        score: minimum score of the detections.

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
