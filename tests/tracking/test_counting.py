"""Crossings of lines and stays in zones, worked by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.tracking.counting import (
    Line,
    Zone,
    anchors,
    cross,
    parse_line,
    parse_zone,
    start_crossings,
)

UP = Line((10, 20), (10, 0))
"""Upwards along x = 10, from y = 20 to y = 0: left of it is left in the picture."""
SQUARE = Zone(((0, 0), (10, 0), (10, 10), (0, 10)))


def ways(line: Line, path: list[tuple[float, float]]) -> list[int]:
    """Return what happened at each point of one track."""
    known = start_crossings(1)
    points = np.asarray(path, np.float64)
    found = []
    for before, now in zip(points[[0, *range(len(points) - 1)]], points, strict=True):
        known = cross(line, before[None], now[None], known)
        found.append(int(known.ways[0]))
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([(5, 10), (15, 10)], [0, 1]),  # left to right
        ([(15, 10), (5, 10)], [0, -1]),  # right to left
        ([(5, 10), (15, 10), (5, 10), (15, 10)], [0, 1, -1, 1]),  # to and fro
        ([(5, 10), (9, 12), (9.5, 3)], [0, 0, 0]),  # stays left
        ([(5, 10), (10, 10), (5, 10)], [0, 0, 0]),  # touches and goes back
        ([(5, 10), (10, 10), (15, 10)], [0, 0, 1]),  # stands on the line, then goes on
        ([(5, 10), (10, 10), (10, 10), (10, 4), (15, 4)], [0, 0, 0, 0, 1]),  # walks along the line
        ([(10, 10), (15, 10)], [0, 0]),  # starts on the line
        ([(10, 10), (15, 10), (5, 10)], [0, 0, -1]),  # starts on the line, comes back across
        ([(5, 25), (15, 25)], [0, 0]),  # passes beyond the end
        ([(5, 20), (15, 20)], [0, 1]),  # passes exactly over the end
        ([(5, 0), (15, 0)], [0, 1]),  # and over the other
        ([(5, 25), (15, 15)], [0, 1]),  # slanting, over the end
        ([(5, 25.5), (15, 15)], [0, 0]),  # slanting, just beyond the end
        ([(5, 25), (10, 25), (15, 25)], [0, 0, 0]),  # over the line's continuation
        ([(5, 25), (15, 25), (5, 10)], [0, 0, -1]),  # round the end, then back across
        ([(5, 25), (10, 25), (10, 10), (15, 10)], [0, 0, 0, 1]),  # along the continuation onto the line
        ([(5, -9), (10, -9), (10, 29), (15, 29)], [0, 0, 0, 1]),  # along the whole line from beyond it
        ([(5, 10), (10, 10), (10, 29), (15, 29)], [0, 0, 0, 1]),  # met the line, left beyond it
        ([(5, 10)], [0]),
    ],
)
def test_a_track_crosses_if_it_comes_to_the_other_side_over_the_line(
    path: list[tuple[float, float]], expected: list[int]
) -> None:
    assert ways(UP, path) == expected


def test_the_other_direction_counts_the_other_way() -> None:
    assert ways(Line(UP.end_xy, UP.start_xy), [(5, 10), (15, 10)]) == [0, -1]


def test_a_slanted_line_is_crossed_by_a_diagonal() -> None:
    assert ways(Line((0, 0), (10, 10)), [(10, 0), (0, 10)]) == [0, 1]  # downwards right: right is below


def test_tracks_do_not_mix() -> None:
    before = np.asarray([[5.0, 10], [15, 10], [5, 10]])
    known = cross(UP, before, before, start_crossings(3))
    assert cross(UP, before, before[[1, 0, 2]], known).ways.tolist() == [1, -1, 0]


@given(st.lists(st.tuples(st.integers(7, 13), st.integers(-3, 23)), min_size=1, max_size=30))
def test_ins_and_outs_alternate_on_a_line_that_spans_the_picture(path: list[tuple[int, int]]) -> None:
    long = Line((10, 100), (10, -100))
    found = [way for way in ways(long, path) if way]
    assert all(one != other for one, other in pairwise(found))
    sides = [np.sign(x - 10) for x, _ in path if x != 10]
    assert sum(found) == (0 if not sides else (sides[-1] - sides[0]) / 2)


@given(
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
)
def test_a_path_and_its_mirror_count_the_opposite(
    start: tuple[int, int], end: tuple[int, int], path: list[tuple[int, int]]
) -> None:
    if start == end:
        return
    mirrored = Line((-start[0], start[1]), (-end[0], end[1]))
    assert ways(mirrored, [(-x, y) for x, y in path]) == [-way for way in ways(Line(start, end), path)]


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((5, 5), True),
        ((0, 5), True),  # on an edge
        ((10, 5), True),
        ((5, 0), True),
        ((5, 10), True),
        ((0, 0), True),  # on a corner
        ((10, 10), True),
        ((-0.01, 5), False),
        ((10.01, 5), False),
        ((-5, 0), False),  # on the continuation of an edge
        ((15, 10), False),
        ((5, 11), False),
    ],
)
def test_a_zone_holds_its_inside_and_its_edge(point: tuple[float, float], inside: bool) -> None:
    assert SQUARE.contains(np.asarray([point])).tolist() == [inside]
    turned = Zone(SQUARE.corners_xy[::-1])
    assert turned.contains(np.asarray([point])).tolist() == [inside]


def test_a_zone_may_have_notches() -> None:
    notched = Zone(((0, 0), (10, 0), (10, 10), (5, 5), (0, 10)))
    points = np.asarray([[5.0, 4], [5, 5], [5, 6], [1, 8], [9, 8], [5, 9]])
    assert notched.contains(points).tolist() == [True, True, False, True, True, False]


def test_where_edges_cross_twice_covered_parts_are_outside() -> None:
    star = Zone(((5, 0), (8, 10), (0, 4), (10, 4), (2, 10)))
    assert star.contains(np.asarray([[5.0, 5], [5, 2], [0.5, 9]])).tolist() == [False, True, False]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_any_zone_agrees_with_opencv(corners: list[tuple[int, int]], x: int, y: int) -> None:
    import cv2

    try:
        zone = Zone(tuple(corners))
    except InputError:
        return
    contour = np.asarray(corners, np.float32)
    expected = cv2.pointPolygonTest(contour, (float(x), float(y)), False) >= 0
    assert zone.contains(np.asarray([[x, y]], np.float64)).tolist() == [expected]


def test_anchors_are_the_centre_or_the_feet() -> None:
    boxes = np.asarray([[0.0, 10, 4, 30]], np.float32)
    assert anchors(boxes).tolist() == [[2, 20]]
    assert anchors(boxes, "bottom").tolist() == [[2, 30]]
    assert anchors(boxes[:0]).shape == (0, 2)


@pytest.mark.parametrize("place", [Line((0, 0), (101, 50)), Zone(((0, 0), (50, 0), (50, 60.5)))])
def test_a_place_outside_of_the_picture_is_refused_with_its_point(place: Line | Zone) -> None:
    with pytest.raises(InputError, match=r"100 x 60 pixels, found the point (101,50|50,60\.5) outside"):
        place.check_inside((100, 60))


@pytest.mark.parametrize("place", [Line((0, 0), (100, 60)), Zone(((0, 0), (100, 0), (100, 60)))])
def test_the_edge_of_the_picture_is_inside(place: Line | Zone) -> None:
    place.check_inside((100, 60))


def test_a_line_of_one_point_is_refused() -> None:
    with pytest.raises(InputError, match="found 3,4 twice"):
        Line((3, 4), (3, 4))


@pytest.mark.parametrize(
    "corners", [((0, 0), (5, 5), (9, 9)), ((0, 0), (0, 0), (0, 0)), ((0, 0), (0, 0), (4, 2), (2, 1))]
)
def test_a_zone_without_an_area_is_refused(corners: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(InputError, match="along one line"):
        Zone(corners)


def test_a_zone_of_two_corners_is_refused() -> None:
    with pytest.raises(InputError, match="found 2"):
        Zone(((0, 0), (4, 4)))


def test_lines_and_zones_are_read_from_text() -> None:
    assert parse_line("1, 2,3,4.5", "line") == Line((1, 2), (3, 4.5), "line")
    assert parse_line("back door=1,2,3,4", "line") == Line((1, 2), (3, 4), "back door")
    assert parse_zone("0,0,4,0,4,4", "zone") == Zone(((0, 0), (4, 0), (4, 4)), "zone")
    assert parse_zone("desk=0,0,4,0,4,4", "zone").name == "desk"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2,3", "found 3 in '1,2,3'"),
        ("", "found ''"),
        ("1,2,3,x", "found 'x'"),
        ("1,2,3,nan", "found nan"),
        ("1,2,3,inf", "found inf"),
        ("door", "found 'door'"),
        ("1,2,3,4,5,6", "found 6"),
    ],
)
def test_a_line_that_is_no_line_is_refused(text: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        parse_line(text, "line")


@pytest.mark.parametrize("text", ["1,2,3,4", "1,2,3,4,5,6,7", "1,2,3,4,5,"])
def test_a_zone_that_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="`zones`"):
        parse_zone(text, "zone")
