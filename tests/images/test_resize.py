"""Resizing against ramps worked by hand, block means, and steps of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aerostat.images.resize import resample, resize_image, scaled_size, shrink


def noise(width: int, height: int):
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


def by_opencv(image, *sizes):
    for size in sizes:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        ((40, 24), [(20, 12)]),  # at most two to one: a single step
        ((41, 25), [(40, 24), (20, 12)]),
        ((60, 40), [(40, 24), (20, 12)]),
        ((160, 100), [(80, 48), (40, 24), (20, 12)]),
        ((40, 100), [(20, 12)]),  # one side shrinks further than two to one, the other does not
        ((200, 24), [(20, 12)]),
        ((200, 12), [(20, 12)]),
        ((15, 10), [(20, 12)]),
        ((20, 30), [(20, 12)]),
    ],
)
def test_no_step_shrinks_both_sides_by_more_than_two(source, steps):
    image = noise(*source)
    result = resample(image, source, steps[-1])
    assert result.dtype == np.uint8
    assert (result == by_opencv(image, *steps)).all()


@pytest.mark.parametrize(
    ("array", "covered", "size"),
    [
        ((16, 12), (15.1, 11.3), (16, 12)),  # the array has the result's size already
        ((16, 12), (15.9, 11.9), (16, 12)),  # less than one pixel is lost
        ((16, 12), (15.5, 11.5), (20, 18)),
        ((16, 12), (15.5, 12.0), (16, 8)),
        ((16, 12), (15.25, 11.25), (12, 9)),
        ((12, 16), (11.5, 15.5), (12, 10)),
        ((16, 12), (15.5, 11.0), (8, 6)),
        ((18, 14), (18, 13.5), (6, 5)),  # two steps
    ],
)
def test_only_the_covered_part_fills_the_result(array, covered, size):
    # A ramp stays a ramp when it is resampled: each pixel's value is that at its centre.
    width, height = array
    ramp = 10.0 + 7.0 * np.arange(width)[None] + 9.0 * np.arange(height)[:, None]
    image = np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)

    result = resample(image, covered, size)

    x = (np.arange(size[0]) + 0.5) * covered[0] / size[0] - 0.5
    y = (np.arange(size[1]) + 0.5) * covered[1] / size[1] - 0.5
    expected = 10.0 + 7.0 * x[None] + 9.0 * y[:, None]
    assert result.shape == (size[1], size[0], 3)
    assert np.abs(result.astype(float) - expected[..., None])[1:-1, 1:-1].max() <= 1


def test_edges_repeat_the_outermost_pixels():
    image = noise(6, 5)
    image[0], image[:, 0] = 200, 200
    result = resample(image, (5.5, 4.5), (9, 8))
    assert (result[0] == 200).all()
    assert (result[:, 0] == 200).all()


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((1024, 768), 0.625, (640, 480)),
        ((5, 3), 0.5, (3, 2)),  # halves are rounded up
        ((7, 9), 0.4, (3, 4)),  # 2.8 and 3.6
        ((10, 12), 0.01, (1, 1)),
        ((3, 1), 2.0, (6, 2)),
    ],
)
def test_sizes_are_rounded_and_at_least_one_pixel(size, scale, expected):
    assert scaled_size(size, scale) == expected
    assert all(type(side) is int for side in scaled_size(size, scale))


def test_an_image_of_the_wanted_size_is_not_copied():
    image = noise(6, 4)
    assert resize_image(image, (6, 4)) is image
    assert (resize_image(image, (4, 6)) == by_opencv(image, (4, 6))).all()


@pytest.mark.parametrize("side", [6, 7, 100])
def test_a_small_image_is_not_enlarged(side):
    image = noise(6, 4)
    assert shrink(image, side) is image


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((8, 4), 4, (4, 2)),
        ((4, 8), 4, (2, 4)),
        ((10, 4), 4, (4, 2)),  # 1.6 becomes 2
        ((100, 1), 10, (10, 1)),  # never less than a pixel
        ((1, 100), 10, (1, 10)),
        ((9, 9), 1, (1, 1)),
    ],
)
def test_the_longer_side_becomes_the_maximum(size, side, expected):
    width, height = size
    assert shrink(noise(width, height), side).shape == (expected[1], expected[0], 3)


def test_a_shrunk_pixel_is_the_mean_of_its_area():
    grey = np.asarray([[0, 4, 100, 100], [8, 12, 200, 200]], np.uint8)
    assert shrink(grey, 2).tolist() == [[6, 150]]
