"""A study as a person reads it: one table, one picture, and what can be concluded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aerostat.draw.spread import Row, plot_spread
from aerostat.experiments.study import Comparison, Study
from aerostat.text import counted
from aerostat.training.progress import clock

TITLES = {
    "ap50": "AP50",
    "ap": "box\nAP",
    "mask_ap": "mask\nAP",
    "best_ap": "best\nepoch",
    "best_mask_ap": "best\nepoch",
    "tta_ap": "with\nTTA",
    "tta_mask_ap": "with\nTTA",
}
"""Headings of the measures' columns beside the headline."""
LABEL_CELLS = 12
"""Longest name of a recipe that stands in the table itself; with a longer one, all stand below it."""


def render(study: Study) -> Group:
    """Return the table of recipes and a sentence about each comparison, for a console of 80 columns."""
    label = labels(study.arms)
    legend = [Text(f"{label[arm]}: {arm}") for arm in study.arms if label[arm] != arm]
    comparisons = study.comparisons()
    what = study.measures[study.headline]
    lines = [conclusion(comparison, label, what) for comparison in comparisons]
    notes = [
        f"{what}: mean over the runs, of the averaged weights of the last epoch; +-: deviation of single "
        "runs.",
        "The best epoch is optimistic, because it is chosen on the images that it is scored on.",
    ]
    if len(comparisons) > 1:
        notes.append(
            f"Of {len(comparisons)} comparisons one may look like a difference by luck: each must be surer "
            "than its own interval says (Holm)."
        )
    if study.test_share:
        notes.append("Folds share most of their training images: their intervals are widened for that.")
    return Group(
        _table(study, label),
        *legend,
        Text(),
        *(Text(line) for line in lines),
        *(Text(note, style="dim") for note in notes),
    )


def labels(arms: Sequence[str]) -> dict[str, str]:
    """Return a short label for each recipe: its name, or A, B, ... if the name of any of them is long.

    >>> labels(["auto", "optim.lr=0.0001"])
    {'auto': 'A', 'optim.lr=0.0001': 'B'}
    """
    if all(cell_len(arm) <= LABEL_CELLS for arm in arms):
        return {arm: arm for arm in arms}
    return {arm: chr(ord("A") + i) if i < 26 else str(i + 1) for i, arm in enumerate(arms)}


def _table(study: Study, label: Mapping[str, str]) -> Table:
    others = [m for m in study.measures if m != study.headline]
    titles = dict(TITLES, tta_ap="box\nTTA") if study.headline == "mask_ap" else TITLES
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    first = study.measures[study.headline].replace(" ", "\n")
    for title in ["runs", first, "+-", "95 % of\nthe mean", *(titles[m] for m in others), "a run\ntakes"]:
        table.add_column(title, justify="right", no_wrap=True)
    for arm in study.arms:
        seconds, headline = study.values(arm, "seconds"), study.spread(arm)
        several = headline.count > 1
        table.add_row(
            Text(label[arm]),
            str(headline.count),
            f"{headline.mean:.3f}",
            f"{headline.deviation:.3f}" if several else "",
            f"{headline.low:.3f} to {headline.high:.3f}" if several else "",
            *(f"{study.spread(arm, m).mean:.3f}" if study.values(arm, m) else "" for m in others),
            clock(sum(seconds) / len(seconds)),
        )
    return table


def conclusion(comparison: Comparison, label: Mapping[str, str], what: str = "AP") -> str:
    """Return in one sentence whether a recipe is better than another.

    Args:
        comparison: of two recipes.
        label: names of both.
        what: the figure that was compared.
    """
    d = comparison.difference
    head = f"{label[comparison.ours]} against {label[comparison.theirs]}: {what} {d.spread.mean:+.3f}"
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
    best = "best_mask_ap" if study.headline == "mask_ap" else "best_ap"
    for arm in study.arms:
        s, values = study.spread(arm), study.values(arm, study.headline)
        rows.append(Row(arm, values, s.mean, s.low, s.high, study.values(arm, best)))
    kind, what = "folds" if study.test_share else "seeds", study.measures[study.headline]
    return plot_spread(
        rows, path, title=f"{what} over {kind}", measure=f"{what}, averaged weights of the last epoch"
    )


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
