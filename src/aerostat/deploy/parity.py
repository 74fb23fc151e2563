"""Do two detectors say the same of the same photographs? What an export has to prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import pairwise_iou
from aerostat.inference.detector import Detector
from aerostat.results.detections import Detections
from aerostat.text import counted

SCORE = 0.05
"""Detections above this are compared: what nobody would show as well as what everybody would."""
BOX_TOLERANCE, SCORE_TOLERANCE = 0.5, 0.005
"""In pixels of the photograph, and of the score: rounding of another runtime stays far below."""
SAME_PLACE = 0.5
"""IoU from which two detections of a class are of the same thing."""


@dataclass(frozen=True)
class Agreement:
    """What two detectors have in common.

    Args:
        images: photographs that both were shown.
        detections: of the reference, above the score.
        found_again: of these, by the other in the same place and of the same class.
        extra: of the other, clearly above the score, where the reference has none.
        box_difference: largest difference of a corner among those found again, in pixels of the photograph.
        score_difference: largest difference of their scores.
    """

    images: int
    detections: int
    found_again: int
    extra: int
    box_difference: float
    score_difference: float

    @property
    def same(self) -> bool:
        """Whether nothing differs beyond rounding."""
        return (
            self.found_again == self.detections
            and not self.extra
            and self.box_difference <= BOX_TOLERANCE
            and self.score_difference <= SCORE_TOLERANCE
        )

    def describe(self) -> str:
        """Return a sentence."""
        text = f"on {counted(self.images, 'photograph')} {self.found_again} of "
        text += f"{counted(self.detections, 'detection')} above {SCORE:g} found again"
        if self.found_again:
            text += f", boxes within {_shown(self.box_difference)} px, scores within "
            text += _shown(self.score_difference)
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
            "same": self.same,
        }


def compare(reference: Detector, other: Detector, images_bgr: Sequence[NDArray[np.uint8]]) -> Agreement:
    """Return what two detectors have in common on photographs (H, W, 3) uint8 BGR."""
    total = again = extra = 0
    box = score = 0.0
    for image_bgr in images_bgr:
        # The other's threshold is a little off, so that a score at the threshold is on nobody's edge.
        ours = reference.predict(image_bgr, score=SCORE)
        low = other.predict(image_bgr, score=SCORE - SCORE_TOLERANCE)
        pairs = _pairs(ours, low)
        total, again = total + len(ours), again + len(pairs)
        for mine, theirs in pairs:
            box = max(box, float(np.abs(ours.boxes_xyxy[mine] - low.boxes_xyxy[theirs]).max()))
            score = max(score, float(abs(ours.scores[mine] - low.scores[theirs])))
        taken = {theirs for _, theirs in pairs}
        extra += sum(
            float(low.scores[i]) > SCORE + SCORE_TOLERANCE for i in range(len(low)) if i not in taken
        )
    return Agreement(len(images_bgr), total, again, extra, box, score)


def _pairs(ours: Detections, theirs: Detections) -> list[tuple[int, int]]:
    """Pair detections of one class and place, the best overlap of our best score first."""
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
