"""Measures of masks against cases worked by hand, and against the definitions written pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.geometry.mask_measures import PixelSize, measure
from aerostat.geometry.masks import Masks


def rectangle(x: int, y: int, width: int, height: int, size: tuple[int, int] = (60, 50)) -> Masks:
    return Masks.from_patches([np.ones((height, width), bool)], [(x, y)], size)


def disc(radius: float, size: int, centre: tuple[float, float]) -> Masks:
    ys, xs = np.mgrid[:size, :size] + 0.5
    return Masks.from_dense([(xs - centre[0]) ** 2 + (ys - centre[1]) ** 2 < radius**2])


def crofton_of_rectangle(width: int, height: int) -> float:
    """Return the crossings of lines with a rectangle, counted by hand: w + h - 1 are diagonal."""
    return math.pi / 4 * (width + height + 2 * (width + height - 1) / math.sqrt(2))


@pytest.mark.parametrize(("width", "height", "angle"), [(10, 4, 0.0), (4, 10, 90.0), (1, 7, 90.0)])
@pytest.mark.parametrize("corner", [(3, 5), (0, 0), (50, 40)])
def test_a_rectangle(width, height, angle, corner):
    found = measure(rectangle(*corner, width, height))
    inside = min(width, 60 - corner[0]), min(height, 50 - corner[1])
    assert found.area.tolist() == [inside[0] * inside[1]]
    assert found.centroid_x.tolist() == [corner[0] + inside[0] / 2]
    assert found.centroid_y.tolist() == [corner[1] + inside[1] / 2]
    assert found.perimeter[0] == pytest.approx(crofton_of_rectangle(*inside))
    assert found.equivalent_diameter[0] == pytest.approx(2 * math.sqrt(inside[0] * inside[1] / math.pi))
    assert found.orientation[0] == pytest.approx(angle)


@pytest.mark.parametrize("radius", [20, 50, 150])
def test_a_disc(radius):
    found = measure(disc(radius, 320, (160.0, 158.0)))
    assert found.area[0] == pytest.approx(math.pi * radius**2, rel=0.01)
    assert found.perimeter[0] == pytest.approx(2 * math.pi * radius, rel=0.01)
    assert found.equivalent_diameter[0] == pytest.approx(2 * radius, rel=0.005)
    assert (found.centroid_x[0], found.centroid_y[0]) == (160.0, 158.0)
    assert math.isnan(found.orientation[0])


def test_one_pixel_has_its_centre_in_the_middle_and_no_direction():
    found = measure(rectangle(7, 9, 1, 1))
    assert (found.centroid_x[0], found.centroid_y[0], found.area[0]) == (7.5, 9.5, 1.0)
    assert math.isnan(found.orientation[0])


def test_an_empty_mask_has_the_area_0_and_nothing_else():
    masks = Masks.from_dense(np.zeros((2, 4, 5)))
    found = measure(masks)
    assert found.area.tolist() == [0, 0]
    for name, values in found.columns().items():
        assert name == "area" or np.isnan(values).all()
    assert measure(Masks.empty((4, 4))).columns()["perimeter"].shape == (0,)


@pytest.mark.parametrize("degrees", [-75, -45, -30, 10, 45, 60, 89])
def test_the_direction_of_a_slanted_bar_is_counter_clockwise_as_it_is_seen(degrees):
    angle = math.radians(degrees)
    along, across = (
        np.asarray([math.cos(angle), -math.sin(angle)]),
        np.asarray([math.sin(angle), math.cos(angle)]),
    )
    corners = [100 + 80 * a * along + 10 * b * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    found = measure(Masks.from_polygons([[np.asarray(corners)]], (200, 200)))
    assert found.orientation[0] == pytest.approx(degrees, abs=0.5)
    assert found.perimeter[0] == pytest.approx(360, rel=0.06)


@given(seed=st.integers(0, 10**6), width=st.integers(1, 12), height=st.integers(1, 12))
def test_measures_are_those_of_the_pixels(seed, width, height):
    dense = np.random.default_rng(seed).random((4, height, width)) < [[[0.1]], [[0.5]], [[0.9]], [[1.0]]]
    found = measure(Masks.from_dense(dense))
    for place, mask in enumerate(dense):
        assert found.area[place] == mask.sum()
        if not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        assert found.centroid_x[place] == pytest.approx(columns.mean() + 0.5)
        assert found.centroid_y[place] == pytest.approx(rows.mean() + 0.5)
        padded = np.pad(mask, 1).astype(int)
        h = np.abs(np.diff(padded, axis=1)).sum()
        v = np.abs(np.diff(padded, axis=0)).sum()
        d = np.abs(padded[1:, 1:] - padded[:-1, :-1]).sum() + np.abs(padded[1:, :-1] - padded[:-1, 1:]).sum()
        assert found.perimeter[place] == pytest.approx(math.pi / 8 * (h + v + d / math.sqrt(2)))
        covariance = np.cov(np.stack([columns, -rows]), bias=True)
        values, vectors = np.linalg.eigh(covariance)
        if np.isnan(found.orientation[place]):
            assert values[1] - values[0] < 1e-6
        elif values[1] - values[0] > 1e-6:
            angle = math.radians(found.orientation[place])
            along = abs(vectors[:, 1] @ [math.cos(angle), math.sin(angle)])
            assert along == pytest.approx(1.0)
            assert -90 < found.orientation[place] <= 90


def test_a_huge_image_far_from_the_origin_loses_no_digits():
    far = measure(rectangle(60_000, 60_000, 30, 10, (65_000, 65_000)))
    near = measure(rectangle(0, 0, 30, 10))
    assert far.centroid_x[0] == 60_015 and far.orientation[0] == near.orientation[0] == 0
    assert far.perimeter[0] == near.perimeter[0]


def test_a_pixel_size_adds_columns_with_its_unit():
    columns = measure(rectangle(2, 3, 10, 4)).columns(PixelSize.parse("0.5 um"))
    assert list(columns) == [
        *("area", "perimeter", "centroid_x", "centroid_y", "equivalent_diameter", "orientation"),
        *("area_um2", "perimeter_um", "centroid_x_um", "centroid_y_um", "equivalent_diameter_um"),
    ]
    assert columns["area_um2"].tolist() == [10.0]
    assert columns["centroid_x_um"].tolist() == [3.5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.35um", (0.35, "um")),
        ("2 mm", (2.0, "mm")),
        ("1e-3m", (0.001, "m")),
        ("0.35\N{MICRO SIGN}m", (0.35, "um")),
    ],
)
def test_pixel_sizes_are_read(text, expected):
    size = PixelSize.parse(text)
    assert (size.side, size.unit) == expected


@pytest.mark.parametrize(
    "text", ["", "um", "0.35", "0um", "-1um", "1e999m", "nanum", "1 parsec", "1..2um", "1" * 99]
)
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="`pixel_size` as a length such as"):
        PixelSize.parse(text)
