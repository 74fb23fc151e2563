"""Best assignments of boxes by IoU."""

import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.geometry.boxes import pairwise_iou
from aerostat.tracking.assignment import Pairs, best_assignment, overlapping_pairs, require_solver

needs_solver = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('lap')", reason="the extra [tracking] is not installed"
)


def random_boxes(rng: np.random.Generator, count: int, extent: float = 40) -> np.ndarray:
    corners = rng.integers(0, int(extent), (count, 2)).astype(np.float64)
    return np.concatenate([corners, corners + rng.integers(1, 15, (count, 2))], axis=1)


@pytest.mark.parametrize("seed", range(10))
def test_pairs_are_those_of_the_whole_table_of_ious(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 30), random_boxes(rng, 25)
    a_labels, b_labels = rng.integers(0, 2, 30), rng.integers(0, 2, 25)
    iou = pairwise_iou(a, b) * (a_labels[:, None] == b_labels[None, :])
    rows, columns = np.nonzero(iou >= 0.2)
    pairs = overlapping_pairs(a, b, 0.2, a_labels, b_labels)
    assert pairs.rows.tolist() == rows.tolist()
    assert pairs.columns.tolist() == columns.tolist()
    np.testing.assert_allclose(pairs.gains, iou[rows, columns])


def test_boxes_that_only_touch_are_no_pair_even_without_a_limit() -> None:
    a = np.asarray([[0.0, 0, 10, 10]])
    assert len(overlapping_pairs(a, a + np.asarray([10, 0, 10, 0]), 0.0).rows) == 0


@pytest.mark.parametrize(("left", "right"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_make_no_pairs(left: int, right: int) -> None:
    boxes = np.asarray([[0.0, 0, 10, 10]] * 3)
    pairs = overlapping_pairs(boxes[:left], boxes[:right], 0.1)
    assert len(pairs.rows) == len(pairs.columns) == len(pairs.gains) == 0


@needs_solver
def test_no_pairs_make_no_assignment() -> None:
    none = np.zeros(0, np.int64)
    assert [len(part) for part in best_assignment(Pairs(none, none, np.zeros(0)))] == [0, 0]


@needs_solver
def test_the_best_sum_wins_over_the_best_pair() -> None:
    # 0.9 alone is worth less than 0.8 + 0.7 together.
    pairs = Pairs(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.9, 0.7, 0.8]))
    rows, columns = best_assignment(pairs)
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 1, 1: 0}


@needs_solver
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 20)),
        max_size=14,
        unique_by=lambda pair: pair[:2],
    )
)
def test_no_other_assignment_has_a_greater_sum(listed: list[tuple[int, int, int]]) -> None:
    gains = {(row, column): gain / 20 for row, column, gain in listed}
    pairs = Pairs(
        np.asarray([row for row, _ in gains], np.int64),
        np.asarray([column for _, column in gains], np.int64),
        np.asarray(list(gains.values()), np.float64),
    )
    rows, columns = (part.tolist() for part in best_assignment(pairs))
    assert len(set(rows)) == len(rows) == len(set(columns))
    found = sum(gains[pair] for pair in zip(rows, columns, strict=True))  # a KeyError if a pair is invented
    best = max(sum(gains.get(pair, 0.0) for pair in enumerate(order)) for order in permutations(range(5)))
    assert found == pytest.approx(best)


@needs_solver
def test_thousands_of_boxes_in_rows_are_matched_each_to_its_own() -> None:
    x, y = np.meshgrid(np.arange(100.0) * 20, np.arange(50.0) * 20)
    a = np.stack([x.ravel(), y.ravel(), x.ravel() + 15, y.ravel() + 15], axis=1)
    order = np.random.default_rng(0).permutation(len(a))
    rows, columns = best_assignment(overlapping_pairs(a, a[order] + 2, 0.3))
    assert rows.tolist() == list(range(5000))
    assert (order[columns] == rows).all()


def test_without_the_solver_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lap", None)
    with pytest.raises(InputError, match=r"pip install 'aerostat\[tracking\]'"):
        require_solver()
