"""Which lines of a run's metrics tell something."""

import pytest

from aerostat.runs.metrics import is_number, lines_of


def test_lines_of_a_kind_need_a_number_under_the_key_and_for_the_epoch():
    good = [{"kind": "val", "epoch": 1, "ap": 0.5}, {"kind": "val", "epoch": 2, "ap": -1}]
    rest = [
        {"kind": "val", "ap": 0.5},
        {"kind": "val", "epoch": 3},
        {"kind": "train", "epoch": 3, "ap": 0.5},
        {},
    ]
    assert lines_of([good[0], *rest, good[1]], "val", "ap") == good
    assert lines_of([], "val", "ap") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, True), (-1.5, True), (True, False), ("1", False), (None, False), ([1], False)]
    + [(value, False) for value in (float("nan"), float("inf"))],
)
def test_true_and_what_is_not_finite_are_no_numbers(value, expected):
    assert is_number(value) is expected
