"""Values of several runs: a dot each, their mean and its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aerostat.draw.figure import new_figure
from aerostat.files import replacing

_BLUE, _GREY, _INK = "#0072B2", "#8a8a8a", "#222222"


@dataclass(frozen=True)
class Row:
    """One row of the chart.

    Args:
        name: left of the row.
        values: of the runs, drawn as dots.
        mean, low, high: mean of the values and its interval; NaN if there is no interval.
        optimistic: values of the runs by an optimistic measure, drawn as hollow dots below.
    """

    name: str
    values: Sequence[float]
    mean: float
    low: float
    high: float
    optimistic: Sequence[float] = ()


def plot_spread(rows: Sequence[Row], path: Path, *, title: str, measure: str) -> Path:
    """Write a chart of rows of values as PNG and return its path.

    Args:
        rows: from the top.
        path: of the file, written atomically.
        title: above the chart.
        measure: name of the values, below the axis.
    """
    from matplotlib.lines import Line2D

    figure = new_figure(8.4, 1.7 + 0.62 * len(rows))
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        if not math.isnan(row.low):
            axes.plot(
                [row.low, row.high], [y, y], color=_BLUE, linewidth=7, alpha=0.22, solid_capstyle="butt"
            )
        axes.plot([row.mean] * 2, [y - 0.24, y + 0.24], color=_BLUE, linewidth=2.4)
        # Equal values would hide one another, so dots are shifted a little up and down.
        shifts = np.resize((-0.07, 0.0, 0.07), len(row.values))
        axes.plot(row.values, y + shifts, "o", color=_BLUE, markersize=4.5, alpha=0.85, zorder=3)
        if len(row.optimistic):
            below = np.full(len(row.optimistic), y + 0.3)
            axes.plot(row.optimistic, below, "o", mfc="none", mec=_GREY, markersize=4, zorder=2)
        axes.annotate(
            f"{row.mean:.3f}", (row.mean, y - 0.26), ha="center", va="bottom", fontsize=9, color=_INK
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.65)
    axes.set_xlabel(measure)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.grid(True, axis="x", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=_BLUE, markersize=4.5, label="a run, last epoch"),
        Line2D([], [], color=_BLUE, linewidth=2.4, label="mean, 95 % interval shaded"),
    ]
    if any(len(row.optimistic) for row in rows):
        handles.append(
            Line2D([], [], marker="o", linestyle="", mfc="none", mec=_GREY, markersize=4,
                   label="its best epoch (optimistic)")
        )  # fmt: skip
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return path
