"""Masks of detections that find an object by their box: how well each covers the object's mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as mask_tools

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.coco_protocol import UNDEFINED
from aerostat.evaluation.matching import Ints, Matching, match
from aerostat.evaluation.object_masks import masks_of, object_masks
from aerostat.geometry.boxes import pairwise_iou
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections
from aerostat.text import counted

POOR_IOU = 0.75
"""Below this IoU with the object's mask a mask is poor: the object counts in AP50, but not in AP75."""


@dataclass(frozen=True, slots=True)
class MaskPair:
    """A detection and the object that it finds by its box.

    Args:
        image: index into the images.
        detection: index into the detections of the image.
        instance: index into the instances of the image.
        label: class index of both.
        score: score of the detection.
        box_iou: IoU of the boxes, 0.5 or more.
        mask_iou: IoU of the masks.
    """

    image: int
    detection: int
    instance: int
    label: int
    score: float
    box_iou: float
    mask_iou: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MaskQuality:
    """Masks of the detections that find an object by their box.

    Args:
        score: minimum score of the detections.
        pairs: detections with their objects, the lowest IoU of masks first.
    """

    score: float
    pairs: tuple[MaskPair, ...]

    @property
    def mean_iou(self) -> float:
        """The mean IoU of the masks, -1 without any."""
        return float(np.mean([pair.mask_iou for pair in self.pairs])) if self.pairs else UNDEFINED

    @property
    def poor(self) -> tuple[MaskPair, ...]:
        """The pairs whose masks have an IoU below `POOR_IOU`, the lowest first."""
        return tuple(pair for pair in self.pairs if pair.mask_iou < POOR_IOU)

    def to_dict(self) -> dict[str, Any]:
        """Return the pairs as JSON values; an undefined mean is None."""
        return {
            "score": self.score,
            "mean_iou": self.mean_iou if self.pairs else None,
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def __repr__(self) -> str:
        """Return the result in one line."""
        mean = f", mean IoU {self.mean_iou:.3f}" if self.pairs else ""
        return f"MaskQuality({counted(len(self.pairs), 'mask')}{mean}, {len(self.poor)} below {POOR_IOU:g})"


def mask_quality(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    score: float = SHOW_SCORE,
) -> MaskQuality:
    """Return the IoU of the masks of each detection that finds an object by its box.

    Detections and objects are matched by their boxes, as in COCO at IoU 0.5. So a low value is the fault of the
    mask alone. Objects without a mask are left out.

    Args:
        images: annotated images.
        detections: detections with masks on each image; their classes are matched by name.
        classes: names that the labels of `images` index.
        score: minimum score of the detections.

    Raises:
        InputError: as for `aerostat.evaluation.matching.match`.
    """
    matching = match(images, detections, classes, score=score)
    right = np.flatnonzero(matching.detections.right)
    by_image = right[np.argsort(matching.detections.image[right], kind="stable")]
    starts = np.flatnonzero(np.diff(matching.detections.image[by_image], prepend=-1))
    pairs = [
        pair
        for rows in np.split(by_image, starts[1:])
        if len(rows)
        for pair in _pairs_of_image(images, detections, matching, rows)
    ]
    return MaskQuality(score, tuple(sorted(pairs, key=lambda pair: (pair.mask_iou, -pair.score))))


def _pairs_of_image(
    images: Sequence[ImageRecord], detections: Sequence[Detections], matching: Matching, rows: Ints
) -> Iterator[MaskPair]:
    """Yield the pairs of one image, given the rows of its right detections in the matching."""
    found, objects = matching.detections, matching.objects
    index = int(found.image[rows[0]])
    image, detected = images[index], detections[index]
    drawn = object_masks(image)
    masks = masks_of(image, detected)[found.place[rows]].to_coco()
    for row, mask in zip(rows.tolist(), masks, strict=True):
        place, instance = int(found.place[row]), int(objects.place[found.taken[row]])
        if not drawn.own[instance]:
            continue
        boxes = detected.boxes_xyxy[place : place + 1], image.instances.boxes_xyxy[instance : instance + 1]
        yield MaskPair(
            image=index,
            detection=place,
            instance=instance,
            label=int(found.label[row]),
            score=float(found.score[row]),
            box_iou=float(pairwise_iou(boxes[0].astype(np.float64), boxes[1])[0, 0]),
            mask_iou=float(np.asarray(mask_tools.iou([mask], [drawn.rles[instance]], [0]))[0, 0]),
        )
