"""What each choice of a recipe does, from all runs together: least squares with the folds taken out.

    python -m benchmarks.effects benchmarks/balloon_runs.csv

A line of the file is a run: its fold, its choices, its AP. A choice comes in two forms, of which the first
run has the first, and counts as one form or the other; epochs count by their logarithm, so that the effect is
that of a doubling. Standard errors come from what folds and choices leave unexplained.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def fit(folds: Sequence[int], choices: Mapping[str, Sequence[float]], ap: Sequence[float]) -> str:
    """Return the effect of one unit of each choice with its standard error, as Markdown.

    Args:
        folds: of each run.
        choices: name -> the value of each run.
        ap: of each run on the images held out.
    """
    x = np.array([*([f == fold for f in folds] for fold in sorted(set(folds))), *choices.values()], float).T
    y = np.array(ap)
    beta, *_ = np.linalg.lstsq(x, y, rcond=None)
    left = len(y) - np.linalg.matrix_rank(x)
    errors = np.full(len(beta), np.nan)  # with nothing left unexplained there are none
    if left > 0:
        errors = np.sqrt(((y - x @ beta) ** 2).sum() / left * np.diag(np.linalg.pinv(x.T @ x)))
    lines = ["| choice | effect on AP | s.e. |", "|---|---|---|"]
    of_choices = slice(-len(choices), None)
    for name, effect, error in zip(choices, beta[of_choices], errors[of_choices], strict=True):
        lines.append(f"| {name} | {effect:+.3f} | {error:.3f} |")
    return "\n".join(lines)


def coded(values: Sequence[str], name: str) -> tuple[str, list[float]]:
    """Return a choice with its two forms in its name, and 0 or 1 for each run."""
    if name == "epochs":
        return "epochs, twice as many", [float(np.log2(int(value))) for value in values]
    first, second = dict.fromkeys(values)
    return f"{name}, {first} to {second}", [float(value == second) for value in values]


def main() -> None:
    """Print the table of a file of runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    with parser.parse_args().runs.open(newline="") as file:
        runs = list(csv.DictReader(file))
    names = [name for name in runs[0] if name not in ("fold", "AP")]
    choices = dict(coded([run[name] for run in runs], name) for name in names)
    print(fit([int(run["fold"]) for run in runs], choices, [float(run["AP"]) for run in runs]))


if __name__ == "__main__":
    main()
