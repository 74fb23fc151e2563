"""Where things lie, against hand-worked cases and against coordinates that are followed through each step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aerostat.pipeline.layout import Source, arrange, choose_crop
from aerostat.pipeline.policy import Augmentation, Plan, draw_plan

from . import stepwise

PLAIN = Augmentation(input_size=64, mosaic=0.0, mixup=0.0, hsv_delta=(0.0, 0.0, 0.0), flip=0.0)
PLAN = Plan(None, (1.0, 1.0), 1.0, ((0.0, 0.0),), (0, 0, 0), False, None, False)
SIZES = [(100, 60), (60, 100), (1, 1), (3, 2), (700, 1), (1, 700), (64, 64), (4000, 3000), (333, 217)]


def source(width: int, height: int, boxes=()) -> Source:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Source((width, height), boxes, np.arange(len(boxes)))


def stepwise_sample(one: Source) -> stepwise.Sample:
    """The source as the stepwise form has it after reading, without anything on it."""
    image = np.zeros((one.size[1], one.size[0], 3), np.uint8)
    sample = stepwise.drop_small(stepwise.clipped(stepwise.Sample(image, one.boxes_xyxy, one.labels)), 0.0)
    return stepwise.resize_to_fit(sample, 128) if max(sample.size) > 128 else sample


def random_source(rng: np.random.Generator, size: tuple[int, int]) -> Source:
    corners = rng.uniform(-0.1, 1.1, (rng.integers(0, 9), 2, 2)) * size
    return source(*size, np.concatenate([corners.min(1), corners.max(1)], axis=1))


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
@pytest.mark.parametrize("ratio", [(0.5, 2.0), (0.1, 2.0)])
def test_boxes_are_those_of_the_steps(stage, mosaic, ratio):
    augmentation = Augmentation(input_size=64, mosaic=mosaic, mixup=0.0, resize_ratio=ratio)
    rng = np.random.default_rng(0)
    seen = 0
    for position in range(150):
        sources = [random_source(rng, SIZES[i]) for i in rng.integers(0, len(SIZES), 4)]
        plan = draw_plan(augmentation, 0, stage, position)
        used = sources if plan.mosaic_partners else sources[:1]
        places = [position, *(position - back for back in plan.mosaic_partners or ())]
        in_order = iter(used)
        expected = stepwise.sample_before_mixup(
            augmentation, 0, stage, position, lambda _, rest=in_order: stepwise_sample(next(rest))
        )
        assert len(places) == len(used)
        layout = arrange(plan, augmentation, stage, used)
        assert np.array_equal(layout.boxes_xyxy, expected.boxes_xyxy)
        assert np.array_equal(layout.labels, expected.labels)
        seen += len(layout.labels)
    assert seen > 100


def test_a_mosaic_lies_around_its_centre():
    # S = 10, canvas 20, centre (8, 12), ratio 1, the window at (5, 6): the four meet at (3, 6) of the window.
    augmentation = replace(PLAIN, input_size=10)
    plan = replace(PLAN, mosaic_partners=(1, 2, 3), mosaic_centre=(0.8, 1.2), crop_offsets=((0.5, 0.6),))
    sources = [source(10, 10), source(20, 10), source(5, 10), source(1, 1)]
    layout = arrange(plan, augmentation, 1, sources)
    assert layout.size == (10, 10)
    spans = [(t.source, t.columns.start, t.columns.stop, t.rows.start, t.rows.stop) for t in layout.tiles]
    # Fitted: 10 x 10, 10 x 5, 5 x 10, 10 x 10, of which the canvas shows the upper 8 rows of the last two.
    assert spans == [(0, 0, 3, 0, 6), (1, 3, 10, 1, 6), (2, 0, 3, 6, 10), (3, 3, 10, 6, 10)]
    assert [tile.size for tile in layout.tiles] == [(10, 10), (10, 5), (5, 10), (1, 1)]
    first, second = layout.tiles[0].columns, layout.tiles[1].rows
    assert (first.scale, first.origin) == (1, 5 + 2)  # it begins 2 left of the canvas
    assert (second.scale, second.origin) == (1, 6 - 7)
    last = layout.tiles[3].columns
    assert (last.scale, last.origin) == (0.1, pytest.approx(-0.3))  # one pixel, ten times as large


def test_what_is_out_of_sight_is_no_tile():
    augmentation = replace(PLAIN, input_size=10)
    plan = replace(PLAN, mosaic_partners=(1, 2, 3), resize_ratio=2.0)  # 40 pixels, of which 10 are shown
    sources = [source(10, 10)] * 4
    for corner, offset in enumerate([(0.2, 0.2), (0.999, 0.2), (0.2, 0.999), (0.999, 0.999)]):
        layout = arrange(replace(plan, crop_offsets=(offset,)), augmentation, 1, sources)
        seen = [tile.source for tile in layout.tiles]
        assert seen in ([corner], [])  # centre (10, 10): each image takes a quarter of the canvas


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_tiles_share_no_pixel_and_leave_none_between_them(stage, mosaic):
    # Square images fill their part of the canvas as far as the canvas's edge or S pixels from the centre.
    augmentation = replace(PLAIN, mosaic=mosaic, resize_ratio=(0.3, 2.0))
    for position in range(200):
        plan = draw_plan(augmentation, 1, stage, position)
        layout = arrange(plan, augmentation, stage, [source(50, 50)] * (4 if plan.mosaic_partners else 1))
        count = np.zeros(layout.size[::-1], int)
        for tile in layout.tiles:
            rows, columns = tile.rows, tile.columns
            assert 0 <= rows.start < rows.stop <= layout.size[1]
            assert 0 <= columns.start < columns.stop <= layout.size[0]
            count[rows.start : rows.stop, columns.start : columns.stop] += 1
        assert count.max(initial=0) <= 1
        covered_rows, covered_columns = count.any(1), count.any(0)
        assert count.sum() == covered_rows.sum() * covered_columns.sum()  # one rectangle without gaps
        if not plan.mosaic_partners:
            assert count.all()


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_images_are_read_no_larger_than_they_are_or_can_be_of_use(stage, size):
    for mosaic in (0.0, 1.0):
        augmentation = replace(PLAIN, mosaic=mosaic, resize_ratio=(0.2, 2.0))
        for position in range(30):
            plan = draw_plan(augmentation, 0, stage, position)
            count = 4 if plan.mosaic_partners else 1
            layout = arrange(plan, augmentation, stage, [source(*size)] * count)
            for tile in layout.tiles:
                assert tile.size[0] <= size[0]
                assert tile.size[1] <= size[1]
                assert max(tile.size) <= (64 if plan.mosaic_partners else 128)
                assert max(tile.size) == max(size) or max(tile.size) >= 64


def test_a_window_larger_than_the_image_shows_all_of_it_at_the_top_left():
    layout = arrange(replace(PLAN, resize_ratio=0.5), PLAIN, 2, [source(100, 50, [[0, 0, 100, 50]])])
    assert layout.size == (32, 16)
    assert layout.boxes_xyxy.tolist() == [[0, 0, 32, 16]]
    mirrored = arrange(
        replace(PLAN, resize_ratio=0.5, flip=True), PLAIN, 2, [source(100, 50, [[0, 0, 50, 50]])]
    )
    assert mirrored.boxes_xyxy.tolist() == [[16, 0, 32, 16]]


def test_a_crop_without_objects_is_drawn_again():
    one = np.asarray([[80, 10, 90, 20]], np.float32)
    none = np.zeros((0, 4), np.float32)
    offsets = [(0.0, 0.0), (0.5, 0.0), (0.99, 0.0), (0.2, 0.0)]  # the room is 68 pixels: x = 0, 34, 68
    assert choose_crop(one, (100, 32), 32, offsets) == (68, 0)
    assert choose_crop(one, (100, 32), 32, offsets[:2]) == (0, 0)  # no crop has it: the first one is taken
    assert choose_crop(none, (100, 32), 32, offsets[2:]) == (68, 0)
    # A sliver of less than a pixel is no object: x = 49 leaves 1 of its 10 columns, x = 48 none.
    assert choose_crop(one, (100, 32), 32, [(48 / 69, 0.0), (49 / 69 + 1e-6, 0.0)], 1.0) == (49, 0)


def test_crop_offsets_reach_every_place():
    none = np.zeros((0, 4), np.float32)
    offsets = [(0.0, 0.0), (np.nextafter(1, 0), np.nextafter(1, 0))]
    assert [choose_crop(none, (40, 36), 32, [offset]) for offset in offsets] == [(0, 0), (8, 4)]
