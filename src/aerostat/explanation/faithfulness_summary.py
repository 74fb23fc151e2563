"""Faithfulness of explanations in a table, a sentence and a plot of curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.score_curves import ScoreCurves, score_curves
from aerostat.explanation.faithfulness import Curve, Faithfulness, Measures
from aerostat.explanation.randomised import SAME_CORRELATION
from aerostat.files import replacing

HEADER = ("map", "in box", "deletion", "insertion", "head", "network")
LEGEND = (
    "in box: share of the heat inside the box; deletion and insertion: area under the score, relative to "
    "the score on the photograph, while the hottest pixels are removed first (lower is better) or added "
    "first (higher is better); head and network: rank correlation with the map of random weights (near 1 "
    "is bad)"
)


def table_rows(measured: Sequence[Faithfulness]) -> list[tuple[str, ...]]:
    """Return cells under `HEADER`: the explanations of one detection, then its controls."""
    rows = [
        (
            one.explanation.source,
            *one.measures.cells(),
            *(
                f"{one.randomised[part]:.2f}" if part in one.randomised else ""
                for part in ("head", "network")
            ),
        )
        for one in measured
    ]
    controls = measured[0].controls if measured else {}
    return rows + [(name, *measures.cells(), "", "") for name, measures in controls.items()]


def summary_line(one: Faithfulness) -> str:
    """Return a sentence on the faithfulness of a map: which controls it does not beat."""
    beaten_in: dict[str, list[str]] = {}
    for name, measures in one.controls.items():
        where = [
            "deletion" if measures.deletion.area <= one.measures.deletion.area else "",
            "insertion" if measures.insertion.area >= one.measures.insertion.area else "",
        ]
        beaten_in.setdefault(" and ".join(filter(None, where)), []).append(name)
    faults = [f"no better than {_quoted(names)} in {where}" for where, names in beaten_in.items() if where]
    same = [f"a random {part}" for part, alike in one.randomised.items() if alike >= SAME_CORRELATION]
    if same:
        faults.append(f"the same with {' and with '.join(same)}")
    if not one.explanation.influence:
        return f"{one.explanation.source}: no heat, nothing to measure"
    return f"{one.explanation.source}: {'; '.join(faults) or 'better than every map without the network'}"


def save_curves(path: Path, measured: Sequence[Faithfulness]) -> Path:
    """Write a plot of the curves of one detection's explanations and controls, and return its path.

    Args:
        path: path with the suffix of a format that matplotlib writes.
        measured: at least one, all of one detection.
    """
    first = measured[0]
    curves = [_curves(one.explanation.source, one.measures) for one in measured]
    curves += [_curves(name, measures, control=True) for name, measures in first.controls.items()]
    figure = score_curves(curves, f"Score of {first.explanation.subject}, hottest pixels first")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip("."))
    return path


def _quoted(names: Sequence[str]) -> str:
    """Return quoted names of controls, because one of them ends in "in the box"."""
    return " and ".join(f"'{name}'" for name in names)


def _curves(name: str, measures: Measures, control: bool = False) -> ScoreCurves:
    return ScoreCurves(name, _pair(measures.deletion), _pair(measures.insertion), control)


def _pair(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return curve.shares, curve.scores
