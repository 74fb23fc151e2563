"""Small drawn data sets on disk and one short way to train on them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from aerostat.datasets.dataset import Dataset
from aerostat.model import RTMDet, build
from aerostat.runs.directory import Run
from aerostat.training.api import choose_splits
from aerostat.training.loop import Trainer
from aerostat.training.recipe import Recipe

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
