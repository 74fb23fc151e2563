"""The draws against the published ones; each published step against hand-worked cases."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.pipeline.layout import Source, arrange
from aerostat.pipeline.policy import Augmentation, Sample, draw_plan

from .stepwise import (
    augmented_sample,
    choose_crop,
    crop,
    drop_small,
    flip,
    jitter_hsv,
    mix_up,
    mosaic,
    pad,
    resize,
    resize_to_fit,
    sample_before_mixup,
)

PLAIN = Augmentation(input_size=64, mosaic=0.0, mixup=0.0, hsv_delta=(0.0, 0.0, 0.0), flip=0.0)


def sample_of(width: int, height: int, boxes=(), labels=None, value: int = 0) -> Sample:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.arange(len(boxes)) if labels is None else np.asarray(labels)
    return Sample(np.full((height, width, 3), value, np.uint8), boxes, labels.astype(np.int64))


def lit(width: int, height: int, boxes) -> Sample:
    """A black image, white inside its boxes."""
    sample = sample_of(width, height, boxes)
    for x1, y1, x2, y2 in np.asarray(boxes, int).reshape(-1, 4):
        sample.image_bgr[y1:y2, x1:x2] = 255
    return sample


def white_extents(image: np.ndarray) -> np.ndarray:
    """The xyxy extents of the connected white parts; the grey of padding (114) is below the threshold."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).astype(np.uint8))
    x, y, w, h = stats[1:count, :4].T
    return np.stack([x, y, x + w, y + h], axis=1).astype(float)


def uniform_distance(values: np.ndarray, low: float, high: float) -> float:
    """Kolmogorov-Smirnov distance of a sample from the uniform distribution."""
    ranked = np.sort((values - low) / (high - low))
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max())


def is_whole(sample: Sample, side: int) -> bool:
    boxes = sample.boxes_xyxy
    return (
        sample.image_bgr.shape == (side, side, 3)
        and sample.image_bgr.dtype == np.uint8
        and boxes.shape == (len(sample.labels), 4)
        and (boxes.dtype, sample.labels.dtype) == (np.float32, np.int64)
        and (boxes >= 0).all()
        and (boxes <= side).all()
        and (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    )


# Steps


def test_resize_scales_boxes_by_new_over_old_per_axis():
    out = resize(sample_of(100, 50, [[10, 10, 60, 40]]), (200, 25))
    assert out.size == (200, 25)
    np.testing.assert_allclose(out.boxes_xyxy, [[20, 5, 120, 20]])


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((100, 50), 64, (64, 32)), ((50, 100), 64, (32, 64)), ((3, 1000), 64, (1, 64)), ((10, 10), 0, (1, 1))],
)
def test_resize_to_fit_keeps_the_ratio_and_at_least_a_pixel(size, side, expected):
    assert resize_to_fit(sample_of(*size), side).size == expected


def test_flip_mirrors_pixels_and_boxes():
    out = flip(lit(10, 4, [[1, 0, 3, 2]]))
    assert out.boxes_xyxy.tolist() == [[7, 0, 9, 2]]
    assert white_extents(out.image_bgr).tolist() == [[7, 0, 9, 2]]
    again = flip(out)
    assert again.boxes_xyxy.tolist() == [[1, 0, 3, 2]]


def test_crop_shifts_clips_and_drops_boxes():
    boxes = [[0, 0, 10, 10], [15, 15, 25, 25], [35, 5, 60, 15], [12, 40, 20, 50]]
    out = crop(sample_of(60, 50, boxes), 10, 8, 32)
    assert out.size == (32, 32)
    assert out.boxes_xyxy.tolist() == [[5, 7, 15, 17], [25, 0, 32, 7]]
    assert out.labels.tolist() == [1, 2]


def test_crop_of_an_image_smaller_than_the_crop_takes_all_of_it():
    out = crop(sample_of(20, 50, [[0, 30, 20, 50]]), 0, 18, 32)
    assert out.size == (20, 32)
    assert out.boxes_xyxy.tolist() == [[0, 12, 20, 32]]


def test_a_crop_without_objects_is_drawn_again():
    one = sample_of(100, 32, [[80, 10, 90, 20]])
    offsets = [(0.0, 0.0), (0.5, 0.0), (0.99, 0.0), (0.2, 0.0)]  # the room is 68 pixels: x = 0, 34, 68
    assert choose_crop(one, 32, offsets) == (68, 0)
    assert choose_crop(one, 32, offsets[:2]) == (0, 0)  # no crop has it: the first one is taken
    assert choose_crop(sample_of(100, 32), 32, offsets) == (0, 0)
    # A sliver of less than a pixel is no object: x = 49 leaves 1 of its 10 columns, x = 48 none.
    assert choose_crop(one, 32, [(48 / 69, 0.0), (49 / 69 + 1e-6, 0.0)], 1.0) == (49, 0)


def test_crop_offsets_reach_every_place():
    offsets = [(0.0, 0.0), (np.nextafter(1, 0), np.nextafter(1, 0))]
    image = sample_of(40, 36)
    assert [choose_crop(image, 32, [offset]) for offset in offsets] == [(0, 0), (8, 4)]


def test_pad_fills_right_and_below_with_114():
    out = pad(sample_of(3, 2, [[0, 0, 3, 2]], value=9), 5)
    assert (out.image_bgr[:2, :3] == 9).all()
    assert (out.image_bgr[2:] == 114).all()
    assert (out.image_bgr[:, 3:] == 114).all()
    assert out.boxes_xyxy.tolist() == [[0, 0, 3, 2]]


def test_mix_up_takes_the_mean_and_both_sets_of_boxes():
    first = sample_of(4, 4, [[0, 0, 2, 2]], [3], value=255)
    second = sample_of(4, 4, [[1, 1, 4, 4], [0, 0, 1, 1]], [5, 6], value=100)
    out = mix_up(first, second)
    assert (out.image_bgr == 177).all()  # 177.5 rounded down, as a cast to uint8 does
    assert out.boxes_xyxy.tolist() == [[0, 0, 2, 2], [1, 1, 4, 4], [0, 0, 1, 1]]
    assert out.labels.tolist() == [3, 5, 6]
    assert mix_up(sample_of(4, 4), sample_of(4, 4)).boxes_xyxy.shape == (0, 4)


def test_small_boxes_are_dropped():
    boxes = [[0, 0, 1, 1], [0, 0, 0.9, 9], [0, 0, 9, 0.9], [0, 0, 9, 9]]
    assert drop_small(sample_of(9, 9, boxes), 1.0).labels.tolist() == [0, 3]
    assert len(drop_small(sample_of(9, 9), 1.0).labels) == 0


def test_hue_turns_around_and_saturation_and_value_stop_at_their_ends():
    def shifted(hsv, gains):
        image = cv2.cvtColor(np.full((1, 1, 3), hsv, np.uint8), cv2.COLOR_HSV2BGR)
        expected = cv2.cvtColor(np.full((1, 1, 3), gains[1], np.uint8), cv2.COLOR_HSV2BGR)
        return jitter_hsv(image, gains[0])[0, 0].tolist(), expected[0, 0].tolist()

    for hsv, gains, expected in [
        ((0, 255, 255), (-5, 0, 0), (175, 255, 255)),
        ((90, 255, 255), (5, 0, 0), (95, 255, 255)),
        ((60, 255, 100), (0, -300, 0), (60, 0, 100)),
        ((60, 255, 250), (0, 0, 30), (60, 255, 255)),
        ((60, 255, 20), (0, 0, -30), (60, 255, 0)),
    ]:
        found, wanted = shifted(hsv, (gains, expected))
        assert found == wanted
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    assert (jitter_hsv(image, (0, 0, 0)) == image).all()


def test_mosaic_puts_four_images_around_the_centre():
    # Side 10, canvas 20 x 20, centre (8, 12). Values tell the images apart.
    samples = [
        sample_of(10, 10, [[0, 0, 10, 10]], [0], value=1),  # left of and above the centre: x -2..8, y 2..12
        sample_of(20, 10, [[0, 0, 20, 10]], [1], value=2),  # fitted to 10 x 5: x 8..18, y 7..12
        sample_of(5, 10, [[1, 0, 2, 2], [0, 0, 5, 10]], [2, 3], value=3),  # x 3..8, y 12..22, cut at 20
        sample_of(1, 1, [[0, 0, 1, 1]], [4], value=4),  # enlarged to 10 x 10: x 8..18, y 12..22
    ]
    out = mosaic(samples, (8, 12), 10)
    expected = np.full((20, 20), 114)
    expected[2:12, 0:8], expected[7:12, 8:18], expected[12:20, 3:8], expected[12:20, 8:18] = 1, 2, 3, 4
    assert (out.image_bgr == expected[..., None]).all()
    boxes = [[0, 2, 8, 12], [8, 7, 18, 12], [4, 12, 5, 14], [3, 12, 8, 20], [8, 12, 18, 20]]
    np.testing.assert_allclose(out.boxes_xyxy, boxes)
    assert out.labels.tolist() == [0, 1, 2, 3, 4]


def test_mosaic_drops_what_leaves_the_canvas():
    # Centre (5, 5): of the first image only its bottom right quarter stays.
    out = mosaic(
        [sample_of(10, 10, [[0, 0, 4, 4], [4, 4, 8, 8]], [7, 8]), *[sample_of(10, 10)] * 3], (5, 5), 10
    )
    assert out.labels.tolist() == [8]
    assert out.boxes_xyxy.tolist() == [[0, 0, 3, 3]]


# Draws


def test_draws_have_the_published_distributions():
    augmentation = Augmentation()
    plans = [draw_plan(augmentation, 3, 1, position) for position in range(1000)]
    bound = 1.63 / np.sqrt(len(plans))  # 1 % level of the Kolmogorov-Smirnov test
    centres = np.asarray([plan.mosaic_centre for plan in plans])
    offsets = np.asarray([plan.crop_offsets[0] for plan in plans])
    for axis in (0, 1):
        assert uniform_distance(centres[:, axis], 0.5, 1.5) < bound
        assert uniform_distance(offsets[:, axis], 0.0, 1.0) < bound
    assert uniform_distance(np.asarray([plan.resize_ratio for plan in plans]), 0.5, 2.0) < bound
    assert abs(np.corrcoef(centres.T)[0, 1]) < 0.1
    assert all(plan.mosaic_partners is not None for plan in plans)
    back = np.asarray([plan.mosaic_partners for plan in plans])
    assert (back.min(), back.max()) == (1, 20)
    assert np.bincount(back.ravel()).tolist()[0] == 0
    assert np.abs(np.bincount(back.ravel())[1:] / back.size - 1 / 20).max() < 0.015
    mixed = [plan.mixup_partner for plan in plans if plan.mixup_partner is not None]
    assert abs(len(mixed) / len(plans) - 0.5) < 0.05
    assert (min(mixed), max(mixed)) == (1, 10)
    for name in ("flip", "mixup_flip"):
        assert abs(np.mean([getattr(plan, name) for plan in plans]) - 0.5) < 0.05


def test_hsv_gains_are_switched_on_half_the_time_each_and_stay_in_range():
    gains = np.asarray([draw_plan(Augmentation(), 0, 2, t).hsv_gains for t in range(1000)])
    assert np.abs(gains).max(0).tolist() == [4, 29, 29]  # 5, 30 and 30 are not reached: cut towards zero
    # Off half the time; on, the cut makes a fifth (hue) and a thirtieth of the gains zero.
    assert np.abs((gains == 0).mean(0) - [0.5 + 0.1, 0.5 + 1 / 60, 0.5 + 1 / 60]).max() < 0.05
    assert np.abs(gains.mean(0) / [5, 30, 30]).max() < 0.05


def test_stage_2_has_neither_mosaic_nor_mixup():
    plans = [draw_plan(Augmentation(mixup=1.0), 0, 2, position) for position in range(50)]
    assert all(plan.mosaic_partners is None and plan.mixup_partner is None for plan in plans)


def test_switching_a_step_off_moves_no_other_draw():
    full, bare = (
        draw_plan(Augmentation(mixup=1.0), 5, 1, 9),
        draw_plan(Augmentation(mosaic=0, mixup=0), 5, 1, 9),
    )
    assert bare.mosaic_partners is None
    assert bare == replace(full, mosaic_partners=None, mixup_partner=None)


def test_seeds_stages_and_positions_draw_differently_and_repeat():
    keys = [(0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1), (0, 1, -1), (0, 1, 10**12)]
    ratios = [draw_plan(Augmentation(), *key).resize_ratio for key in keys]
    assert len(set(ratios)) == len(keys)
    assert ratios == [draw_plan(Augmentation(), *key).resize_ratio for key in keys]


# Against the published draws


PAIRS = 4000


def published_draws(seed: int, side: int = 640) -> dict[str, np.ndarray]:
    """The draws of MMDetection's Mosaic, RandomResize, RandomCrop, YOLOXHSVRandomAug, RandomFlip and MixUp.

    With the numbers of `rtmdet_tiny_8xb32-300e_coco`, and as those steps draw: one after the other from one
    stream, the crop as a whole number of pixels. A canvas of 2S is resized to fit 2S x ratio.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(PAIRS):
        centre = [int(rng.uniform(0.5 * side, 1.5 * side)) for _ in range(2)]
        partners = [int(rng.integers(1, 21)) for _ in range(3)]
        ratio = rng.uniform(0.5, 2.0)
        margin = max(int(2 * side * ratio) - side, 0)
        crop = [int(rng.integers(0, margin + 1)) for _ in range(2)]
        gains = (rng.uniform(-1, 1, 3) * [5, 30, 30] * rng.integers(0, 2, 3)).astype(np.int16)
        mixup = int(rng.integers(1, 11)) if rng.uniform() < 0.5 else 0
        rows.append(
            [*centre, *partners, ratio, *crop, *gains, rng.uniform() < 0.5, mixup, rng.uniform() < 0.5]
        )
    return dict(zip(DRAWS, np.asarray(rows, float).T, strict=True))


def planned_draws(seed: int, side: int = 640) -> dict[str, np.ndarray]:
    augmentation = Augmentation(input_size=side)
    rows = []
    for position in range(PAIRS):
        plan = draw_plan(augmentation, seed, 1, position)
        assert plan.mosaic_partners is not None
        canvas = (2 * side, 2 * side)
        image = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        layout = arrange(plan, augmentation, 1, [Source((side, side), *image)] * 4)
        # The crop is read off the first tile in sight: position 0 of the window is position `origin` of it.
        tile = layout.tiles[0]
        left = int(plan.mosaic_centre[0] * side) - (side if tile.source in (0, 2) else 0)
        top = int(plan.mosaic_centre[1] * side) - (side if tile.source in (0, 1) else 0)
        crop = (tile.columns.origin + left) / tile.columns.scale, (tile.rows.origin + top) / tile.rows.scale
        assert layout.size == (side, side)
        assert tile.columns.scale == canvas[0] / int(canvas[0] * plan.resize_ratio)
        centre = [int(value * side) for value in plan.mosaic_centre]
        first = [*centre, *plan.mosaic_partners, plan.resize_ratio, *np.round(crop), *plan.hsv_gains]
        rows.append([*first, plan.flip, plan.mixup_partner or 0, plan.mixup_flip])
    return dict(zip(DRAWS, np.asarray(rows, float).T, strict=True))


DRAWS = (
    *("centre x", "centre y", "partner 1", "partner 2", "partner 3", "ratio", "crop x", "crop y"),
    *("hue", "saturation", "value", "flip", "mixup partner", "mixup flip"),
)


def two_sample_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of two samples; ties make the test stricter than its level, never laxer."""
    values = np.union1d(first, second)
    shares = [
        np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def chi_square(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Statistic and degrees of freedom of the test that two samples of whole numbers are of one kind."""
    kinds = np.union1d(first, second)
    counts = np.asarray([[np.count_nonzero(sample == kind) for kind in kinds] for sample in (first, second)])
    expected = counts.sum(0, keepdims=True) * counts.sum(1, keepdims=True) / counts.sum()
    return float(((counts - expected) ** 2 / expected).sum()), len(kinds) - 1


def test_plans_are_drawn_as_the_published_pipeline_draws():
    published, planned = published_draws(1), planned_draws(2)
    bound = 1.95 * np.sqrt(2 / PAIRS)  # 0.1 % level, for 14 draws
    for name in DRAWS:
        assert two_sample_distance(published[name], planned[name]) < bound, name
    for name in ("partner 1", "partner 2", "partner 3", "hue", "flip", "mixup partner", "mixup flip"):
        statistic, freedom = chi_square(published[name], planned[name])
        # Wilson and Hilferty's approximation of the 99.9 % quantile
        limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
        assert statistic < limit, name
    # Draws that belong together: a crop has as much room as the ratio gives it, the others know nothing
    # of one another.
    correlated = [np.corrcoef([draws[name] for name in DRAWS]) for draws in (published, planned)]
    assert np.abs(correlated[0] - correlated[1]).max() < 6 / np.sqrt(PAIRS)


def test_another_pipeline_would_be_told_from_the_published_one():
    published, planned = published_draws(1), planned_draws(2)
    bound = 1.95 * np.sqrt(2 / PAIRS)
    assert two_sample_distance(published["ratio"], planned["ratio"] * 1.1) > bound
    assert two_sample_distance(published["crop x"], planned["crop x"] + 40) > bound
    assert chi_square(published["flip"], np.arange(PAIRS) % 5 < 3)[0] > 20


# The whole pipeline


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("mosaic_on", [0.0, 1.0])
def test_boxes_follow_the_pixels(stage, mosaic_on):
    augmentation = replace(PLAIN, input_size=128, mosaic=mosaic_on, flip=0.5)
    # Objects keep away from the edges of their images, so that no two of them touch in a Mosaic.
    sources = [
        lit(200, 120, [[20, 30, 90, 100], [120, 20, 180, 90]]),
        lit(90, 300, [[20, 40, 70, 120]]),
        lit(128, 128, [[30, 30, 100, 100]]),
        lit(60, 50, [[10, 10, 40, 40]]),
        lit(640, 480, [[100, 100, 300, 400], [400, 50, 600, 300]]),
    ]
    seen = 0
    for position in range(120):
        sample = sample_before_mixup(augmentation, 0, stage, position, lambda t: sources[t % len(sources)])
        assert is_whole(sample, 128)
        found = white_extents(sample.image_bgr)
        boxes = sample.boxes_xyxy
        for box in boxes[(boxes[:, 2:] - boxes[:, :2] > 3).all(1)]:
            assert np.abs(found - box).max(1).min() < 1.5
            seen += 1
        for extent in found[(found[:, 2:] - found[:, :2] > 3).all(1)]:
            assert np.abs(boxes - extent).max(1).min() < 1.5
    assert seen > 100


def test_every_sample_shows_an_object_though_a_crop_could_miss_it():
    source = lit(600, 600, [[20, 20, 240, 240]])  # two crops in five miss it
    augmentation = replace(PLAIN, resize_ratio=(2.0, 2.0))  # stage 2: 128 pixels, of which the crop takes 64
    counts = [len(sample_before_mixup(augmentation, 0, 2, t, lambda _: source).labels) for t in range(50)]
    assert min(counts) == 1


def test_mosaic_takes_its_partners_from_before():
    augmentation = replace(PLAIN, mosaic=1.0, mosaic_cache=4)
    asked: list[int] = []
    for position in range(30):
        asked.clear()
        sample_before_mixup(augmentation, 0, 1, position, lambda t: asked.append(t) or sample_of(8, 8))
        assert asked[0] == position
        assert len(asked) == 4
        assert all(1 <= position - t <= 4 for t in asked[1:])


@pytest.mark.parametrize(("stage", "mosaic_on", "side"), [(1, 0.0, 32), (2, 0.0, 16), (1, 1.0, 16)])
def test_resizes_start_from_twice_the_input_in_stage_1_and_from_the_input_in_stage_2(stage, mosaic_on, side):
    # At ratio 0.25 nothing is cropped. A Mosaic canvas of 2S shrinks to S / 2, one image of it to S / 4.
    augmentation = replace(PLAIN, mosaic=mosaic_on, resize_ratio=(0.25, 0.25))
    source = sample_of(100, 100, [[0, 0, 100, 100]])
    sizes = []
    for position in range(20):
        boxes = sample_before_mixup(augmentation, 0, stage, position, lambda _: source).boxes_xyxy
        sizes.append((boxes[:, 2:] - boxes[:, :2]).max())
    assert max(sizes) == pytest.approx(side, abs=0.3)


def test_mixup_takes_its_partner_from_before_and_keeps_all_boxes():
    augmentation = replace(PLAIN, mixup=1.0, mixup_cache=3)
    asked = []

    def before_mixup(position: int) -> Sample:
        asked.append(position)
        return sample_of(64, 64, [[position, 0, position + 2, 2]], [position], value=position)

    for position in range(20, 50):
        asked.clear()
        sample = augmented_sample(augmentation, 0, 1, position, before_mixup)
        assert asked[0] == position
        assert 1 <= position - asked[1] <= 3
        assert sample.labels.tolist() == asked
        assert (sample.image_bgr == sum(asked) // 2).all()
        mirrored = draw_plan(augmentation, 0, 1, position).mixup_flip
        partner_x = 64 - asked[1] - 2 if mirrored else asked[1]
        assert sample.boxes_xyxy[:, 0].tolist() == [position, partner_x]


def test_without_mixup_no_partner_is_made():
    asked = []

    def before_mixup(position: int) -> Sample:
        asked.append(position)
        return sample_of(64, 64)

    augmented_sample(PLAIN, 0, 1, 5, before_mixup)
    assert asked == [5]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (2, 3), (8000, 6000)])
def test_extreme_images_pass(stage, size):
    source = sample_of(*size, [[0, 0, *size]], value=200)
    augmentation = Augmentation(input_size=64, mixup=1.0)

    def before_mixup(t: int) -> Sample:
        return sample_before_mixup(augmentation, 0, stage, t, lambda _: source)

    for position in range(2):
        assert is_whole(augmented_sample(augmentation, 0, stage, position, before_mixup), 64)


@pytest.mark.parametrize("stage", [1, 2])
def test_images_without_objects_pass(stage):
    augmentation = Augmentation(input_size=64, mixup=1.0)
    source = sample_of(50, 40, value=7)

    def before_mixup(t: int) -> Sample:
        return sample_before_mixup(augmentation, 0, stage, t, lambda _: source)

    sample = augmented_sample(augmentation, 0, stage, 0, before_mixup)
    assert is_whole(sample, 64)
    assert sample.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_size", 0),
        ("mosaic", 1.5),
        ("mixup", -0.1),
        ("flip", 2),
        ("resize_ratio", (2.0, 0.5)),
        ("resize_ratio", (0.0, 1.0)),
        ("hsv_delta", (-1, 0, 0)),
        ("mosaic_cache", 0),
        ("mixup_cache", 0),
        ("min_box_size", -1),
    ],
)
def test_impossible_settings_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"augmentation's `{name}`, found"):
        Augmentation(**{name: value})


def test_a_third_stage_is_refused():
    with pytest.raises(InputError, match="stage 1 or 2, found 3"):
        draw_plan(Augmentation(), 0, 3, 0)
