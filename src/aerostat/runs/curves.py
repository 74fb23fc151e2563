"""The curves of a run: losses, learning rate, AP. Drawn with Matplotlib's objects, without global state."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aerostat.files import replacing
from aerostat.runs.metrics import best_of, deciding_ap, is_number, lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]

# Okabe and Ito, "Color Universal Design" (2008)
_BLUE, _VERMILLION, _GREEN, _ORANGE, _GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#6b6b6b"

_PURPLE = "#CC79A7"

_LOSS_COLOURS = (_BLUE, _ORANGE, _GREEN, "#CC79A7", "#56B4E9", _VERMILLION)
_LOSS_NAMES = {"loss_cls": "classification", "loss_bbox": "box"}
"""Names of RTMDet's losses in the legend; another loss has its own name without ``loss_``."""


def plot_training(metrics: Records, folder: Path) -> list[Path]:
    """Write ``loss.png``, ``lr.png`` and ``ap.png`` into `folder` and return the paths written.

    Args:
        metrics: the lines of a run's ``metrics.jsonl``, in order, with epochs from 1. Used are the kinds
            ``train`` (``loss``, ``loss_...``, ``lr``), ``val`` (``ap``, ``ap50``, ``ap75``, from 0 to 1), and
            ``stage``, whose epoch is the first of the second stage. Values that are not finite are left out.
        folder: made if it is missing.

    A picture without lines is not written.
    """
    charts = (("loss.png", loss_curve), ("lr.png", lr_curve), ("ap.png", ap_curve))
    written = []
    for name, chart in charts:
        figure = chart(metrics)
        if figure is not None:
            with replacing(folder / name) as temporary:
                figure.savefig(temporary, format="png")
            written.append(folder / name)
    return written


def loss_curve(metrics: Records) -> Figure | None:
    """Return the sum of the losses and each of them over the epochs; None without training lines."""
    train = lines_of(metrics, "train", "loss")
    if not train:
        return None
    figure, axes = _chart("Training loss", "loss")
    x = _positions(train)
    for key, colour in zip(_losses(train), itertools.cycle(_LOSS_COLOURS), strict=False):
        name = _LOSS_NAMES.get(key, key.removeprefix("loss_"))
        _smoothed(axes, x, np.asarray([float(line[key]) for line in train]), name, colour)
    axes.set_ylim(bottom=0)
    _finish(axes, metrics)
    return figure


def _losses(train: Records) -> list[str]:
    """Return the keys of all losses that each line has, the sum first."""
    keys = [key for key in train[0] if key == "loss" or key.startswith("loss_")]
    return [key for key in keys if all(is_number(line.get(key)) for line in train)]


def lr_curve(metrics: Records) -> Figure | None:
    """Return the learning rate over the epochs; None without training lines."""
    train = lines_of(metrics, "train", "lr")
    if not train:
        return None
    figure, axes = _chart("Learning rate", "learning rate")
    rates = [float(line["lr"]) for line in train]
    axes.plot(_positions(train), rates, color=_BLUE, linewidth=1.8, marker="o" if len(rates) < 3 else None)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylim(bottom=0)
    _finish(axes, metrics, legend=False)
    return figure


def ap_curve(metrics: Records) -> Figure | None:
    """Return AP, AP50 and AP75 over the epochs, the best epoch marked; None without validation lines.

    With masks, their AP is a line of its own, and it decides which epoch is the best.
    """
    val = lines_of(metrics, "val", "ap")
    if not val:
        return None
    figure, axes = _chart("Validation", "average precision")
    lines_of_figures = (
        *(("ap50", "AP50", _ORANGE), ("ap75", "AP75", _GREEN), ("ap", "AP", _BLUE)),
        ("mask_ap", "mask AP", _PURPLE),
    )
    for key, name, colour in lines_of_figures:
        lines = [line for line in val if is_number(line.get(key))]
        if lines:
            epochs, values = [line["epoch"] for line in lines], [line[key] for line in lines]
            wide = 2.2 if key in ("ap", "mask_ap") else 1.4
            axes.plot(epochs, values, color=colour, label=name, linewidth=wide, marker="o", markersize=3.5)
    best = best_of(val) or val[0]
    what = "mask AP" if "mask_ap" in best else "AP"
    axes.plot(best["epoch"], deciding_ap(best), "*", color=_VERMILLION, markersize=14, zorder=5,
              label=f"best: {what} {deciding_ap(best):.3f}, epoch {best['epoch']}")  # fmt: skip
    axes.set_ylim(0, 1)
    _finish(axes, metrics)
    return figure


def _positions(train: Records) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return where each training line stands on the axis of epochs: epoch 3 runs from 2 to 3."""
    epochs = np.asarray([int(line["epoch"]) for line in train])
    positions = np.empty(len(train))
    for epoch in np.unique(epochs):
        rows = np.flatnonzero(epochs == epoch)
        positions[rows] = epoch - 1 + np.arange(1, len(rows) + 1) / len(rows)
    return positions


def _smoothed(axes: Axes, x: Any, values: Any, name: str, colour: str) -> None:
    """Draw a running mean strongly and, where it differs, the single values faintly behind it."""
    window = max(1, len(values) // 40)
    if window == 1:
        axes.plot(x, values, color=colour, label=name, linewidth=1.8, marker="o" if len(values) < 3 else None)
        return
    axes.plot(x, values, color=colour, alpha=0.22, linewidth=0.8)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    axes.plot(x, (sums[last] - sums[first]) / (last - first), color=colour, label=name, linewidth=1.8)


def _chart(title: str, y_name: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_xlabel("epoch")
    axes.set_ylabel(y_name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.grid(True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(colors="#444444", labelsize=9)
    return figure, axes


def _finish(axes: Axes, metrics: Records, legend: bool = True) -> None:
    """Fit the axis of epochs, mark where the second stage starts, and add the legend."""
    epochs = [float(line["epoch"]) for line in metrics if is_number(line.get("epoch"))]
    last = max(epochs)
    axes.set_xlim(0, last + 0.02 * max(last, 1) + 0.1)
    for line in metrics:
        if line.get("kind") == "stage" and is_number(line.get("epoch")):
            start = float(line["epoch"]) - 1  # the stage starts where the epoch before it ends
            axes.axvline(start, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.1, label="second stage")
    if legend or any(line.get("kind") == "stage" for line in metrics):
        axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc="best")
