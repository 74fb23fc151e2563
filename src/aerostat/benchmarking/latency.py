"""Latency of calls, measured in turn, so that other load on the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MIN_CALLS = 5
"""Minimum number of calls of each work after the warm-up, for quartiles."""
SHORT_CALL = 0.1
"""Seconds: of shorter calls the first of a turn does not count."""
SHORT_TURN = 0.3
"""Approximate seconds of a turn of short calls."""


@dataclass(frozen=True)
class Latency:
    """Seconds of a call: median and quartiles, and the number of calls."""

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        """Return the latency from the seconds of calls, at least one."""
        low, median, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
        return cls(median, low, high, len(seconds))

    def to_dict(self) -> dict[str, Any]:
        """Return the latency as JSON values."""
        return asdict(self)


def measure_in_turn(
    works: Mapping[str, Callable[[], object]],
    seconds: float,
    *,
    min_calls: int = MIN_CALLS,
    on_turn: Callable[[str], object] | None = None,
) -> dict[str, Latency]:
    """Return the latency of each work, all measured within the same time.

    Every work is called once to warm up. Then the work with the least time so far has its turn, so all works
    are called from the beginning to the end. A runtime may leave threads spinning for some milliseconds,
    which slow down the first call of the next one. So of short calls the first does not count.

    Args:
        works: calls by name.
        seconds: approximate time for all works; slow ones take longer, because of `min_calls`.
        min_calls: minimum number of calls of each work.
        on_turn: called with the name of the work before each turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    spent = dict.fromkeys(works, 0.0)

    def turn(name: str, into: list[float]) -> float:
        if on_turn is not None:
            on_turn(name)
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
    """Call a work for one turn, add the seconds that count to `taken` and return the seconds in all."""
    seconds = _timed(work)
    if seconds >= SHORT_CALL:
        taken.append(seconds)
        return seconds
    while True:  # at least one call counts
        taken.append(_timed(work))
        seconds += taken[-1]
        if seconds >= SHORT_TURN:
            return seconds


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
