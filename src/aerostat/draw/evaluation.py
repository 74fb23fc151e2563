"""Charts of an evaluation: precision over recall, confusion matrix, kinds of errors.

The type is large enough for a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.figure import FAINT, new_figure, style_axes
from aerostat.draw.palette import class_colour
from aerostat.draw.text import drawable, elide

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Okabe and Ito, "Color Universal Design" (2008)
_BLUE, _VERMILLION = "#0072B2", "#D55E00"
_STRONG = (_BLUE, "#E69F00", "#009E73")  # blue, orange, bluish green
_INK = "#222222"
_DPI = 140
_NAME_ROOM = 170
"""Width of a name beside a chart in pixels, at most, at 13 pixels per em."""


@dataclass(frozen=True)
class Mark:
    """A marked point of a precision-recall chart.

    Args:
        recall, precision: from 0 to 1.
        text: for the legend.
    """

    recall: float
    precision: float
    text: str


def precision_recall_chart(
    curves: Mapping[str, NDArray[np.floating]],
    mark: Mark | None = None,
    *,
    by_class: Mapping[int, NDArray[np.floating]] | None = None,
    classes: Sequence[str] = (),
) -> Figure:
    """Return precision over recall: strong lines for all classes, thin lines for single ones, a marked point.

    Args:
        curves: precision (101,) at recalls 0 to 1, by name; three at most.
        mark: a point to mark.
        by_class: precision (101,) by label, drawn thin in the colours of the classes.
        classes: names, indexed by the labels of `by_class`.
    """
    figure, axes = _chart(5.6, 4.6)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    recalls = np.linspace(0, 1, 101)
    # Beside lines in the colours of classes, dashes distinguish the strong lines.
    styles = [(_INK, "-"), (_INK, "--"), (_INK, ":")] if by_class else [(c, "-") for c in _STRONG]
    for (name, precision), (colour, dashes) in zip(curves.items(), styles, strict=False):
        axes.plot(recalls, precision, color=colour, linestyle=dashes, linewidth=2.4, label=name)
    for label, precision in (by_class or {}).items():
        name = _name(classes[label], f"class {label}")
        axes.plot(recalls, precision, color=_rgb(label), linewidth=1.6, label=name)
    if mark is not None:
        axes.plot(
            [mark.recall],
            [mark.precision],
            marker="*",
            markersize=17,
            color=_VERMILLION,
            markeredgecolor="white",
            linestyle="none",
            label=mark.text,
            clip_on=False,
            zorder=5,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.grid(True, color=FAINT, linewidth=0.8)
    legend = axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=11, handlelength=1.4
    )
    for text in legend.get_texts():
        _in_its_script(text)
    return figure


def confusion_chart(classes: Sequence[str], counts: NDArray[np.integer]) -> Figure:
    """Return a confusion matrix: counts in cells, coloured by their share of the row.

    Correct detections are blue, errors vermillion.

    Args:
        classes: k names.
        counts: (k + 1, k + 1); rows annotated classes and background, columns detected classes and missed.
    """
    size = len(counts)
    cell = 1.1 if size <= 3 else 0.75 if size <= 6 else 0.52
    names = [_name(name, f"class {k}") for k, name in enumerate(classes)]
    slanted = size > 3 or max(map(len, names)) > 10
    figure, axes = _chart(cell * size + 1.7, cell * size + (1.6 if slanted else 0.7))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(_cell_colours(share), aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if row == column == size - 1 or (not count and row != column):
            continue  # background without a detection has no count
        colour = "white" if share[row, column] > 0.6 else _INK
        axes.text(column, row, _short(int(count)), ha="center", va="center", color=colour, fontsize=13)
    axes.set_xticks(range(size), [*names, "missed"])
    axes.set_yticks(range(size), [*names, "background"])
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=50, ha="right", rotation_mode="anchor")
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontsize(11 if size <= 6 else 13)
        _in_its_script(label)
    axes.set_xlabel("detected")
    axes.set_ylabel("annotated")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def tide_chart(counts: Mapping[Any, int], won: Mapping[Any, float] | None = None) -> Figure:
    """Return bars of the errors of each kind, and beside them the AP50 that correcting them would win.

    The kinds are TIDE's (arXiv:2008.08115).

    Args:
        counts: errors by kind.
        won: AP50 to win, from 0 to 1, by kind; None leaves these bars out.
    """
    figure, axes = _chart(5.6, 0.42 * len(counts) + 0.9, 1 if won is None else 2)
    columns: list[tuple[Any, str, Mapping[Any, float], str, str]] = [
        (axes if won is None else axes[0], "how many", counts, _VERMILLION, "{:.0f}")
    ]
    if won is not None:
        columns.append((axes[1], "AP50 to win", won, _BLUE, "{:.3f}"))
    for i, (part, title, values, colour, form) in enumerate(columns):
        part.barh(range(len(values)), list(values.values()), color=colour, height=0.62)
        part.set_title(title, loc="left", fontsize=12)
        part.set_yticks(range(len(values)), list(values) if i == 0 else [""] * len(values))
        part.invert_yaxis()
        peak = max(values.values(), default=0.0) or 1.0
        part.set_xlim(0, peak * 1.32)  # room for the figure behind the longest bar
        for row, value in enumerate(values.values()):
            part.text(value + 0.03 * peak, row, form.format(value), va="center", fontsize=11)
        part.set_xticks([])
        part.spines[["bottom"]].set_visible(False)
        part.tick_params(length=0)
    return figure


def _chart(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = new_figure(width, height, dpi=_DPI)
    parts = figure.subplots(1, columns, squeeze=False)[0]
    for axes in parts:
        style_axes(axes, grid=False)
        axes.tick_params(colors="#333333", labelsize=11)
        axes.xaxis.label.set_fontsize(12)
        axes.yaxis.label.set_fontsize(12)
    return figure, parts[0] if columns == 1 else parts


def _cell_colours(share: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (n, n, 3) from white to blue on the diagonal, from white to vermillion beside it."""
    strong = np.empty((*share.shape, 3))
    strong[:] = _channels(_VERMILLION)
    right = np.arange(len(share) - 1)
    strong[right, right] = _channels(_BLUE)
    # The square root makes a share of some per cent visible.
    cells: NDArray[np.floating] = 1 - np.sqrt(share)[..., None] * (1 - strong)
    cells[share == 0] = 0.97
    cells[-1, -1] = 0.9
    return cells


def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _rgb(label: int) -> tuple[float, float, float]:
    blue, green, red = class_colour(label)
    return red / 255, green / 255, blue / 255


def _short(count: int) -> str:
    """Return a count in at most four characters: 999, 12k, 3M."""
    if count < 1000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.0f}M"


def _name(name: str, fallback: str) -> str:
    """Return a class name, shortened to `_NAME_ROOM`, or `fallback` if no font has its script."""
    return elide(name, 13, _NAME_ROOM, fallback)


def _in_its_script(text: Text) -> None:
    """Give a name a font that has its script, and show dollars as they are."""
    text.set_parse_math(False)
    shown, font = drawable(text.get_text())
    text.set_text(shown)
    if not font.endswith("DejaVuSans.ttf"):
        from matplotlib.font_manager import FontProperties

        text.set_fontproperties(FontProperties(fname=font, size=text.get_fontsize()))
