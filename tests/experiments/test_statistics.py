"""Means, intervals and paired differences against tables and hand-worked cases."""

import math

import numpy as np
import pytest

from aerostat.experiments.statistics import difference, judged, spread, t_probability, t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"),  # two-sided 95 %, any table of Student's t
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_quantiles_are_those_of_the_tables(freedom, expected):
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=6e-4)


def test_probabilities_of_one_degree_of_freedom_are_cauchys():
    for t in (-3.0, -0.5, 0.0, 1.0, 20.0):
        assert t_probability(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-9)


def test_a_spread_worked_by_hand():
    # 2, 4, 4, 6: mean 4, squares 4 + 0 + 0 + 4 = 8, deviation sqrt(8 / 3), half width 3.182 * that / 2
    found = spread([2.0, 4.0, 4.0, 6.0])
    assert (found.count, found.mean) == (4, 4.0)
    assert found.deviation == pytest.approx(math.sqrt(8 / 3))
    half = pytest.approx(3.1824 * math.sqrt(8 / 3) / 2, abs=1e-3)
    assert found.high - 4 == half and 4 - found.low == half


def test_one_run_has_no_interval_and_none_is_refused():
    found = spread([0.5])
    assert found.mean == 0.5 and math.isnan(found.deviation) and math.isnan(found.low)
    with pytest.raises(ValueError, match="at least one"):
        spread([])


def test_folds_say_less_than_independent_runs():
    # Nadeau and Bengio: 1/5 + 1/4 in place of 1/5
    plain, folds = spread([1, 2, 3, 4, 5]), spread([1, 2, 3, 4, 5], test_share=0.25)
    assert (folds.high - folds.mean) / (plain.high - plain.mean) == pytest.approx(math.sqrt(0.45 / 0.2))


def test_a_paired_test_worked_by_hand():
    # differences 1, 2, 3: mean 2, deviation 1, t = 2 / (1 / sqrt 3) = 3.4641, two-sided p of 2 degrees 0.0742
    found = difference([2, 4, 6], [1, 2, 3])
    assert found.spread.mean == 2
    assert found.p == pytest.approx(0.0742, abs=1e-4)


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    found = [difference(*rng.normal(size=(2, 5))).p for _ in range(2000)]
    assert np.mean(np.asarray(found) < 0.05) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("test_share", [0.0, 0.005])
def test_as_many_pairs_as_are_said_to_be_needed_do_tell(test_share):
    few = [0.02 + 0.03 * x for x in (-1.0, 0.0, 1.0)]  # mean 0.02, deviation 0.03
    (found,) = judged([difference(few, [0.0] * 3, test_share=test_share)])
    needed = found.runs_needed
    assert not found.real and needed == (11 if test_share == 0 else 12)

    def after(count):
        z = np.linspace(-1, 1, count)
        values = 0.02 + 0.03 * z / np.std(z, ddof=1)
        return judged([difference(values, [0.0] * count, test_share=test_share)])[0].real

    assert after(needed + 1) and not after(needed - 3)


def test_no_number_of_runs_is_promised_where_folds_share_too_much():
    few = [-0.01, 0.02, 0.05]
    (found,) = judged([difference(few, [0.0] * 3, test_share=0.5)])
    assert not found.real and found.runs_needed is None


def test_one_of_several_comparisons_needs_more_runs_than_one_alone():
    d = difference([-0.01, 0.02, 0.05], [0.0] * 3)
    alone, *_ = judged([d])
    together = judged([d] * 5)
    assert together[0].runs_needed > alone.runs_needed


def test_equal_values_are_no_difference_and_a_constant_one_is():
    assert difference([1, 2], [1, 2]).p == 1.0
    assert difference([2, 3], [1, 2]).p == 0.0
    assert math.isnan(difference([2], [1]).p)
    with pytest.raises(ValueError):
        difference([1, 2], [1])


def test_verdicts_are_holms():
    # of p = 0.01, 0.02, 0.04 the first is below 0.05 / 3, the second below 0.05 / 2, the third below 0.05
    makes = {0.01: 9.925, 0.02: 7.0, 0.03: 5.643, 0.04: 4.849}  # |t| of 2 degrees, from a table

    def with_p(p):
        mean = makes[p] / math.sqrt(3)
        return difference([mean - 1, mean, mean + 1], [0, 0, 0])

    assert [d.real for d in judged([with_p(0.04), with_p(0.01), with_p(0.02)])] == [True, True, True]
    assert [d.real for d in judged([with_p(0.04), with_p(0.03), with_p(0.03)])] == [False, False, False]
    assert [d.real for d in judged([with_p(0.04), with_p(0.01), with_p(0.03)])] == [False, True, False]
    assert judged([]) == []


def test_it_says_how_many_runs_a_difference_would_need():
    (found,) = judged([difference([0.5, 0.4], [0.4, 0.5])])  # nothing on average: no number would do
    assert not found.real and found.runs_needed is None
    (found,) = judged([difference([0.3, 0.0, 0.3], [0.1, 0.1, 0.1])])
    # mean 0.1, deviation sqrt(0.06 / 2) = 0.1732: (1.96 * 1.732)^2 = 11.5
    assert not found.real and found.runs_needed == 14
