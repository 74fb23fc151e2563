"""Small drawn data sets on disk and one short way to train on them."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from aerostat.datasets.dataset import Dataset
from aerostat.model import RTMDet, build
from aerostat.runs.directory import Run
from aerostat.training.job import Job
from aerostat.training.loop import Trainer
from aerostat.training.plan import TrainRequest, choose_splits
from aerostat.training.recipe import Recipe
from aerostat.training.runner import RunOptions, start_run

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
    data: Dataset,
    run_folder: Path,
    values: dict[str, dict[str, object]],
    net: RTMDet | None = None,
    **options: Any,
) -> Trainer:
    """Return a trainer of a nano network on a fresh run directory, without what `train` does around it."""
    recipe = Recipe().override({**values, "model": {"size": "nano", **values.get("model", {})}})
    torch.manual_seed(0)
    run = Run(run_folder)
    run.create()
    train_split, val_split = choose_splits(data)
    losses = {"losses": options.pop("losses")} if "losses" in options else {}
    return Trainer(
        Fabric(accelerator=torch.device(recipe.run.device).type, devices=1, precision=recipe.optim.precision),
        net or build("nano", len(data.classes)),
        Job(run, recipe, train_split, val_split, **options),
        **losses,
    )


@pytest.fixture
def trainer_for(tmp_path: Path) -> Callable[..., Trainer]:
    """Return a function that makes a trainer: data, then sections of the recipe as keywords."""

    def make(
        data: Dataset,
        net: RTMDet | None = None,
        name: str = "run",
        options: dict[str, Any] | None = None,
        **values: object,
    ) -> Trainer:
        merged = {key: {**SMALL.get(key, {}), **values.get(key, {})} for key in {*SMALL, *values}}  # type: ignore[dict-item]
        return make_trainer(data, tmp_path / name, merged, net, **(options or {}))

    return make


@pytest.fixture(scope="session")
def restored() -> Callable[..., Trainer]:
    """Return a function that makes another trainer of a run from its checkpoint, its network drawn anew."""

    def make(trainer: Trainer, data: Dataset, **options: Any) -> Trainer:
        torch.manual_seed(99)
        job = Job(trainer.job.run, trainer.job.recipe, data.split("train"), data.splits.get("val"), **options)
        again = Trainer(trainer.fabric, build("nano", len(data.classes)), job)
        again.restore()
        return again

    return make


@pytest.fixture(scope="session")
def start() -> Callable[..., Run]:
    """Return a function that trains a nano network from fresh weights: data, run directory, recipe values."""

    def begin(
        data: Dataset,
        out: Path,
        values: dict[str, dict[str, object]],
        *,
        model: str | None = "rtmdet-nano",
        weights: str = "",
        preset: str = "auto",
        **options: Any,
    ) -> Run:
        return start_run(
            data, out, TrainRequest(model, weights, preset, values=values), RunOptions(**options)
        )

    return begin


class AtIteration:
    """A logger that does something when an iteration, counted from 1 over the run, has been logged.

    On the CPU that is before the loop asks whether to stop.
    """

    def __init__(self, iteration: int, action: Callable[[], None]) -> None:
        self.iteration, self.action = iteration, action
        self.count = 0

    def start(self, run: Run, recipe: Recipe) -> None:
        """Do nothing."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Count the iterations that this logger has seen."""
        self.count += record["kind"] == "train"
        if record["kind"] == "train" and self.count == self.iteration:
            self.action()

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="session")
def signal_at() -> Callable[..., AtIteration]:
    """Return a function that makes a logger: it signals this process in the n-th iteration that it sees."""

    def make(iteration: int, number: int = signal.SIGTERM) -> AtIteration:
        return AtIteration(iteration, lambda: os.kill(os.getpid(), number))

    return make
