"""One comparison: what is measured, in turn, and what comes out of it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


class Unavailable(Exception):  # noqa: N818 - it is no failure
    """A variant, or all that is left of a module's cases, cannot run here; the message says why."""


@dataclass(frozen=True)
class Case:
    """One comparison: variants measured in turn in one process, so that a noisy machine is noisy for all.

    Args:
        name: what is measured, with the sizes that matter: "RTMDet-nano training step, 320 px, batch 8".
        unit: of the figures: images/s, ms, s, MB.
        variants: each call does one round of work and returns one figure in `unit`. A variant that cannot run
            here raises `Unavailable` and is left out with its reason.
        baseline: the variant that the others are compared with; "" for none.
        higher_is_better: whether a larger figure is the better one.
        goal: what is aimed at, as text: "at least 8 times the stepwise form".
        predicted: what was expected before anything was measured, one sentence.
        reference: a figure of another tool on a machine of this kind, one sentence.
        rounds: that count; one more before them warms up.
        note: what a reader has to know to read the figures.
        unavailable: variants that are not here, with the reason.
    """

    name: str
    unit: str
    variants: Mapping[str, Callable[[], float]]
    baseline: str = ""
    higher_is_better: bool = False
    goal: str = ""
    predicted: str = ""
    reference: str = ""
    rounds: int = 5
    note: str = ""
    unavailable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: list[float]) -> Spread:
        """Return the median and the quartiles (inclusive method) of at least one figure."""
        if len(figures) == 1:
            return cls(figures[0], figures[0], figures[0])
        low, median, high = statistics.quantiles(figures, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Figures:
    """What a variant gave.

    Args:
        rounds: its figures, in the order of the rounds.
        spread: their median and quartiles.
        times_better: than the baseline, round by round: 2 is half the time, or twice the rate; None without.
    """

    rounds: list[float]
    spread: Spread
    times_better: Spread | None


@dataclass(frozen=True)
class Result:
    """What a case gave: figures by variant, and the variants that have none, with the reason."""

    name: str
    unit: str
    baseline: str
    higher_is_better: bool
    goal: str
    predicted: str
    reference: str
    note: str
    figures: dict[str, Figures]
    missing: dict[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Result:
        """Return the result that `to_dict` wrote."""
        figures = {
            name: Figures(
                part["rounds"],
                Spread(**part["spread"]),
                Spread(**part["times_better"]) if part["times_better"] else None,
            )
            for name, part in content["figures"].items()
        }
        return cls(**{**content, "figures": figures})


def measure(case: Case, most_rounds: int | None = None, seconds: float = math.inf) -> Result:
    """Measure a case: every variant once a round, forwards and backwards in turn.

    A variant that raises is left out from then on, with the reason, and does not stop the others.

    Args:
        case: what to measure.
        most_rounds: fewer rounds than the case asks for.
        seconds: after so many no further round is begun; one that counts is always made.
    """
    started = time.perf_counter()
    rounds = min(case.rounds, most_rounds or case.rounds)
    figures: dict[str, list[float]] = {name: [] for name in case.variants}
    missing = dict(case.unavailable)
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - started > seconds:
            break
        order = [name for name in case.variants if name not in missing]
        for name in order if number % 2 else reversed(order):
            try:
                figure = float(case.variants[name]())
                if not math.isfinite(figure):
                    raise ValueError(f"its figure is {figure}")
            except Unavailable as reason:
                missing[name] = str(reason)
            except Exception as error:
                missing[name] = f"failed: {type(error).__name__}: {error}"
            else:
                figures[name] += [figure] if number else []  # the first round warms up
    complete = {name: rows for name, rows in figures.items() if name not in missing and rows}
    base = complete.get(case.baseline)
    return Result(
        **{key: getattr(case, key) for key in _TOLD},
        figures={
            name: Figures(
                rows,
                Spread.of(rows),
                _times_better(rows, base, case.higher_is_better) if base and name != case.baseline else None,
            )
            for name, rows in complete.items()
        },
        missing=missing,
        seconds=time.perf_counter() - started,
    )


_TOLD = ("name", "unit", "baseline", "higher_is_better", "goal", "predicted", "reference", "note")


def _times_better(rows: list[float], base: list[float], higher_is_better: bool) -> Spread | None:
    """Return how many times better than the baseline, paired by round: both had the same noise there."""
    pairs = [(a, b) if higher_is_better else (b, a) for a, b in zip(rows, base, strict=True)]
    return Spread.of([over / under for over, under in pairs]) if all(under for _, under in pairs) else None
