"""The learning rate at hand-worked places."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.training.schedule import lr_factor

RUN = {"warmup_iterations": 10, "warmup_factor": 1e-5, "cosine_start": 0.5, "final_lr_factor": 0.05}


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 1e-5),  # warm-up begins
        (1, 1e-5 + (1 - 1e-5) / 10),
        (5, 1e-5 + (1 - 1e-5) / 2),
        (9, 1e-5 + (1 - 1e-5) * 9 / 10),
        (10, 1.0),  # and has ended
        (49, 1.0),  # flat up to half of the run
        (50, 1.0),
        (75, 0.05 + 0.95 * 0.5),  # half of the cosine: from iteration 50 to 100
        (100, 0.05),  # the last iteration
    ],
)
def test_warm_up_flat_and_cosine_of_a_run_of_101_iterations(iteration, expected):
    assert lr_factor(iteration, 101, **RUN) == pytest.approx(expected, rel=1e-12)


def test_the_published_run():
    run = {**RUN, "warmup_iterations": 1000}
    total = 300 * 1000
    assert lr_factor(0, total, **run) == pytest.approx(1e-5)
    assert lr_factor(500, total, **run) == pytest.approx(0.5, abs=1e-4)
    assert lr_factor(1000, total, **run) == lr_factor(150_000, total, **run) == 1.0
    quarter = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi / 4))
    assert lr_factor(187_500, total, **run) == pytest.approx(quarter, abs=1e-5)
    assert lr_factor(total - 1, total, **run) == pytest.approx(0.05)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_run_of_hardly_any_iterations_is_defined(total):
    factors = [lr_factor(i, total, **{**RUN, "warmup_iterations": 0}) for i in range(total)]
    assert factors[0] == 1.0
    assert total < 3 or factors[-1] == pytest.approx(0.05)


def test_without_a_cosine_the_rate_stays_flat():
    assert {lr_factor(i, 20, **{**RUN, "cosine_start": 1.0}) for i in range(10, 20)} == {1.0}


@given(st.integers(1, 10_000), st.integers(0, 2000), st.floats(0, 1), st.floats(0, 1))
def test_the_factor_stays_within_0_and_1_and_falls_after_warm_up(total, warmup, cosine_start, final):
    run = {
        "warmup_iterations": warmup,
        "warmup_factor": 0.0,
        "cosine_start": cosine_start,
        "final_lr_factor": final,
    }
    places = sorted({0, total // 3, total // 2, 2 * total // 3, total - 1})
    factors = [lr_factor(i, total, **run) for i in places]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    after = [factor for i, factor in zip(places, factors, strict=True) if i >= warmup]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
