"""Tracking between a detector and its sinks: each moving source has a tracker, a table and counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.images.frame import Frame
from aerostat.inference.clip_sources import Chain
from aerostat.inference.options import SHOW_SCORE, PredictArguments
from aerostat.inference.sinks import Sink, stop_sinks
from aerostat.results.detections import Detections
from aerostat.tracking.assignment import require_solver
from aerostat.tracking.options import TrackerOptions
from aerostat.tracking.overlay import Overlay, Trails
from aerostat.tracking.track_log import LogOptions, TrackLog
from aerostat.tracking.tracker import Tracker

TABLE = "{}-tracks.csv"
"""Name of the table of tracks of a source."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """What is asked of tracking.

    Args:
        tracker: thresholds; the score that is asked of a prediction takes the place of `high_score`.
        log: lines and zones.
        trail_frames: frames for which trails are drawn.
    """

    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    log: LogOptions = field(default_factory=LogOptions)
    trail_frames: int = 30

    def check(self, source: Chain) -> None:
        """Refuse what cannot be tracked.

        Raises:
            InputError: there are photographs among the sources, or the package lap is not installed.
        """
        require_solver()
        if source.photographs:
            raise InputError(
                "Expected clips, cameras or streams alone for `track`, found photographs among them: predict "
                "on these apart."
            )

    def with_score(self, options: PredictArguments) -> tuple[Tracking, PredictArguments]:
        """Return the tracking and the prediction for a score: weak detections are for the tracker."""
        score = options.get("score", SHOW_SCORE)
        low = min(self.tracker.low_score, score)
        thresholds = replace(self.tracker, high_score=score, low_score=low)
        asked: Any = {**options, "score": low}
        return replace(self, tracker=thresholds), asked


class ClipTracks:
    """The tracks of one source after the other.

    Args:
        tracking: what is asked.
        folder: for the tables of tracks; None writes none.
    """

    def __init__(self, tracking: Tracking, folder: Path | None) -> None:
        self.tracking, self.folder = tracking, folder
        self.logs: dict[str, TrackLog] = {}
        self.files: list[Path] = []
        self._name: str | None = None
        self._table = Path()
        self._overlay = Overlay()

    def update(self, frame: Frame, detections: Detections) -> Detections:
        """Return the tracked detections of the next frame.

        Raises:
            InputError: a line or a zone is outside of the picture.
        """
        assert frame.clip is not None  # `Tracking.check` refuses photographs
        if frame.clip.name != self._name:
            self.finish()
            self._name = frame.clip.name
            self._table = Path(TABLE.format(frame.clip.stem))
            self._tracker = Tracker(self.tracking.tracker)
            self._trails = Trails(self.tracking.trail_frames, self.tracking.log.anchor)
            self.logs[self._name] = TrackLog(self.tracking.log)
        log = self.logs[frame.clip.name]
        tracked = self._tracker.update(detections, frame.time_s)
        log.update(tracked, frame.index, frame.time_s)
        self._trails.update(tracked)
        self._overlay = self._trails.overlay(log)
        return tracked

    def paint(self, frame: Frame, detections: Detections) -> Callable[[], NDArray[np.uint8]]:
        """Return what draws the last frame, also when later ones have come."""
        overlay = self._overlay
        return lambda: overlay.draw(frame.read(), detections)

    def finish(self) -> None:
        """Write the table of the last source."""
        log = None if self._name is None else self.logs[self._name]
        if log is not None and log.frame >= 0 and self.folder is not None:
            self.files.append(log.save(self.folder / self._table))
        self._name = None


class TrackSink:
    """Hands the tracked detections of each frame on to other sinks.

    Args:
        tracks: of the sources.
        sinks: get every frame with its tracked detections.
    """

    def __init__(self, tracks: ClipTracks, sinks: Sequence[Sink]) -> None:
        self.tracks, self.sinks = tracks, sinks

    def write(self, frame: Frame, detections: Detections) -> None:
        """Track, and hand on."""
        tracked = self.tracks.update(frame, detections)
        for sink in self.sinks:
            sink.write(frame, tracked)

    def close(self) -> None:
        """Write the table of the last source, and close the sinks."""
        for sink in self.sinks:
            sink.close()
        self.tracks.finish()

    def stop(self) -> None:
        """Keep what there is so far, as the sinks do."""
        stop_sinks(self.sinks)
        self.tracks.finish()
