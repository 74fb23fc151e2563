"""Data as large as COCO: reading its annotations, scoring its validation split; time and memory.

The annotations are drawn at random, with as many images, objects and characters as COCO's
`instances_train2017.json` has; the images are empty files, since of more than 20,000 images the headers are
not read. Reading is done in a process of its own each time, so that its memory is its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.results.detections import Detections
from benchmarks.baseline import older_source
from benchmarks.case import Case, Unavailable

WIDTH, HEIGHT = 640, 480
CLASSES = tuple(f"class {k}" for k in range(80))
SOURCE = Path(__file__).resolve().parents[1] / "src"
FULL, TENTH = (118_287, 860_001), (21_000, 86_000)
CHECKED = (2000, 14_600)
DETECTIONS = 100

_PEAK = """
def peak_megabytes():
    import pathlib, resource, sys
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # on Linux getrusage begins at the memory of the process that started this one
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM")) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
"""

_READING = """
import sys, time
started = time.perf_counter()
from aerostat.datasets.dataset import Dataset
data = Dataset.read(sys.argv[1])
seconds = time.perf_counter() - started
assert sum(map(len, data.splits.values())) == int(sys.argv[2])
print(seconds, peak_megabytes())
"""


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of scale."""
    goal = "" if quick else "at most 12 s and 600 MB"
    yield from reading(*(TENTH if quick else FULL), images_to_open=False, rounds=1, goal=goal)
    yield from scoring(100 if quick else 500)
    if not quick:
        yield from scoring_memory(500)
        yield from reading(*CHECKED, images_to_open=True, rounds=2, goal="")


# --- reading ---


def reading(images: int, instances: int, *, images_to_open: bool, rounds: int, goal: str) -> Iterator[Case]:
    """Yield time and memory of reading a data set, by its number of images and instances."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), images, instances, images_to_open)
        megabytes = sum(file.stat().st_size for file in Path(folder).glob("annotations/*")) / 1e6
        older = older_source()
        sources = {"this": SOURCE} | ({} if older is None else {"older": older})
        peaks: dict[str, float] = {}
        checks = "headers and outlines checked" if images_to_open else "headers not read"
        name = f"COCO file of {images:,} images, {instances:,} objects, {megabytes:.0f} MB, {checks}"
        yield Case(
            f"read a {name}",
            "s",
            {key: _read(key, source, Path(folder), images, peaks) for key, source in sources.items()},
            baseline="older" if older else "",
            goal=goal,
            predicted="no slower than with an object per annotation, and half the memory" if goal else "",
            rounds=rounds,
        )
        yield Case(
            f"memory at most, reading a {name}",
            "MB",
            {key: _known(peaks, key) for key in sources},
            baseline="older" if older else "",
            goal=goal,
            rounds=1,
            note="of the whole process, numpy and msgspec loaded; from the last round of the time above",
        )


def _read(name: str, source: Path, folder: Path, images: int, peaks: dict[str, float]) -> Callable[[], float]:
    def one() -> float:
        paths = os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-c", _PEAK + _READING, str(folder), str(images)],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        seconds, peaks[name] = map(float, done.stdout.split())
        return seconds

    return one


def _known(figures: dict[str, float], name: str) -> Callable[[], float]:
    def one() -> float:
        if name not in figures:
            raise Unavailable("it was not read")
        return figures[name]

    return one


def write_dataset(folder: Path, images: int, instances: int, images_to_open: bool, seed: int = 0) -> None:
    """Write a data set in COCO's layout: ``annotations/instances_train2017.json`` and ``train2017/``.

    Args:
        folder: where.
        images, instances: how many.
        images_to_open: whether images are PNG files, or empty.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(600_000, images, replace=False)).tolist()
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    content = b""
    if images_to_open:
        content = bytes(cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1])
    for number in ids:
        (folder / "train2017" / f"{number:012d}.jpg").write_bytes(content)
    categories = [{"supercategory": "thing", "id": k, "name": name} for k, name in enumerate(CLASSES, 1)]
    with (folder / "annotations" / "instances_train2017.json").open("w") as file:
        file.write('{"info":{"description":"drawn at random"},"images":[')
        file.write(", ".join(map(_image_text, ids)))
        file.write('],"annotations":[')
        separator = ""
        for start in range(0, instances, 20_000):
            rows = _annotation_texts(rng, ids, start, min(20_000, instances - start))
            file.write(separator + ", ".join(rows))
            separator = ", "
        file.write(f'],"categories":{json.dumps(categories)}}}')


def _image_text(number: int) -> str:
    name = f"{number:012d}.jpg"
    return (
        f'{{"license": 3,"file_name": "{name}",'
        f'"coco_url": "http://images.cocodataset.org/train2017/{name}",'
        f'"height": {HEIGHT},"width": {WIDTH},"date_captured": "2013-11-14 11:18:45",'
        f'"flickr_url": "http://farm9.staticflickr.com/8186/{number:010d}_4e622c8349_z.jpg","id": {number}}}'
    )


_HUNDREDTHS = [repr(number / 100) for number in range(100 * WIDTH + 1)]


def _annotation_texts(rng: np.random.Generator, ids: list[int], start: int, count: int) -> Iterator[str]:
    """Yield records: stars of 23 points on average, a tenth of them in two parts, and 1.2 % crowd regions."""
    points = rng.geometric(1 / 20, count) + 3
    stops = np.cumsum(points)
    owner = np.repeat(np.arange(count), points)
    angle = 2 * np.pi * (np.arange(stops[-1]) - np.repeat(stops - points, points)) / points[owner]
    centre = rng.uniform([60, 60], [WIDTH - 60, HEIGHT - 60], (count, 2))
    size = np.exp(rng.uniform(np.log(4), np.log(58), count))[owner] * rng.uniform(0.7, 1.0, stops[-1])
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xy = np.round(100 * (centre[owner] + size[:, None] * circle)).astype(np.int64)
    low = np.minimum.reduceat(xy, stops - points) / 100
    sides = np.maximum.reduceat(xy, stops - points) / 100 - low
    texts = [_HUNDREDTHS[number] for number in xy.ravel().tolist()]
    images, labels = rng.integers(0, len(ids), count).tolist(), rng.integers(1, 81, count).tolist()
    crowd, parted = rng.random(count) < 0.012, rng.random(count) < 0.1
    runs = ", ".join(["768"] * (WIDTH * HEIGHT // 768))
    for k, stop in enumerate((2 * stops).tolist()):
        numbers = texts[stop - 2 * int(points[k]) : stop]
        half = len(numbers) // 4 * 2 if parted[k] and len(numbers) >= 12 else 0
        parts = [numbers[:half], numbers[half:]] if half else [numbers]
        outline = f"[{','.join('[' + ','.join(part) + ']' for part in parts)}]"
        mask = f'{{"counts": [{runs}],"size": [{HEIGHT},{WIDTH}]}}'
        x, y, w, h = np.concatenate([low[k], sides[k]]).tolist()
        yield (
            f'{{"segmentation": {mask if crowd[k] else outline},"area": {0.7 * w * h!r},'
            f'"iscrowd": {int(crowd[k])},"image_id": {ids[images[k]]},'
            f'"bbox": [{x:.2f},{y:.2f},{w:.2f},{h:.2f}],"category_id": {labels[k]},"id": {start + k + 1}}}'
        )


# --- scoring ---


def scoring(count: int) -> Iterator[Case]:
    """Yield the time of COCO's twelve figures for a number of images."""
    images, detections = draw_results(count)
    results: dict[str, list[float]] = {}

    def ours() -> float:
        started = time.perf_counter()
        result = evaluate_detections(images, detections, CLASSES)
        results["ours"] = twelve(result)
        return time.perf_counter() - started

    def theirs() -> float:
        seconds, results["theirs"] = pycocotools_figures(images, detections)
        if "ours" in results and not np.allclose(results["ours"], results["theirs"], rtol=0, atol=1e-9):
            raise RuntimeError(f"the figures differ: {results}")
        return seconds

    yield Case(
        f"score {count:,} images with {DETECTIONS} detections of 80 classes each",
        "s",
        {"this": ours, "pycocotools": theirs},
        baseline="pycocotools",
        goal="at least 5 times faster than pycocotools",
        predicted="5 times: half of the library's time is C++, the rest dictionaries",
        rounds=3,
        note="from Detections to the twelve figures, which are compared; pycocotools: loadRes, evaluate, "
        "accumulate, summarize, its dictionaries not counted",
    )


def scoring_memory(count: int) -> Iterator[Case]:
    """Yield the memory that scoring takes for a number of images, and for four times as many."""
    yield Case(
        "memory that scoring takes beside its input",
        "MB",
        {f"{size:,} images": _scoring_memory(size) for size in (count, 4 * count)},
        rounds=1,
        goal="not in proportion to the images",
    )


def draw_results(count: int, seed: int = 0) -> tuple[list[ImageRecord], list[Detections]]:
    """Return images with 7.2 objects each on average, as COCO has, and what a middling detector finds."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, 81) / (1 / np.arange(1, 81)).sum()
    images, detections = [], []
    for number in range(1, count + 1):
        objects = max(1, int(rng.poisson(7.2)))
        sides = np.exp(rng.uniform(np.log(8), np.log(300), (objects, 2)))
        corners = rng.uniform(0, 1, (objects, 2)) * (WIDTH, HEIGHT)
        boxes = np.concatenate([corners, corners + sides], axis=1).round(2)
        labels = rng.choice(80, objects, p=share)
        instances = tuple(
            Instance(
                (box[0], box[1], box[2], box[3]), int(label), (), None, bool(crowd), 0.7 * side[0] * side[1]
            )
            for box, label, crowd, side in zip(
                boxes.tolist(), labels, rng.random(objects) < 0.012, sides.tolist(), strict=True
            )
        )
        images.append(ImageRecord(Path(f"{number}.jpg"), f"{number}.jpg", WIDTH, HEIGHT, instances, number))
        of = rng.integers(0, objects, DETECTIONS)
        off = rng.normal(0, 1, (DETECTIONS, 4)) * np.tile(sides[of], 2)
        near = boxes[of] + off * rng.choice([0.02, 0.1, 0.5], (DETECTIONS, 1))
        found = np.sort(near.reshape(-1, 2, 2), axis=1).reshape(-1, 4).astype(np.float32)
        right = rng.random(DETECTIONS) < 0.6
        found_labels = np.where(right, labels[of], rng.choice(80, DETECTIONS, p=share))
        scores = np.sort(rng.beta(0.5, 3, DETECTIONS))[::-1].astype(np.float32)
        detections.append(Detections(found, scores, found_labels, CLASSES))
    return images, detections


def twelve(result: CocoResult) -> list[float]:
    """Return COCO's figures in the order of its table."""
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    return [getattr(result, name) for name in (*names, "ar1", "ar10", "ar100", *_AR_SIZES)]


_AR_SIZES = ("ar_small", "ar_medium", "ar_large")


def pycocotools_figures(images: list[ImageRecord], detections: list[Detections]) -> tuple[float, list[float]]:
    """Return the seconds that pycocotools takes for its figures, and the figures.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise Unavailable("pycocotools is not installed") from None
    truth = COCO()
    annotations: list[dict[str, Any]] = []
    for image in images:
        for i in image.instances:
            x1, y1, x2, y2 = i.box_xyxy
            row = {"image_id": image.id, "category_id": i.label + 1, "iscrowd": int(i.crowd), "area": i.area}
            annotations.append({"id": len(annotations) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], **row})
    truth.dataset = {
        "images": [{"id": image.id} for image in images],
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
    }
    pairs = zip(images, detections, strict=True)
    results = [row for image, found in pairs for row in found.to_coco(image.id)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        started = time.perf_counter()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return time.perf_counter() - started, evaluation.stats.tolist()


_SCORING = """
import sys
from aerostat.evaluation.coco import evaluate_detections
from benchmarks.scale import CLASSES, draw_results
images, detections = draw_results(int(sys.argv[1]))
before = peak_megabytes()
evaluate_detections(images, detections, CLASSES)
print(peak_megabytes() - before)
"""


def _scoring_memory(count: int) -> Callable[[], float]:
    def one() -> float:
        words = [sys.executable, "-c", _PEAK + _SCORING, str(count)]
        return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    return one
