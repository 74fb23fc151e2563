"""Rows and counts of tracks, and their CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerostat.files import write_text
from aerostat.text import counted
from aerostat.tracking.counting import Line, Zone

COLUMNS = (
    "track_id",
    "class",
    "first_frame",
    "last_frame",
    "first_time_s",
    "last_time_s",
    "frames",
    "path_length",
    "mean_score",
)
"""Columns of the table of tracks before those of lines and zones."""


@dataclass(frozen=True, slots=True)
class TrackRow:
    """What one track did.

    Args:
        track_id: its number.
        name: its class.
        first_frame, last_frame: numbers of the frames in which it was seen first and last.
        first_s, last_s: their times in seconds; None if they are not known.
        frames: in which it was seen.
        path_length: in pixels, of the straight ways from one point to the next.
        mean_score: of its detections.
        crossings: by line, how often it went in and out.
        stays: by zone, how many frames and seconds it was inside; the time is None if it is not known.
    """

    track_id: int
    name: str
    first_frame: int
    last_frame: int
    first_s: float | None
    last_s: float | None
    frames: int
    path_length: float
    mean_score: float
    crossings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    stays: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {
            "track_id": self.track_id,
            "class": self.name,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "first_time_s": _rounded(self.first_s),
            "last_time_s": _rounded(self.last_s),
            "frames": self.frames,
            "path_length": round(self.path_length, 2),
            "mean_score": round(self.mean_score, 4),
            "crossings": {name: {"in": ins, "out": outs} for name, (ins, outs) in self.crossings.items()},
            "stays": {
                name: {"frames": frames, "seconds": _rounded(seconds)}
                for name, (frames, seconds) in self.stays.items()
            },
        }


@dataclass(frozen=True, slots=True)
class LineCount:
    """Crossings of one line.

    Args:
        name: of the line.
        ins, outs: crossings from left to right of its direction, and back.
        by_class: both for each class that was tracked.
    """

    name: str
    ins: int
    outs: int
    by_class: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def describe(self) -> str:
        """Return the counts in words.

        >>> LineCount("door", 3, 1).describe()
        'door: 3 in, 1 out'
        """
        return f"{self.name}: {self.ins} in, {self.outs} out"

    def to_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        classes = {name: {"in": ins, "out": outs} for name, (ins, outs) in self.by_class.items()}
        return {"name": self.name, "in": self.ins, "out": self.outs, "classes": classes}


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """Stays in one zone.

    Args:
        name: of the zone.
        inside: tracks inside in the last frame.
        visited: tracks that were ever inside.
        mean_frames, mean_s: how long these stayed on average; the time is None if it is not known.
        by_class: tracks that were ever inside, for each class that was tracked.
    """

    name: str
    inside: int
    visited: int
    mean_frames: float
    mean_s: float | None
    by_class: Mapping[str, int] = field(default_factory=dict)

    def describe(self) -> str:
        """Return the counts in words.

        >>> ZoneCount("desk", 1, 4, 25.0, 2.5).describe()
        'desk: 4 tracks, 2.5 s on average'
        """
        stay = f"{self.mean_frames:.1f} frames" if self.mean_s is None else f"{self.mean_s:.1f} s"
        return f"{self.name}: {counted(self.visited, 'track')}, {stay} on average"

    def to_dict(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "name": self.name,
            "inside": self.inside,
            "visited": self.visited,
            "mean_frames": round(self.mean_frames, 2),
            "mean_s": _rounded(self.mean_s),
            "classes": dict(self.by_class),
        }


def write_tracks(path: Path, rows: Sequence[TrackRow], lines: Sequence[Line], zones: Sequence[Zone]) -> Path:
    """Write the table of tracks as CSV, whole or not at all, and return the path."""
    names = [f"{line.name}_{way}" for line in lines for way in ("in", "out")]
    names += [f"{zone.name}_{unit}" for zone in zones for unit in ("frames", "s")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *names))
    for row in rows:
        values = row.to_dict()
        counts = [number for line in lines for number in row.crossings[line.name]]
        stays = [number for zone in zones for number in row.stays[zone.name]]
        cells = [*(values[column] for column in COLUMNS), *counts, *stays]
        writer.writerow(["" if cell is None else _cell(cell) for cell in cells])
    write_text(path, text.getvalue())
    return path


def _cell(value: Any) -> Any:
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
