"""Compare sets of views and ways to merge them, and print the tables of benchmarks/balloon.md.

python benchmarks/tta.py balloon/ --runs runs/benchmark/seed0 runs/benchmark/seed1

Each view runs once; every set and merge is then made from the recorded detections. Weights are those of the
last epoch. The drawn scenes, in none of the splits that anything was trained on, are looked at with the
demo's checkpoint: at twice its input size, as photographs are, and no larger than it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import aerostat as ae
from aerostat.datasets.records import Split
from aerostat.demo import CHECKPOINT
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.geometry.boxes import mirror_boxes
from aerostat.geometry.postprocess import MAX_DETECTIONS, NMS_IOU, SCORE_THRESHOLD, Candidates
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.inference.tta import TTA, Merge, View, merge_views
from aerostat.progress import track
from aerostat.results.detections import Detections
from aerostat.scenes.balloons import write_balloons

SCENE_SEED = 30_001
"""Neither the demo's nor that of the scenes which its checkpoint was trained on."""
SCENE_SIZES = ((640, 480), (320, 240))
SETS = {
    "plain": TTA((1.0,), flip=False),
    "plain, input x 1.5": TTA((1.5,), flip=False),
    "plain, input x 2": TTA((2.0,), flip=False),
    "1 f": TTA((1.0,)),
    "published: 1 0.5 1.5 f": TTA((1.0, 0.5, 1.5)),
    "1 0.5 1.5": TTA((1.0, 0.5, 1.5), flip=False),
    "0.75 1 1.25 f": TTA((0.75, 1.0, 1.25)),
    "1 1.25 1.5 f": TTA((1.0, 1.25, 1.5)),
    "1 1.5 f": TTA((1.0, 1.5)),
    "1 1.5 2 f": TTA((1.0, 1.5, 2.0)),
    "1 2 f": TTA((1.0, 2.0)),
    "1 2": TTA((1.0, 2.0), flip=False),
    "0.5 1 2 f": TTA((0.5, 1.0, 2.0)),
}
LARGE = ("plain", "1 f", "published: 1 0.5 1.5 f", "1 0.5 1.5", "1 1.5 f", "1 1.5 2 f", "1 2 f", "1 2")
"""Sets that are also tried on top of an input of twice the test size."""
WAYS: tuple[tuple[Merge, float], ...] = (
    *(("nms", iou) for iou in (0.5, 0.6, NMS_IOU, 0.7)),
    *(("wbf", iou) for iou in (0.55, NMS_IOU, 0.75)),
)
RESAMPLED = (("1 1.5 f", "plain"), ("1 2 f", "plain"), ("1 2 f", "published: 1 0.5 1.5 f"))
RESAMPLES = 300


@dataclass
class Subject:
    """A detector's name, data and test size, and what each view found on each photograph."""

    name: str
    split: Split
    side: int
    found: dict[View, list[Candidates]]
    merged: dict[tuple[str, Merge, float, int], list[Detections]] = field(default_factory=dict)

    def detections(self, name: str, merge: Merge, iou: float, times: int) -> list[Detections]:
        """Return what a set of views comes to on each photograph, at a multiple of the test size."""
        key = (name, merge, iou, times)
        if key not in self.merged:
            views = SETS[name].plan((self.side * times, self.side * times)).views
            by_image = zip(*(self.found[view] for view in views), strict=True)
            self.merged[key] = [_detections(f, merge, iou, self.split.classes) for f in by_image]
        return self.merged[key]

    def result(
        self,
        name: str,
        merge: Merge = "nms",
        iou: float = NMS_IOU,
        *,
        times: int = 1,
        chosen: Iterable[int] | None = None,
    ) -> CocoResult:
        found, places = (
            self.detections(name, merge, iou, times),
            list(range(len(self.split)) if chosen is None else chosen),
        )
        records = [self.split.images[i] for i in places]
        return evaluate_detections(records, [found[i] for i in places], self.split.classes)


def _detections(
    views: Sequence[Candidates], merge: Merge, iou: float, classes: tuple[str, ...]
) -> Detections:
    merged = merge_views(views, merge=merge, iou_threshold=iou, max_detections=MAX_DETECTIONS)
    found = Detections(merged.boxes_xyxy, merged.scores, merged.labels, classes)
    return found[merged.scores > SCORE_THRESHOLD]


def look(name: str, detector: Detector, split: Split, *, large: bool) -> Subject:
    """Run every view once, a mirrored one by giving the detector the mirrored photograph."""
    side = detector.input_size[0]
    plans = [tta.plan((side, side)) for tta in SETS.values()]
    plans += [SETS[name].plan((2 * side, 2 * side)) for name in LARGE] if large else []
    views = dict.fromkeys(view for plan in plans for view in plan.views)
    found: dict[View, list[Candidates]] = {view: [] for view in views}
    for record in track(split.images, f"looking with {name}", len(split)):
        image_bgr = read_image(record.path)
        for view in views:
            at_size = replace(detector, input_size=view.input_size)
            shown = np.ascontiguousarray(image_bgr[:, ::-1]) if view.flip else image_bgr
            seen = at_size.predict(shown, score=SCORE_THRESHOLD)
            boxes = mirror_boxes(seen.boxes_xyxy, image_bgr.shape[1]) if view.flip else seen.boxes_xyxy
            found[view].append(Candidates(np.asarray(boxes, np.float32), seen.scores, seen.labels))
    return Subject(name, split, side, found)


def drawn_subjects(count: int) -> list[Subject]:
    detector, subjects = ae.load(CHECKPOINT), []
    for size in SCENE_SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write_balloons(folder, train=1, val=count, size=size, seed=SCENE_SEED)
            split = ae.Dataset.read(folder, classes=detector.classes).split("val")
            subjects.append(look(f"drawn, {size[0]} x {size[1]}", detector, split, large=False))
    return subjects


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def sets_rows(
    subjects: Sequence[Subject], names: Iterable[str], merge: Merge = "nms", times: int = 1
) -> Iterable[list[str]]:
    for name in names:
        results = [subject.result(name, merge, times=times) for subject in subjects]
        yield [name, *(f"{r.ap:.3f} ({r.ap50:.3f})" for r in results)]


def merge_rows(runs: Sequence[Subject], drawn: Subject) -> Iterable[list[str]]:
    for name in SETS:
        if len(SETS[name].plan((320, 320)).views) > 1:
            means = [np.mean([run.result(name, *way).ap for run in runs]) for way in WAYS]
            scenes = [drawn.result(name, *way).ap for way in WAYS]
            yield [name, *(f"{a:.3f} / {b:.3f}" for a, b in zip(means, scenes, strict=True))]


def resampled_rows(runs: Sequence[Subject]) -> Iterable[list[str]]:
    """Yield how the gain of one set over another spreads when the photographs are drawn again."""
    for ours, theirs in RESAMPLED:
        cells = []
        for run in runs:
            rng, count = np.random.default_rng(0), len(run.split)
            draws = [rng.integers(0, count, count).tolist() for _ in range(RESAMPLES)]
            gains = [run.result(ours, chosen=d).ap - run.result(theirs, chosen=d).ap for d in draws]
            low, high = np.quantile(gains, (0.05, 0.95))
            cells.append(f"{np.mean(gains):+.3f} ({low:+.3f} to {high:+.3f})")
        yield [f"{ours} over {theirs}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--scenes", type=int, default=80)
    arguments = parser.parse_args()
    val = ae.Dataset.read(arguments.data, classes=["balloon"]).split("val")
    drawn = drawn_subjects(arguments.scenes)
    runs = [look(run.name, ae.load(run / "last.safetensors"), val, large=True) for run in arguments.runs]
    header = ["views", *(subject.name for subject in (*runs, *drawn))]
    print_table("AP (AP50), merged by NMS", header, sets_rows([*runs, *drawn], SETS))
    print_table("AP (AP50), merged by WBF", header, sets_rows([*runs, *drawn], SETS, "wbf"))
    print_table(
        "AP (AP50), twice the input size, merged by NMS",
        header[: -len(drawn)],
        sets_rows(runs, LARGE, times=2),
    )
    ways = [f"{merge} {iou:g}" for merge, iou in WAYS]
    print_table("AP by merge: mean of the runs / drawn", ["views", *ways], merge_rows(runs, drawn[0]))
    print_table(f"Gain in AP over {RESAMPLES} draws", header[: -len(drawn)], resampled_rows(runs))


if __name__ == "__main__":
    main()
