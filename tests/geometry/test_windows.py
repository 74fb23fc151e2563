"""Windows cover an image, and say which boxes they cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.geometry.windows import WindowGrid, cut_sides


@settings(deadline=None, max_examples=200)
@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(1, 90), st.floats(0, 0.9))
def test_windows_cover_every_pixel_and_overlap_as_much_as_asked(size, side, overlap):
    grid = WindowGrid.cover(size, (side, side), overlap)
    for length, starts, own in zip(size, (grid.columns, grid.rows), grid.side, strict=True):
        assert starts[0] == 0 and starts[-1] + own == length and own <= side
        steps = np.diff(starts)
        assert (steps > 0).all()
        assert (own - steps >= np.floor(own * overlap - 1e-6)).all() or (steps == 1).all()
    boxes = [grid.box(number) for number in range(len(grid))]
    assert len(set(boxes)) == len(grid.columns) * len(grid.rows)


def test_windows_are_numbered_row_by_row():
    grid = WindowGrid.cover((100, 100), (60, 60), 0.2)
    assert [grid.box(number)[:2] for number in range(len(grid))] == [(0, 0), (40, 0), (0, 40), (40, 40)]


@pytest.mark.parametrize(
    ("box", "low", "high", "better"),
    [
        ((10, 10, 30, 30), False, False, False),  # whole
        ((50, 10, 60, 30), False, True, True),  # cut, and the next window shows all of it and more
        ((30, 10, 60, 30), False, True, False),  # cut, and begins before the next window does
        ((0, 10, 30, 30), False, False, False),  # at the border of the image, which cuts nothing
    ],
)
def test_boxes_at_inner_borders_are_cut(box, low, high, better):
    grid = WindowGrid.cover((100, 60), (60, 60), 0.2)
    cut = cut_sides(grid, np.asarray([0]), np.asarray([box], float), np.full((1, 2), 2.0))
    assert cut.low[0].tolist() == [low, False]
    assert cut.high[0].tolist() == [high, False]
    assert cut.better.tolist() == [better]
    assert cut.any.tolist() == [low or high]
