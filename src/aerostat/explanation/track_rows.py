"""Rows about the maps of tracks: as CSV or JSON Lines, and the means over a clip."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from aerostat.explanation.along_tracks import TrackMap, gain
from aerostat.explanation.faithfulness import Measures
from aerostat.images.frame import Frame
from aerostat.results.detections import Detections
from aerostat.results.io import readable

MapForm = Literal["csv", "jsonl"]
MEASURED = ("carried", "full", "bell")
"""What is measured on a frame, in the order of the columns."""
MEASURES = ("inside", "deletion", "insertion")
COLUMNS = (
    *("file", "frame", "time_s", "track_id", "class", "score", "x1", "y1", "x2", "y2"),
    *("map", "reason", "source_frame", "age", "likeness"),
    *(f"{name}_{measure}" for name in MEASURED for measure in MEASURES),
)
"""Names of the columns; those of measures are empty on frames that were not measured."""
DECIMALS = 4


def row_of(frame: Frame, one: TrackMap) -> dict[str, Any]:
    """Return the values of one map under `COLUMNS`; None for what is not known."""
    detection, measured = one.detection, one.measures
    found = {name: None if measured is None else getattr(measured, name) for name in MEASURED}
    return {
        "file": readable(frame.location),
        "frame": frame.index,
        "time_s": frame.time_s,
        "track_id": detection.track_id,
        "class": detection.name,
        "score": _short(detection.score),
        **dict(zip(("x1", "y1", "x2", "y2"), (round(v, 2) for v in detection.box_xyxy), strict=True)),
        "map": "carried" if one.is_carried else "full",
        "reason": one.reason,
        "source_frame": one.source_frame,
        "age": one.age,
        "likeness": _short(one.likeness),
        **{
            f"{name}_{key}": value
            for name, measures in found.items()
            for key, value in zip(MEASURES, _values(measures), strict=True)
        },
    }


class MapRows:
    """The rows of the maps of each frame, for a `RowSink`.

    Args:
        form: of the file.
        maps: returns the maps of the frame that is being written.
    """

    def __init__(self, form: MapForm, maps: Callable[[], Sequence[TrackMap]]) -> None:
        self._form, self._maps = form, maps

    def begin(self, frame: Frame, detections: Detections) -> bytes:
        """Return the line of column names of CSV."""
        return _csv([COLUMNS]) if self._form == "csv" else b""

    def rows(self, frame: Frame, detections: Detections) -> bytes:
        """Return a row for each map of a frame."""
        rows = [row_of(frame, one) for one in self._maps()]
        if self._form == "csv":
            return _csv([["" if value is None else value for value in row.values()] for row in rows])
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)

    def end(self) -> bytes:
        """Return nothing."""
        return b""


@dataclass(slots=True)
class MapSummary:
    """What is known of the maps of one clip, without keeping them.

    Args:
        maps: number of maps.
        carried: number of those that were carried on.
        reasons: number of full maps by the reason why they were made.
        measured: measurements of frames with a carried map: (inside, deletion, insertion) of the carried map,
            the full map and the Gaussian, as sums.
        count: number of these measurements.
        worse: number of them in which the full map has more insertion minus deletion.
    """

    maps: int
    carried: int
    reasons: dict[str, int]
    measured: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    count: int = 0
    worse: int = 0

    @classmethod
    def empty(cls) -> MapSummary:
        """Return the summary of a clip without maps."""
        return cls(0, 0, {}, np.zeros((len(MEASURED), len(MEASURES))))

    def add(self, maps: Sequence[TrackMap]) -> None:
        """Take the maps of one frame in."""
        for one in maps:
            self.maps += 1
            self.carried += one.is_carried
            if one.reason is not None:
                self.reasons[one.reason] = self.reasons.get(one.reason, 0) + 1
            measures = one.measures
            if measures is not None and measures.carried is not None:
                triples = (measures.carried, measures.full, measures.bell)
                self.measured += [[m.inside, m.deletion.area, m.insertion.area] for m in triples]
                self.count += 1
                self.worse += gain(measures.carried) < gain(measures.full)

    def means(self) -> dict[str, dict[str, float]]:
        """Return the mean measures by map; empty if no frame with a carried map was measured."""
        if not self.count:
            return {}
        means = np.round(self.measured / self.count, DECIMALS).tolist()
        return {
            name: dict(zip(MEASURES, row, strict=True)) for name, row in zip(MEASURED, means, strict=True)
        }


def _values(measures: Measures | None) -> list[float | None]:
    if measures is None:
        return [None] * len(MEASURES)
    return [round(v, DECIMALS) for v in (measures.inside, measures.deletion.area, measures.insertion.area)]


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), DECIMALS)


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
