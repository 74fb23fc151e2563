"""Many polygons at once are judged as each alone is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.datasets.clip import fit_as_they_are, fit_polygon

coordinates = st.one_of(
    st.integers(-2, 12),
    st.floats(-1, 11),
    st.floats(0, 1e-6),
    st.sampled_from([1e200, 1e308, 0.1, 10 + 1e-12]),
).map(float)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=7).map(np.array)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(polygons, sizes), max_size=6), st.booleans())
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_what_fits_as_it_is_comes_back_from_fit_polygon_without_a_remark(
    given_polygons: list[tuple[np.ndarray, tuple[int, int]]], check_crossing: bool
) -> None:
    stops = np.cumsum([len(p) for p, _ in given_polygons], dtype=np.int64)
    points = np.concatenate([np.zeros((0, 2)), *(p for p, _ in given_polygons)])
    image_sizes = np.array([size for _, size in given_polygons], np.float64).reshape(-1, 2)
    fits = fit_as_they_are(points, stops, image_sizes, check_crossing)
    assert fits.shape == (len(given_polygons),)
    for (polygon, (width, height)), fit in zip(given_polygons, fits.tolist(), strict=True):
        fitted, remark = fit_polygon(polygon, width, height, check_crossing)
        if fit:
            assert fitted is polygon and remark is None
        elif fitted is polygon and remark is None:  # in doubt: what it encloses is next to nothing
            x, y = polygon.T - polygon[0][:, None]
            enclosed = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))
            assert enclosed <= 1.1e-6 * np.prod(np.ptp(polygon, axis=0))


def test_ordinary_polygons_are_not_in_doubt() -> None:
    square = np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0], [1.0, 9.0]])
    points = np.concatenate([square, square + 3, square[:2], square - 1, square[[0, 2, 1, 3]]])
    stops = np.cumsum([4, 4, 2, 4, 4])
    size = np.full((5, 2), 10.0)
    assert fit_as_they_are(points, stops, size).tolist() == [True, False, False, True, False]
    assert fit_as_they_are(points, stops, size, check_crossing=False).tolist()[4] is False  # loops cancel
