"""How much of a detection is left while a photograph goes or comes: deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008); greys and dashes are for what is there for comparison only
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREYS = ("#8a8a8a", "#b0b0b0", "#6b6b6b", "#3d3d3d")
_DASHES = ((0, (1, 1.2)), (0, (3, 1.5)), (0, (6, 2)), (0, (6, 1.5, 1, 1.5)))


@dataclass(frozen=True, eq=False)
class ScoreCurves:
    """What one map gives.

    Args:
        name: for the legend.
        deletion, insertion: pairs of arrays (S,): shares of the photograph from 0 to 1, and scores, those on
            the whole photograph being 1.
        control: whether it is a map that is there for comparison.
    """

    name: str
    deletion: tuple[NDArray[np.floating], NDArray[np.floating]]
    insertion: tuple[NDArray[np.floating], NDArray[np.floating]]
    control: bool = False


def score_curves(curves: Sequence[ScoreCurves], title: str) -> Figure:
    """Return a figure with the deletion curves at the left and the insertion curves at the right.

    The axis of shares is stretched at its beginning (by the square root), where an object of ordinary size
    goes or comes. The legend names the areas, which are those under the curves over an even axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(9.6, 4.4 + 0.2 * -(-len(curves) // 2)), dpi=120, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel("score, of that on the photograph")
    _panel(left, "Deletion: the hottest pixels go first", "taken away", [(c, c.deletion) for c in curves])
    _panel(right, "Insertion: the hottest pixels come first", "let in", [(c, c.insertion) for c in curves])
    most = max([1.0, *(float(scores.max()) for c in curves for _, scores in (c.deletion, c.insertion))])
    left.set_ylim(0, 1.03 * most)
    names = [_legend_entry(curve) for curve in curves]
    columns = 2 if max(map(len, names), default=0) < 70 else 1
    figure.legend(left.get_lines(), names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9,
                  title="areas under both curves", title_fontsize=9, alignment="left")  # fmt: skip
    return figure


def _legend_entry(curve: ScoreCurves) -> str:
    gone, come = (np.trapezoid(y, x) for x, y in (curve.deletion, curve.insertion))
    return f"{curve.name}: {gone:.3f}, {come:.3f}"


def _panel(axes: Axes, title: str, done: str, curves: Sequence[tuple[ScoreCurves, Any]]) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_xlim(0, 1)
    shares = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    axes.set_xticks(shares, [f"{100 * share:.0f}" for share in shares])
    axes.set_xlabel(f"percent of the photograph {done}")
    drawn = {True: 0, False: 0}
    for curve, (x, y) in curves:
        place = drawn[curve.control]
        drawn[curve.control] += 1
        style: dict[str, Any] = {"color": _COLOURS[place % len(_COLOURS)], "linewidth": 2.2, "zorder": 3}
        if curve.control:
            style = {
                "color": _GREYS[place % len(_GREYS)],
                "linestyle": _DASHES[place % len(_DASHES)],
                "linewidth": 1.4,
            }
        axes.plot(x, y, **style)
    axes.grid(True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(colors="#444444", labelsize=9)


def _root(x: NDArray[np.floating]) -> NDArray[np.floating]:
    root: NDArray[np.floating] = np.sqrt(np.maximum(x, 0))  # the axis asks beyond its ends too
    return root
