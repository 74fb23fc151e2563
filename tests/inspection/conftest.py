"""Splits in memory and on disk, made of plain photographs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.pipeline.loader import Batch

Box = tuple[float, float, float, float]


def record(
    boxes: Sequence[Box] = (),
    labels: Sequence[int] | None = None,
    size: tuple[int, int] = (100, 50),
    name: str = "a.jpg",
    crowd: Sequence[int] = (),
) -> ImageRecord:
    instances = tuple(
        Instance(box, 0 if labels is None else labels[i], crowd=i in crowd) for i, box in enumerate(boxes)
    )
    return ImageRecord(Path(name), name, *size, instances)


def split_of(*images: ImageRecord, classes: Sequence[str] = ("a", "b"), name: str = "train") -> Split:
    return Split(name, tuple(classes), tuple(range(len(classes))), images)


@pytest.fixture
def make_record() -> Callable[..., ImageRecord]:
    return record


@pytest.fixture
def make_split() -> Callable[..., Split]:
    return split_of


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[..., Split]:
    """Return a function that writes grey photographs, a box on every second one, and returns the split."""

    def write(count: int = 6, size: tuple[int, int] = (64, 48), name: str = "train") -> Split:
        images = []
        for k in range(count):
            path = tmp_path / "photographs" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), 40 + k, np.uint8))
            boxes = [Instance((8.0, 8.0, 40.0, 32.0), k % 4 // 2)] if k % 2 == 0 else []
            images.append(ImageRecord(path, path.name, *size, tuple(boxes), k))
        return split_of(*images, name=name)

    return write


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Return a function that makes a batch of noise with one box on every image."""

    def make(count: int = 2, side: int = 64) -> Batch:
        generator = torch.Generator().manual_seed(count)
        images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
        boxes = [torch.tensor([[10.0, 12, 40, 50]])] * count
        return Batch(images, boxes, [torch.tensor([1])] * count, [f"{k}.jpg" for k in range(count)])

    return make
