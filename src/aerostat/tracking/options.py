"""Options of a tracker."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TypedDict

from aerostat.errors import InputError


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Thresholds of ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864).

    Args:
        high_score: detections from this score on are matched first, and may begin a track.
        low_score: detections from this score up to `high_score` may only continue a track.
        new_score: minimum score of a detection that begins a track; None is `high_score` + 0.1.
        high_iou: minimum IoU of a predicted box and a detection, times its score, in the first association.
        low_iou: minimum IoU in the second association, with weak detections.
        tentative_iou: minimum IoU, times the score, with a track that is not confirmed yet.
        confirm_frames: detections in consecutive frames that confirm a track, 1 for at once. Tracks of the
            first frame are confirmed at once.
        lost_frames: frames for which a track without detections is kept, where times are not known.
        lost_s: seconds for which it is kept, where times are known: 30 frames of 30 a second, as published.
            The next frame may still find it.

    Raises:
        InputError: a value is outside of its range, or the scores are not in order.
    """

    high_score: float = 0.3
    low_score: float = 0.1
    new_score: float | None = None
    high_iou: float = 0.2
    low_iou: float = 0.5
    tentative_iou: float = 0.3
    confirm_frames: int = 2
    lost_frames: int = 30
    lost_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name.endswith("frames"):
                least = 1 if field.name == "confirm_frames" else 0
                if value != int(value) or value < least:
                    raise InputError(
                        f"Expected `{field.name}` as a whole number from {least} on, found {value}."
                    )
            elif field.name == "lost_s":
                if not 0 <= value < math.inf:
                    raise InputError(f"Expected `lost_s` as a finite number from 0 on, found {value}.")
            elif not (math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"Expected `{field.name}` from 0 to 1, found {value}.")
        if not self.low_score <= self.high_score <= self.start_score:
            raise InputError(
                "Expected `low_score`, `high_score` and `new_score` in rising order, found "
                f"{self.low_score}, {self.high_score} and {self.start_score}."
            )

    @property
    def start_score(self) -> float:
        """Minimum score of a detection that begins a track."""
        return min(self.high_score + 0.1, 1.0) if self.new_score is None else self.new_score


class TrackerArguments(TypedDict, total=False):
    """Keyword arguments that make a `TrackerOptions`, which describes them."""

    high_score: float
    low_score: float
    new_score: float | None
    high_iou: float
    low_iou: float
    tentative_iou: float
    confirm_frames: int
    lost_frames: int
    lost_s: float
