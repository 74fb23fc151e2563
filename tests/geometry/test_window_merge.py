"""Boxes of overlapping windows become one for each object, whatever cuts them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.geometry.boxes import pairwise_iou
from aerostat.geometry.window_merge import OVERVIEW, MergedBoxes, WindowBoxes, merge_windows
from aerostat.geometry.windows import WindowGrid

SIDE = 64


def seen(grid: WindowGrid, truth: np.ndarray, overview: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return what an exact detector finds in all windows, clipped to them, and in the whole image."""
    boxes, numbers = [truth[:0]], []
    for number in range(len(grid)):
        window = np.asarray(grid.box(number), float)
        shown = np.concatenate(
            [np.maximum(truth[:, :2], window[:2]), np.minimum(truth[:, 2:], window[2:])], axis=1
        )
        shown = shown[(shown[:, 2:] > shown[:, :2]).all(axis=1)]
        boxes.append(shown)
        numbers += [number] * len(shown)
    if overview:
        boxes.append(truth)
        numbers += [OVERVIEW] * len(truth)
    return np.concatenate(boxes), np.asarray(numbers, int)


def merged(grid: WindowGrid, truth: np.ndarray, *, overview: bool = True, shuffle: int = 0) -> MergedBoxes:
    boxes, numbers = seen(grid, truth, overview)
    order = np.random.default_rng(shuffle).permutation(len(boxes))
    ones = np.ones(len(boxes))
    pixels = (1.0, max(own / SIDE for own in grid.image_size))
    return merge_windows(WindowBoxes(boxes[order], ones, ones.astype(int), numbers[order], grid, pixels))


def assert_one_to_one(found: np.ndarray, truth: np.ndarray) -> None:
    assert len(found) == len(truth)
    if not len(truth):
        return
    iou = pairwise_iou(found, truth)
    assert sorted(iou.argmax(axis=1).tolist()) == list(range(len(truth)))
    assert (iou.max(axis=1, initial=0) > 0.999).all()


@pytest.mark.parametrize("side", [3, 8, 11, 12, 13, 16, 30, 63, 64, 65, 100])
@pytest.mark.parametrize("overview", [True, False])
def test_a_square_is_found_once_at_every_offset(side, overview):
    grid = WindowGrid.cover((180, 120), (SIDE, SIDE), 0.2)
    for x in range(0, 180 - side + 1):
        truth = np.asarray([[x, (x * 7) % (120 - side + 1), 0, 0]], float)
        truth[:, 2:] = truth[:, :2] + side
        assert_one_to_one(merged(grid, truth, overview=overview).boxes_xyxy, truth)


SMALL = st.tuples(st.integers(0, 190), st.integers(0, 140), st.integers(2, 7), st.integers(2, 7))


@settings(deadline=None, max_examples=150)
@given(st.lists(SMALL, max_size=25), st.booleans(), st.integers(0, 5))
def test_small_objects_are_found_one_to_one_even_where_they_overlap(drawn, overview, shuffle):
    grid = WindowGrid.cover((200, 150), (SIDE, SIDE), 0.25)
    boxes = [(x, y, x + w, y + h) for x, y, w, h in drawn]
    truth = np.asarray(list(dict.fromkeys(boxes)), float).reshape(-1, 4)
    apart: list[int] = []  # a window's own suppression would keep no others apart
    for row in range(len(truth)):
        if not apart or pairwise_iou(truth[row : row + 1], truth[apart]).max() < 0.5:
            apart.append(row)
    found = merged(grid, truth[apart], overview=overview, shuffle=shuffle)
    assert_one_to_one(found.boxes_xyxy, truth[apart])


@settings(deadline=None, max_examples=100)
@given(
    st.tuples(st.integers(0, 120), st.integers(0, 80), st.integers(20, 150), st.integers(20, 120)),
    st.tuples(st.floats(0.1, 0.8), st.floats(0.1, 0.8)),
)
def test_a_large_object_and_a_small_one_inside_it_are_both_found(large, place):
    grid = WindowGrid.cover((280, 210), (SIDE, SIDE), 0.25)
    x, y, wide, high = large
    inner = x + place[0] * (wide - 8), y + place[1] * (high - 8)
    truth = np.asarray([[x, y, x + wide, y + high], [*inner, inner[0] + 8, inner[1] + 8]], float)
    assert_one_to_one(merged(grid, truth).boxes_xyxy, truth)


def test_a_large_object_that_is_not_seen_as_a_whole_is_joined():
    grid = WindowGrid.cover((280, 64), (SIDE, SIDE), 0.25)
    truth = np.asarray([[20, 8, 250, 50]], float)
    found = merged(grid, truth, overview=False)
    assert_one_to_one(found.boxes_xyxy, truth)
    assert len(found.parts[0]) > 2


def test_neighbours_that_each_window_tells_apart_stay_two():
    grid = WindowGrid.cover((100, 60), (60, 60), 0.4)
    truth = np.asarray([[42, 10, 54, 24], [45, 10, 57, 24]], float)  # IoU 0.6
    assert_one_to_one(merged(grid, truth).boxes_xyxy, truth)


def one_by_one(rows: list[tuple[tuple[float, ...], float, int]], grid: WindowGrid) -> MergedBoxes:
    boxes, scores, numbers = zip(*rows, strict=True)
    labels = np.zeros(len(rows), int)
    return merge_windows(
        WindowBoxes(np.asarray(boxes, float), np.asarray(scores), labels, np.asarray(numbers), grid, (1, 3))
    )


GRID = WindowGrid.cover((180, 60), (60, 60), 0.2)


def test_the_box_of_a_window_is_taken_before_that_of_the_overview_and_the_highest_score():
    found = one_by_one([((3, 5, 53, 55), 0.6, 0), ((2, 4, 52, 57), 0.9, OVERVIEW)], GRID)
    assert found.boxes_xyxy.tolist() == [[3, 5, 53, 55]]
    assert found.scores.tolist() == [0.9]
    assert found.best.tolist() == [0]


def test_a_weak_box_of_a_window_does_not_replace_a_strong_one():
    found = one_by_one([((3, 5, 53, 55), 0.1, 0), ((2, 4, 52, 57), 0.9, OVERVIEW)], GRID)
    assert found.boxes_xyxy.tolist() == [[2, 4, 52, 57]]


def test_parts_of_an_object_that_the_overview_shows_whole_are_dropped():
    whole = (10.0, 5, 170, 55)
    rows = [((10.0, 5, 60, 55), 0.9, 0), ((40.0, 20, 100, 50), 0.5, 1), (whole, 0.8, OVERVIEW)]
    assert one_by_one(rows, GRID).boxes_xyxy.tolist() == [list(whole)]


def test_a_very_weak_box_of_the_overview_takes_no_parts():
    rows = [((10.0, 5, 60, 55), 0.9, 0), ((10.0, 5, 170, 55), 0.1, OVERVIEW)]
    assert len(one_by_one(rows, GRID).boxes_xyxy) == 2


def test_tiny_boxes_of_the_overview_are_left_to_the_windows():
    assert one_by_one([((10, 10, 20, 20), 0.9, OVERVIEW)], GRID).boxes_xyxy.tolist() == []


def test_labels_are_never_merged_and_nothing_is_made_of_nothing():
    boxes = np.asarray([[3, 5, 53, 55], [3, 5, 53, 55]], float)
    found = WindowBoxes(boxes, np.ones(2), np.asarray([0, 1]), np.asarray([0, OVERVIEW]), GRID, (1, 3))
    assert len(merge_windows(found).boxes_xyxy) == 2
    empty = WindowBoxes(boxes[:0], np.ones(0), np.zeros(0, int), np.zeros(0, int), GRID)
    assert merge_windows(empty).boxes_xyxy.shape == (0, 4)
