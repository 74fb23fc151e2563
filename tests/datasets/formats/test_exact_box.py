"""Corners as x, y, width, height: worked by hand."""

import math

import pytest

from aerostat.datasets.formats.exact_box import CORNERS_KEY, stated_box, width_and_height

TINY, ODD = 2.0**-53, 1 + 2.0**-52
"""No width leads from the one to the other: TINY + 1 is 1, and TINY + ODD is the number after ODD."""


def test_a_box_of_plain_numbers_is_its_sides_and_nothing_beside_them() -> None:
    assert width_and_height((10.0, 20.0, 40.0, 25.5)) == ((30, 5.5), {})


@pytest.mark.parametrize("box", [(TINY, 0.0, ODD, 1.0), (0.0, TINY, 1.0, ODD), (TINY, TINY, ODD, ODD)])
def test_corners_that_no_side_gives_back_are_written_beside_it(box) -> None:
    for start, end in ((box[0], box[2]), (box[1], box[3])):
        near = (end - start, math.nextafter(end - start, 9), math.nextafter(end - start, 0))
        assert all(start + width != end for width in near) or (start, end) == (0, 1)
    (width, height), beside = width_and_height(box)
    assert beside == {"aerostat_box_xyxy": list(box)} and isinstance(beside[CORNERS_KEY], list)
    assert stated_box((box[0], box[1], width, height), beside[CORNERS_KEY]) == box


@pytest.mark.parametrize(
    "corners",
    [
        None,
        [],
        [10, 10, 15],
        [10, 10, 15, 15, 15],
        ["10", 10, 15, 15],
        [10, 10, 15, None],
        (10.0, 10.0, 15.0, 15.0 + 1e-9),
        "text",
        {"x": 1},
        [10.1, 10, 15, 15],
        [10, 10.1, 15, 15],
        [10, 10, 15.1, 15],
        [10, 10, 15, 15.1],
        [9, 10, 15, 15],
        [10, 10, 15, 14],
    ],
)
def test_corners_that_do_not_belong_to_the_box_do_not_count(corners: object) -> None:
    assert stated_box((10.0, 10.0, 5.0, 5.0), corners) == (10, 10, 15, 15)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("place", range(4))
def test_corners_count_up_to_a_millionth_of_a_pixel_away(place: int, sign: int) -> None:
    corners = [0.0, 0.0, 0.0, 0.0]
    corners[place] = sign * 1e-6
    assert stated_box((0.0, 0.0, 0.0, 0.0), corners) == tuple(corners)
    corners[place] = sign * 1.1e-6
    assert stated_box((0.0, 0.0, 0.0, 0.0), corners) == (0, 0, 0, 0)


def test_whole_numbers_as_corners_become_floats() -> None:
    box = stated_box((10.0, 10.0, 5.0, 5.0), [10, 10, 15, 15])
    assert box == (10, 10, 15, 15) and all(isinstance(value, float) for value in box)
