"""Outlines of masks: exact along pixel edges, with holes, joined by bridges, and simplified."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from aerostat.geometry.mask_outlines import simplified
from aerostat.geometry.masks import Masks


@st.composite
def dense_masks(draw):
    width, height, count = draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(0, 3))
    share = draw(st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.95]))
    return np.random.default_rng(draw(st.integers(0, 10**6))).random((count, height, width)) < share


def picture(*rows: str) -> Masks:
    return Masks.from_dense([[[letter == "#" for letter in row] for row in rows]])


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@given(dense=dense_masks())
@settings(max_examples=300)
def test_outlines_give_the_masks_back(dense):
    masks = Masks.from_dense(dense)
    assert Masks.from_polygons(masks.to_polygons(), masks.image_size) == masks
    single = masks.to_polygons(single=True)
    assert [len(outlines) for outlines in single] == [int(mask.any()) for mask in dense]
    assert Masks.from_polygons(single, masks.image_size) == masks


@given(dense=dense_masks())
def test_pycocotools_reads_the_outlines_as_the_same_masks(dense):
    masks = Masks.from_dense(dense)
    width, height = masks.image_size
    for single in (False, True):
        for mask, outlines in zip(dense, masks.to_polygons(single=single), strict=True):
            if mask.any():
                flat = [outline.ravel().tolist() for outline in outlines]
                theirs = coco.decode(coco.merge(coco.frPyObjects(flat, height, width)))
                np.testing.assert_array_equal(theirs.astype(bool), mask)


@given(dense=dense_masks())
def test_the_areas_of_the_rings_add_up_to_the_pixels(dense):
    masks = Masks.from_dense(dense)
    rings = masks.rings()
    areas = [signed_area(rings.ring(number)) for number in range(len(rings))]
    assert [area < 0 for area in areas] == rings.hole.tolist()
    assert np.bincount(rings.mask, areas, len(masks)).tolist() == masks.area().tolist()
    assert not rings.hole[rings.owner].any()
    assert (rings.mask[rings.owner] == rings.mask).all()


def test_a_rectangle_has_four_corners_clockwise():
    (outline,) = picture("....", ".##.", ".##.", ".##.").to_polygons()[0]
    assert outline.tolist() == [[1, 1], [3, 1], [3, 4], [1, 4]]


def test_pixels_that_touch_at_a_corner_are_two_parts():
    outlines = picture("#.", ".#").to_polygons()[0]
    assert [outline.tolist() for outline in outlines] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


def test_a_part_within_a_hole_is_a_part_of_its_own():
    masks = picture("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######")
    rings = masks.rings()
    assert rings.hole.tolist().count(True) == 2
    outer = [abs(signed_area(rings.ring(int(owner)))) for owner in rings.owner[rings.hole]]
    assert sorted(outer) == [9, 49]
    assert len(masks.to_polygons()[0]) == 2


def test_an_empty_mask_has_no_outline():
    masks = Masks.from_dense(np.zeros((2, 3, 4)))
    assert masks.to_polygons() == [[], []]
    assert masks.to_polygons(2.0, single=True) == [[], []]
    assert Masks.empty((4, 3)).to_polygons() == []


def disc(radius: float, size: int) -> Masks:
    ys, xs = np.mgrid[:size, :size] + 0.5
    return Masks.from_dense([(xs - size / 2) ** 2 + (ys - size / 2) ** 2 < radius**2])


@pytest.mark.parametrize("tolerance", [0.8, 1.0, 3.0])
def test_a_simplified_outline_stays_within_the_tolerance(tolerance):
    masks = disc(80, 200)
    exact, fewer = masks.rings().points, masks.to_polygons(tolerance)[0][0]
    assert len(fewer) < len(exact) / 2
    ends = np.roll(fewer, -1, axis=0)
    steps = np.linspace(0, 1, 50)[:, None, None]
    on_outline = (fewer * (1 - steps) + ends * steps).reshape(-1, 2)
    away = np.linalg.norm(exact[:, None] - on_outline, axis=2).min(axis=1)
    assert away.max() <= tolerance + 0.5
    overlap = masks.iou(Masks.from_polygons([[fewer]], masks.image_size))
    assert overlap[0, 0] > 1 - 0.03 * tolerance


def test_a_speck_is_not_simplified_away():
    masks = picture("....", ".#..", "....")
    assert masks.to_polygons(50.0)[0][0].tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]


@given(dense=dense_masks(), tolerance=st.floats(0, 5))
def test_simplified_rings_keep_their_number_their_points_and_their_direction(dense, tolerance):
    rings = Masks.from_dense(dense).rings()
    fewer = simplified(rings, tolerance)
    assert len(fewer) == len(rings)
    for number in range(len(rings)):
        points = fewer.ring(number)
        assert len(points) >= 3
        assert {tuple(point) for point in points} <= {tuple(point) for point in rings.ring(number)}
        assert (signed_area(points) < 0) == rings.hole[number]


def test_a_thousand_holes_become_one_outline():
    dense = np.ones((1, 201, 401), bool)
    dense[:, 1::4, 1::4] = False
    masks = Masks.from_dense(dense)
    (outlines,) = masks.to_polygons()
    assert len(outlines) == 1
    assert Masks.from_polygons([outlines], masks.image_size) == masks


def test_patches_hold_the_masks_within_their_boxes():
    dense = np.zeros((3, 20, 30), bool)
    dense[0, 4:9, 10:12] = True
    dense[2] = np.random.default_rng(0).random((20, 30)) < 0.1
    masks = Masks.from_dense(dense)
    patches, corners = zip(*masks.spans().patches(), strict=True)
    assert patches[0].shape == (5, 2) and corners[0] == (10, 4)
    assert patches[1].shape == (0, 0)
    assert Masks.from_patches(patches, corners, masks.image_size) == masks
