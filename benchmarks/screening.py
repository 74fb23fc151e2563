"""Which choices of a recipe matter: fractional factorial designs on folds of the training images.

In the first design seven choices, each in two forms, are made in eight runs on one fold: every choice takes
either form four times, and every two choices meet evenly. The effect of a choice is the mean of the runs
with its second form less the mean of those with its first, so that each figure uses all runs, where trying
one choice at a time would give it two. (Box, Hunter and Hunter, Statistics for Experimenters, 2nd ed.,
chapter 6: the 2^(7-4) design.) The second has four choices in eight runs on the other two folds: 2^(4-1),
the fold being the product of the first two choices.

    python -m benchmarks.screening balloon/ weights.pth --design first --out screening

Any number of processes may share one --out; what is finished is not made again (see
`benchmarks/claims.py`).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.evaluation.evaluate import evaluate
from aerostat.experiments.study import fold_of
from aerostat.inference.resolve import load
from aerostat.inference.tta import TTA
from aerostat.progress import log_to
from aerostat.training.plan import TrainRequest
from aerostat.training.runner import RunOptions, start_run
from aerostat.weights.checkpoint import load_weights, save_weights
from benchmarks.claims import arguments, claimed, record, results
from benchmarks.effects import fit

Values = dict[str, dict[str, Any]]
FOLDS = 3
TEST_SIZES = (640, 800, 960, 1280)


@dataclass(frozen=True)
class Design:
    """Choices in two forms each, and the runs: (fold, -1 or 1 for each choice)."""

    factors: dict[str, tuple[Any, Any]]
    runs: list[tuple[int, tuple[int, ...]]]
    values_of: Callable[..., Values]


def _first(
    lr: float, batch: int, size: int, mixup: float, stage2: float, paste: int, backbone: float
) -> Values:
    return {
        "data": {"input_size": size},
        "optim": {"batch_size": batch, "lr": lr * (batch / 12) ** 0.5, "backbone_lr_factor": backbone},
        "augment": {"mixup": mixup, "copy_paste": paste},
        "schedule": {"epochs": 40, "stage2_share": stage2},
    }


def _second(epochs: int, size: int, backbone: float, _row: str) -> Values:
    return {
        "data": {"input_size": size},
        "optim": {"backbone_lr_factor": backbone},
        "schedule": {"epochs": epochs},
    }


PRETRAINED = "that of the pretrained class"
"""The class row is kept where the weights call their class by the data's name."""
CUBE = list(itertools.product((-1, 1), repeat=3))
FIRST = [(a, b, c, a * b, a * c, b * c, a * b * c) for a, b, c in CUBE]
DESIGNS = {
    "first": Design(
        {
            "lr at batch 12": (0.001, 0.002),
            "batch size": (8, 4),
            "input size": (640, 800),
            "MixUp": (0.5, 0.0),
            "stage 2 share": (0.25, 0.5),
            "copy-paste": (0, 4),
            "backbone lr factor": (1.0, 0.3),
        },
        [(1, row) for row in FIRST],
        _first,
    ),
    "second": Design(
        {
            "epochs": (30, 60),
            "input size": (640, 800),
            "backbone lr factor": (1.0, 0.3),
            "class row": ("fresh", PRETRAINED),
        },
        [(2 if a * b < 0 else 3, (a, b, c, a * b * c)) for a, b, c in CUBE],
        _second,
    ),
}


def one(data: Dataset, weights: str, place: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Train once; return AP of the last averaged weights at several test sizes."""
    with log_to(place / "log.txt"):
        run = start_run(data, place / "run", TrainRequest(weights=weights, values=values), RunOptions())
        model, val = load(run.last), data.split("val")
        at = {size: evaluate(model, val, tta=TTA(scales=(size,), flip=False)).ap for size in TEST_SIZES}
        found = {"values": values, "ap": at[values["data"]["input_size"]]}
        found |= {f"ap_{size}": ap for size, ap in at.items()}
        found["seconds"] = run.read_metrics()[-1].get("seconds")
    (run.path / "last.ckpt").unlink(missing_ok=True)
    (run.path / "best.safetensors").unlink(missing_ok=True)
    return found


def main() -> None:
    """Make the runs that nobody has begun, and print the effects."""
    parser = arguments(__doc__, out="screening")
    parser.add_argument("--design", choices=list(DESIGNS), default="first")
    asked = parser.parse_args()
    data = Dataset.read(asked.data, classes=asked.classes)
    design = DESIGNS[asked.design]
    asked.out.mkdir(parents=True, exist_ok=True)
    renamed = asked.out / f"renamed-{os.getpid()}.safetensors"
    known = load_weights(asked.weights)
    save_weights(renamed, known.state, dataclasses.replace(known.header, classes=data.classes))
    for number, (fold, levels) in enumerate(design.runs):
        place = asked.out / f"{asked.design}-{number:02}"
        if not claimed(place):
            continue
        chosen = {
            name: pair[level > 0] for (name, pair), level in zip(design.factors.items(), levels, strict=True)
        }
        values = design.values_of(*chosen.values())
        values["data"]["threads"] = 0  # a process on each processor
        values["eval"] = {"interval": 1000}
        weights = renamed if chosen.get("class row") == PRETRAINED else asked.weights
        found = one(fold_of(data, FOLDS, fold, 0), str(weights), place, values)
        found |= {"design": asked.design, "fold": fold, "levels": levels}
        record(place, found)
        print(
            number,
            fold,
            levels,
            {k: v for k, v in found.items() if k.startswith("ap")},
            found["seconds"],
            flush=True,
        )
    renamed.unlink()
    finished = [row for row in results(asked.out) if row["design"] == asked.design]
    if len(finished) < len(design.runs):  # other processes are still at them; a part would mix the effects
        print(f"{len(finished)} of {len(design.runs)} runs are finished; their effects are told once all are")
        return
    # from -1 to 1 are two units
    columns = zip(*(row["levels"] for row in finished), strict=True)
    choices = {name: [level / 2 for level in of] for name, of in zip(design.factors, columns, strict=True)}
    print(fit([row["fold"] for row in finished], choices, [row["ap"] for row in finished]))


if __name__ == "__main__":
    main()
