"""Decide whether maps say more than a Gaussian in the explained box: the table in benchmarks/explain.md.

python benchmarks/box_control.py balloon/ --run runs/balloon --classes balloon

Every detection above 0.3 on the validation photographs is explained. A map and the Gaussian are measured on
the same detection, so their differences are paired. The 95 % intervals are bootstrapped over photographs,
because detections of one photograph are alike. What has been measured is kept in a file (--work), so that an
interrupted run goes on where it stood.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import aerostat as ae
from aerostat.explanation.boxam import explain
from aerostat.explanation.faithfulness import Scene
from aerostat.explanation.result import Explanation
from aerostat.geometry.boxes import pairwise_iou
from aerostat.geometry.postprocess import STRIDES
from aerostat.images.read import read_image
from aerostat.progress import track

CONTROL = "Gaussian in the box"
FINE, EARLY = "neck.top_down_blocks[1]", "backbone.stage2"
COLUMNS = ("photograph", "detection", "score", "iou", "side", "map", "inside", "deletion", "insertion")
RESAMPLES = 10_000
Heat = NDArray[np.floating]


def smoothed(item: Explanation, size: tuple[int, int]) -> Heat:
    """Return the default map without the corners of its cells: blurred by half a cell."""
    sigma = STRIDES[item.level or 0] / 2
    return np.asarray(cv2.GaussianBlur(item.heat_at(size), (0, 0), sigma), np.float32)


def plain(item: Explanation, size: tuple[int, int]) -> Heat:
    """Return a map as it is."""
    return item.heat_at(size)


MAPS: dict[str, tuple[Any, Callable[[Explanation, tuple[int, int]], Heat]]] = {
    "default": ({}, plain),
    "default, blurred by half a cell": ({}, smoothed),
    f"LayerCAM of {FINE}": ({"layer": FINE}, plain),
    f"LayerCAM of {EARLY} + {FINE}": ({"layer": [EARLY, FINE], "fuse": True}, plain),
}
"""Arguments of `explain` and what makes the heat, by the name in the table."""


def measure(arguments: argparse.Namespace, done: set[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """Yield one record for each detection and map that has not been measured yet; the default comes first."""
    split = ae.Dataset.read(arguments.data, classes=arguments.classes).split("val")
    detector = ae.load(arguments.run, device="cpu", input_size=arguments.input_size)
    for name in (CONTROL, *arguments.maps):
        for image in track(split.images, name):
            photograph = read_image(image.path)
            truth = np.asarray([one.box_xyxy for one in image.instances], np.float64).reshape(-1, 4)
            found = detector.predict(photograph, slices="off")
            left = [i for i in range(len(found)) if (image.path.name, str(i), name) not in done]
            made: Sequence[Explanation] = ()
            if left and name != CONTROL:
                made = explain(detector, photograph, top=None, progress=False, **MAPS[name][0]).items
            for index in left:
                detection = found[index]
                scene = Scene.of(detector, photograph, detection)
                if name == CONTROL:
                    heat: Heat = scene.controls()[name]
                else:
                    heat = MAPS[name][1](made[index], scene.content_size)
                measures = scene.measure(heat, steps=arguments.steps)
                areas = (measures.inside, measures.deletion.area, measures.insertion.area)
                x1, y1, x2, y2 = detection.box_xyxy
                iou = pairwise_iou(np.asarray([detection.box_xyxy]), truth).max(initial=0)
                yield {
                    "photograph": image.path.name,
                    "detection": index,
                    "score": round(detection.score, 4),
                    "iou": round(float(iou), 3),
                    "side": round(float(np.sqrt((x2 - x1) * (y2 - y1))), 1),
                    "map": name,
                } | dict(zip(COLUMNS[-3:], np.round(areas, 5), strict=True))


def differences(rows: Sequence[dict[str, str]], name: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return (n, 3), how much better a map is than the Gaussian, and the photograph of each detection.

    The columns are deletion and insertion, both with the sign that more is better, and their sum.
    """
    of = {
        (row["photograph"], row["detection"], row["map"]): (-float(row["deletion"]), float(row["insertion"]))
        for row in rows
    }
    pairs = [(photo, index) for photo, index, which in of if which == name]
    gains = np.asarray([np.subtract(of[(*pair, name)], of[(*pair, CONTROL)]) for pair in pairs])
    return np.column_stack([gains, gains.sum(axis=1)]), [photo for photo, _ in pairs]


def interval(values: NDArray[np.float64], groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean, bootstrapped over groups (percentiles)."""
    names = sorted(set(groups))
    member = np.asarray([names.index(group) for group in groups])
    sums = np.bincount(member, values)
    counts = np.bincount(member)
    chosen = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| map | deletion | insertion | less deletion than the Gaussian | more insertion | sum of both |",
        "|---|---|---|---|---|---|",
    ]
    for name in (CONTROL, *MAPS):
        own = [row for row in rows if row["map"] == name]
        if not own:
            continue
        means = [np.mean([float(row[what]) for row in own]) for what in ("deletion", "insertion")]
        cells = [f"{mean:.3f}" for mean in means]
        if name == CONTROL:
            cells += [""] * 3
        else:
            gains, groups = differences(rows, name)
            for column in gains.T:
                low, high = interval(column, groups)
                won = 100 * np.mean(column > 0)
                cells.append(f"{column.mean():+.3f} ({low:+.3f} to {high:+.3f}), in {won:.0f} %")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--classes", nargs="+")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--steps", type=int, default=24, help="of each curve")
    parser.add_argument("--maps", nargs="+", default=list(MAPS), choices=list(MAPS))
    parser.add_argument("--work", type=Path, default=Path("runs/box_control.csv"), help="has the measures")
    arguments = parser.parse_args()
    arguments.work.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    if arguments.work.is_file():
        with arguments.work.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    done = {(row["photograph"], row["detection"], row["map"]) for row in rows}
    with arguments.work.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for record in measure(arguments, done):
            writer.writerow(record)
            file.flush()
            rows.append({key: str(value) for key, value in record.items()})
    found = [row for row in rows if row["map"] == CONTROL]
    photographs = len({row["photograph"] for row in found})
    print(f"{len(found)} detections above 0.3 on {photographs} photographs")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
