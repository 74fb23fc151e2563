"""Masks on photographs: where they are filled, what stays untouched, and what they cost."""

import tracemalloc

import numpy as np
import pytest

from aerostat.draw.boxes import MAX_BOXED, Style, draw_boxes, edge_width
from aerostat.draw.palette import class_colour
from aerostat.draw.shapes import MASK_OPACITY, Shape, paint_shape, shapes_of
from aerostat.geometry.masks import Masks


def grey(wide: int, high: int) -> np.ndarray:
    return np.full((high, wide, 3), 127, np.uint8)


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != 127).any(axis=2)


def test_a_mask_is_filled_to_its_pixels_and_its_hole_is_not():
    dense = np.zeros((1, 60, 80), bool)
    dense[0, 10:50, 20:70] = True
    dense[0, 25:35, 40:50] = False
    image = grey(80, 60)
    paint_shape(image, shapes_of(Masks.from_dense(dense))[0], (0, 0, 255), 1)
    expected = 127 * (1 - MASK_OPACITY) + np.asarray((0, 0, 255)) * MASK_OPACITY
    np.testing.assert_allclose(image[15, 30], expected, atol=1)
    assert not changed(image)[28:32, 43:47].any()
    assert changed(image)[dense[0]].all()
    beyond = changed(image) & ~dense[0]
    assert (
        not beyond[:8].any()
        and not beyond[52:].any()
        and not beyond[:, :18].any()
        and not beyond[:, 72:].any()
    )


def test_a_picture_of_another_scale_has_the_mask_in_the_same_place():
    masks = Masks.from_patches([np.ones((200, 400), bool)], [(100, 300)], (1000, 800))
    image = grey(250, 200)
    paint_shape(image, shapes_of(masks, (0.25, 0.25))[0], (255, 0, 0), 1)
    rows, columns = np.nonzero(changed(image))
    assert abs(columns.min() - 25) <= 2 and abs(columns.max() - 124) <= 2
    assert abs(rows.min() - 75) <= 2 and abs(rows.max() - 124) <= 2


def test_an_empty_mask_draws_its_box_alone():
    masks = Masks.from_dense(np.zeros((1, 100, 100)))
    boxes = [[20, 20, 80, 80]]
    drawn = draw_boxes(grey(100, 100), boxes, [0], ["a"], polygons=shapes_of(masks))
    np.testing.assert_array_equal(drawn, draw_boxes(grey(100, 100), boxes, [0], ["a"]))


@pytest.mark.parametrize("count", [1, 20, 300])
def test_every_mask_shows_its_colour_at_its_edge(count):
    rng = np.random.default_rng(count)
    corners = np.stack([rng.integers(0, 1200, count), rng.integers(0, 800, count)], axis=1)
    sides = rng.integers(12, 200, (count, 2))
    masks = Masks.from_patches([np.ones(side, bool) for side in sides], corners, (1400, 1000))
    boxes, labels = masks.boxes_xyxy(), np.arange(count) % 5
    drawn = draw_boxes(grey(1400, 1000), boxes, labels, list("abcde"), polygons=shapes_of(masks))
    smallest = int(np.argmin(sides.prod(axis=1)))  # painted last
    x1, y1, x2, y2 = boxes[smallest].astype(int)
    part = drawn[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2]
    away = np.abs(part.astype(int) - class_colour(int(labels[smallest]))).max(axis=2)
    assert away.min() <= 45  # of a fill alone it would be 60 and more


def test_few_objects_have_boxes_and_many_have_not_unless_they_are_asked_for():
    def line_of_box(count: int, style: Style) -> bool:
        corners = [(10 + 30 * place, 50) for place in range(count)]
        slanted = [np.tri(24, 24, dtype=bool)] * count
        masks = Masks.from_patches(slanted, corners, (700, 120))
        drawn = draw_boxes(
            grey(700, 120), masks.boxes_xyxy(), [0] * count, ["a"], polygons=shapes_of(masks), style=style
        )
        return bool(changed(drawn)[52:60, 33:36].any())

    assert line_of_box(MAX_BOXED, Style())
    assert not line_of_box(MAX_BOXED + 1, Style())
    assert line_of_box(MAX_BOXED + 1, Style(boxes=True))
    assert not line_of_box(3, Style(boxes=False))


def test_instances_can_have_a_colour_each():
    masks = Masks.from_patches([np.ones((30, 30), bool)] * 2, [(5, 40), (60, 40)], (100, 100))
    drawn = draw_boxes(
        *(grey(100, 100), masks.boxes_xyxy(), [0, 0], ["a"]),
        polygons=shapes_of(masks),
        style=Style(colours="instance"),
    )
    for place, x in enumerate((20, 75)):
        expected = 127 * (1 - MASK_OPACITY) + np.asarray(class_colour(place)) * MASK_OPACITY
        np.testing.assert_allclose(drawn[55, x], expected, atol=1)


def test_edges_are_one_to_three_pixels_on_usual_images_and_thinner_in_a_crowd():
    assert [edge_width(side, side) for side in (100, 640, 1280, 2048)] == [1, 2, 3, 3]
    assert edge_width(6000, 8000) == 8
    assert edge_width(6000, 8000, 300) < edge_width(6000, 8000)


def test_shapes_that_cannot_be_drawn_are_left_out():
    image = grey(50, 50)
    for ring in (np.zeros((0, 2)), np.ones((2, 2)), np.asarray([[0, 0], [9, np.nan], [9, 9.0]])):
        paint_shape(image, Shape((ring,)), (0, 0, 255), 2)
    paint_shape(image, Shape((np.asarray([[90.0, 90], [99, 90], [99, 99]]),)), (0, 0, 255), 2)
    assert not changed(image).any()


def test_masks_of_a_large_photograph_take_little_memory_beside_the_picture():
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:400, :400] - 200
    disc = xs**2 + ys**2 < 200**2
    corners = np.stack([rng.integers(0, 3600, 60), rng.integers(0, 2600, 60)], axis=1)
    masks = Masks.from_patches([disc] * 60, corners, (4000, 3000))
    whole = Masks.from_patches([np.ones((3000, 4000), bool)], [(0, 0)], (4000, 3000))
    image = grey(4000, 3000)
    tracemalloc.start()
    for shape in (*shapes_of(masks), *shapes_of(whole)):
        paint_shape(image, shape, (0, 0, 255), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes / 2
