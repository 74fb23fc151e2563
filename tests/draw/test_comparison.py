"""Ground truth beside prediction."""

from __future__ import annotations

import numpy as np
import pytest

from aerostat.draw.comparison import WIDTH, Side, side_by_side
from aerostat.draw.palette import class_colour
from aerostat.errors import InputError


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 200, np.uint8)


def is_drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(picture.astype(int) - colour) <= 2).all(axis=-1)


@pytest.mark.parametrize(
    "size", [(480, 640), (640, 480), (8, 8), (1, 1), (40, 4000), (4000, 40), (6000, 8000), (100, 100)]
)
def test_the_picture_has_a_bounded_size_whatever_the_image(size: tuple[int, int]) -> None:
    image = grey(*size)
    box = (size[1] * 0.2, size[0] * 0.2, size[1] * 0.8, size[0] * 0.8)
    picture = side_by_side(
        image, Side("a", ghost_xyxy=box), Side("b", focus_xyxy=box, focus_text="x"), "caption"
    )
    assert picture.dtype == np.uint8 and picture.shape[1:] == (WIDTH, 3)
    assert picture.shape[0] <= 720
    assert (image == 200).all()


def test_each_side_shows_its_own_box_in_its_colour_where_it_lies() -> None:
    box = (160.0, 120.0, 480.0, 360.0)
    left, right = Side("truth", focus_xyxy=box, focus_label=1), Side("found", focus_xyxy=box, focus_label=5)
    picture = side_by_side(grey(480, 640), left, right, "")
    top = picture.shape[0] - round(480 * 444 / 640)
    for x_offset, label, other in ((0, 1, 5), (456, 5, 1)):
        half = picture[top:, x_offset : x_offset + 444]
        ys, xs = np.nonzero(is_drawn(half, class_colour(label)))
        scale = 444 / 640
        expected = [box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale]
        assert np.abs(np.array([xs.min(), ys.min(), xs.max(), ys.max()]) - expected).max() <= 5
        assert not is_drawn(half, class_colour(other)).any()


def test_outside_of_the_box_it_is_darker_and_inside_as_it_was() -> None:
    box = (200.0, 100.0, 500.0, 400.0)
    picture = side_by_side(grey(480, 640), Side("a", ghost_xyxy=box), Side("b", focus_xyxy=box), "")
    high = round(480 * 444 / 640)
    for half in (picture[-high:, :444], picture[-high:, 456:]):
        assert half[high // 2, 444 // 2].tolist() == [200] * 3
        assert half[high - 5, 5].max() < 150


def test_a_small_box_is_shown_enlarged_with_its_surroundings() -> None:
    image = grey(2000, 2000)
    image[1000:1020, 500:520] = (0, 0, 255)
    box = (495.0, 995.0, 525.0, 1025.0)
    picture = side_by_side(image, Side("a", ghost_xyxy=box), Side("b", focus_xyxy=box), "")
    red = is_drawn(picture[:, 456:], (0, 0, 255))
    assert red.sum() > 60**2  # 20 px are enlarged at least three times
    _, xs = np.nonzero(red)
    assert abs(xs.mean() - 222) < 25


def test_a_box_at_the_edge_or_beyond_it_is_still_drawn() -> None:
    for box in ((-50.0, -50.0, 30.0, 30.0), (600.0, 440.0, 700.0, 500.0), (0.0, 0.0, 640.0, 480.0)):
        side = Side("b", focus_xyxy=box, focus_label=4, focus_text="a label")
        picture = side_by_side(grey(480, 640), Side("a", ghost_xyxy=box, ghost_text="none"), side, "")
        assert is_drawn(picture, class_colour(4)).sum() > 200


def test_many_boxes_long_texts_and_foreign_scripts_are_drawn() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 400, (300, 2))
    boxes = np.concatenate([corners, corners + 50], axis=1)
    side = Side("x" * 300, boxes, list(range(300)), focus_xyxy=boxes[0], focus_text="自転車 $x$ " * 40)
    assert side_by_side(grey(480, 640), side, Side(""), "y" * 999).shape[1] == WIDTH


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="Expected a label for each of 1 boxes, found 0"):
        side_by_side(grey(9, 9), Side("a", [(0, 0, 5, 5)]), Side("b", focus_xyxy=(0, 0, 5, 5)), "")
    with pytest.raises(InputError, match="Expected a box to emphasise"):
        side_by_side(grey(9, 9), Side("a"), Side("b"), "")
