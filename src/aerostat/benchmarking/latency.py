"""How long calls take, measured in turn, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MIN_CALLS = 5
"""Of each work, beside the one that warms up: with fewer, quartiles say nothing."""
SHORT_CALL = 0.1
"""Seconds: the first of a turn of shorter calls does not count."""
SHORT_TURN = 0.3
"""Seconds that a turn of such calls takes, about."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one call: median and quartiles of so many calls."""

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        """Return the latency that some measured calls, at least one, come to."""
        low, median, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
        return cls(median, low, high, len(seconds))

    def to_dict(self) -> dict[str, Any]:
        """Return the latency for JSON."""
        return asdict(self)


def measure_in_turn(
    works: Mapping[str, Callable[[], object]],
    seconds: float,
    *,
    min_calls: int = MIN_CALLS,
    begun: Callable[[str], object] | None = None,
) -> dict[str, Latency]:
    """Return the latency of each work, all measured within the same time.

    Every work is called once to warm up. Then whichever has had the least time has its turn, so a fast one
    is called oftener, and all of them from the beginning to the end. The threads that one runtime leaves
    spinning for some milliseconds would slow down the next one's first call: if calls are short, that one
    does not count.

    Args:
        works: by name.
        seconds: for all of them, about; slow ones take longer, because of `min_calls`.
        min_calls: of each work.
        begun: told the name of the work before each turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    spent = dict.fromkeys(works, 0.0)

    def turn(name: str, into: list[float]) -> float:
        if begun is not None:
            begun(name)
        return _turn(works[name], into)

    for name in works:
        turn(name, [])  # warms up
    end = time.perf_counter() + seconds
    while True:
        over = time.perf_counter() >= end
        able = [name for name in works if not over or len(taken[name]) < min_calls]
        if not able:
            return {name: Latency.of(rows) for name, rows in taken.items()}
        name = min(able, key=spent.__getitem__)
        spent[name] += turn(name, taken[name])


def _turn(work: Callable[[], object], taken: list[float]) -> float:
    """Call a work for as long as its turn takes, add what counts to `taken` and return the seconds in all."""
    seconds = _timed(work)
    if seconds >= SHORT_CALL:
        taken.append(seconds)
        return seconds
    while True:  # one at least counts, or a turn would bring nothing forward
        taken.append(_timed(work))
        seconds += taken[-1]
        if seconds >= SHORT_TURN:
            return seconds


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
