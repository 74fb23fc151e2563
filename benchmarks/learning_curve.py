"""AP against the number of annotated photographs: the recipe that `train` chooses for each, over seeds.

    python -m benchmarks.learning_curve balloon/ weights.pth --counts 15 30 61 --seeds 3 --out curve

Every seed draws photographs of its own, and the fewer are among the more, as when somebody goes on
annotating. The model is scored on the data's val split after the last epoch. Several processes may share
one --out; what is finished is not made again (see `benchmarks/claims.py`).
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from aerostat.datasets.dataset import Dataset
from aerostat.experiments.study import score_run
from aerostat.progress import log_to
from aerostat.runs.metrics import lines_of
from aerostat.training.plan import TrainRequest
from aerostat.training.recipe import parse_assignments
from aerostat.training.runner import RunOptions, start_run
from benchmarks.claims import arguments, claimed, record, results


def subset(data: Dataset, count: int, seed: int) -> Dataset:
    """Return the data with so many of the training images, drawn by the seed."""
    split = data.split("train")
    fewer = sorted(np.random.default_rng(seed).permutation(len(split))[:count])
    return Dataset(data.classes, {"train": split.chosen(fewer), "val": data.split("val")})


def one(data: Dataset, weights: str, place: Path, values: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train once; return AP after the last epoch, with and without views, and of the best epoch."""
    with log_to(place / "log.txt"):
        changed = {**values, "run": {**values.get("run", {}), "seed": seed}}
        run = start_run(data, place / "run", TrainRequest(weights=weights, values=changed), RunOptions())
        lines = run.read_metrics()
        scores = lines_of(lines, "val", "ap")
        return {
            "images": len(data.split("train")),
            "seed": seed,
            **{key: scores[-1][key] for key in ("ap", "ap50", "ap75")},
            "ap_tta": score_run(run, data.split("val"), tta=True).ap,
            "best_ap": max(line["ap"] for line in scores),
            "seconds": lines[-1].get("seconds"),
        }


def table(found: list[dict[str, Any]]) -> str:
    """Return mean and deviation for each number of photographs, as Markdown."""
    rows = ["| photographs | runs | AP | deviation | AP50 | with --tta | best epoch |", "|" + "---|" * 7]
    for count in sorted({row["images"] for row in found}):
        rows_of = [row for row in found if row["images"] == count]
        ap = [row["ap"] for row in rows_of]
        spread = f"{stdev(ap):.3f}" if len(ap) > 1 else "-"
        rest = " | ".join(f"{mean(row[key] for row in rows_of):.3f}" for key in ("ap50", "ap_tta", "best_ap"))
        rows.append(f"| {count} | {len(ap)} | {mean(ap):.3f} | {spread} | {rest} |")
    return "\n".join(rows)


def plot(found: list[dict[str, Any]], path: Path) -> None:
    """Draw AP over the number of photographs: a dot for each run, a line through the means."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = sorted({row["images"] for row in found})
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for key, name, colour in (("ap", "plain", "#0072B2"), ("ap_tta", "with --tta", "#D55E00")):
        axes.scatter(
            [row["images"] for row in found], [row[key] for row in found], s=14, color=colour, alpha=0.5
        )
        means = [mean(row[key] for row in found if row["images"] == count) for count in counts]
        axes.plot(counts, means, color=colour, label=name, marker="o", markersize=7)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="annotated photographs to learn from", ylabel="AP after the last epoch")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> None:
    """Make the runs that nobody has begun, and print the table of those that are there."""
    parser = arguments(__doc__, out="learning-curve")
    parser.add_argument("--counts", type=int, nargs="+", default=[15, 30, 61])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", nargs="+", default=[], help="recipe fields, as section.key=value")
    asked = parser.parse_args()
    data = Dataset.read(asked.data, classes=asked.classes)
    values = parse_assignments(asked.set)
    for count in sorted({min(count, len(data.split("train"))) for count in asked.counts}):
        for seed in range(asked.seeds):
            place = asked.out / f"{count}-{seed}"
            if claimed(place):
                found = one(subset(data, count, seed), asked.weights, place, values, seed)
                record(place, found)
                print(found, flush=True)
    all_found = results(asked.out)
    print(table(all_found))
    plot(all_found, asked.out / "curve.png")


if __name__ == "__main__":
    main()
