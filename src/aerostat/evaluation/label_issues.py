"""Label issues: annotations that a detector contradicts, and objects without an annotation.

A detector that has learned from an image may have learned its labels by heart. Where it contradicts them
all the same, the label is worth a second look (see Northcutt et al., Confident Learning, 2021, for classes).
The detector may be wrong. A person decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from aerostat.datasets.clip import box_area
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.matching import match
from aerostat.geometry.boxes import pairwise_iou
from aerostat.results.detections import Detections

Kind = Literal["unlabelled", "class", "unseen"]
KIND_TEXTS: dict[Kind, str] = {
    "unlabelled": "found with certainty where nothing is annotated",
    "class": "found as another class",
    "unseen": "annotated and not found",
}
"""Each kind in words."""

SURE_SCORE = 0.6
"""Minimum score at which a detection may contradict a label."""
APART_IOU = 0.1
"""Below this IoU a detection and an annotated object have nothing to do with each other."""
SAME_IOU = 0.5
"""From this IoU on a detection and an object are about the same thing."""
GLIMPSE_SCORE = 0.05
"""Minimum score of a detection that saves an object near it from being unseen, whatever its class."""
NEAR_IOU = 0.3
"""Minimum IoU of such a detection with the object."""


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """One annotation that the detector contradicts, or one place where an annotation may be missing.

    Args:
        file_name: name of the image.
        kind: ``unlabelled``: a sure detection where nothing is annotated; ``class``: a sure detection of
            another class; ``unseen``: an annotated object without a detection.
        box_xyxy: box of the detection, or of the object that is unseen, in pixels of the image.
        detected: class of the detection; None for unseen objects.
        annotated: class of the object; None for unlabelled ones.
        score: score of the detection; 0 for unseen objects.
        instance: index of the object on its image; None for unlabelled ones.
    """

    file_name: str
    kind: Kind
    box_xyxy: tuple[float, float, float, float]
    detected: str | None
    annotated: str | None
    score: float
    instance: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the issue as JSON values; the class of the detection is called ``found`` there."""
        return {("found" if name == "detected" else name): value for name, value in asdict(self).items()}


def find_label_issues(
    images: Sequence[ImageRecord], detections: Sequence[Detections], classes: Sequence[str]
) -> list[LabelIssue]:
    """Return the labels that a detector contradicts, the surest first, then unseen objects by size.

    Args:
        images: images that the detector has learned from.
        detections: its detections on each image with scores from `GLIMPSE_SCORE` on.
        classes: names that the labels of `images` index.
    """
    matching = match(images, detections, classes)
    found, objects = matching.detections, matching.objects
    sure = ~found.right & ~found.ignored & (found.score >= np.float32(SURE_SCORE))
    unlabelled = sure & (found.own_iou < APART_IOU) & (found.other_iou < APART_IOU)
    # The best score with which each object is found in its class: it outweighs a weaker contradiction.
    confirmed = np.zeros(len(objects.image), np.float32)
    np.maximum.at(confirmed, found.taken[found.right], found.score[found.right])
    mistaken = sure & (found.other_iou >= SAME_IOU) & (found.own_iou < SAME_IOU)
    mistaken[mistaken] = confirmed[found.other[mistaken]] < found.score[mistaken]
    issues: list[LabelIssue] = []
    for row in np.flatnonzero(unlabelled | mistaken).tolist():
        image, other = images[int(found.image[row])], int(found.other[row])
        box = detections[int(found.image[row])].boxes_xyxy[int(found.place[row])]
        x1, y1, x2, y2 = box.tolist()
        issues.append(
            LabelIssue(
                file_name=image.file_name,
                kind="class" if mistaken[row] else "unlabelled",
                box_xyxy=(x1, y1, x2, y2),
                detected=classes[int(found.label[row])],
                annotated=classes[int(objects.label[other])] if mistaken[row] else None,
                score=float(found.score[row]),
                instance=int(objects.place[other]) if mistaken[row] else None,
            )
        )
    issues.sort(key=lambda issue: -issue.score)
    unseen = [
        LabelIssue(image.file_name, "unseen", instance.box_xyxy, None, classes[instance.label], 0.0, place)
        for image, detected in zip(images, detections, strict=True)
        for place, instance in _unseen(image, detected)
    ]
    unseen.sort(key=lambda d: -box_area(d.box_xyxy))
    return issues + unseen


def _unseen(image: ImageRecord, detected: Detections) -> Iterator[tuple[int, Instance]]:
    """Yield place and object where no detection, whatever its class, overlaps the object enough."""
    glimpsed = detected.boxes_xyxy[detected.scores >= np.float32(GLIMPSE_SCORE)]
    overlaps = pairwise_iou(image.boxes_xyxy(crowd=True), glimpsed)
    near = np.any(overlaps >= NEAR_IOU, axis=1).tolist()
    for place, instance in enumerate(image.instances):
        if not near[place] and not instance.crowd:
            yield place, instance
