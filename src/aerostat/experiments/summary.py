"""A study as a person reads it: one table, one picture, and what can be concluded."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from aerostat.draw.spread import Row, plot_spread
from aerostat.experiments.study import MEASURES, Comparison, Study
from aerostat.text import counted
from aerostat.training.progress import clock


def render(study: Study) -> Group:
    """Return the table of recipes and a sentence about each comparison."""
    measures = [m for m in MEASURES if study.values(study.arms[0], m)]
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", overflow="fold")
    for name in ("runs", "AP", "+-", "95 % of the mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for measure in measures[1:]:
        optimistic = "\n(optimistic)" if measure == "best_ap" else ""
        table.add_column(MEASURES[measure] + optimistic, justify="right", no_wrap=True)
    table.add_column("a run\ntakes", justify="right")
    for arm in study.arms:
        seconds, headline = study.values(arm, "seconds"), study.spread(arm)
        several = headline.count > 1
        table.add_row(
            Text(arm),
            str(headline.count),
            f"{headline.mean:.3f}",
            f"{headline.deviation:.3f}" if several else "",
            f"{headline.low:.3f} to {headline.high:.3f}" if several else "",
            *(f"{study.spread(arm, m).mean:.3f}" for m in measures[1:]),
            clock(sum(seconds) / len(seconds)),
        )
    comparisons = study.comparisons()
    lines = [conclusion(comparison) for comparison in comparisons]
    notes = [
        "AP: mean over the runs, of the averaged weights of the last epoch; +-: deviation of single runs.",
        "The best epoch is chosen on the images that it is scored on, so it promises more than it keeps.",
    ]
    if len(comparisons) > 1:
        notes.append(
            f"Of {len(comparisons)} comparisons one may look like a difference by luck: each must be surer "
            "than its own interval says (Holm)."
        )
    if study.test_share:
        notes.append("Folds share most of their training images: their intervals are widened for that.")
    return Group(table, Text(), *(Text(line) for line in lines), *(Text(note, style="dim") for note in notes))


def conclusion(comparison: Comparison) -> str:
    """Return in one sentence whether a recipe is better than another."""
    d = comparison.difference
    head = f"{comparison.ours} against {comparison.theirs}: AP {d.spread.mean:+.3f}"
    if math.isnan(d.p):
        return f"{head} in one run; a single run cannot tell it from noise."
    head += f" [{d.spread.low:+.3f} to {d.spread.high:+.3f}] over {counted(d.spread.count, 'pair')}"
    if d.real:
        return f"{head}: {'better' if d.spread.mean > 0 else 'worse'}, by more than noise ({_p(d.p)})."
    need = ""
    if d.runs_needed and d.runs_needed < 1000:
        need = f"; about {d.runs_needed} pairs would tell"
    elif d.test_share and d.spread.mean:
        need = "; more seeds on these images would not tell, more images might"
    return f"{head}: cannot be told from noise ({_p(d.p)}{need})."


def plot(study: Study, path: Path) -> Path:
    """Write the picture of a study."""
    rows = []
    for arm in study.arms:
        s = study.spread(arm)
        rows.append(Row(arm, study.values(arm), s.mean, s.low, s.high, study.values(arm, "best_ap")))
    kind = "folds" if study.test_share else "seeds"
    return plot_spread(rows, path, title=f"AP over {kind}", measure="AP, averaged weights of the last epoch")


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
