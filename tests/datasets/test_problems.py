"""The table of problems: one row for each, from which all others take their texts."""

import pytest

from aerostat.datasets.problems import (
    CONSEQUENCES,
    LOSSES,
    PROBLEM_KINDS,
    PROBLEM_TYPES,
    TYPE_OF_CODE,
    TYPE_OF_KIND,
)
from aerostat.datasets.records import Problem


def test_codes_and_kinds_are_different() -> None:
    assert len(TYPE_OF_CODE) == len(PROBLEM_TYPES)
    assert len(TYPE_OF_KIND) == sum(len(row.kinds) for row in PROBLEM_TYPES)


def test_what_loses_an_image_or_an_object_is_an_error_and_comes_first() -> None:
    assert {
        *("missing image", "unreadable image", "unsupported image", "outside the image", "degenerate box"),
        *("no class", "unknown image", "unknown category", "malformed record"),
    } == LOSSES
    assert set(PROBLEM_KINDS[: len(LOSSES)]) == LOSSES
    assert {row.severity for row in PROBLEM_TYPES if row.lost != "nothing"} == {"error"}


def test_the_data_card_tells_all_kinds_what_becomes_of_them() -> None:
    assert tuple(CONSEQUENCES) == PROBLEM_KINDS and all(CONSEQUENCES.values())
    assert CONSEQUENCES["swapped size"] != CONSEQUENCES["wrong size"]  # two kinds of one type


def test_a_problem_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'clipt' is not in the table"):
        Problem("train", "a.png", "clipt", "is so")
