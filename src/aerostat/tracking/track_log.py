"""What the tracks of a video did: their table, and counts at lines and in zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.tracking.counting import Anchor, Crossings, Line, Zone, anchors, cross
from aerostat.tracking.track_table import LineCount, TrackRow, ZoneCount, write_tracks

_FIRST_ROWS = 64
"""Tracks that there is room for at the beginning; the room doubles when it is full."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is counted of tracks.

    Args:
        lines: that tracks cross.
        zones: that tracks stay in.
        anchor: the point of a box that lines and zones look at: ``centre``, or ``bottom`` for the middle of
            the lower edge.

    Raises:
        InputError: two lines or zones have one name, or there is no such anchor.
    """

    lines: Sequence[Line] = ()
    zones: Sequence[Zone] = ()
    anchor: Anchor = "centre"

    def __post_init__(self) -> None:
        names = Counter(place.name for place in self.places())
        twice = next((name for name, number in names.items() if number > 1), None)
        if twice is not None:
            raise InputError(f"Expected a name of its own for each line and zone, found {twice!r} twice.")
        if self.anchor not in ("centre", "bottom"):
            raise InputError(f"Expected `anchor` as centre or bottom, found {self.anchor!r}.")

    def places(self) -> list[Line | Zone]:
        """Return the lines, then the zones."""
        return [*self.lines, *self.zones]

    def check_inside(self, image_size: tuple[int, int]) -> None:
        """Refuse lines and zones that leave pictures of (width, height).

        Raises:
            InputError: naming the first point outside.
        """
        for place in self.places():
            place.check_inside(image_size)


@dataclass(slots=True, eq=False)
class TrackLog:
    """Records the tracks of one video, frame by frame.

    It holds some numbers of each track, and no points of the past.

    >>> log = TrackLog(LogOptions([Line((5, 10), (5, 0), "door")]))
    >>> for x in (0, 4, 8):
    ...     box = [[x - 1, 4, x + 1, 6]]
    ...     log.update(Detections(box, [0.9], [0], ("kite",), track_ids=[1]))
    >>> log.line_counts()[0].ins, log.rows()[0].path_length
    (1, 8.0)

    Args:
        options: lines, zones and the point of a box that counts.
    """

    options: LogOptions = field(default_factory=LogOptions)
    frame: int = field(default=-1, init=False)
    _classes: tuple[str, ...] = field(default=(), init=False)
    _size: tuple[int, int] | None = field(default=None, init=False)
    _places: dict[int, int] = field(default_factory=dict, init=False)
    _table: NDArray[np.void] = field(init=False)
    _totals: _Totals = field(init=False)

    def __post_init__(self) -> None:
        self._table = np.zeros(_FIRST_ROWS, _columns(len(self.options.lines), len(self.options.zones)))
        self._totals = _no_totals(self.options, 0)

    def __len__(self) -> int:
        return len(self._places)

    def update(self, detections: Detections, frame: int | None = None, time_s: float | None = None) -> None:
        """Record the tracks of one frame.

        Args:
            detections: with `track_ids`, of one frame.
            frame: its number, above that of the last frame; None counts on by one.
            time_s: its time in seconds; None if times are not known.

        Raises:
            InputError: there are no track ids, one id stands twice, frames go back, or a line or zone is
                outside of the picture.
        """
        ids = _checked_ids(detections)
        frame = self.frame + 1 if frame is None else frame
        if frame <= self.frame:
            raise InputError(f"Expected a frame after {self.frame} for `frame`, found {frame}.")
        if detections.image_size is not None and detections.image_size != self._size:
            self.options.check_inside(detections.image_size)
            self._size = detections.image_size
        if not self._classes:
            self._classes = detections.classes
            self._totals = _no_totals(self.options, len(self._classes))
        known = len(self._places)
        rows = np.asarray([self._places.setdefault(each, len(self._places)) for each in ids], np.int64)
        while len(self._places) > len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        part, new = self._table[rows], rows >= known
        now = np.nan if time_s is None else float(time_s)
        points = anchors(detections.boxes_xyxy, self.options.anchor)
        part["id"][new], part["label"][new] = np.asarray(ids, np.int64)[new], detections.labels[new]
        np.add.at(self._totals.tracks, part["label"][new], 1)
        part["first_frame"][new], part["first_s"][new] = frame, now
        part["last_frame"][new], part["last_s"][new], part["point"][new] = frame, now, points[new]
        if time_s is None:  # seconds of a stay need times
            part["stay_s"][new] = np.nan
            self._totals.stay_s[:] = np.nan
        self._count(part, points, frame - part["last_frame"], now - part["last_s"])
        part["path"] += np.hypot(*(points - part["point"]).T)
        part["frames"] += 1
        part["score"] += detections.scores
        part["last_frame"], part["last_s"], part["point"] = frame, now, points
        self._table[rows] = part
        self.frame = frame

    def _count(
        self, part: NDArray[np.void], points: NDArray[np.float64], frames: Any, seconds: NDArray[np.float64]
    ) -> None:
        """Count crossings and stays up to the new points, in place."""
        totals, labels = self._totals, part["label"]
        for place, line in enumerate(self.options.lines):
            known = Crossings(part["sides"][:, place], part["sides"][:, place], part["met"][:, place])
            step = cross(line, part["point"], points, known)
            for name, came in (("ins", step.ways > 0), ("outs", step.ways < 0)):
                part[name][:, place] += came
                np.add.at(getattr(totals, name)[place], labels, came)
            part["sides"][:, place], part["met"][:, place] = step.sides, step.met
        for place, zone in enumerate(self.options.zones):
            inside = zone.contains(points)
            stayed = inside & part["inside"][:, place]
            for name, more in (
                ("stay_frames", np.where(stayed, frames, 0)),
                ("stay_s", np.where(stayed, seconds, 0.0)),
            ):
                part[name][:, place] += more
                getattr(totals, name)[place] += more.sum()
            np.add.at(totals.visited[place], labels, inside & ~part["visited"][:, place])
            part["inside"][:, place] = inside
            part["visited"][:, place] |= inside
            totals.inside[place] = inside.sum()

    def rows(self) -> list[TrackRow]:
        """Return the table: what each track did so far, in the order of their first frames."""
        lines, zones = self.options.lines, self.options.zones
        return [
            TrackRow(
                track_id=int(row["id"]),
                name=self._classes[int(row["label"])],
                first_frame=int(row["first_frame"]),
                last_frame=int(row["last_frame"]),
                first_s=_seconds(row["first_s"]),
                last_s=_seconds(row["last_s"]),
                frames=int(row["frames"]),
                path_length=float(row["path"]),
                mean_score=float(row["score"] / row["frames"]),
                crossings={
                    line.name: (int(row["ins"][place]), int(row["outs"][place]))
                    for place, line in enumerate(lines)
                },
                stays={
                    zone.name: (int(row["stay_frames"][place]), _seconds(row["stay_s"][place]))
                    for place, zone in enumerate(zones)
                },
            )
            for row in self._table[: len(self)]
        ]

    def line_counts(self) -> list[LineCount]:
        """Return how many crossings there were so far at each line, over all tracks and by class.

        The work does not grow with the number of tracks.
        """
        totals = self._totals
        return [
            LineCount(
                line.name,
                int(totals.ins[place].sum()),
                int(totals.outs[place].sum()),
                {
                    self._classes[label]: (int(totals.ins[place, label]), int(totals.outs[place, label]))
                    for label in np.flatnonzero(totals.tracks).tolist()
                },
            )
            for place, line in enumerate(self.options.lines)
        ]

    def zone_counts(self) -> list[ZoneCount]:
        """Return for each zone how many tracks are inside, how many ever were, and how long they stayed.

        The work does not grow with the number of tracks.
        """
        totals, counts = self._totals, []
        for place, zone in enumerate(self.options.zones):
            visited = int(totals.visited[place].sum())
            counts.append(
                ZoneCount(
                    zone.name,
                    int(totals.inside[place]),
                    visited,
                    float(totals.stay_frames[place] / max(visited, 1)),
                    _seconds(totals.stay_s[place] / visited) if visited else 0.0,
                    {
                        self._classes[label]: int(totals.visited[place, label])
                        for label in np.flatnonzero(totals.tracks).tolist()
                    },
                )
            )
        return counts

    def describe(self) -> list[str]:
        """Return the counts in words: of all tracks, then of each line and zone."""
        numbers = zip(self._totals.tracks.tolist(), self._classes, strict=True)
        tracks = ", ".join(f"{number} {name}" for number, name in numbers if number)
        counts = [count.describe() for count in self.line_counts()]
        counts += [count.describe() for count in self.zone_counts()]
        return [f"{counted(len(self), 'track')}{f' ({tracks})' if tracks else ''}", *counts]

    def to_dict(self) -> dict[str, Any]:
        """Return table and counts for JSON."""
        return {
            "tracks": [row.to_dict() for row in self.rows()],
            "lines": [count.to_dict() for count in self.line_counts()],
            "zones": [count.to_dict() for count in self.zone_counts()],
        }

    def save(self, path: Path | str) -> Path:
        """Write the table as CSV, whole or not at all, and return the path.

        Its columns are track_id, class, first_frame, last_frame, first_time_s, last_time_s, frames,
        path_length, mean_score. Each line adds NAME_in and NAME_out, each zone NAME_frames and NAME_s.
        """
        return write_tracks(Path(path), self.rows(), self.options.lines, self.options.zones)


class _Totals(NamedTuple):
    """Sums over all tracks, so that counts need not look at each of them.

    Args:
        tracks: (classes,).
        ins, outs: (lines, classes) crossings.
        visited: (zones, classes) tracks that were ever inside.
        inside: (zones,) tracks inside now.
        stay_frames, stay_s: (zones,) of all stays.
    """

    tracks: NDArray[np.int64]
    ins: NDArray[np.int64]
    outs: NDArray[np.int64]
    visited: NDArray[np.int64]
    inside: NDArray[np.int64]
    stay_frames: NDArray[np.int64]
    stay_s: NDArray[np.float64]


def _no_totals(options: LogOptions, classes: int) -> _Totals:
    lines, zones = len(options.lines), len(options.zones)
    return _Totals(
        np.zeros(classes, np.int64),
        np.zeros((lines, classes), np.int64),
        np.zeros((lines, classes), np.int64),
        np.zeros((zones, classes), np.int64),
        np.zeros(zones, np.int64),
        np.zeros(zones, np.int64),
        np.zeros(zones),
    )


def _columns(lines: int, zones: int) -> np.dtype[np.void]:
    """Return the columns of what is known of each track, up to its last point."""
    return np.dtype(
        [
            ("id", np.int64),
            ("label", np.int64),
            ("first_frame", np.int64),
            ("last_frame", np.int64),
            ("first_s", np.float64),
            ("last_s", np.float64),
            ("frames", np.int64),
            ("path", np.float64),
            ("score", np.float64),
            ("point", np.float64, (2,)),
            ("sides", np.int8, (lines,)),
            ("met", np.bool_, (lines,)),
            ("ins", np.int64, (lines,)),
            ("outs", np.int64, (lines,)),
            ("inside", np.bool_, (zones,)),
            ("visited", np.bool_, (zones,)),
            ("stay_frames", np.int64, (zones,)),
            ("stay_s", np.float64, (zones,)),
        ]
    )


def _checked_ids(detections: Detections) -> list[int]:
    if detections.track_ids is None:
        raise InputError("Expected detections with `track_ids`, found none: a Tracker sets them.")
    ids: list[int] = detections.track_ids.tolist()
    if len(set(ids)) < len(ids):
        twice = next(each for each, number in Counter(ids).items() if number > 1)
        raise InputError(f"Expected each track once in a frame, found `track_ids` with {twice} twice.")
    return ids


def _seconds(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
