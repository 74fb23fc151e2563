"""One run: trained to its end by the recipe that `train` chooses, scored plain and with `--tta`.

`python -m benchmarks.datasets.one_run FOLDER` does what FOLDER/request.json says, in a process of its own, so
that its peak of memory is its own. A run that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from aerostat.benchmarking.computer import OthersWatch, describe_computer
from aerostat.datasets.records import Split
from aerostat.errors import AerostatError
from aerostat.evaluation.coco import CocoResult
from aerostat.experiments.study import make_run, score_run
from aerostat.files import write_text
from aerostat.progress import log_to
from aerostat.runs.directory import Run
from aerostat.runs.metrics import lines_of
from aerostat.training.machine import describe_environment
from aerostat.training.plan import Plan
from aerostat.training.recipe import read_recipe
from aerostat.training.runner import RunOptions
from benchmarks.datasets.config import Entry, checked, read_config
from benchmarks.machine import commit

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run that is asked for.

    Args:
        config: the file that lists data sets.
        name: of the data set in it.
        seed: of the run.
    """

    config: Path
    name: str
    seed: int

    def entry(self) -> Entry:
        """Return the data set of the file."""
        return next(entry for entry in read_config(self.config) if entry.name == self.name)

    def folder(self, work: Path) -> Path:
        """Return the folder of the run."""
        return work / self.name / f"seed-{self.seed}"

    def write(self, folder: Path) -> None:
        """Write what is asked for into the folder of the run."""
        content = {"config": str(self.config.resolve()), "name": self.name, "seed": self.seed}
        write_text(folder / "request.json", json.dumps({**content, "request": self.entry().key}, indent=1))


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the row of a finished run; None for one that is not."""
    try:
        row = json.loads((folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def make(folder: Path) -> None:
    """Make or resume the run of a folder, and write its row as result.json."""
    asked = json.loads((folder / "request.json").read_text("utf-8"))
    job = Job(Path(asked["config"]), asked["name"], asked["seed"])
    entry, beside = job.entry(), job.config.parent
    run, others = Run(folder / "run"), OthersWatch()
    with log_to(folder / "log.txt"):
        data, planned, split_name = checked(entry, beside, folder.parent / "scenes")
        make_run(run, data, entry.request(job.seed, beside), RunOptions())
        split = planned.data.split(split_name)
        began = time.monotonic()
        plain = score_run(run, split)
        between = time.monotonic()
        with_tta = score_run(run, split, tta=True)
        seconds = {"eval_seconds": between - began, "tta_seconds": time.monotonic() - between}
    row = {
        "date": date.today().isoformat(),
        "dataset": entry.name,
        "split": split_name,
        "seed": job.seed,
        "request": entry.key,
        **_figures(plain, with_tta),
        **_of_run(run),
        **{name: round(value, 1) for name, value in seconds.items()},
        **_of_data(planned, split),
        "reasons": "; ".join(planned.reasons),
        **_machine(others),
    }
    write_text(folder / "result.json", json.dumps(row, indent=1))


def _figures(plain: CocoResult, with_tta: CocoResult) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for prefix, result in (("", plain), ("tta_", with_tta)):
        row |= {f"{prefix}ap": result.ap, f"{prefix}ap50": result.ap50, f"{prefix}ap75": result.ap75}
        masks = result.masks
        row |= {
            f"{prefix}mask_ap": masks.ap if masks else "",
            f"{prefix}mask_ap50": masks.ap50 if masks else "",
        }
    return {name: round(value, 4) if value != "" else "" for name, value in row.items()}


def _of_run(run: Run) -> dict[str, Any]:
    """Return what the run's own files say: time, memory, and the values that were chosen."""
    lines, recipe = run.read_metrics(), read_recipe(run.recipe)
    validations = lines_of(lines, "val", "ap")
    return {
        "val_ap": round(validations[-1]["ap"], 4) if validations else "",
        "train_seconds": lines[-1].get("seconds", ""),
        "peak_mb": round(max((x.get("memory_mb", 0) for x in lines if x["kind"] == "train"), default=0)),
        "model": f"rtmdet-{recipe.model.size}",
        "weights": Path(recipe.model.weights).name,
        "input_size": recipe.data.input_size,
        "epochs": recipe.schedule.epochs,
        "batch_size": recipe.optim.batch_size,
        "lr": recipe.optim.lr,
        "precision": recipe.optim.precision,
    }


def _of_data(planned: Plan, split: Split) -> dict[str, Any]:
    return {
        "train_images": len(planned.train_split),
        "scored_images": len(split),
        "scored_objects": split.box_count,
        "classes": len(planned.data.classes),
    }


def _machine(others: OthersWatch) -> dict[str, Any]:
    environment, computer = describe_environment(), describe_computer()
    return {
        "commit": commit(),
        "machine": f"{computer.processor}, {computer.cores} cores",
        "threads": environment["threads"],
        "others_cores": others.cores(),
        "python": environment["python"],
        **{name: environment["packages"][name] for name in ("aerostat", "torch", "numpy")},
        "opencv": environment["packages"]["opencv-python-headless"],
    }


def main(words: list[str]) -> int:
    """Make the run of a folder; the exit code is that of `aerostat train`."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        make(Path(words[0]))
    except AerostatError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
