"""On a GPU: training end to end and inference, each beside the least time that the card could take.

It was written where there was no GPU: its code is tested on the CPU, its figures are still to come.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from aerostat.benchmarking.macs import count_work
from aerostat.benchmarking.peak import Peak, measure_peak
from aerostat.datasets.dataset import Dataset
from aerostat.geometry.postprocess import PRE_NMS
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.model import build
from aerostat.runs.directory import Run
from aerostat.scenes.balloons import write_balloons
from aerostat.training.device import to_device
from aerostat.training.job import Job
from aerostat.training.loop import Trainer
from aerostat.training.plan import TrainRequest, plan, start_network
from aerostat.training.processes import launch
from benchmarks.case import Case, Unavailable

TRAINING_PASSES = 3
"""A step costs a forward pass and two of its size backward, the usual reckoning."""


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons on the first GPU."""
    if not torch.cuda.is_available():
        raise Unavailable("there is no CUDA device here")
    sizes = ("tiny",) if quick else ("tiny", "m")
    yield from cases_on("cuda", sizes, side=640, batches=(1, 32), steps=2 if quick else 8)


def cases_on(
    device: str, sizes: tuple[str, ...], *, side: int, batches: tuple[int, ...], steps: int
) -> Iterator[Case]:
    """Yield the comparisons on a device."""
    peak = measure_peak(device)
    for size in sizes:
        for batch in batches:
            yield _inference(device, peak, size, side, batch, steps)
        yield _training(device, peak, size, side, max(batches), steps)


def _inference(device: str, peak: Peak, size: str, side: int, batch: int, steps: int) -> Case:
    net = build(size, 80).eval().to(device)
    engine = TorchEngine(net)
    images_bgr = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    floor = _floor(peak, size, side) * batch

    def work() -> float:
        began = time.perf_counter()
        for _ in range(steps):  # candidates lie in the host's memory when it returns: nothing is left undone
            engine.candidates(images_bgr, score_threshold=0.3, pre_nms=PRE_NMS)
        return 1e3 * (time.perf_counter() - began) / steps

    return Case(
        f"RTMDet-{size} at {side}, batch {batch}: from images in the host's memory to candidates there",
        "ms",
        {"torch": work},
        note=f"the floor is {1e3 * floor:.3g} ms by {peak.arithmetic} and memory of this device",
    )


def _training(device: str, peak: Peak, size: str, side: int, batch: int, steps: int) -> Case:
    rate = 1 / (_floor(peak, size, side) * TRAINING_PASSES)
    precisions = ("32-true", "bf16-mixed")
    variants = {name: _end_to_end(device, size, side, batch, name, steps) for name in precisions}
    return Case(
        f"RTMDet-{size} training end to end, {side} px, batch {batch}",
        "images/s",
        variants,
        baseline=precisions[0],
        higher_is_better=True,
        rounds=3,
        note=f"no more than {rate:.3g} images/s by {peak.arithmetic} and memory of this device in float32",
    )


def _end_to_end(
    device: str, size: str, side: int, batch: int, precision: str, steps: int
) -> Callable[[], float]:
    temporary = tempfile.TemporaryDirectory(prefix="aerostat-benchmark-")  # goes with the variant
    folder = Path(temporary.name)
    data = Dataset.read(write_balloons(folder / "data", train=48, val=1), classes=["balloon"])
    values = {
        "data": {"input_size": side},
        "optim": {"batch_size": batch, "precision": precision},
        "run": {"device": device},
    }
    planned = plan(data, TrainRequest(f"rtmdet-{size}", "", values=values))
    fabric = launch(planned.recipe)
    net, _ = start_network(planned, data.classes)
    run = Run(folder / "run")
    trainer = Trainer(fabric, net, Job(run, planned.recipe, planned.train_split, None))
    endless = itertools.chain.from_iterable(trainer.loader.epoch(epoch, 1) for epoch in itertools.count())
    stream = to_device(endless, fabric.device)

    def work() -> float:
        assert folder.is_dir(), temporary
        began = time.perf_counter()
        for _ in range(steps):
            step = trainer.learner.learn(next(stream), lr=1e-4, iteration=0, iterations=1)
        if not math.isfinite(step.read()["loss"]):  # waits for the last step
            raise ValueError("the loss is no number")
        return steps * batch / (time.perf_counter() - began)

    return work


def _floor(peak: Peak, size: str, side: int) -> float:
    """Return the least seconds for one image's forward pass."""
    work = count_work(build(size, 80).eval(), (side, side))
    return peak.floor_seconds(work.macs, work.weight_bytes + work.map_bytes)
