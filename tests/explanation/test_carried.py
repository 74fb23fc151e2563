"""Maps that move and grow with the box of an object, and its look."""

import numpy as np
import pytest

from aerostat.explanation.carried import SourceMap, carry_heat, look_of
from aerostat.images.letterbox import Letterbox

BOX = np.asarray([10.0, 20.0, 40.0, 60.0])


def moved(x: float, y: float) -> np.ndarray:
    return BOX + np.asarray([x, y, x, y])


def bell(box_xyxy: np.ndarray, size: tuple[int, int] = (120, 100)) -> np.ndarray:
    """Return a bell in a box, over a picture of (width, height)."""
    parts = []
    for axis, length in enumerate(size):
        start, stop = box_xyxy[axis], box_xyxy[axis + 2]
        distance = np.arange(length) + 0.5 - (start + stop) / 2
        parts.append(np.exp(-0.5 * (distance / ((stop - start) / 6)) ** 2))
    return np.outer(parts[1], parts[0]).astype(np.float32)


@pytest.mark.parametrize(
    "target",
    [
        BOX,
        moved(30, 10),
        np.asarray([50.0, 10.0, 110.0, 90.0]),
        np.asarray([60.5, 30.25, 80.0, 50.0]),
    ],
)
def test_a_bell_in_the_old_box_becomes_the_bell_of_the_new_box(target: np.ndarray) -> None:
    carried = carry_heat(bell(BOX), BOX, target, (120, 100))
    assert carried.shape == (100, 120)
    assert np.abs(carried - bell(target)).max() < 0.06  # interpolation between pixels


def test_the_same_box_leaves_the_map_as_it_is() -> None:
    heat = np.random.default_rng(0).random((100, 120), np.float32)
    assert np.allclose(carry_heat(heat, BOX, BOX, (120, 100)), heat, atol=1e-5)


def test_the_new_picture_may_have_another_size_and_what_comes_in_at_its_edge_is_cold() -> None:
    heat = np.ones((100, 120), np.float32)
    carried = carry_heat(heat, BOX, moved(50, 0), (200, 150))
    assert carried.shape == (150, 200)
    assert not carried[:, :49].any()
    assert (carried[:99, 51:169] == 1).all()


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)


def test_a_look_does_not_change_with_light_and_place(noise: np.ndarray) -> None:
    look = look_of(noise, BOX)
    brighter = (noise * 0.5 + 100).astype(np.uint8)
    rolled = np.roll(noise, (7, 12), axis=(0, 1))
    assert float(look @ look) == pytest.approx(1, abs=1e-5)
    assert float(look @ look_of(brighter, BOX)) > 0.97
    assert float(look @ look_of(rolled, moved(12, 7))) == pytest.approx(1, abs=1e-5)
    assert float(look @ look_of(noise[::-1], BOX)) < 0.3


@pytest.mark.parametrize("box", [(-5, -5, 0.2, 0.2), (119.5, 89.5, 130, 95), (3.2, 4.1, 3.3, 4.2)])
def test_a_box_at_the_edge_or_within_a_pixel_has_a_look(
    noise: np.ndarray, box: tuple[float, float, float, float]
) -> None:
    assert np.isfinite(look_of(noise, np.asarray(box))).all()


def test_one_colour_looks_like_nothing() -> None:
    assert not look_of(np.full((90, 120, 3), 77, np.uint8), BOX).any()


def test_change_is_the_larger_factor_of_both_sides_whatever_its_direction() -> None:
    source = SourceMap(bell(BOX), BOX, np.zeros(4, np.float32), 0, 0)
    assert source.change(BOX + 5) == pytest.approx(1)
    assert source.change(np.asarray([0, 0, 60, 40])) == pytest.approx(2)
    assert source.change(np.asarray([0, 0, 30, 20])) == pytest.approx(2)


def test_a_source_is_carried_to_the_size_that_the_network_sees() -> None:
    source = SourceMap(bell(BOX), BOX, np.zeros(4, np.float32), 0, 0)
    assert source.carried(BOX, Letterbox.fit((64, 32), (128, 128))).shape == (64, 128)
