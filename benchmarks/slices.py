"""Measure windows on large drawn scenes with many small balloons: AP, time and memory.

    python -m benchmarks.slices --out work        trains a small detector first, some minutes
    python -m benchmarks.slices --out work --run work/run
    python -m benchmarks.slices --out work --run work/run --memory 6000x8000 24000x32000

The last one measures the memory that tiled TIFFs of several sizes take. Each way runs in a process of its
own, so that its memory is its own. Figures go to slices.json in the folder and as a table to the screen;
docs/large-images.md holds those of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Images, Instance, Split
from aerostat.scenes.crowds import draw_crowd

SIDE = 320
SIZE, BALLOONS = (6000, 8000), 500
TRAIN_SCENES, TRAIN_SIZE, TRAIN_BALLOONS = 40, (800, 640), (8, 40)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"slices": "off"},
    "TTA, six views": {"slices": "off", "tta": True},
    "slices 320": {"slices": SIDE},
    "slices 640": {"slices": 2 * SIDE},
}
FILES = ("jpg", "tif")
TILE, PATTERN = 256, 2048


def scene(path: Path, seed: Sequence[int], size: tuple[int, int], balloons: int) -> ImageRecord:
    """Draw a scene into a file, unless it is there, and return it with its objects."""
    boxes_file = path.with_suffix(".json")
    if not boxes_file.exists():
        image, outlines = draw_crowd(np.random.default_rng(seed), *size, balloons)
        boxes = [[*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist()] for outline in outlines]
        cv2.imwrite(str(path), image)
        boxes_file.write_text(json.dumps(boxes))
    instances = tuple(
        Instance(tuple(box), 0, area=(box[2] - box[0]) * (box[3] - box[1]))
        for box in json.loads(boxes_file.read_text())
    )
    return ImageRecord(path, path.name, *size, instances)


def split(name: str, records: Sequence[ImageRecord]) -> Split:
    """Return scenes as a split."""
    return Split(name, ("balloon",), (1,), Images.of(records))


def train_detector(out: Path, epochs: int) -> Path:
    """Train a nano detector on windows of drawn scenes, and return its run."""
    import aerostat

    low, high = TRAIN_BALLOONS
    records = []
    for number in range(TRAIN_SCENES + 2):
        count = int(np.random.default_rng([1, number]).integers(low, high))
        records.append(scene(out / f"train_{number:03d}.png", [2, number], TRAIN_SIZE, count))
    data = Dataset(("balloon",), {"train": split("train", records[:-2]), "val": split("val", records[-2:])})
    run = aerostat.train(
        data,
        model="rtmdet-nano",
        weights="",
        out=out / "run",
        slices=SIDE,
        epochs=epochs,
        batch_size=16,
        lr=0.004,
        interval=max(1, epochs // 2),
        resize_ratio=(0.5, 1.5),
    )
    return run.path


def tiled_copy(path: Path) -> Path:
    """Return a tiled copy of a scene with a pyramid, written by tifffile."""
    import tifffile

    copy = path.with_suffix(".tif")
    if not copy.exists():
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
        with tifffile.TiffWriter(copy) as file:
            levels = [image]
            while max(levels[-1].shape) > 1000:
                levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
            file.write(levels[0], subifds=len(levels) - 1, **options)
            for level in levels[1:]:
                file.write(level, subfiletype=1, **options)
    return copy


def measure(out: Path, run: Path, way: str, kind: str) -> dict[str, Any]:
    """Return the figures of one way on one kind of file, measured in this process."""
    from aerostat import load
    from aerostat.evaluation.coco import evaluate_detections

    record = scene(out / "large.jpg", [3, 0], SIZE, BALLOONS)
    path = record.path if kind == "jpg" else tiled_copy(record.path)
    detector = load(run)
    network = np.zeros((SIDE, SIDE, 3), np.uint8)
    detector.predict(network, slices="off")
    before = peak_mb()
    start, cpu = time.perf_counter(), time.process_time()
    found = detector.predict(path, score=0.01, **WAYS[way])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    after = peak_mb()
    result = evaluate_detections([record], [found], ("balloon",), max_dets=(1, 10, 1000))
    shown = found.filter(0.3)
    return {
        "way": way,
        "file": kind,
        "ap": round(result.ap, 3),
        "ap50": round(result.ap50, 3),
        "detections": len(shown),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "mb_above_network": round(after - before),
        "decoded_mb": round(SIZE[0] * SIZE[1] * 3 / 2**20),
    }


def repeated_tiles(pattern: NDArray[np.uint8], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a picture that repeats a pattern, row by row."""
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            rows, columns = (np.arange(start, start + TILE) % pattern.shape[0] for start in (y, x))
            yield pattern[rows[:, None], columns]


def large_tiff(path: Path, size: tuple[int, int]) -> Path:
    """Write a tiled TIFF with a pyramid, which repeats a drawn scene, and return its path."""
    import tifffile

    if path.exists():
        return path
    scene_bgr, _ = draw_crowd(np.random.default_rng([4, 0]), PATTERN, PATTERN, 40)
    pattern = np.ascontiguousarray(scene_bgr[..., ::-1])
    options: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "zlib"}
    width, height = size
    levels = max(0, int(np.ceil(np.log2(max(size) / 1000))))
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(levels + 1):
            part = cv2.resize(pattern, None, fx=0.5**level, fy=0.5**level, interpolation=cv2.INTER_AREA)
            w, h = width >> level, height >> level
            more: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": levels}
            file.write(repeated_tiles(part, w, h), shape=(h, w, 3), dtype=np.uint8, **more, **options)
    return path


def measure_memory(out: Path, run: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Return the memory that one tiled TIFF takes, measured in this process."""
    from aerostat import load

    path = large_tiff(out / f"large-{size[0]}x{size[1]}.tif", size)
    detector = load(run)
    detector.predict(np.zeros((SIDE, SIDE, 3), np.uint8), slices="off")
    before, cpu = peak_mb(), time.process_time()
    found = detector.predict(path, score=0.3, slices=SIDE)
    return {
        "size": f"{size[0]} x {size[1]}",
        "detections": len(found),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "mb_above_network": round(peak_mb() - before),
    }


def in_own_process(words: Sequence[str]) -> dict[str, Any]:
    """Return the figures that this module prints for one way, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.slices", *words], capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(row, flush=True)
    return row


def peak_mb() -> float:
    """Return the largest memory that this process has had so far; `getrusage` would count its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Train if need be, and measure all ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs="+", metavar="WIDTHxHEIGHT")
    parser.add_argument("--one-memory", nargs=2, type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    run = asked.run or train_detector(asked.out, asked.epochs)
    words = ["--out", str(asked.out), "--run", str(run)]
    if asked.one_memory:
        print(json.dumps(measure_memory(asked.out, run, tuple(asked.one_memory))))
        return
    if asked.memory:
        for text in asked.memory:
            large_tiff(asked.out / f"large-{text}.tif", tuple(int(side) for side in text.split("x")))
            in_own_process([*words, "--one-memory", *text.split("x")])
        return
    if asked.one:
        print(json.dumps(measure(asked.out, run, *asked.one)))
        return
    scene(asked.out / "large.jpg", [3, 0], SIZE, BALLOONS)
    tiled_copy(asked.out / "large.jpg")
    rows = []
    for way in WAYS:
        for kind in FILES if way.startswith("slices 320") else FILES[:1]:
            rows.append(in_own_process([*words, "--one", way, kind]))
    (asked.out / "slices.json").write_text(json.dumps(rows, indent=1))
    print("| way | file | AP | AP50 | detections above 0.3 | CPU seconds | MB above the network |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        names = ("way", "file", "ap", "ap50", "detections", "cpu_seconds", "mb_above_network")
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
