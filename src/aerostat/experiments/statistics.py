"""Statistics of a few runs: means, intervals, and paired differences between recipes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
"""Confidence of the intervals. All comparisons of a study together call noise a difference at 1 - this."""


@dataclass(frozen=True)
class Spread:
    """The mean of some runs with its interval.

    Args:
        count: number of runs.
        mean: of their values.
        deviation: standard deviation of single runs (n - 1); NaN for one run.
        low, high: interval of the mean at `CONFIDENCE`; NaN for one run.
    """

    count: int
    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference between two recipes on the same seeds and folds.

    Args:
        spread: of the differences.
        p: two-sided probability of a mean this far from 0 if there were no difference; NaN for one pair.
        real: whether it is more than noise, with all comparisons of the study taken into account.
        runs_needed: approximate number of pairs that would separate a difference of this size from noise.
            None if it is separated already, if that is unknown, or if no number of pairs would do.
        test_share: see `spread`.
    """

    spread: Spread
    p: float
    real: bool = False
    runs_needed: int | None = None
    test_share: float = 0.0


def spread(values: Sequence[float], *, test_share: float = 0.0) -> Spread:
    """Return mean, deviation and interval (Student's t).

    Args:
        values: one of each run.
        test_share: validation images for each training image if the runs are folds of one data set, else 0.
            Folds learn from the same images, so their values are not independent. The variance of the mean
            is (1/n + test_share) times that of single values (Nadeau and Bengio, Inference for the
            Generalization Error, 2003, section 3).

    Raises:
        ValueError: there are no values.

    >>> spread([0.4, 0.5, 0.6]).mean
    0.5
    """
    if not values:
        raise ValueError("expected at least one value")
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return Spread(1, mean, math.nan, math.nan, math.nan)
    deviation = float(np.std(values, ddof=1))
    half = t_quantile((1 + CONFIDENCE) / 2, count - 1) * deviation * math.sqrt(1 / count + test_share)
    return Spread(count, mean, deviation, mean - half, mean + half)


def difference(ours: Sequence[float], theirs: Sequence[float], *, test_share: float = 0.0) -> Difference:
    """Return the paired difference `ours` - `theirs` with the p-value of a paired t-test.

    Args:
        ours, theirs: values of the same seeds and folds, in the same order.
        test_share: see `spread`.

    Raises:
        ValueError: there are no values, or one side has more of them.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    found = spread(differences, test_share=test_share)
    if found.count == 1:
        return Difference(found, math.nan, test_share=test_share)
    error = found.deviation * math.sqrt(1 / found.count + test_share)
    if error == 0:
        return Difference(found, 1.0 if found.mean == 0 else 0.0, test_share=test_share)
    p = 2 * (1 - t_probability(abs(found.mean) / error, found.count - 1))
    return Difference(found, p, test_share=test_share)


def judged(differences: Sequence[Difference]) -> list[Difference]:
    """Return the comparisons of one study, each with whether it is more than noise.

    One of twenty comparisons without a difference has p < 0.05. The thresholds are therefore Holm's (A Simple
    Sequentially Rejective Multiple Test Procedure, 1979): one study of twenty calls noise a difference.
    """
    order = sorted(range(len(differences)), key=lambda i: (math.isnan(differences[i].p), differences[i].p))
    found, open_, threshold = list(differences), True, 1 - CONFIDENCE
    for rank, place in enumerate(order):
        d = differences[place]
        if open_:
            threshold = (1 - CONFIDENCE) / (len(differences) - rank)
            open_ = not math.isnan(d.p) and d.p < threshold
        needed = None if open_ else _runs_needed(d, threshold)
        found[place] = dataclasses.replace(d, real=open_, runs_needed=needed)
    return found


def _runs_needed(difference: Difference, threshold: float) -> int | None:
    """Return the number of pairs at which p falls below the threshold, by the normal approximation."""
    spread = difference.spread
    if math.isnan(spread.deviation) or spread.mean == 0:
        return None
    if spread.deviation == 0:
        return spread.count + 1
    z = NormalDist().inv_cdf(1 - threshold / 2)
    # p falls below it where (1 / n + test_share) z^2 deviation^2 < mean^2
    room = (spread.mean / (z * spread.deviation)) ** 2 - difference.test_share
    return max(spread.count + 1, math.ceil(1 / room) + 2) if room > 0 else None


def t_probability(t: float, freedom: int) -> float:
    """Return the probability that Student's t is below `t`.

    With t = sqrt(freedom) tan(a) the density is proportional to cos(a)^(freedom - 1). That is smooth up to
    its end at a right angle, so Simpson's rule is exact enough.

    Args:
        t: any number.
        freedom: degrees of freedom, at least 1.
    """
    limit = math.atan2(abs(t), math.sqrt(freedom))
    half = _power_of_cosine(limit, freedom) / _power_of_cosine(math.pi / 2, freedom) / 2
    return 0.5 + half if t >= 0 else 0.5 - half


def _power_of_cosine(limit: float, freedom: int) -> float:
    """Return the integral of cos(a)^(freedom - 1) from 0 to `limit` (Simpson's rule)."""
    points = np.linspace(0.0, limit, 4001)
    values = np.cos(points).clip(0) ** (freedom - 1)
    weights = np.full(4001, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return float(values @ weights) * limit / 4000 / 3


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """Return the value that Student's t stays below with a probability of at least 0.5."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) < probability else (low, middle)
    return (low + high) / 2
