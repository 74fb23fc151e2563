"""Outlines as edges, and their masks on a coarse grid, against pycocotools' rule and cases worked by hand."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aerostat as ae
from aerostat.geometry.masks import Masks
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.geometry.polygons import contains

SQUARE = np.asarray([(2.0, 1.0), (6.0, 1.0), (6.0, 5.0), (2.0, 5.0)])


def dense(outlines, size, stride=1, boxes=None):
    boxes = np.zeros((len(outlines), 4)) if boxes is None else boxes
    targets = rasterise(outlines, boxes, size, stride)
    return targets.dense((size[0] // stride, size[1] // stride))


def test_a_pixel_belongs_to_an_outline_that_has_its_centre_inside():
    mask = dense(Outlines.of([[SQUARE]], {}, (8, 8)), (8, 8))[0]
    expected = np.zeros((8, 8))
    expected[1:5, 2:6] = 1
    assert np.array_equal(mask, expected)
    # The left and the top edge count as inside, the right and the bottom edge as outside.
    assert np.array_equal(dense(Outlines.of([[SQUARE + 0.5]], {}, (8, 8)), (8, 8))[0], expected)


def test_cells_are_sampled_where_the_published_loss_reads_masks():
    square = Outlines.of([[SQUARE * 4]], {}, (32, 32))
    full = dense(square, (32, 32))[0]
    for stride in (2, 4, 8):
        assert np.array_equal(
            dense(square, (32, 32), stride)[0], full[stride // 2 :: stride, stride // 2 :: stride]
        )


def test_several_outlines_are_united_and_one_that_crosses_itself_is_even_odd():
    both = dense(Outlines.of([[SQUARE, SQUARE + 2]], {}, (10, 10)), (10, 10))[0]
    assert both.sum() == 16 + 16 - 4
    twice = np.concatenate([SQUARE, SQUARE[1:-1] - (0, 0), SQUARE[:1]])
    assert dense(Outlines.of([[twice]], {}, (10, 10)), (10, 10))[0].max() == 1


def test_windows_follow_the_objects_and_centres_are_means_of_pixels():
    outlines = Outlines.of([[SQUARE], [SQUARE + 20], []], {}, (40, 40))
    targets = rasterise(outlines, np.asarray([[0, 0, 1, 1], [0, 0, 1, 1], [4, 6, 8, 10]]), (40, 40), 1)
    assert targets.windows.tolist() == [[2, 1, 4, 4], [22, 21, 4, 4], [0, 0, 0, 0]]
    assert targets.known.tolist() == [True, True, False]
    assert targets.centres.tolist() == [[3.5, 2.5], [23.5, 22.5], [6.0, 8.0]]
    assert len(targets.bits) == 32


def test_no_object_and_an_object_outside_are_no_pixels():
    nothing = rasterise(Outlines.of([], {}, (8, 8)), np.zeros((0, 4)), (8, 8), 4)
    assert len(nothing) == 0 and nothing.bits.size == 0
    outside = rasterise(Outlines.of([[SQUARE + 100]], {}, (8, 8)), np.zeros((1, 4)), (8, 8), 1)
    assert outside.known.all() and not outside.bits.any()


def test_a_broken_outline_costs_only_itself():
    whole = Masks.from_polygons([[SQUARE]], (8, 8)).to_coco()[0]
    polygons = [[SQUARE[:2]], [SQUARE * np.nan], [SQUARE], [], [], []]
    masks = {3: {"size": [9, 8], "counts": whole["counts"]}, 4: {"size": [8, 8], "counts": "]"}, 5: whole}
    outlines = Outlines.of(polygons, masks, (8, 8))
    assert outlines.known.tolist() == [False, False, True, False, False, True]
    assert [int(mask.sum()) for mask in dense(outlines, (8, 8))] == [0, 0, 16, 0, 0, 16]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_run_length_masks_with_holes_come_back_exactly(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    masks = rng.random((3, size[1], size[0])) < rng.random()
    masks[0, :, : size[0] // 2] = True
    coco = Masks.from_dense(masks).to_coco()
    outlines = Outlines.of([()] * 3, dict(enumerate(coco)), size)
    assert np.array_equal(dense(outlines, size), masks)


def test_outlines_of_photographs_are_filled_as_pycocotools_fills_them(balloon):
    data = ae.Dataset.read(balloon, classes=["balloon"])
    ious = []
    for image in data.split("val").images:
        polygons, size = [each.polygons for each in image.instances], (image.width, image.height)
        ours = Masks.from_dense(dense(Outlines.of(polygons, {}, size), size))
        ious += np.diag(ours.iou(Masks.from_polygons(polygons, size))).tolist()
    assert np.mean(ious) > 0.995 and min(ious) > 0.97


def test_moved_and_mirrored_outlines_are_moved_and_mirrored_masks():
    outlines = Outlines.of([[SQUARE]], {}, (8, 8))
    plain = dense(outlines, (8, 8))
    assert np.array_equal(dense(outlines.mirrored(8), (8, 8)), plain[:, :, ::-1])
    assert np.array_equal(dense(outlines.moved((2, 2), (0, 0)), (16, 16)), plain.repeat(2, 1).repeat(2, 2))
    assert np.array_equal(dense(outlines.moved((1, 1), (2, 3)), (12, 12))[0, 3:11, 2:10], plain[0])


def test_limits_move_with_the_outline():
    half = Outlines.of([[SQUARE]], {}, (8, 8)).within((0, 0, 4, 8))
    assert dense(half, (8, 8))[0].sum() == 8
    assert dense(half.mirrored(8), (8, 8))[0, :, 4:].sum() == 8
    assert dense(half.moved((2, 2), (1, 0)), (20, 20))[0].sum() == 32
    assert dense(half.within((0, 0, 3, 2)), (8, 8))[0].sum() == 1


def test_an_object_on_top_takes_its_pixels_from_those_below():
    below = Outlines.of([[SQUARE], [SQUARE + 10]], {}, (20, 20))
    whole = below.with_on_top(Outlines.of([[SQUARE + 2]], {}, (20, 20)))
    masks = dense(whole, (20, 20))
    assert [int(mask.sum()) for mask in masks] == [12, 16, 16]
    assert not (masks[0] & masks[2]).any()
    # Objects of another image that is blended in are not hidden.
    blended = Outlines.joined([below, whole])
    assert [int(mask.sum()) for mask in dense(blended, (20, 20))] == [16, 16, 12, 16, 16]


def test_chosen_objects_keep_their_parts():
    outlines = Outlines.of([[SQUARE], [], [SQUARE, SQUARE + 5], [SQUARE * 2]], {}, (20, 20))
    chosen = outlines.chosen(np.asarray([1, 2]))
    assert chosen.known.tolist() == [False, True]
    assert np.array_equal(dense(chosen, (20, 20)), dense(outlines, (20, 20))[1:3])


@pytest.mark.parametrize("stride", [1, 4])
def test_a_huge_outline_takes_memory_of_the_sample_alone(stride):
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) * 1e6 + 32
    assert dense(Outlines.of([[circle]], {}, (64, 64)), (64, 64), stride).all()


def test_masks_of_several_samples_are_those_of_each_alone():
    samples = [
        Outlines.of([[SQUARE], [], [SQUARE, SQUARE + 9]], {}, (20, 20)),
        Outlines.of([], {}, (20, 20)),
        Outlines.of([[SQUARE + 3]], {}, (20, 20)).with_on_top(Outlines.of([[SQUARE + 5]], {}, (20, 20))),
        Outlines.of([[SQUARE + 100]], {}, (20, 20)).mirrored(20),
    ]
    boxes = [np.arange(4.0 * len(each)).reshape(-1, 4) for each in samples]
    together = rasterise(Outlines.joined(samples), np.concatenate(boxes), (20, 20), 2)
    found = together.split([len(each) for each in samples])
    assert len(found) == len(samples)
    for mine, sample, box in zip(found, samples, boxes, strict=True):
        alone = rasterise(sample, box, (20, 20), 2)
        for name in ("windows", "bits", "known", "centres"):
            assert np.array_equal(getattr(mine, name), getattr(alone, name))


def test_a_coordinate_that_no_image_has_breaks_its_outline_alone():
    outlines = Outlines.of([[SQUARE * 1e300, SQUARE], [SQUARE * 1e300]], {}, (8, 8))
    assert outlines.known.tolist() == [True, False]
    assert dense(outlines, (8, 8)).sum() == 16


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_cells_are_those_of_every_row_and_column_alone(seed):
    """Each cell is asked on its own: an odd number of edges to its left, in any part of its object."""
    rng = np.random.default_rng(seed)
    stride = int(rng.choice([1, 2, 4]))
    size = (24, 16)
    polygons = [
        [rng.uniform(-6, 28, (rng.integers(3, 7), 2)) for _ in range(n)] for n in rng.integers(1, 3, 3)
    ]
    for part in [part for parts in polygons for part in parts]:
        part[:, 1] = part[:, 1].round(1)  # corners at the height of cells
    limits = sorted(rng.uniform(-2, 26, 2).tolist())
    outlines = (
        Outlines.of(polygons, {}, size).within((limits[0], 0.0, limits[1], 20.0)).chosen(np.asarray([0, 2]))
    )
    found = dense(outlines, size, stride)
    for mask, parts in zip(found, (polygons[0], polygons[2]), strict=True):
        for i, j in np.ndindex(mask.shape):
            x, y = (np.asarray([j, i]) * stride + stride // 2 + 0.5).tolist()
            inside = any(contains(part, np.asarray([[x, y]]))[0] for part in parts)
            assert mask[i, j] == (inside and limits[0] <= x < limits[1])


def test_an_outline_that_crosses_every_row_many_thousand_times_is_filled():
    x = np.linspace(1, 63, 20_000)
    teeth = np.stack([x, np.where(np.arange(len(x)) % 2, 60.0, 4.0)], 1)
    comb = np.concatenate([teeth, [(63.0, 63.0), (1.0, 63.0)]])
    mask = dense(Outlines.of([[comb], [SQUARE]], {}, (64, 64)), (64, 64))
    rng = np.random.default_rng(0)
    for i, j in rng.integers(0, 64, (40, 2)).tolist():
        assert mask[0, i, j] == contains(comb, np.asarray([[j + 0.5, i + 0.5]]))[0]
    assert mask[1].sum() == 16


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]))
def test_an_object_covers_what_its_parts_cover_one_by_one(seed, stride):
    rng = np.random.default_rng(seed)
    objects = [
        [rng.uniform(-20, 90, (rng.integers(3, 9), 2)) for _ in range(rng.integers(0, 5))] for _ in range(4)
    ]
    together = dense(Outlines.of(objects, {}, (64, 64)).within((5, 0, 60, 64)), (64, 64), stride)
    for mask, parts in zip(together, objects, strict=True):
        alone = Outlines.of([[part] for part in parts], {}, (64, 64)).within((5, 0, 60, 64))
        assert np.array_equal(mask, dense(alone, (64, 64), stride).max(0, initial=0))


def zigzag(points):
    """An outline whose edges all cross every row."""
    x = np.linspace(1, 600, points)
    return [[np.stack([x, np.where(np.arange(points) % 2, 630.0, 1.0)], 1)]]


def specks(count):
    """One object of many parts, spread over the image."""
    corners = np.random.default_rng(0).uniform(0, 636, (count, 1, 2))
    return [list(corners + np.asarray([(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)]))]


@pytest.mark.parametrize("polygons", [zigzag(40_000), specks(40_000)], ids=["edges", "parts"])
def test_the_memory_of_many_edges_or_parts_does_not_grow_with_the_sample(polygons):
    outlines = Outlines.of(polygons, {}, (640, 640))
    tracemalloc.start()
    try:
        targets = rasterise(outlines, np.zeros((1, 4)), (640, 640), 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert targets.bits.any()
    assert peak < 80 << 20


def test_an_object_of_very_many_parts_is_their_union():
    shifts = np.random.default_rng(0).uniform(0, 50, (3000, 2)).round()
    parts = [SQUARE / 4 + shift for shift in shifts]
    parts = [np.concatenate([part, [(0.0, 63.0), (0.5, 63.4)]]) for part in parts]  # windows are the sample's
    mask = dense(Outlines.of([parts, [SQUARE]], {}, (64, 64)), (64, 64))
    each_alone = dense(Outlines.of([[part] for part in parts], {}, (64, 64)), (64, 64))
    assert np.array_equal(mask[0], each_alone.any(0))
    assert mask[1].sum() == 16
