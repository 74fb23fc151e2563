"""What maps that are carried on along tracks cost, and how faithful they are: tables of explain.md.

python benchmarks/carried.py rtmdet_nano_person.pth one-by-one-person-detection.mp4 --input-size 320

Three parts. Cost: processor time of a carried map and of full ones, on the same frames and in turns. Default:
the maps of the default options, every tenth frame measured as stills are. Forced: the maps are carried for 30
frames whatever happens, which shows what the cheap checks (size of the box, look of the object) are worth.
What has been measured is kept in a file (--work), so that an interrupted run goes on where it stood.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import aerostat as ae
from aerostat.explanation.along_tracks import CarryOptions, TrackExplainer
from aerostat.explanation.boxam import explain_detections
from aerostat.explanation.carried import SourceMap, look_of
from aerostat.explanation.track_rows import row_of
from aerostat.images.frame import Frame
from aerostat.images.letterbox import Letterbox
from aerostat.inference.detector import Detector
from aerostat.results.detections import Detections
from aerostat.tracking.options import TrackerOptions

EVERY = 10
UNLIMITED = 1e9
PARTS = {
    "default": CarryOptions(measure_every=EVERY, tolerance=UNLIMITED),
    "forced": CarryOptions(measure_every=EVERY, tolerance=UNLIMITED, box_change=UNLIMITED, likeness=-1),
}
"""Options of the measured parts; a carried map is never replaced, so that it can be judged."""
AGES = ((1, 5), (6, 10), (11, 20), (21, 29))
APART = 25
"""Frames between those on which the cost is measured, because neighbours are alike."""
RESAMPLES = 10_000
Row = dict[str, Any]


def tracked_frames(detector: Detector, clip: Path, end_s: float | None) -> Iterator[tuple[Frame, Detections]]:
    """Yield the frames of a clip with their tracked detections."""
    tracker = ae.Tracker(TrackerOptions())
    for frame, found in detector.stream(clip, score=0.1, slices="off", end_s=end_s):
        yield frame, tracker.update(found, frame.time_s)


def measured(detector: Detector, clip: Path, part: str, end_s: float | None) -> Iterator[Row]:
    """Yield a row for each map of a part."""
    explainer = TrackExplainer(detector, PARTS[part])
    sizes: dict[int, tuple[float, float]] = {}
    for frame, tracked in tracked_frames(detector, clip, end_s):
        for one in explainer.update(frame, tracked):
            x1, y1, x2, y2 = one.detection.box_xyxy
            track_id = one.detection.track_id or 0
            if not one.is_carried:
                sizes[track_id] = x2 - x1, y2 - y1
            factors = np.divide((x2 - x1, y2 - y1), sizes[track_id])
            change = float(np.maximum(factors, 1 / factors).max())
            yield {"part": part, **row_of(frame, one), "file": clip.name, "change": round(change, 3)}


def costs(detector: Detector, clip: Path, rounds: int, slow_rounds: int, end_s: float | None) -> list[str]:
    """Return the lines of the table of processor times, medians in ms."""
    seen = enumerate(tracked_frames(detector, clip, end_s))
    chosen = [(frame, found) for number, (frame, found) in seen if number % APART == 0 and len(found)][
        :rounds
    ]
    times: dict[str, list[float]] = defaultdict(list)
    for number, (frame, tracked) in enumerate(chosen):
        image_bgr = frame.read()
        for name, work in _works(detector, image_bgr, tracked[[0]]).items():
            if name == "D-RISE" and number >= slow_rounds:
                continue
            began = time.process_time()
            work()
            if number or name == "D-RISE":  # the first round warms up
                times[name].append(1000 * (time.process_time() - began))
    medians = {name: statistics.median(values) for name, values in times.items()}
    least = medians["carried map"]
    lines = ["| work on one frame | processor time in ms | in carried maps |", "|---|---|---|"]
    return lines + [
        f"| {name} | {value:.3g} | {value / least:.0f} |"
        for name, value in sorted(medians.items(), key=lambda item: item[1])
    ]


def _works(
    detector: Detector, image_bgr: NDArray[np.uint8], one: Detections
) -> dict[str, Callable[[], object]]:
    letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), detector.input_size)
    box_xyxy = letterbox.boxes_to_input(one.boxes_xyxy)[0]
    heat = np.ones(letterbox.resized_size[::-1], np.float32)
    source = SourceMap(heat, box_xyxy * 0.9, look_of(image_bgr, one.boxes_xyxy[0]), 0, 0)

    def carry() -> None:
        source.change(box_xyxy)
        source.likeness(look_of(image_bgr, one.boxes_xyxy[0]))
        source.carried(box_xyxy, letterbox)

    def full(method: str | None) -> None:
        explain_detections(detector, image_bgr, one, method=method)[0].heat_at(letterbox.resized_size)

    return {
        "carried map": carry,
        "prediction": lambda: detector.predict(image_bgr, slices="off"),
        "full map, LayerCAM": lambda: full(None),
        "D-RISE": lambda: full("drise"),
    }


def _gain(row: Row, name: str) -> float:
    return float(row[f"{name}_insertion"]) - float(row[f"{name}_deletion"])


def compared(rows: Sequence[Row]) -> str:
    """Return the cells of rows with a measured carried map: measures, and differences with intervals."""
    cells = [str(len(rows))]
    for name in ("carried", "full", "bell"):
        means = [
            np.mean([float(row[f"{name}_{what}"]) for row in rows])
            for what in ("inside", "deletion", "insertion")
        ]
        cells.append(" / ".join(f"{mean:.3f}" for mean in means))
    gaps = np.asarray([_gain(row, "carried") - _gain(row, "full") for row in rows])
    low, high = np.percentile(
        _bootstrap(gaps, [(row["track_id"], row["source_frame"]) for row in rows]), [2.5, 97.5]
    )
    cells.append(f"{gaps.mean():+.3f} ({low:+.3f} to {high:+.3f})")
    cells.append(f"{100 * np.mean(gaps < -0.05):.0f} %")
    return " | ".join(cells)


def _bootstrap(values: NDArray[np.float64], groups: Sequence[Any]) -> NDArray[np.float64]:
    """Return means of resampled groups: maps that come from the same full map are alike."""
    names = sorted(set(groups))
    member = np.asarray([names.index(group) for group in groups])
    sums, counts = np.bincount(member, values), np.bincount(member)
    chosen = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    means: NDArray[np.float64] = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    return means


def tables(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the tables of faithfulness."""
    head = (
        "| maps | measured | carried | full on the same frame | Gaussian in the box "
        "| carried minus full | worse by 0.05 |"
    )
    lines = []
    for part in PARTS:
        own = [row for row in rows if row["part"] == part]
        known = [row for row in own if row["carried_inside"] not in ("", None)]
        if not known:
            continue
        carried = sum(row["map"] == "carried" for row in own)
        lines += [f"{part}: {len(own)} maps, {carried} carried", "", head, "|---|---|---|---|---|---|---|"]
        groups: dict[str, list[Row]] = {"all": known}
        for low, high in AGES:
            groups[f"age {low} to {high}"] = [row for row in known if low <= int(row["age"]) <= high]
        if part == "forced":
            good = [row for row in known if float(row["likeness"]) >= 0.5 and float(row["change"]) <= 1.25]
            groups["both checks passed"] = good
            groups["likeness below 0.5"] = [row for row in known if float(row["likeness"]) < 0.5]
            groups["box changed by 1.25"] = [row for row in known if float(row["change"]) > 1.25]
        lines += [f"| {name} | {compared(some)} |" for name, some in groups.items() if len(some) > 1]
        lines.append("")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--end", type=float, help="seconds of the clip to look at")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--slow-rounds", type=int, default=3, help="of D-RISE")
    parser.add_argument("--parts", nargs="+", default=["cost", *PARTS])
    parser.add_argument("--work", type=Path, default=Path("runs/carried.csv"), help="has the measures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = ae.load(arguments.weights, device="cpu", input_size=arguments.input_size)
    if "cost" in arguments.parts:
        print(
            "\n".join(costs(detector, arguments.clip, arguments.rounds, arguments.slow_rounds, arguments.end))
        )
    arguments.work.parent.mkdir(parents=True, exist_ok=True)
    for part in (part for part in PARTS if part in arguments.parts):
        path = arguments.work.with_stem(f"{arguments.work.stem}-{part}")
        if not path.is_file():
            rows = list(measured(detector, arguments.clip, part, arguments.end))
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        with path.open(encoding="utf-8", newline="") as file:
            print("\n".join(tables(list(csv.DictReader(file)))), flush=True)


if __name__ == "__main__":
    main()
