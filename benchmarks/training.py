"""The training step, and training end to end, as a run does them: losses, gradients, AdamW, average.

Figures are images per second of wall time on all processors. "step" works on one batch again and again,
"end to end" takes its batches from the loader, whose threads share the processors with the step.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from aerostat.model import normalise
from aerostat.scenes.balloons import write_balloons
from aerostat.training.device import DeviceBatch, place, to_device
from aerostat.training.glibc import kept_memory
from aerostat.training.loop import Trainer
from aerostat.training.step import Step
from benchmarks.baseline import older_source, rounds_with
from benchmarks.case import Case
from benchmarks.machine import ROOT

BATCH = 8
REFERENCE = {
    ("tiny", 640): "MMDetection 3.3, batch 8, two threads: 5.3 s a step, 1.5 images/s",
    ("nano", 320): "MMDetection 3.3, batch 12, end to end on a busy machine: about 1.1 images/s",
}
GOAL = {"nano": "at least 3 times the first form's", "tiny": "at least 1.8 times the first form's"}

_TRAINER = """
import itertools, tempfile, time
from pathlib import Path
from aerostat.datasets.dataset import Dataset
from aerostat.runs.directory import Run
from aerostat.training.loop import Trainer

def trainer(folder, size, side, batch, freeze="none"):
    data = Dataset.read(folder, classes=["balloon"])
    values = {
        "data": {"input_size": side},
        "optim": {"batch_size": batch},
        "schedule": {"epochs": 1000},
        "model": {"freeze": freeze},
        "run": {"device": "cpu"},
    }
    run = Run(Path(tempfile.mkdtemp()) / "run")
    try:
        from aerostat.training.job import Job
        from aerostat.training.plan import TrainRequest, plan, start_network
        from aerostat.training.processes import launch
    except ImportError:  # code before version 0.2
        from aerostat.training.api import _launch, plan, start_network
        planned = plan(data, model=f"rtmdet-{size}", weights="", values=values)
        fabric = _launch(planned.recipe)
        net, _ = start_network(planned, data.classes)
        return Trainer(
            fabric, net, planned.train_split, planned.val_split,
            recipe=planned.recipe, run=run, source={},
        )
    planned = plan(data, TrainRequest(f"rtmdet-{size}", "", values=values))
    fabric = launch(planned.recipe)
    net, _ = start_network(planned, data.classes)
    return Trainer(fabric, net, Job(run, planned.recipe, planned.train_split, planned.val_split))

def step(made, batch):
    if not hasattr(made.learner, "learn"):
        return made._step(batch, 0)
    return made.learner.learn(batch, lr=1e-4, iteration=0, iterations=1)

def batches(made):
    return itertools.chain.from_iterable(made.loader.epoch(epoch, 1) for epoch in itertools.count())
"""
"""Works with the code of version 0.1 and with the present code."""


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of training."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, what = _data(Path(temporary))
        yield from _step(folder, quick)
        if not quick:
            for size, side, steps in (("nano", 320, 4), ("nano", 640, 2), ("tiny", 320, 2), ("tiny", 640, 1)):
                yield from _end_to_end(folder, what, size, side, steps)


def _step(folder: Path, quick: bool) -> Iterator[Case]:
    side = 160 if quick else 320
    made = _trainer(folder, "nano", side)
    one = place(next(made.loader.epoch(0, 1)), made.fabric.device)
    with contextlib.ExitStack() as stack:
        variants: dict[str, Callable[[], float]] = {
            "as it is": _steps(made, one),
            "memory goes back and forth": _steps(made, one, keep=False),
        }
        if not quick:
            frozen, first = (_trainer(folder, "nano", side, freeze) for freeze in ("backbone", "none"))
            first.learner.net.to(memory_format=torch.contiguous_format)
            first.learner.network.forward = lambda images: first.learner.net(normalise(images).contiguous())
            variants |= {"frozen backbone": _steps(frozen, one), "channels first": _steps(first, one)}
        source = None if quick else older_source()
        if source:
            setup = f"{_TRAINER}\nmade = trainer({str(folder)!r}, 'nano', {side}, {BATCH})\n"
            setup += (
                "one = next(made.loader.epoch(0, 1))\n"
                "def work():\n    began = time.perf_counter()\n    step(made, one)\n"
                f"    return {BATCH} / (time.perf_counter() - began)\n"
            )
            variants["older code"] = stack.enter_context(rounds_with(source, setup, "work()"))
        yield Case(
            name=f"RTMDet-nano training step, {side} px, batch {BATCH}",
            unit="images/s",
            variants=variants,
            baseline="older code" if source else "as it is",
            higher_is_better=True,
            predicted="kept memory saves the page faults, 10 to 20 % of the step; narrow batch norms 15 %",
            rounds=3 if quick else 5,
        )


def _trainer(folder: Path, size: str, side: int, freeze: str = "none") -> Trainer:
    names: dict[str, Any] = {}
    exec(_TRAINER, names)
    made: Trainer = names["trainer"](str(folder), size, side, BATCH, freeze)
    return made


def _step_of(made: Trainer, batch: DeviceBatch) -> Step:
    return made.learner.learn(batch, lr=1e-4, iteration=0, iterations=1)


def _steps(made: Trainer, one: DeviceBatch, *, keep: bool = True) -> Callable[[], float]:
    def work() -> float:
        with kept_memory() if keep else contextlib.nullcontext():
            _step_of(made, one).read()  # what is kept goes back between rounds
            began = time.perf_counter()
            _step_of(made, one).read()
            return BATCH / (time.perf_counter() - began)

    return work


def _end_to_end(folder: Path, what: str, size: str, side: int, steps: int) -> Iterator[Case]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept_memory())
        made = _trainer(folder, size, side)
        endless = itertools.chain.from_iterable(made.loader.epoch(epoch, 1) for epoch in itertools.count())
        stream = to_device(endless, made.fabric.device)

        def work() -> float:
            began = time.perf_counter()
            for _ in range(steps):
                _step_of(made, next(stream)).read()
            return steps * BATCH / (time.perf_counter() - began)

        variants: dict[str, Callable[[], float]] = {"as it is": work}
        source = older_source()
        if source:
            setup = f"{_TRAINER}\nmade = trainer({str(folder)!r}, {size!r}, {side}, {BATCH})\n"
            setup += (
                "stream = batches(made)\n"
                "def work():\n    began = time.perf_counter()\n"
                f"    for _ in range({steps}):\n        step(made, next(stream))\n"
                f"    return {steps * BATCH} / (time.perf_counter() - began)\n"
            )
            variants["older code"] = stack.enter_context(rounds_with(source, setup, "work()"))
        yield Case(
            name=f"RTMDet-{size} training end to end, {side} px, batch {BATCH} ({what})",
            unit="images/s",
            variants=variants,
            baseline="older code" if source else "",
            higher_is_better=True,
            goal=GOAL[size],
            reference=REFERENCE.get((size, side), ""),
            rounds=3,
        )


def _data(temporary: Path) -> tuple[Path, str]:
    """Return the photographs if they are there, else drawn scenes, and what they are called."""
    photographs = ROOT.parent / "shared" / "data" / "balloon"
    if photographs.is_dir():
        return photographs, "the balloon photographs"
    write_balloons(temporary / "drawn")
    return temporary / "drawn", "drawn scenes"
