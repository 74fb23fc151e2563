"""Several processes validate: the figures are those of one process, whatever the shares."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.demo import CHECKPOINT
from aerostat.evaluation.evaluate import evaluate
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.processes.exchange import share_of
from aerostat.runs.directory import Run
from aerostat.scenes.balloons import write_balloons
from aerostat.training.recipe import EvalRecipe
from aerostat.training.validation import Share, Validator, score

CLASSES = ("drawn balloon",)
"""Of the demo's checkpoint, which finds drawn balloons: AP is neither 0 nor 1."""


@dataclass
class Crew:
    """What threads that stand for the processes of a run have in common."""

    count: int
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Return the values of all threads once each has come here."""
        self.values[rank] = value
        self.barrier.wait()
        every = [self.values[each] for each in range(self.count)]
        self.barrier.wait()
        return every


@dataclass
class Thread:
    """Stands for `aerostat.processes.exchange.Processes` in one of several threads."""

    crew: Crew
    rank: int
    rounds: int = 0

    @property
    def count(self) -> int:
        return self.crew.count

    def agreed_signal(self, requested: Sequence[int]) -> int:
        self.rounds += 1
        return max(self.crew.exchange(self.rank, max(requested, default=0)))

    def gather(self, value: Any) -> list[Any]:
        return self.crew.exchange(self.rank, value)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Dataset:
    root = write_balloons(tmp_path_factory.mktemp("scenes") / "data", train=1, val=5, seed=3)
    return Dataset.read(root, classes=CLASSES)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load(CHECKPOINT, device="cpu", input_size=160)


def validate_in(
    count: int,
    detector: Detector,
    split: Split,
    batch_size: int = 2,
    requested: Callable[[int], list[int]] = lambda rank: [],
) -> list[Share | None]:
    """Return what each of several threads is told to have been found by all."""
    crew = Crew(count)

    def work(rank: int) -> Share | None:
        asked = EvalRecipe(batch_size=batch_size)
        return Validator(detector, split, asked, 0, Thread(crew, rank), requested(rank)).detect()  # type: ignore[arg-type]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.parametrize(
    ("images", "batch_size", "processes"),
    [(0, 2, 2), (1, 8, 3), (5, 2, 2), (7, 1, 3), (12, 4, 3), (13, 4, 2)],
)
def test_every_image_is_in_one_share_and_batches_stay_whole(images, batch_size, processes):
    shares = [
        share_of(images, batch_size=batch_size, rank=rank, processes=processes) for rank in range(processes)
    ]
    assert sorted(place for share in shares for place in share) == list(range(images))
    for share in shares:
        batches = [share[i : i + batch_size] for i in range(0, len(share), batch_size)]
        assert all(batch[0] % batch_size == 0 for batch in batches)
        assert all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches)


@pytest.mark.parametrize(
    ("count", "batch_size"),
    [
        pytest.param(2, 1, id="uneven shares"),
        pytest.param(2, 2, id="batches"),
        pytest.param(3, 8, id="empty shares"),
    ],
)
def test_the_figures_are_those_of_one_process_to_the_last_digit(scenes, detector, count, batch_size):
    split = scenes.split("val")
    (alone,) = validate_in(1, detector, split, batch_size)
    expected = score(alone, split)
    assert 0 < expected.result.ap < 1
    for share in validate_in(count, detector, split, batch_size):
        assert score(share, split) == expected
        assert sorted(share.detections) == list(range(5))


def test_an_unreadable_image_is_left_out_by_all_with_its_reason(scenes, detector, tmp_path):
    root = write_balloons(tmp_path / "data", train=1, val=5, seed=3)
    split = Dataset.read(root, classes=CLASSES).split("val")
    broken = split.images[2].path
    broken.write_bytes(broken.read_bytes()[:200])
    for share in validate_in(2, detector, split, batch_size=1):
        assert sorted(share.detections) == [0, 1, 3, 4] and list(share.unreadable) == [2]
        assert broken.name in share.unreadable[2]
        assert score(share, split).result.images == 4


def test_where_no_image_can_be_read_the_processes_still_come_together(scenes, detector, tmp_path):
    root = write_balloons(tmp_path / "data", train=1, val=3, seed=3)
    split = Dataset.read(root, classes=CLASSES).split("val")
    for record in split.images:
        record.path.write_bytes(b"")
    shares = validate_in(2, detector, split, batch_size=1)
    assert [len(share.unreadable) for share in shares] == [3, 3]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_signal_to_one_process_stops_all_of_them(scenes, detector, rank):
    asked = {each: [15] if each == rank else [] for each in range(3)}
    shares = validate_in(3, detector, scenes.split("val"), 1, asked.__getitem__)
    assert shares == [None, None, None]


def test_a_signal_in_the_last_batch_of_one_process_stops_all_of_them(scenes, detector, monkeypatch):
    """The other process has finished its share by then, and waits."""
    asked: dict[int, list[int]] = {0: [], 1: []}
    predict = Detector.predict_images

    def interrupted(self, images, **options):
        for number, pair in enumerate(predict(self, images, **options), 1):
            if len(images) == 3 and number == 3:  # the first process has three of the five images
                asked[0].append(2)
            yield pair

    monkeypatch.setattr(Detector, "predict_images", interrupted)
    assert validate_in(2, detector, scenes.split("val"), 1, asked.__getitem__) == [None, None]


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "broken"), [(1, True), (8, False)])
def test_two_processes_find_the_ap_that_one_process_finds(tmp_path, batch_size, broken):
    root = write_balloons(tmp_path / "data", train=4, val=5, seed=3)
    split = Dataset.read(root, classes=CLASSES).split("val")
    if broken:
        path = split.images[1].path
        path.write_bytes(path.read_bytes()[:-400])
    words = [
        "train", root, "--classes", *CLASSES, "--weights", CHECKPOINT, "--out", tmp_path / "run",
        "--epochs", 1, "--input-size", 160, "--batch-size", 2, "--device", "cpu", "--set", "run.devices=2",
        "--set", f"eval.batch_size={batch_size}",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "aerostat", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("validation leaves out") == broken
    run = Run(tmp_path / "run")
    (logged,) = run.read_validations()
    found = evaluate(
        load(run.last, device="cpu"),
        split,
        score=0.001,
        nms_iou=0.65,
        max_detections=300,
        on_unreadable=lambda *_: None,
    ).to_dict()
    assert 0 < logged["ap"] < 1 and logged["images"] == 5 - broken
    figures = {key: value for key, value in found.items() if key in logged and key != "per_class"}
    assert {key: logged[key] for key in figures} == json.loads(json.dumps(figures))
