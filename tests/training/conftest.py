"""Small drawn data sets on disk and one short way to train on them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from aerostat.data.dataset import Dataset
from aerostat.model import RTMDet, build
from aerostat.training.recipe import Recipe
from aerostat.training.run import Run
from aerostat.training.train import choose_splits
from aerostat.training.trainer import Trainer

SMALL = {
    "data": {"input_size": 64, "threads": 0},
    "optim": {"batch_size": 2},
    "schedule": {"epochs": 1},
    "run": {"device": "cpu"},
}
"""A run of seconds: 64 px, two images an iteration, one epoch."""


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small maps gain nothing from threads, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_split(folder: Path, count: int, classes: tuple[str, ...], seed: int) -> None:
    """Write `count` photographs with one disc each, and a COCO file beside them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for i in range(count):
        width, height = (72, 64) if i % 2 else (64, 80)
        image = np.full((height, width, 3), 90, np.uint8)
        x, y, radius = int(rng.integers(20, 44)), int(rng.integers(20, 44)), int(rng.integers(10, 18))
        kind = i % len(classes)
        cv2.circle(image, (x, y), radius, [(30, 40, 220), (210, 60, 40), (60, 200, 60)][kind], -1)
        assert cv2.imwrite(str(folder / f"{i}.jpg"), image)
        images.append({"id": i + 1, "file_name": f"{i}.jpg", "width": width, "height": height})
        annotations.append(
            {
                "id": i + 1,
                "image_id": i + 1,
                "category_id": kind + 1,
                "bbox": [x - radius, y - radius, 2 * radius, 2 * radius],
                "area": 4 * radius**2,
                "iscrowd": 0,
            }
        )
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(classes)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(document))


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a data set and returns its folder."""

    def write(train: int = 4, val: int = 2, classes: tuple[str, ...] = ("disc",), name: str = "data") -> Path:
        root = tmp_path / name
        draw_split(root / "train", train, classes, seed=1)
        if val:
            draw_split(root / "val", val, classes, seed=2)
        return root

    return write


@pytest.fixture(scope="session")
def write_split() -> Callable[..., None]:
    """`draw_split`, for fixtures that outlive a test."""
    return draw_split


@pytest.fixture(scope="session")
def small_values() -> dict[str, dict[str, object]]:
    """`SMALL`, for fixtures that outlive a test."""
    return SMALL


@pytest.fixture
def discs(drawn: Callable[..., Path]) -> Dataset:
    """Four training and two validation photographs of one class."""
    return Dataset.read(drawn())


@pytest.fixture
def small() -> dict[str, dict[str, object]]:
    """Recipe values of a run of seconds, free to be changed."""
    return {section: dict(fields) for section, fields in SMALL.items()}


def make_trainer(
    data: Dataset, run_folder: Path, values: dict[str, dict[str, object]], net: RTMDet | None = None
) -> Trainer:
    """Return a trainer of a nano network on a fresh run directory, without what `train` does around it."""
    recipe = Recipe().override({**values, "model": {"size": "nano", **values.get("model", {})}})
    torch.manual_seed(0)
    run = Run(run_folder)
    run.create()
    train_split, val_split = choose_splits(data)
    return Trainer(
        Fabric(accelerator="cpu", devices=1, precision=recipe.optim.precision),
        net or build("nano", len(data.classes)),
        train_split,
        val_split,
        recipe=recipe,
        run=run,
        source={},
    )


@pytest.fixture
def trainer_for(tmp_path: Path) -> Callable[..., Trainer]:
    """Return a function that makes a trainer: data, then sections of the recipe as keywords."""

    def make(data: Dataset, net: RTMDet | None = None, name: str = "run", **values: object) -> Trainer:
        merged = {key: {**SMALL.get(key, {}), **values.get(key, {})} for key in {*SMALL, *values}}  # type: ignore[dict-item]
        return make_trainer(data, tmp_path / name, merged, net)

    return make
