"""Figures of the tracker on spoilt ground truth of MOT15, beside other implementations of ByteTrack.

python benchmarks/tracking.py MOT15/ [--seeds 10] [--only aerostat]

MOT15/ holds NAME.gt.txt and NAME.results.txt. The boxes of the ground truth become detections: some are
missed, all are moved a little, false ones are added, and each has a score. HOTA, IDF1 and MOTA are computed
by trackeval over all sequences. Other trackers need the packages trackers and supervision (0.26). All three
are installed for this measurement only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.boxes import box_area, pairwise_iou, xywh_to_xyxy
from aerostat.results.detections import Detections
from aerostat.tracking.options import TrackerOptions
from aerostat.tracking.tracker import Tracker

Floats = NDArray[np.float64]
FIGURES = ("HOTA", "IDF1", "MOTA", "switches", "splits")


class Boxes(NamedTuple):
    """Boxes of one frame.

    Args:
        boxes_xyxy: (n, 4) pixels.
        values: (n,) identities, or scores.
    """

    boxes_xyxy: Floats
    values: NDArray[Any]


@dataclass(frozen=True)
class Level:
    """How far detections are from the truth.

    Args:
        missed: probability of a miss for an object in full view, and for one that others hide.
        burst: mean length of a miss in frames.
        jitter: standard deviation of each side, in sides of the box.
        false: mean number of false boxes in a frame.
    """

    missed: tuple[float, float]
    burst: float
    jitter: float
    false: float


LEVELS = {
    "light": Level((0.02, 0.3), 2, 0.02, 0.2),
    "medium": Level((0.08, 0.5), 3, 0.04, 0.6),
    "heavy": Level((0.2, 0.7), 5, 0.07, 1.5),
}


def read_mot(path: Path) -> list[Boxes]:
    """Return the boxes of each frame, from frame 1 to the last."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    frames = []
    for frame in range(1, int(rows[:, 0].max()) + 1):
        mine = rows[rows[:, 0] == frame]
        frames.append(Boxes(xywh_to_xyxy(mine[:, 2:6]), mine[:, 1].astype(np.int64)))
    return frames


def spoil(truth: Sequence[Boxes], level: Level, rng: np.random.Generator) -> list[Boxes]:
    """Return detections: the boxes of the truth with misses, jitter and scores, and false boxes."""
    all_boxes = np.concatenate([frame.boxes_xyxy for frame in truth])
    extent = all_boxes.max(axis=0)
    absent: dict[int, bool] = {}
    frames = []
    for boxes, ids in truth:
        hidden = hidden_share(boxes)
        seen = np.ones(len(boxes), bool)
        for i, each in enumerate(ids.tolist()):
            rate = level.missed[0] + (level.missed[1] - level.missed[0]) * hidden[i]
            # Two states, so that misses come in bursts of the mean length that add up to the rate.
            stop = 1 / level.burst
            start = min(1.0, rate * stop / max(1 - rate, 1e-9))
            was = absent.get(each, rng.random() < rate)
            absent[each] = rng.random() >= stop if was else rng.random() < start
            seen[i] = not absent[each]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        moved = boxes + rng.normal(0, level.jitter, boxes.shape) * sides
        scores = np.clip(0.9 - 0.6 * hidden + rng.normal(0, 0.08, len(boxes)), 0.05, 0.99)
        count = rng.poisson(level.false)
        shapes = all_boxes[rng.integers(0, len(all_boxes), count)]
        size = shapes[:, 2:] - shapes[:, :2]
        corner = rng.uniform(0, 1, (count, 2)) * np.maximum(extent[2:] - size, 1)
        invented = np.concatenate([corner, corner + size], axis=1)
        invented_scores = np.clip(rng.beta(2, 4, count), 0.05, 0.99)
        frames.append(
            Boxes(np.concatenate([moved[seen], invented]), np.concatenate([scores[seen], invented_scores]))
        )
    return frames


def hidden_share(boxes: Floats) -> Floats:
    """Return the share (n,) of each box that the nearest one before it covers; lower boxes are nearer."""
    if not len(boxes):
        return np.zeros(0)
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    shared = np.clip(sides, 0, None).prod(axis=2) / box_area(boxes)[:, None]
    shared[boxes[None, :, 3] <= boxes[:, None, 3]] = 0
    return np.minimum(shared.max(axis=1), 1)


Follow = Callable[[Sequence[Boxes]], list[Boxes]]


def with_aerostat(**options: Any) -> Follow:
    """Return the tracker of this project."""

    def follow(frames: Sequence[Boxes]) -> list[Boxes]:
        tracker = Tracker(TrackerOptions(**options))
        found = []
        for boxes, scores in frames:
            tracked = tracker.update(Detections(boxes, scores, np.zeros(len(boxes), int), ("person",)))
            assert tracked.track_ids is not None
            found.append(Boxes(tracked.boxes_xyxy.astype(np.float64), tracked.track_ids))
        return found

    return follow


def with_supervision(**options: Any) -> Follow:
    """Return the ByteTrack of supervision 0.26."""

    def follow(frames: Sequence[Boxes]) -> list[Boxes]:
        import supervision

        tracker = supervision.ByteTrack(**options)
        return [_of_supervision(tracker.update_with_detections(_to_supervision(frame))) for frame in frames]

    return follow


def with_trackers(**options: Any) -> Follow:
    """Return the ByteTrack of trackers."""

    def follow(frames: Sequence[Boxes]) -> list[Boxes]:
        import trackers

        tracker = trackers.ByteTrackTracker(**options)
        return [_of_supervision(tracker.update(_to_supervision(frame))) for frame in frames]

    return follow


def _to_supervision(frame: Boxes) -> Any:
    import supervision

    return supervision.Detections(
        xyxy=frame.boxes_xyxy.astype(np.float32),
        confidence=frame.values.astype(np.float32),
        class_id=np.zeros(len(frame.values), int),
    )


def _of_supervision(found: Any) -> Boxes:
    if found.tracker_id is None:
        return Boxes(np.zeros((0, 4)), np.zeros(0, np.int64))
    ids = np.asarray(found.tracker_id, np.int64)
    return Boxes(found.xyxy[ids >= 0].astype(np.float64), ids[ids >= 0])


TRACKERS: dict[str, Follow] = {
    "aerostat": with_aerostat(),
    "aerostat, scores as supervision": with_aerostat(high_score=0.25),
    "aerostat, as published": with_aerostat(high_score=0.6),
    "supervision 0.26, as published": with_supervision(track_activation_threshold=0.6),
    "supervision 0.26, its defaults": with_supervision(),
    "trackers, its defaults": with_trackers(),
}
"""As published: 0.6 for good boxes, 0.7 for new tracks, matching 0.8, 30 frames (ByteTrack, section 4.1)."""


def score(truths: Sequence[Sequence[Boxes]], founds: Sequence[Sequence[Boxes]]) -> dict[str, float]:
    """Return the figures of several sequences together, by trackeval."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    metrics = {"HOTA": HOTA(), "CLEAR": CLEAR(quiet), "Identity": Identity(quiet)}
    data = [_for_trackeval(truth, found) for truth, found in zip(truths, founds, strict=True)]
    whole = {
        name: metric.combine_sequences(
            {str(number): metric.eval_sequence(each) for number, each in enumerate(data)}
        )
        for name, metric in metrics.items()
    }
    return {
        "HOTA": float(np.mean(whole["HOTA"]["HOTA"])),
        "IDF1": float(whole["Identity"]["IDF1"]),
        "MOTA": float(whole["CLEAR"]["MOTA"]),
        "switches": float(whole["CLEAR"]["IDSW"]),
        "splits": float(whole["CLEAR"]["Frag"]),
    }


def _for_trackeval(truth: Sequence[Boxes], found: Sequence[Boxes]) -> dict[str, Any]:
    found = [*found, *[Boxes(np.zeros((0, 4)), np.zeros(0, np.int64))] * (len(truth) - len(found))]
    true_ids = np.unique(np.concatenate([frame.values for frame in truth]))
    own_ids = np.unique(np.concatenate([frame.values for frame in found]))
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(own_ids),
        "num_gt_dets": sum(len(frame.values) for frame in truth),
        "num_tracker_dets": sum(len(frame.values) for frame in found),
        "gt_ids": [np.searchsorted(true_ids, frame.values) for frame in truth],
        "tracker_ids": [np.searchsorted(own_ids, frame.values) for frame in found],
        "similarity_scores": [
            pairwise_iou(true.boxes_xyxy, own.boxes_xyxy) for true, own in zip(truth, found, strict=True)
        ],
    }


def rows(folder: Path, seeds: int, only: str) -> Iterator[str]:
    """Yield the lines of the tables."""
    truths = {path.name.removesuffix(".gt.txt"): read_mot(path) for path in sorted(folder.glob("*.gt.txt"))}
    yield "| results that came with the sequences | " + " | ".join(FIGURES) + " |"
    yield "|---" * (len(FIGURES) + 1) + "|"
    for name, truth in truths.items():
        given = read_mot(folder / f"{name}.results.txt")
        yield _row(name, [score([truth], [given])])
    for level_name, level in LEVELS.items():
        yield ""
        yield f"| {level_name} | " + " | ".join(FIGURES) + " |"
        yield "|---" * (len(FIGURES) + 1) + "|"
        inputs = [
            [
                spoil(truth, level, np.random.default_rng([seed, number]))
                for number, truth in enumerate(truths.values())
            ]
            for seed in range(seeds)
        ]
        for name, follow in TRACKERS.items():
            if only in name:
                yield _row(
                    name, [score(list(truths.values()), [follow(each) for each in sets]) for sets in inputs]
                )


def _row(name: str, figures: Sequence[dict[str, float]]) -> str:
    cells = []
    for figure in FIGURES:
        mean = float(np.mean([each[figure] for each in figures]))
        cells.append(f"{mean:.1f}" if figure in ("switches", "splits") else f"{100 * mean:.1f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of the names of trackers")
    asked = parser.parse_args()
    for line in rows(asked.folder, asked.seeds, asked.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
