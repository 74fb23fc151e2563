"""How a run should end: runs on folds of the training images that are alike but for their last epochs.

Each run is trained whole with the least share of stage 2 (without Mosaic and MixUp). The others branch off
from its state at the epoch where theirs begins, so that two ends are compared on one and the same beginning:
that leaves out most of the noise between runs.

    python -m benchmarks.branches balloon/ weights.pth --epochs 60 --shares 0 0.083 0.25 --out branches

Any number of processes may share one --out; what is finished is not made again (see
`benchmarks/claims.py`).
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aerostat.datasets.dataset import Dataset
from aerostat.experiments.study import fold_of
from aerostat.progress import log_to
from aerostat.runs.directory import Run
from aerostat.training.api import resume
from aerostat.training.checkpoints import Saver
from aerostat.training.plan import TrainRequest
from aerostat.training.recipe import ScheduleRecipe
from aerostat.training.runner import RunOptions, start_run
from aerostat.weights.training_state import load_state, save_state
from benchmarks.claims import arguments, claimed, record, results

FOLDS = 3


def validations(run: Run) -> dict[int, float]:
    """Return AP after each epoch that was validated."""
    return {line["epoch"]: line["ap"] for line in run.read_validations()}


@contextmanager
def kept_at(epochs: Iterable[int], place: Path) -> Iterator[None]:
    """Keep a copy of the directory of the run that is trained as it stands after each of these epochs."""
    save = Saver.save
    wanted = {f"epoch {epoch}": place / f"at-{epoch}" for epoch in epochs}

    def saved(self: Saver, state: Mapping[str, Any], weights: Any, *, best: bool, of: str) -> None:
        save(self, state, weights, best=best, of=of)
        if of in wanted:
            shutil.copytree(self.run.path, wanted[of], dirs_exist_ok=True)

    Saver.save = saved  # type: ignore[method-assign]
    try:
        yield
    finally:
        Saver.save = save  # type: ignore[method-assign]


def begins_of(epochs: int, shares: Iterable[float]) -> dict[float, int]:
    """Return after which epoch each stage 2 begins; the runs must part, and after an epoch that was saved."""
    begins = {
        share: replace(ScheduleRecipe(), epochs=epochs, stage2_share=share).stage2_epoch for share in shares
    }
    if 0 in begins.values() or len(set(begins.values())) < len(begins):
        raise SystemExit(f"Expected a stage 2 that begins after an epoch of its own, found {begins}.")
    return begins


def branches(
    data: Dataset,
    weights: str,
    place: Path,
    *,
    values: dict[str, Any],
    least: float,
    begins: Mapping[float, int],
) -> dict[str, dict[int, float]]:
    """Train once and go on from it with every longer stage 2; return AP by epoch for each share.

    Args:
        data: to train and to validate on.
        weights: to start from.
        place: where the runs are kept.
        values: recipe fields that all of them share.
        least: the shortest stage 2, as a share of the run.
        begins: the longer ones -> the epoch after which they begin.
    """
    first = {**values, "schedule": {**values["schedule"], "stage2_share": least}}
    with log_to(place / "log.txt"):
        with kept_at(begins.values(), place):
            whole = start_run(data, place / "run", TrainRequest(weights=weights, values=first), RunOptions())
        found = {str(least): validations(whole)}
        for share, epoch in begins.items():
            run = Run(place / f"at-{epoch}")
            state = load_state(run.checkpoint)
            state["recipe"]["schedule"]["stage2_share"] = share
            save_state(run.checkpoint, state)
            found[str(share)] = validations(resume(run, data))
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return AP at the end by length and share, and what each longer stage 2 changes on the same runs."""
    ends: dict[tuple[int, int, str], dict[int, float]] = defaultdict(dict)
    for row in found:
        for share, aps in row["ap"].items():
            ends[row["input"], row["epochs"], share][row["fold"]] = aps[str(row["epochs"])]
    lines = ["| input | epochs | stage 2 | folds | AP | against the shortest |", "|" + "---|" * 6]
    for (size, epochs, share), aps in sorted(ends.items()):
        short = ends[size, epochs, min((s for *of, s in ends if of == [size, epochs]), key=float)]
        change = [aps[fold] - short[fold] for fold in sorted(aps)]
        folds = ", ".join(f"{aps[fold]:.3f}" for fold in sorted(aps))
        mean, more = np.mean(list(aps.values())), np.mean(change)
        lines.append(f"| {size} | {epochs} | {share} | {folds} | {mean:.3f} | {more:+.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Make the runs that nobody has begun, and print the table."""
    parser = arguments(__doc__, out="branches")
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(1, FOLDS + 1)))
    parser.add_argument("--epochs", nargs="+", type=int, default=[60])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.083, 0.25])
    parser.add_argument("--input-size", type=int, default=800)
    asked = parser.parse_args()
    data = Dataset.read(asked.data, classes=asked.classes)
    least, *longer = sorted(asked.shares)
    begins = {epochs: begins_of(epochs, longer) for epochs in asked.epochs}
    for epochs in asked.epochs:
        for fold in asked.folds:
            place = asked.out / f"{epochs}-{asked.input_size}-fold-{fold}"
            if not claimed(place):
                continue
            values = {
                "data": {"input_size": asked.input_size, "threads": 0},  # a process on each processor
                "schedule": {"epochs": epochs},
                "eval": {"interval": 5},
            }
            held_out = fold_of(data, FOLDS, fold, 0)
            found = branches(
                held_out, asked.weights, place, values=values, least=least, begins=begins[epochs]
            )
            record(place, {"fold": fold, "epochs": epochs, "input": asked.input_size, "ap": found})
            print(place.name, {share: aps[epochs] for share, aps in found.items()}, flush=True)
    print(table(results(asked.out)))


if __name__ == "__main__":
    main()
