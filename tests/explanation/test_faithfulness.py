"""Measures of heat maps, on black boxes and maps that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.explanation.faithfulness import (
    CONTROLS,
    Curve,
    Scene,
    blurred,
    curve,
    emptied,
    heat_inside,
    hottest_first,
)

SIDE = 8
WHITE = np.full((SIDE, SIDE, 3), 255, np.uint8)
BLACK = np.zeros_like(WHITE)


def brightness(images_bgr: np.ndarray) -> np.ndarray:
    """Score the 16 of 64 pixels at the top left by their brightness."""
    return images_bgr[:, :4, :4].mean((1, 2, 3))[:, None] / 255


def corner_heat(inside: float = 1.0, outside: float = 0.0) -> np.ndarray:
    heat = np.full((SIDE, SIDE), outside)
    heat[:4, :4] = inside
    return heat


# --- share of heat in the box


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 4, 2), 1.0),
        ((0, 0, 2, 2), 0.5),
        ((0, 0, 1, 1), 1 / 8),
        ((0.5, 0, 1.5, 1), 1 / 8),  # two halves of a pixel
        ((-5, -5, 1, 1), 1 / 8),  # what sticks out has no heat
        ((4, 2, 9, 9), 0.0),  # outside of the map
        ((1, 1, 1, 2), 0.0),  # no area
    ],
)
def test_heat_inside_a_box_counts_pixels_by_the_part_inside(box: tuple[float, ...], expected: float) -> None:
    assert heat_inside(np.ones((2, 4)), box) == pytest.approx(expected)


def test_a_map_without_heat_has_none_inside() -> None:
    assert heat_inside(np.zeros((2, 4)), (0, 0, 4, 2)) == 0


def test_the_share_does_not_depend_on_the_scale_of_the_heat() -> None:
    heat = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    assert heat_inside(heat * 1e-6, (1, 1, 4, 4)) == pytest.approx(heat_inside(heat, (1, 1, 4, 4)))


# --- the order of pixels


def test_pixels_come_in_the_order_of_their_heat() -> None:
    assert hottest_first(np.asarray([[0.2, 0.9], [0.5, 0.1]]), block=1).tolist() == [[2, 0], [1, 3]]


def test_blocks_go_by_their_mean_also_where_the_edge_cuts_them() -> None:
    heat = np.asarray([[1.0, 1, 5], [1, 1, 5], [9, 0, 4]])
    # blocks of 2: means 1, 5, 4.5, 4
    assert hottest_first(heat, block=2).tolist() == [[3, 3, 0], [3, 3, 0], [1, 1, 2]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
def test_equal_heat_stands_in_a_drawn_order_that_holds_every_block_once(
    height: int, width: int, block: int, seed: int
) -> None:
    places = hottest_first(np.zeros((height, width)), block=block, seed=seed)
    blocks = -(-height // block) * -(-width // block)
    assert sorted(set(places.ravel().tolist())) == list(range(blocks))
    assert np.array_equal(places, hottest_first(np.zeros((height, width)), block=block, seed=seed))


def test_equal_heat_is_not_taken_in_reading_order() -> None:
    places = hottest_first(np.zeros((40, 40)), block=1)
    reading = np.arange(1600).reshape(40, 40)
    assert abs(np.corrcoef(places.ravel(), reading.ravel())[0, 1]) < 0.1
    assert not np.array_equal(places, hottest_first(np.zeros((40, 40)), block=1, seed=1))


def test_a_single_hot_pixel_comes_first_before_any_tie() -> None:
    heat = np.zeros((30, 30))
    heat[17, 23] = 1e-9
    assert hottest_first(heat, block=1)[17, 23] == 0


# --- curves


def test_a_curve_of_four_pixels_is_what_the_hand_makes_it() -> None:
    row = np.full((1, 4, 3), 255, np.uint8)
    places = hottest_first(np.asarray([[1.0, 4, 2, 3]]), block=1)
    found = curve(lambda x: x.mean((1, 2, 3))[:, None] / 255, row, row * 0, places, full_score=1, steps=2)
    assert found.shares.tolist() == [0, 0.25, 1]  # (0/2)^2, (1/2)^2, (2/2)^2
    assert found.scores == pytest.approx([1, 0.75, 0])
    assert found.area == pytest.approx(0.25 * 0.875 + 0.75 * 0.375)


def test_deleting_what_is_looked_at_first_leaves_a_triangle() -> None:
    places = hottest_first(corner_heat(), block=1)
    found = curve(brightness, WHITE, BLACK, places, full_score=1, steps=8)
    assert found.area == pytest.approx(0.5 * 16 / 64)  # down to 0 on a straight line within 16 of 64 pixels
    assert curve(brightness, WHITE, BLACK, places, full_score=0.5, steps=8).area == pytest.approx(16 / 64)


def test_inserting_what_is_looked_at_first_leaves_all_but_a_triangle() -> None:
    places = hottest_first(corner_heat(), block=1)
    found = curve(brightness, BLACK, WHITE, places, full_score=1, steps=8)
    assert found.area == pytest.approx(1 - 0.5 * 16 / 64)


def test_deleting_what_is_not_looked_at_first_changes_nothing_until_the_end() -> None:
    places = hottest_first(corner_heat(0, 1), block=1)
    found = curve(brightness, WHITE, BLACK, places, full_score=1, steps=8)
    assert (found.scores[found.shares <= 48 / 64] == 1).all()
    assert found.scores[-1] == 0


def test_a_map_without_heat_profits_from_no_place_of_the_object() -> None:
    def areas(scorer: object) -> float:
        empty = np.zeros((SIDE, SIDE))
        drawn = (hottest_first(empty, block=1, seed=seed) for seed in range(40))
        return float(np.mean([curve(scorer, WHITE, BLACK, p, full_score=1).area for p in drawn]))

    assert areas(brightness) == pytest.approx(0.5, abs=0.03)
    assert areas(lambda x: brightness(x[:, ::-1, ::-1])) == pytest.approx(0.5, abs=0.03)


def test_what_is_not_found_on_the_photograph_has_flat_curves() -> None:
    found = curve(brightness, BLACK, BLACK, hottest_first(corner_heat(), block=1), full_score=0)
    assert found.area == 0
    assert np.isfinite(found.scores).all()


def test_a_single_pixel_is_one_step() -> None:
    image = np.full((1, 1, 3), 255, np.uint8)
    scorer = lambda x: x.mean((1, 2, 3))[:, None] / 255  # noqa: E731
    found = curve(scorer, image, image * 0, hottest_first(np.ones((1, 1)), block=4), full_score=1)
    assert (found.shares.tolist(), found.scores.tolist(), found.area) == ([0, 1], [1, 0], 0.5)


def test_padding_stays_what_it_is_while_the_photograph_changes() -> None:
    seen = []

    def scorer(images: np.ndarray) -> np.ndarray:
        seen.append(images.copy())
        return np.ones((len(images), 1))

    curve(scorer, WHITE, BLACK, hottest_first(np.ones((5, 6)), block=2), full_score=1, steps=4)
    images = np.concatenate(seen)
    assert (images[:, 5:] == 255).all() and (images[:, :, 6:] == 255).all()
    assert not images[-1, :5, :6].any()


def test_the_degraded_photographs_leave_the_padding_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for out in (blurred(image, (32, 20)), emptied(image, (32, 20))):
        assert np.array_equal(out[20:], image[20:])
        assert out[:20].std() < image[:20].std() / 2


# --- a scene


def scene(image: np.ndarray = WHITE, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Scene:
    return Scene(image, size, (0.0, 0.0, 4.0, 4.0), brightness, 1.0, seed)


def test_a_faithful_map_beats_an_unfaithful_one_in_every_measure() -> None:
    image = np.random.default_rng(1).integers(150, 256, WHITE.shape, dtype=np.uint8)
    image[:4, :4] = 255  # brighter than any blur of it
    good, bad = (scene(image).measure(heat) for heat in (corner_heat(), corner_heat(0, 1)))
    assert (good.inside, bad.inside) == (1, 0)
    assert good.deletion.area < bad.deletion.area
    assert good.insertion.area > bad.insertion.area


def test_measures_are_the_same_each_time_and_a_map_without_heat_has_some() -> None:
    first, again = (scene().measure(np.zeros((SIDE, SIDE))) for _ in range(2))
    assert first.inside == 0
    assert first.to_dict() == again.to_dict()
    other = scene(seed=1).measure(np.zeros((SIDE, SIDE)))
    assert other.deletion.area != first.deletion.area


@pytest.mark.parametrize("heat", [np.ones((4, 8)), np.full((8, 8), np.nan), -np.ones((8, 8))])
def test_maps_of_another_size_or_without_numbers_are_refused(heat: np.ndarray) -> None:
    with pytest.raises(InputError, match="Expected heat"):
        scene().measure(heat)


def test_controls_know_the_box_at_most() -> None:
    maps = scene(size=(8, 6)).controls()
    assert list(maps) == list(CONTROLS)
    assert all(heat.shape == (6, 8) and (heat >= 0).all() and heat.any() for heat in maps.values())
    centred, in_box = maps["centred Gaussian"], maps["Gaussian in the box"]
    assert np.allclose(centred, centred[::-1, ::-1])
    assert np.allclose(in_box[:4, :4], in_box[:4, :4].T)
    assert np.unravel_index(in_box.argmax(), in_box.shape) in [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert heat_inside(in_box, (0, 0, 4, 4)) > 0.9


def test_a_box_without_area_still_has_controls() -> None:
    flat = Scene(WHITE, (8, 8), (3.0, 3.0, 3.0, 3.0), brightness, 1.0)
    assert all(np.isfinite(heat).all() and heat.any() for heat in flat.controls().values())


def test_the_area_of_a_score_that_stays_is_one() -> None:
    assert Curve(np.asarray([0, 0.2, 1]), np.asarray([1.0, 1, 1])).area == pytest.approx(1)
