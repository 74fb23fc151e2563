"""How fast 118,287 label files of YOLO are read, as many images and objects as COCO's training split has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aerostat.datasets import formats
from aerostat.datasets.records import Split
from benchmarks.case import Case
from benchmarks.formats import CLASSES, HEIGHT, WIDTH, draw, reading

FULL, QUICK = (118_287, 860_001), (2_000, 15_000)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the measurement."""
    goal = "" if quick else "parsing in 20 s, with image headers in 60 s"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        split = draw(root / "images" / "train", *(QUICK if quick else FULL))
        write_labels(split, root)
        yield reading(formats.named("yolo"), root, split, goal)


def write_labels(split: Split, root: Path) -> None:
    """Write label files with six decimals, as most tools do, and a ``data.yaml``."""
    (root / "labels" / "train").mkdir(parents=True)
    boxes = split.images.instances.boxes_xyxy / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    shares = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    labels, rows = split.images.instances.labels.tolist(), shares.tolist()
    lines = [
        f"{label} {a:.6f} {b:.6f} {c:.6f} {d:.6f}\n" for label, (a, b, c, d) in zip(labels, rows, strict=True)
    ]
    offsets = split.images.offsets.tolist()
    for name, start, stop in zip(split.images.file_names, offsets[:-1], offsets[1:], strict=True):
        (root / "labels" / "train" / f"{name[:-4]}.txt").write_text("".join(lines[start:stop]))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(f"train: images/train\nnames:\n{names}")
