"""Trails, lines and zones on pictures."""

import numpy as np
import pytest

from aerostat.draw.palette import class_colour
from aerostat.draw.tracks import paint_line, paint_line_text, paint_trail, paint_zone, paint_zone_text

WHITE = (255, 255, 255)


def grey(width: int = 400, height: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def where(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the (x, y) of all pixels of a colour."""
    return np.argwhere((image == colour).all(axis=2))[:, ::-1]


def test_a_trail_follows_its_points_in_the_colour_of_its_track() -> None:
    image = grey()
    paint_trail(image, np.asarray([[50.5, 50.5], [200.5, 50.5], [200.5, 200.5]]), 3)
    painted = where(image, class_colour(3))
    assert {(100, 50), (200, 120)} <= set(map(tuple, painted.tolist()))
    assert (painted.min(axis=0) >= (45, 45)).all()
    assert (painted.max(axis=0) <= (205, 205)).all()


def test_a_trail_is_thicker_at_its_new_end() -> None:
    image = grey(1600, 1200)
    paint_trail(image, np.stack([np.linspace(100, 1500, 15), np.full(15, 600.0)], axis=1), 0)
    width = (image != 100).any(axis=2).sum(axis=0)
    assert width[150] < width[1450]


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.asarray([[5.0, 5.0]])])
def test_a_single_point_has_no_trail(points: np.ndarray) -> None:
    image = grey()
    paint_trail(image, points, 0)
    assert (image == 100).all()


def test_the_arrow_of_an_upward_line_points_to_the_right() -> None:
    image = grey()
    paint_line(image, (200, 300), (200, 0))
    painted = where(image, WHITE)
    off_line = painted[np.abs(painted[:, 0] - 200) > 4]
    right, left = off_line[off_line[:, 0] > 200], off_line[off_line[:, 0] < 200]
    assert len(right) > len(left) > 0  # the head is at the right end
    assert np.abs(off_line[:, 1] - 150).max() < 30


@pytest.mark.parametrize(
    ("start", "end"), [((200, 300), (200, 0)), ((0, 150), (400, 150)), ((0, 0), (400, 300)), ((0, 2), (3, 0))]
)
def test_the_text_of_a_line_is_inside_of_the_picture_and_beside_the_arrow(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    lined = grey()
    paint_line(lined, start, end)
    written = lined.copy()
    paint_line_text(written, start, end, "door: 3 in, 2 out")
    changed = np.argwhere((written != lined).any(axis=2))[:, ::-1]
    assert len(changed) > 500
    new = written[(written != lined).any(axis=2)]
    assert (new.max(axis=1) < 60).sum() > 50  # dark letters
    assert (new.min(axis=1) > 200).sum() > 200  # on a light plate
    middle = (np.asarray(start) + end) / 2
    if 50 < middle[0] < 350:
        assert not (np.abs(changed - middle) < 5).all(axis=1).any(), "the text hides the arrow"


def test_a_zone_is_tinted_and_its_text_stands_in_its_lowest_corner() -> None:
    image = grey()
    corners = [(50.0, 50.0), (300.0, 60.0), (300.0, 250.0), (50.0, 240.0)]
    paint_zone(image, corners)
    assert (image[150, 150] > 100).all()
    assert (image[20, 20] == 100).all()
    before = image.copy()
    paint_zone_text(image, corners, "desk: 1 inside")
    changed = np.argwhere((image != before).any(axis=2))[:, ::-1]
    assert changed[:, 1].max() <= 250
    assert changed[:, 1].min() > 220


def test_a_picture_too_small_for_text_has_none() -> None:
    image = grey(12, 6)
    paint_line_text(image, (0, 0), (12, 6), "door: 3 in, 2 out")
    paint_zone_text(image, [(0, 0), (12, 0), (12, 6)], "desk")
    assert (image == 100).all()
