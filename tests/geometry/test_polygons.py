import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.geometry import polygons

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
points = st.lists(st.tuples(st.integers(-50, 150), st.integers(-50, 150)), min_size=3, max_size=9)


@pytest.mark.parametrize(
    ("polygon", "area"),
    [
        (SQUARE, 100),
        (SQUARE[::-1], 100),
        (np.vstack([SQUARE, SQUARE[:1]]), 100),
        (np.array([[0, 0], [4, 0], [0, 3]], float), 6),
        (SQUARE[:2], 0),
        (np.empty((0, 2)), 0),
        (np.array([[0, 0], [5, 5], [9, 9]], float), 0),
        (SQUARE + 1e8, 100),
    ],
)
def test_area_of_known_shapes(polygon: np.ndarray, area: float) -> None:
    assert polygons.area(polygon) == area


def test_clip_leaves_a_polygon_that_is_inside_as_it_is() -> None:
    assert polygons.clip(SQUARE, 10, 10) is SQUARE


def test_clip_cuts_where_the_edges_meet_the_border() -> None:
    triangle = np.array([[5, 5], [15, 5], [5, 15]], float)
    clipped = polygons.clip(triangle, 10, 20)
    assert clipped.tolist() == [[5, 5], [10, 5], [10, 10], [5, 15]]
    assert polygons.area(clipped) == 50 - 12.5


def test_clip_of_a_polygon_around_the_image_is_the_image() -> None:
    around = np.array([[-5, -5], [50, -5], [50, 50], [-5, 50]], float)
    assert sorted(polygons.clip(around, 20, 10).tolist()) == [[0, 0], [0, 10], [20, 0], [20, 10]]


def test_clip_of_a_polygon_outside_is_empty() -> None:
    assert polygons.clip(SQUARE + 100, 50, 50).shape == (0, 2)


def test_clip_keeps_both_arms_of_a_u_that_lies_across_the_border() -> None:
    u = np.array([[0, -5], [2, -5], [2, 3], [4, 3], [4, -5], [6, -5], [6, 6], [0, 6]], float)
    assert polygons.area(polygons.clip(u, 10, 4)) == 6 * 4 - 2 * 3


@settings(max_examples=60, deadline=None)
@given(points)
def test_clip_stays_inside_and_clipping_twice_changes_nothing(vertices: list[tuple[int, int]]) -> None:
    clipped = polygons.clip(np.array(vertices, float), 100, 80)
    assert (clipped >= 0).all() and (clipped <= [100, 80]).all()
    assert polygons.clip(clipped, 100, 80) is clipped
    if not polygons.crosses_itself(np.array(vertices, float)):
        assert polygons.area(clipped) <= min(100 * 80, polygons.area(np.array(vertices, float))) + 1e-9


@pytest.mark.parametrize(
    ("name", "vertices", "crosses"),
    [
        ("square", [(0, 0), (9, 0), (9, 9), (0, 9)], False),
        ("square with a repeated last point", [(0, 0), (9, 0), (9, 9), (0, 9), (0, 0)], False),
        ("points on a straight edge", [(0, 0), (4, 0), (9, 0), (9, 9)], False),
        ("bow tie", [(0, 0), (9, 9), (9, 0), (0, 9)], True),
        ("bow tie through a vertex", [(0, 0), (5, 5), (10, 10), (10, 0), (5, 5), (0, 10)], True),
        ("spike that folds back", [(0, 0), (9, 0), (9, 9), (9, 12), (9, 5), (0, 9)], True),
        ("vertex on a distant edge", [(0, 0), (9, 0), (9, 9), (5, 0), (0, 9)], True),
        ("triangle", [(0, 0), (9, 0), (0, 9)], False),
        ("two points", [(0, 0), (9, 0)], False),
        ("one point many times", [(3, 3)] * 6, False),
        ("nothing", [], False),
    ],
)
def test_crosses_itself(name: str, vertices: list[tuple[int, int]], crosses: bool) -> None:
    polygon = np.array(vertices, float).reshape(-1, 2)
    for _ in range(max(len(polygon), 1)):  # where the outline begins must not matter
        assert polygons.crosses_itself(polygon) is crosses
        if not np.array_equal(polygon[:1], polygon[-1:]):
            polygon = np.roll(polygon, 1, axis=0)


def is_simple(vertices: list[tuple[int, int]]) -> bool:
    """Say by whole numbers, edge by edge, whether a ring is simple; repeated points do not count."""
    ring = [p for p, q in zip(vertices, [*vertices[1:], *vertices[:1]], strict=True) if p != q]
    if len(ring) < 3:
        return True
    edges = list(zip(ring, [*ring[1:], ring[0]], strict=True))

    def side(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        return (area > 0) - (area < 0)

    def between(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
        return all(min(a[k], b[k]) <= c[k] <= max(a[k], b[k]) for k in (0, 1)) and side(a, b, c) == 0

    for i, (a, b) in enumerate(edges):
        for j, (c, d) in enumerate(edges[:i]):
            if i - j in (1, len(edges) - 1):  # neighbours may share their one point, and no more
                shared, first, second = (b, a, d) if b == c else (a, b, c)
                if between(shared, first, second) or between(shared, second, first):
                    return False
            else:
                across = side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
                if across or between(a, b, c) or between(a, b, d) or between(c, d, a) or between(c, d, b):
                    return False
    return True


vertices_of_a_ring = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=7)


@settings(max_examples=300, deadline=None)
@given(st.lists(vertices_of_a_ring, max_size=8))
def test_many_outlines_together_cross_where_whole_numbers_say_so(rings: list[list[tuple[int, int]]]) -> None:
    points = np.array([vertex for ring in rings for vertex in ring], float).reshape(-1, 2)
    stops = np.cumsum([len(ring) for ring in rings], dtype=np.int64)
    assert polygons.crossing(points, stops).tolist() == [not is_simple(ring) for ring in rings]


def test_a_huge_outline_is_judged_by_its_neighbours_alone() -> None:
    angles = np.linspace(0, 2 * math.pi, 50_000, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert not polygons.crosses_itself(circle)
    circle[[100, 20_000]] = circle[[20_000, 100]]
    assert polygons.crosses_itself(circle)


@pytest.mark.parametrize("theta", [0, 0.3, 1.2, math.pi / 2, 2.5, -0.7])
@pytest.mark.parametrize(("rx", "ry"), [(20, 20), (30, 10), (5, 12)])
def test_ellipse_has_the_bounds_and_area_of_the_ellipse(theta: float, rx: float, ry: float) -> None:
    polygon = polygons.ellipse(50, 40, rx, ry, theta)
    half_width = math.hypot(rx * math.cos(theta), ry * math.sin(theta))
    half_height = math.hypot(rx * math.sin(theta), ry * math.cos(theta))
    expected = (50 - half_width, 40 - half_height, 50 + half_width, 40 + half_height)
    assert polygons.bounds(polygon) == pytest.approx(expected, abs=1e-9)
    assert polygons.area(polygon) == pytest.approx(math.pi * rx * ry, rel=2e-3)
    assert not polygons.crosses_itself(polygon)


def test_theta_turns_the_first_half_axis_clockwise_as_seen() -> None:
    polygon = polygons.ellipse(0, 0, 10, 1, math.pi / 4)
    far = polygon[np.argmax(polygon[:, 0])]
    assert far[1] > 5  # y points down
