"""Parity of two detectors: do they give the same detections on the same photographs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import pairwise_iou
from aerostat.results.detections import Detections
from aerostat.text import counted

SCORE = 0.05
"""Detections with a higher score are compared; below it rounding decides which ones there are."""
BOX_TOLERANCE, SCORE_TOLERANCE = 0.5, 0.005
"""Largest difference of a corner in pixels of the photograph, and of a score, that is still rounding."""
MASK_IOU, MASK_PIXELS = 0.9, 256
"""Smallest IoU of two masks that is still rounding, and pixels below which a single one decides."""
SAME_PLACE = 0.5
"""IoU from which two detections of one class count as the same object."""


@dataclass(frozen=True)
class Parity:
    """How far two detectors give the same detections.

    Args:
        images: photographs compared on.
        detections: of the reference, above `score`.
        found_again: of these, that the other detector has in the same place and class.
        extra: of the other detector, clearly above it, without a partner.
        box_difference: largest difference of a corner in pixels of the photograph, among pairs.
        score_difference: largest difference of the scores, among pairs.
        mask_iou: smallest IoU of the masks of a pair, of masks of at least `MASK_PIXELS`; None without masks.
        score: above which detections were compared.

    Example:
        >>> parity = Parity(1, detections=5, found_again=4, extra=0, box_difference=0, score_difference=0)
        >>> parity.same
        False
    """

    images: int
    detections: int
    found_again: int
    extra: int
    box_difference: float
    score_difference: float
    mask_iou: float | None = None
    score: float = SCORE

    @property
    def same(self) -> bool:
        """Whether all differences are rounding."""
        return (
            self.found_again == self.detections
            and not self.extra
            and self.box_difference <= BOX_TOLERANCE
            and self.score_difference <= SCORE_TOLERANCE
            and (self.mask_iou is None or self.mask_iou >= MASK_IOU)
        )

    def describe(self) -> str:
        """Return the figures as a clause."""
        text = f"on {counted(self.images, 'photograph')} {self.found_again} of "
        text += f"{counted(self.detections, 'detection')} above {self.score:g} found again"
        if self.found_again:
            text += f", boxes within {_shown(self.box_difference)} px, scores within "
            text += _shown(self.score_difference)
            if self.mask_iou is not None:
                text += f", IoU of masks at least {self.mask_iou:.3f}"
        return text + (f", {self.extra} more" if self.extra else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "images": self.images,
            "detections": self.detections,
            "found_again": self.found_again,
            "extra": self.extra,
            "box_difference": self.box_difference,
            "score_difference": self.score_difference,
            **({} if self.mask_iou is None else {"mask_iou": self.mask_iou}),
            "same": self.same,
        }


class Predictor(Protocol):
    """What detects: a `Detector`, or a client of a file of another layout."""

    @property
    def has_masks(self) -> bool:
        """Whether the detections have masks."""

    def predict(
        self, image_bgr: NDArray[np.uint8], /, *, score: float, nms_iou: float = ..., slices: Literal["off"]
    ) -> Detections:
        """Return the detections on an image (H, W, 3) uint8 BGR above a score, not looked at by windows."""


def compare(
    reference: Predictor,
    other: Predictor,
    images_bgr: Sequence[NDArray[np.uint8]],
    *,
    score: float = SCORE,
    nms_iou: float | None = None,
) -> Parity:
    """Return the parity of two detectors on photographs (H, W, 3) uint8 BGR.

    Args:
        reference, other: the detectors.
        images_bgr: photographs.
        score: detections of the reference above it are looked for.
        nms_iou: of both suppressions; None takes the default.
    """
    at_most: dict[str, float] = {} if nms_iou is None else {"nms_iou": nms_iou}
    total = again = extra = 0
    masks = reference.has_masks and other.has_masks
    box = off = 0.0
    mask_ious: list[float] = []
    for image_bgr in images_bgr:
        # The other threshold is lower, so that rounding of a score at the threshold loses no partner.
        ours = reference.predict(image_bgr, score=score, slices="off", **at_most)
        low = other.predict(image_bgr, score=score - SCORE_TOLERANCE, slices="off", **at_most)
        pairs = _pairs(ours, low)
        total, again = total + len(ours), again + len(pairs)
        for mine, theirs in pairs:
            box = max(box, float(np.abs(ours.boxes_xyxy[mine] - low.boxes_xyxy[theirs]).max()))
            off = max(off, float(abs(ours.scores[mine] - low.scores[theirs])))
        mask_ious += _mask_ious(ours, low, pairs)
        taken = {theirs for _, theirs in pairs}
        extra += sum(
            float(low.scores[i]) > score + SCORE_TOLERANCE for i in range(len(low)) if i not in taken
        )
    return Parity(
        len(images_bgr), total, again, extra, box, off, min(mask_ious, default=1.0) if masks else None
    )


def _mask_ious(ours: Detections, theirs: Detections, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Return the IoU of the masks of each pair, without masks of a few pixels."""
    if ours.masks is None or theirs.masks is None or not pairs:
        return []
    mine, other = (np.asarray(rows) for rows in zip(*pairs, strict=True))
    large = (ours.masks.area()[mine] >= MASK_PIXELS) | (theirs.masks.area()[other] >= MASK_PIXELS)
    return [
        float(ours.masks[[a]].iou(theirs.masks[[b]])[0, 0])
        for a, b in zip(mine[large].tolist(), other[large].tolist(), strict=True)
    ]


def _pairs(ours: Detections, theirs: Detections) -> list[tuple[int, int]]:
    """Return index pairs of one class and place; by falling score each takes the partner of best IoU."""
    overlap = pairwise_iou(ours.boxes_xyxy, theirs.boxes_xyxy)
    overlap[ours.labels[:, None] != theirs.labels[None, :]] = 0
    pairs = []
    for mine in np.argsort(-ours.scores, kind="stable").tolist():
        if len(theirs) and overlap[mine].max() >= SAME_PLACE:
            best = int(overlap[mine].argmax())
            pairs.append((mine, best))
            overlap[:, best] = 0
    return pairs


def _shown(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "0.0001"
