"""A run's records without a training, and a tracker that notes what it is asked to do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aerostat.runs.directory import Run
from aerostat.training.logs.pictures import Example, examples_of
from aerostat.training.recipe import Recipe

RECORDS = [
    {"kind": "train", "epoch": 1, "batch": 1, "iteration": 1, "loss": 2.0, "loss_cls": 1.5, "lr": 0.001},
    {"kind": "train", "epoch": 1, "batch": 2, "iteration": 2, "loss": 1.0, "loss_cls": 0.75, "lr": 0.002},
    {"kind": "val", "epoch": 1, "ap": 0.25, "ap50": 0.5, "ap_small": -1, "per_class": {"disc": 0.25}},
    {"kind": "end", "epoch": 1, "seconds": 3.0},
]


class Notes:
    """A tracker that notes what it is asked to do; the methods that are named do what they are told."""

    def __init__(self, deadline_s: float = 30.0, **acts: Callable[[], object]) -> None:
        self.title, self.deadline_s, self.acts = "Notes", deadline_s, acts
        self.calls: list[tuple[object, ...]] = []

    def _note(self, name, *told):
        self.calls.append((name, *told))
        if name in self.acts:
            self.acts[name]()

    def begin(self, beginning):
        self._note("begin", beginning.after.iteration)

    def figures(self, measured):
        for one in measured:
            self._note("figures", dict(one.figures), one.place.iteration)

    def picture(self, name, picture_bgr, place):
        self._note("picture", name, picture_bgr.shape[2], place.iteration)

    def file(self, path, folder):
        self._note("file", path.name, folder)

    def end(self, finished):
        self._note("end", finished)

    def abandon(self):
        self._note("abandon")


@pytest.fixture
def notes() -> Callable[..., Notes]:
    return Notes


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The directory of a run with a recipe, a curve and weights."""
    made = Run(tmp_path / "runs" / "discs")
    made.create()
    Recipe().write(made.recipe)
    made.plots.mkdir()
    (made.plots / "loss.png").write_bytes(b"a curve")
    for path in (made.best, made.last):
        path.write_bytes(b"weights")
    return made


@pytest.fixture
def examples(discs) -> list[Example]:
    """Two validation photographs on which nothing was detected."""
    from aerostat.results.detections import Detections

    split = discs.splits["val"]
    return examples_of(split, {place: Detections.empty(split.classes) for place in range(len(split))})


@pytest.fixture
def deliver(run: Run) -> Callable[..., None]:
    """Return a function that logs a run of one epoch."""

    def log(delivery, examples=(), records=RECORDS) -> None:
        delivery.start(run, Recipe())
        for record in records:
            run.log(record)
            delivery.log(record)
            if record["kind"] == "val":
                delivery.show(examples)
        delivery.close()

    return log


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Variables of trackers are not those of the machine, and those that are set do not outlive a test."""
    import os

    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "WANDB_")):
            monkeypatch.delenv(name)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
