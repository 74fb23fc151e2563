"""Deletion and insertion curves: the score of a detection while pixels are removed or added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.figure import new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008); greys and dashes are for control maps
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREYS = ("#8a8a8a", "#b0b0b0", "#6b6b6b", "#3d3d3d")
_DASHES = ((0, (1, 1.2)), (0, (3, 1.5)), (0, (6, 2)), (0, (6, 1.5, 1, 1.5)))


@dataclass(frozen=True, eq=False)
class ScoreCurves:
    """The curves of one map.

    Args:
        name: for the legend.
        deletion, insertion: two arrays (S,): shares of the photograph from 0 to 1, and scores relative to the
            score on the whole photograph.
        control: whether the map is only for comparison.
    """

    name: str
    deletion: tuple[NDArray[np.floating], NDArray[np.floating]]
    insertion: tuple[NDArray[np.floating], NDArray[np.floating]]
    control: bool = False


def score_curves(curves: Sequence[ScoreCurves], title: str) -> Figure:
    """Return a figure with the deletion curves at the left and the insertion curves at the right.

    The axis of shares is a square root, which stretches its beginning: an object of usual size has a small
    share. The legend has the areas under the curves over a linear axis.
    """
    figure = new_figure(9.6, 4.4 + 0.2 * -(-len(curves) // 2))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel("score, of that on the photograph")
    _panel(left, "Deletion: the hottest pixels go first", "taken away", [(c, c.deletion) for c in curves])
    _panel(right, "Insertion: the hottest pixels come first", "let in", [(c, c.insertion) for c in curves])
    peak = max([1.0, *(float(scores.max()) for c in curves for _, scores in (c.deletion, c.insertion))])
    left.set_ylim(0, 1.03 * peak)
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
    style_axes(axes)
    axes.tick_params(colors="#444444", labelsize=9)


def _root(x: NDArray[np.floating]) -> NDArray[np.floating]:
    root: NDArray[np.floating] = np.sqrt(np.maximum(x, 0))  # the axis also passes values beyond its ends
    return root
