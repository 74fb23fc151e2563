"""Which lines of a run's metrics tell something."""

import pytest

from aerostat.runs.metrics import best_of, is_number, lines_of


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


@pytest.mark.parametrize(
    ("records", "best"),
    [
        ([], None),
        ([{"ap": 0.2}, {"ap": 0.5}, {"ap": 0.5, "epoch": 3}], {"ap": 0.5}),
        ([{"ap": 0.9, "mask_ap": 0.1}, {"ap": 0.2, "mask_ap": 0.4}], {"ap": 0.2, "mask_ap": 0.4}),
        ([{"ap": 0.9, "mask_ap": None}, {"ap": 0.2, "mask_ap": 0.0}], {"ap": 0.2, "mask_ap": 0.0}),
        ([{"ap": None}, {"ap": -1}], {"ap": None}),
    ],
    ids=["none", "the first of equals", "masks decide", "masks that are undefined", "nothing defined"],
)
def test_the_best_validation_has_the_highest_ap_that_of_masks_if_there_are_any(records, best):
    assert best_of(records) == best
