"""Train a small run again and again, kill it with SIGKILL, look at what it left, and go on with it.

    python tests/training/killed_runs.py FOLDER KILLS [SEED [MASKS]]

Kills fall by turns at a random moment and at a chosen one within the writing of a file: half written,
written but not flushed, flushed but not renamed, just renamed, half a line of the log. After each kill
every file of the run is opened. When a run has come to its end it must be the undisturbed one to the bit,
and the next one begins, until there have been so many kills. With MASKS 1 the runs learn masks. A process
is forked for each attempt, so that none has to import anything. The last line on stdout is a JSON document
with the counts; the first thing that is not as it should be is an error.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot  # noqa: F401 - imported for those that are forked
import numpy as np
import torch

from aerostat import files
from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.runs import directory as run_module
from aerostat.runs.directory import Run
from aerostat.training.api import resume
from aerostat.training.loop import Trainer
from aerostat.training.plan import TrainRequest
from aerostat.training.recipe import read_recipe
from aerostat.training.runner import RunOptions, start_run
from aerostat.training.validation import Validation
from aerostat.weights.checkpoint import load_weights
from aerostat.weights.training_state import load_state

VALUES: dict[str, dict[str, Any]] = {
    "data": {"input_size": 64, "threads": 2},
    "optim": {"batch_size": 1, "accumulate": 2, "lr": 0.01},
    "schedule": {"epochs": 4, "stage2_share": 0.25, "warmup_iterations": 2, "ema_gamma": 2.0},
    "run": {"device": "cpu"},
}
MOMENTS = (
    *("half written", "random", "not renamed", "just renamed"),
    *("random", "half a line", "not flushed", "random"),
)
APS = {1: 0.2, 2: 0.4, 3: 0.3, 4: 0.35}
"""AP by epoch, in place of the 0 that so small a run comes to: neither the first nor the last is the best."""
UNLIKE = ("images_per_second", "memory_mb", "seconds")
"""What the clock and the machine have a say in."""


def main(folder: Path, kills: int, seed: int = 0, masks: int = 0) -> None:
    """Do all of it; see the module."""
    VALUES["model"] = {"masks": bool(masks)}
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    score_by_epoch()
    data, whole = folder / "data", Run(folder / "whole")
    draw_data(data)
    began = time.monotonic()
    assert finish(fork(lambda: work(data, whole)), whole) == 0, said(whole)
    seconds = time.monotonic() - began
    expected = told(whole)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    while sum(counts[name] for name in set(MOMENTS)) < kills:
        run = Run(folder / "killed")
        shutil.rmtree(run.path, ignore_errors=True)
        while True:
            done = sum(counts[name] for name in set(MOMENTS))
            moment = MOMENTS[done % len(MOMENTS)] if done < kills else "never"
            began = time.monotonic()
            if attempt(data, run, moment, rng, seconds):
                seconds = min(seconds, time.monotonic() - began)  # the machine may have been busy before
                break
            counts[moment] += 1
            counts["files opened"] += open_all(run)
        compare(expected, told(run))
        counts["runs finished"] += 1
    print(json.dumps({"kills": kills, **counts}))


def attempt(data: Path, run: Run, moment: str, rng: random.Random, seconds: float) -> bool:
    """Begin or go on with a run and kill it at a moment; returns whether it came to its end before that."""
    number, delay = rng.randint(1, 6), rng.uniform(0, seconds)

    def killed() -> None:
        if moment not in ("random", "never"):
            kill_at(moment, number)
        work(data, run)

    pid = fork(killed, said_to=run)
    if moment == "random":
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    status = finish(pid, run)
    assert status in (0, -signal.SIGKILL), f"ended with {status}:\n{said(run)}"
    return status == 0


def work(data: Path, run: Run) -> None:
    """Go on with a run if it has a state, else begin it; nothing is ever removed by hand."""
    if run.checkpoint.exists():
        resume(run)
    else:
        request = TrainRequest("rtmdet-nano", "", values=VALUES)
        start_run(Dataset.read(data), run.path, request, RunOptions())


def score_by_epoch() -> None:
    """Let validations of this process come to `APS`."""
    record = Trainer.record

    def recorded(trainer: Trainer, found: Validation) -> None:
        result = replace(found.result, ap=APS[trainer.position.epoch])
        if result.masks is not None:
            result = replace(result, masks=replace(result.masks, ap=result.ap))
        record(trainer, replace(found, result=result))

    Trainer.record = recorded  # type: ignore[method-assign]


def kill_at(moment: str, number: int) -> None:
    """Let this process kill itself when a moment comes for the n-th time."""
    left = [number]

    def passes(name: str) -> bool:
        left[0] -= name == moment
        return name == moment and left[0] == 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    replacing, log, fsync, rename = files.replacing, Run.log, os.fsync, Path.replace

    @contextlib.contextmanager
    def cut_off(path: Path) -> Iterator[Path]:
        with replacing(path) as temporary:
            yield temporary
            if passes("half written"):
                os.truncate(temporary, temporary.stat().st_size // 2)
                die()

    def flushing(handle: int) -> None:
        if passes("not flushed"):
            die()
        fsync(handle)

    def renaming(path: Path, target: Path) -> Path:
        if passes("not renamed"):
            die()
        renamed = rename(path, target)
        if passes("just renamed"):
            die()
        return renamed

    def half_a_line(run: Run, *records: dict[str, Any]) -> None:
        if passes("half a line"):
            line = json.dumps(records[0])
            with run.metrics.open("a", encoding="utf-8") as file:
                file.write(line[: len(line) // 2])
            die()
        log(run, *records)

    files.replacing, os.fsync, Path.replace = cut_off, flushing, renaming  # type: ignore[assignment, method-assign]
    run_module.Run.log = half_a_line  # type: ignore[method-assign, assignment]


def fork(do: Callable[[], None], said_to: Run | None = None) -> int:
    """Do something in a process of its own, which says what it has to say to a file; returns its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        path = (said_to.path.parent if said_to else Path.cwd()) / "said.txt"
        with path.open("w") as file:
            os.dup2(file.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        do()
        code = 0
    except AerostatError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int, run: Run) -> int:
    """Wait for a process; returns its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said(run: Run) -> str:
    """Return what the last attempt has said."""
    return (run.path.parent / "said.txt").read_text()


def open_all(run: Run) -> int:
    """Open every file of a run; a temporary one is no file of the run. Returns how many there are."""
    opened = 0
    for path in run.path.rglob("*"):
        if path.is_dir() or files.is_temporary(path):
            continue
        match path.suffix:
            case ".ckpt":
                assert load_state(path)["position"]
            case ".safetensors":
                assert load_weights(path).state
            case ".toml":
                read_recipe(path)
            case ".json":
                assert json.loads(path.read_text())
            case ".jsonl":
                *lines, rest = path.read_text().split("\n")
                assert all(json.loads(line)["kind"] for line in lines[:-1])
                assert rest == "" or lines == [] or json.loads(lines[-1]), "only the last line may be cut off"
            case ".png" | ".jpg":
                assert cv2.imread(str(path)) is not None, path
            case _:
                raise AssertionError(f"what is {path}?")
        opened += 1
    return opened


def told(run: Run) -> dict[str, Any]:
    """Return all that a finished run holds apart from what the clock has a say in."""
    open_all(run)
    names = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*"))
    assert not [name for name in names if files.is_temporary(Path(name))], names
    state = load_state(run.checkpoint)
    state["position"].pop("seconds")
    weights = {path.name: load_weights(path) for path in (run.best, run.last)}
    lines = [{k: v for k, v in record.items() if k not in UNLIKE} for record in run.read_metrics()]
    return {
        "files": names,
        "state": state,
        "weights": {name: (w.state, dict(w.header.metrics)) for name, w in weights.items()},
        "log": [line for line in lines if line["kind"] != "resume"],
    }


def compare(expected: Any, found: Any, where: str = "") -> None:
    """Require two nests of values to be equal to the bit."""
    if isinstance(expected, torch.Tensor):
        assert expected.dtype == found.dtype and torch.equal(expected, found), where
    elif isinstance(expected, np.ndarray):
        assert np.array_equal(expected, found), where
    elif isinstance(expected, dict):
        assert expected.keys() == found.keys(), (where, expected.keys() ^ found.keys())
        for key, value in expected.items():
            compare(value, found[key], f"{where}[{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(expected) == len(found), (where, len(expected), len(found))
        for i, (a, b) in enumerate(zip(expected, found, strict=True)):
            compare(a, b, f"{where}[{i}]")
    else:
        assert expected == found, (where, expected, found)


def draw_data(root: Path) -> None:
    """Write five training and two validation photographs with one square each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        folder = root / split
        folder.mkdir(parents=True)
        images, objects = [], []
        for i in range(count):
            x, y, side = (int(n) for n in rng.integers((4, 4, 16), (30, 30, 30)))
            image_bgr = np.full((64, 72, 3), 90, np.uint8)
            image_bgr[y : y + side, x : x + side] = (30, 40, 220)
            assert cv2.imwrite(str(folder / f"{i}.png"), image_bgr)
            images.append({"id": i, "file_name": f"{i}.png", "width": 72, "height": 64})
            box = {"bbox": [x, y, side, side], "area": side**2, "iscrowd": 0}
            outline = [x, y, x + side, y, x + side, y + side, x, y + side]
            mark = {"category_id": 1, "segmentation": [outline]}
            objects.append({"id": i + 1, "image_id": i, **mark, **box})
        document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "square"}]}
        (folder / "_annotations.coco.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:]))
