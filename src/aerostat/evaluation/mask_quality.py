"""How well masks fit where boxes find their objects: the IoU of masks of matched pairs, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.matching import Ints, Matching, match
from aerostat.evaluation.object_masks import mask_iou, masks_of, object_masks
from aerostat.geometry.boxes import pairwise_iou
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections

POOR_IOU = 0.75
"""A mask with a smaller IoU is poor: it counts for AP50, but not for AP75."""


@dataclass(frozen=True, slots=True)
class MaskPair:
    """A detection that finds an object by its box, and how well its mask fits.

    Args:
        image: index into the images.
        detection: index into the detections of the image.
        instance: index into the instances of the image.
        label: class index of both.
        score: score of the detection.
        box_iou: IoU of the boxes, at least 0.5.
        mask_iou: IoU of the masks.
    """

    image: int
    detection: int
    instance: int
    label: int
    score: float
    box_iou: float
    mask_iou: float

    @property
    def severity(self) -> float:
        """Rank among the pairs, larger is worse: the score times 1 - IoU, as for localisation errors."""
        return self.score * (1 - self.mask_iou)

    @property
    def poor(self) -> bool:
        """Whether the mask fits worse than `POOR_IOU`."""
        return self.mask_iou < POOR_IOU


def mask_pairs(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
) -> list[MaskPair]:
    """Return the pairs of detection and object that match by their boxes, the worst mask first.

    A low IoU is therefore the fault of the mask alone. Objects without a mask are left out.

    Args:
        images: annotated images.
        detections: detections on each image, with masks; their classes are matched by name.
        classes: names that the labels of `images` index.
        score: minimum score of the detections.

    Raises:
        InputError: lengths differ, a label has no class, the detector knows none of the classes, or
            detections have no masks.
    """
    matching = match(images, detections, classes, score=score)
    right = np.flatnonzero(matching.detections.right)
    image = matching.detections.image[right]  # the rows of an image stand together
    begins = np.flatnonzero(np.diff(image, prepend=-1))
    pairs = [
        pair
        for rows in np.split(right, begins[1:])
        if len(rows)
        for pair in _pairs_of_image(images, detections, matching, rows)
    ]
    return sorted(pairs, key=lambda pair: -pair.severity)


def _pairs_of_image(
    images: Sequence[ImageRecord], detections: Sequence[Detections], matching: Matching, rows: Ints
) -> Iterator[MaskPair]:
    """Yield the pairs of the right detections of one image, given their rows in the matching."""
    found, objects = matching.detections, matching.objects
    index = int(found.image[rows[0]])
    image, detected = images[index], detections[index]
    annotated = object_masks(image)
    masks = masks_of(image, detected)[found.place[rows]].to_coco()
    for row, mask in zip(rows.tolist(), masks, strict=True):
        place, instance = int(found.place[row]), int(objects.place[found.taken[row]])
        if not annotated.own[instance]:
            continue
        box = detected.boxes_xyxy[place : place + 1].astype(np.float64)
        yield MaskPair(
            image=index,
            detection=place,
            instance=instance,
            label=int(found.label[row]),
            score=float(found.score[row]),
            box_iou=float(pairwise_iou(box, image.instances.boxes_xyxy[instance : instance + 1])[0, 0]),
            mask_iou=float(mask_iou([mask], [annotated.rles[instance]], np.zeros(1, np.bool_))[0, 0]),
        )
