"""Annotations that a detector confidently disputes: where to look for labels that are wrong or missing.

A detector that has learned from an image and still contradicts its labels is worth listening to: over few
images it could have learned them by heart (see Northcutt et al., Confident Learning, 2021, for classes). It
may well be the detector that is wrong; whoever annotated decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aerostat.datasets.clip import box_area
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.matching import match
from aerostat.geometry.boxes import pairwise_iou
from aerostat.results.detections import Detections

Kind = Literal["unlabelled", "class", "unseen"]
SAID: dict[Kind, str] = {
    "unlabelled": "found with certainty where nothing is annotated",
    "class": "found as another class",
    "unseen": "annotated and not found",
}
"""Each kind in words."""

SURE = 0.6
"""Score from which on a detection is taken at its word."""
APART = 0.1
"""Overlap below which a detection is about none of the annotated objects."""
SAME = 0.5
"""Overlap from which on detection and object are about the same thing."""
GLIMPSE = 0.05
"""An object is unseen if nothing overlaps it by `NEAR` with at least this score, whatever its class."""
NEAR = 0.3


@dataclass(frozen=True, slots=True)
class Dispute:
    """One annotation, or one place without, that the detector sees otherwise.

    Args:
        file_name: of the image.
        kind: ``unlabelled``: found with certainty where nothing is annotated; ``class``: found with certainty
            as another class; ``unseen``: annotated, and not found at all.
        box_xyxy: of the detection, or of the object that is unseen, in pixels of the image.
        found: class that was found; None for unseen objects.
        annotated: class of the object; None for unlabelled ones.
        score: of the detection, 0 for unseen objects.
        instance: index of the object on its image; None for unlabelled ones.
    """

    file_name: str
    kind: Kind
    box_xyxy: tuple[float, float, float, float]
    found: str | None
    annotated: str | None
    score: float
    instance: int | None = None


def disputes(
    images: Sequence[ImageRecord], detections: Sequence[Detections], classes: Sequence[str]
) -> list[Dispute]:
    """Return what a detector disputes, the surest first, unseen objects from the largest on after these.

    Args:
        images: that it has learned from.
        detections: what it finds on each at any score from `GLIMPSE` on.
        classes: names that the labels of `images` index.
    """
    matching = match(images, detections, classes)
    found, objects = matching.found, matching.objects
    sure = ~found.right & ~found.ignored & (found.score >= np.float32(SURE))
    unlabelled = sure & (found.own_iou < APART) & (found.other_iou < APART)
    confirmed = np.zeros(len(objects.image), np.float32)  # the best score that an object is found with
    np.maximum.at(confirmed, found.taken[found.right], found.score[found.right])
    mistaken = sure & (found.other_iou >= SAME) & (found.own_iou < SAME)
    mistaken[mistaken] = confirmed[found.other[mistaken]] < found.score[mistaken]
    disputed: list[Dispute] = []
    for row in np.flatnonzero(unlabelled | mistaken).tolist():
        image, other = images[int(found.image[row])], int(found.other[row])
        box = detections[int(found.image[row])].boxes_xyxy[int(found.place[row])]
        x1, y1, x2, y2 = box.tolist()
        disputed.append(
            Dispute(
                file_name=image.file_name,
                kind="class" if mistaken[row] else "unlabelled",
                box_xyxy=(x1, y1, x2, y2),
                found=classes[int(found.label[row])],
                annotated=classes[int(objects.label[other])] if mistaken[row] else None,
                score=float(found.score[row]),
                instance=int(objects.place[other]) if mistaken[row] else None,
            )
        )
    disputed.sort(key=lambda dispute: -dispute.score)
    unseen = [
        Dispute(image.file_name, "unseen", instance.box_xyxy, None, classes[instance.label], 0.0, place)
        for image, detected in zip(images, detections, strict=True)
        for place, instance in _unseen(image, detected)
    ]
    unseen.sort(key=lambda d: -box_area(d.box_xyxy))
    return disputed + unseen


def _unseen(image: ImageRecord, detected: Detections) -> Iterator[tuple[int, Instance]]:
    """Yield the objects, with their places, that no detection of any class overlaps enough."""
    glimpsed = detected.boxes_xyxy[detected.scores >= np.float32(GLIMPSE)]
    overlaps = pairwise_iou(image.boxes_xyxy(crowd=True), glimpsed)
    near = np.any(overlaps >= NEAR, axis=1).tolist()
    for place, instance in enumerate(image.instances):
        if not near[place] and not instance.crowd:
            yield place, instance
