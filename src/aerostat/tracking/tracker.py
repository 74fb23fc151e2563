"""ByteTrack: identities of objects over the frames of a video, from their boxes alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.tracking.assignment import Pairs, best_assignment, overlapping_pairs, require_solver
from aerostat.tracking.kalman import (
    BoxStates,
    first_states,
    join_states,
    predicted,
    replace_states,
    updated,
)
from aerostat.tracking.options import TrackerArguments, TrackerOptions

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Tracks:
    """The tracks that a tracker follows.

    Args:
        states: their estimated boxes.
        labels: (n,) classes.
        ids: (n,) numbers from 1; 0 for a track that is not confirmed yet.
        seen: (n,) detections so far.
        missed: (n,) frames since the last detection, 0 if it was in the last frame.
        seen_s: (n,) time of the last detection; NaN if it is not known.
    """

    states: BoxStates
    labels: Indices
    ids: Indices
    seen: Indices
    missed: Indices
    seen_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.bool_] | Indices) -> _Tracks:
        return _Tracks(
            self.states.take(index),
            self.labels[index],
            self.ids[index],
            self.seen[index],
            self.missed[index],
            self.seen_s[index],
        )

    def are_kept(self, time_s: float, options: TrackerOptions) -> NDArray[np.bool_]:
        """Return for each track whether it goes on: an unconfirmed one ends with its first miss."""
        lost = self.missed > options.lost_frames
        with np.errstate(invalid="ignore"):
            away_s = time_s - self.seen_s
        timed = ~np.isnan(away_s)
        lost[timed] = away_s[timed] > options.lost_s + 1e-6  # times are multiples of 0.1 or 1/30
        return np.where(self.ids > 0, ~lost, self.missed == 0)


class Tracker:
    """Gives the objects of one video identities, frame by frame, as ByteTrack does.

    Detections are matched to the predicted boxes of tracks by IoU and score: first the good ones, with all
    confirmed tracks, then the weak ones, with tracks that were seen in the last frame. Weak detections never
    begin a track. A track that was lost keeps its identity for a while. Classes are tracked apart.

    >>> tracker = Tracker(confirm_frames=1)
    >>> boxes = np.asarray([[0.0, 0.0, 10.0, 10.0]])
    >>> for shift in (0, 2, 4):
    ...     found = tracker.update(Detections(boxes + shift, [0.9], [0], ("kite",)))
    ...     print(found.track_ids.tolist(), found.boxes_xyxy[0].tolist())
    [1] [0.0, 0.0, 10.0, 10.0]
    [1] [2.0, 2.0, 12.0, 12.0]
    [1] [4.0, 4.0, 14.0, 14.0]

    Args:
        options: the thresholds; None takes the defaults.
        **changed: single thresholds, see `TrackerOptions`.

    Raises:
        InputError: a threshold is out of range, or the package lap is not installed.
    """

    def __init__(self, options: TrackerOptions | None = None, **changed: Unpack[TrackerArguments]) -> None:
        self.options = replace(options or TrackerOptions(), **changed)
        require_solver()
        self._classes: tuple[str, ...] | None = None
        self._last_id = 0
        self._tracks = _begun(np.zeros((0, 4)), np.zeros(0, np.int64), np.nan)

    def update(self, detections: Detections, time_s: float | None = None) -> Detections:
        """Return those detections of the next frame that belong to confirmed tracks, with `track_ids`.

        Boxes, masks, scores and their order stay as they are. Numbers count from 1 in the order in which
        tracks are confirmed, over all classes, and are never used twice.

        Args:
            detections: of one frame, down to `low_score`; a frame without detections counts, too.
            time_s: of the frame, in seconds; with it lost tracks are kept for `lost_s`, else for
                `lost_frames`.

        Raises:
            InputError: the classes are not those of the first frame.
        """
        first_frame = self._classes is None
        if self._classes is None:
            self._classes = detections.classes
        elif self._classes != detections.classes:
            raise InputError(
                f"Expected the {counted(len(self._classes), 'class', 'classes')} of the first frame, found "
                f"{len(detections.classes)} others: one tracker follows one video with one model."
            )
        boxes = detections.boxes_xyxy.astype(np.float64)
        old = _one_frame_later(self._tracks)
        partner = _match(old, boxes, detections, self.options)
        new = _first_seen(partner, boxes, detections, self.options)
        now = np.nan if time_s is None else float(time_s)
        tracks = _join(_seen(old, partner, boxes, now), _begun(boxes[new], detections.labels[new], now))
        partner = np.concatenate([partner, new])
        confirmed = partner >= 0
        if not first_frame:
            confirmed &= tracks.seen >= self.options.confirm_frames
        tracks = self._numbered(tracks, partner, confirmed)
        ids = np.zeros(len(detections), np.int64)
        ids[partner[confirmed]] = tracks.ids[confirmed]
        self._tracks = tracks.take(tracks.are_kept(now, self.options))
        tracked = np.flatnonzero(ids)
        return replace(detections[tracked], track_ids=ids[tracked])

    def _numbered(self, tracks: _Tracks, partner: Indices, confirmed: NDArray[np.bool_]) -> _Tracks:
        """Give newly confirmed tracks numbers, in the order of their detections."""
        fresh = np.flatnonzero(confirmed & (tracks.ids == 0))
        fresh = fresh[np.argsort(partner[fresh])]
        ids = tracks.ids.copy()
        ids[fresh] = self._last_id + 1 + np.arange(len(fresh))
        self._last_id += len(fresh)
        return replace(tracks, ids=ids)


def _match(
    tracks: _Tracks, boxes: NDArray[np.float64], detections: Detections, options: TrackerOptions
) -> Indices:
    """Return for each track (n,) the index of its detection, or -1."""
    partner = np.full(len(tracks), -1, np.int64)
    scores = detections.scores
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # a box without an area overlaps nothing
    high = solid & (scores >= np.float32(options.high_score))
    low = solid & ~high & (scores >= np.float32(options.low_score))
    predicted_boxes = tracks.states.boxes_xyxy()
    free = np.ones(len(boxes), bool)

    def associate(
        asked: NDArray[np.bool_], offered: NDArray[np.bool_], weights: NDArray[Any], least: float
    ) -> None:
        rows, columns = np.flatnonzero(asked), np.flatnonzero(offered)
        pairs = overlapping_pairs(
            predicted_boxes[rows], boxes[columns], least, tracks.labels[rows], detections.labels[columns]
        )
        # A pair is worth what it has above the least, as in the authors' program: a pair that is barely
        # allowed may not take the place of a better one.
        gains = pairs.gains * weights[columns[pairs.columns]] - least
        pairs = Pairs(pairs.rows, pairs.columns, gains).take(gains > 0)
        matched_rows, matched_columns = best_assignment(pairs)
        partner[rows[matched_rows]] = columns[matched_columns]
        free[columns[matched_columns]] = False

    associate(tracks.ids > 0, high, scores, options.high_iou)
    recent = (tracks.ids > 0) & (tracks.missed == 1) & (partner < 0)
    associate(recent, low, np.ones_like(scores), options.low_iou)
    associate(tracks.ids == 0, high & free, scores, options.tentative_iou)
    return partner


def _first_seen(
    partner: Indices, boxes: NDArray[np.float64], detections: Detections, options: TrackerOptions
) -> Indices:
    """Return the indices of detections that begin a track."""
    begins = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    begins &= detections.scores >= np.float32(options.start_score)
    begins[partner[partner >= 0]] = False
    return np.flatnonzero(begins)


def _one_frame_later(tracks: _Tracks) -> _Tracks:
    """Return the tracks as they are expected in the next frame, as if nothing was seen of them."""
    states = predicted(tracks.states, resting=tracks.missed > 0)
    return replace(tracks, states=states, missed=tracks.missed + 1)


def _seen(tracks: _Tracks, partner: Indices, boxes: NDArray[np.float64], time_s: float) -> _Tracks:
    """Return the tracks with what was seen of them."""
    at = np.flatnonzero(partner >= 0)
    states = updated(tracks.states.take(at), boxes[partner[at]])
    seen, missed, seen_s = tracks.seen.copy(), tracks.missed.copy(), tracks.seen_s.copy()
    seen[at] += 1
    missed[at] = 0
    seen_s[at] = time_s
    states = replace_states(tracks.states, at, states)
    return replace(tracks, states=states, seen=seen, missed=missed, seen_s=seen_s)


def _begun(boxes: NDArray[np.float64], labels: Indices, time_s: float) -> _Tracks:
    """Return new tracks without numbers."""
    count = len(boxes)
    none = np.zeros(count, np.int64)
    seen = np.ones(count, np.int64)
    return _Tracks(first_states(boxes), labels, none, seen, none, np.full(count, time_s))


def _join(first: _Tracks, second: _Tracks) -> _Tracks:
    return _Tracks(
        join_states(first.states, second.states),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.seen, second.seen]),
        np.concatenate([first.missed, second.missed]),
        np.concatenate([first.seen_s, second.seen_s]),
    )
