import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aerostat.datasets.formats.cvat_shapes import (
    MaskBudget,
    RowMask,
    Shape,
    between,
    bounds_of,
    box_of,
    coco_mask,
    outline_of,
    parse_shape,
    row_mask,
    turned,
)
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks


def shape(kind: str, *numbers: float, rotation: float = 0.0) -> Shape:
    return Shape(kind, np.asarray(numbers, np.float64), rotation)


def parsed(element: str) -> Shape:
    return parse_shape(ElementTree.fromstring(element))


def budget(steps: int = 1 << 20) -> MaskBudget:
    return MaskBudget("a.xml", steps)


# ------------------------------------------------------------------------------------ one shape


def test_a_box_has_its_corners() -> None:
    box = parsed('<box xtl="1.50" ytl="2" xbr="30" ybr="40.25"/>')
    assert box_of(box) == (1.5, 2, 30, 40.25) and outline_of(box) is None


@pytest.mark.parametrize("rotation", ["90", "90.00", "-270", "450"])
def test_a_box_turned_by_a_quarter_has_exact_corners(rotation: str) -> None:
    box = parsed(f'<box xtl="10" ytl="20" xbr="30" ybr="26" rotation="{rotation}"/>')
    assert box_of(box) is None
    outline = outline_of(box)
    assert outline is not None
    # The centre is (20, 23). The corner (10, 20) lies 10 to its left and 3 above, so it comes 10 above and
    # 3 to its right: clockwise, as the picture is seen.
    assert outline.tolist() == [[23, 13], [23, 33], [17, 33], [17, 13]]


def test_a_box_turned_by_30_degrees() -> None:
    outline = outline_of(parsed('<box xtl="-2" ytl="-1" xbr="2" ybr="1" rotation="30"/>'))
    assert outline is not None
    cos, sin = math.sqrt(3) / 2, 0.5
    assert outline[1] == pytest.approx((2 * cos + 1 * sin, 2 * sin - 1 * cos))  # of (2, -1)
    assert outline[2] == pytest.approx((2 * cos - 1 * sin, 2 * sin + 1 * cos))  # of (2, 1)


def test_whole_turns_change_nothing() -> None:
    assert box_of(parsed('<box xtl="1" ytl="2" xbr="3" ybr="4" rotation="360"/>')) == (1, 2, 3, 4)
    points = np.asarray([(3.25, 7.1), (0.0, -2.0)])
    assert turned(points, 0.0, 0.0, 720.0).tolist() == points.tolist()


def test_an_ellipse_is_an_outline_that_turns_clockwise() -> None:
    flat = outline_of(parsed('<ellipse cx="50" cy="40" rx="20" ry="10"/>'))
    upright = outline_of(parsed('<ellipse cx="50" cy="40" rx="20" ry="10" rotation="90.00"/>'))
    assert flat is not None and upright is not None
    assert polygons.bounds(flat) == pytest.approx((30, 30, 70, 50))
    assert polygons.bounds(upright) == pytest.approx((40, 20, 60, 60))
    leaning = outline_of(parsed('<ellipse cx="0" cy="0" rx="20" ry="1" rotation="30"/>'))
    assert leaning is not None
    x, y = leaning[leaning[:, 0].argmax()]
    assert y / x == pytest.approx(math.tan(math.radians(30)), abs=0.01)  # down to the right


@pytest.mark.parametrize("kind", ["polygon", "polyline"])
def test_points_are_an_outline(kind: str) -> None:
    outline = outline_of(parsed(f'<{kind} points="1.00,2.50;3,4; 5 , 6"/>'))
    assert outline is not None and outline.tolist() == [[1, 2.5], [3, 4], [5, 6]]


def test_a_cuboid_has_the_box_around_both_faces() -> None:
    corners = {"tl": (10, 20), "bl": (10, 40), "tr": (30, 22), "br": (30, 41)}
    text = " ".join(
        f'{axis}{corner}{face}="{value + 5 * (face == 2)}"'
        for face in (1, 2)
        for corner, point in corners.items()
        for axis, value in zip("xy", point, strict=True)
    )
    assert box_of(parsed(f"<cuboid {text}/>")) == (10, 20, 35, 46)


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ('<points points="1,2;3,4"/>', "a set of points, which has no extent"),
        ('<box xtl="1" ytl="2" xbr="3"/>', "ybr is missing"),
        ('<box xtl="1" ytl="2" xbr="3" ybr="inf"/>', "ybr is 'inf', which is not finite"),
        ('<box xtl="1" ytl="2" xbr="3" ybr="4" rotation="left"/>', "rotation is 'left', which is no number"),
        ("<polygon/>", "points is missing"),
        ('<polygon points="1,2;3"/>', "no list of x,y;x,y"),
        ('<polygon points="1,2,3;3,4,5"/>', "no list of x,y;x,y"),
        ('<polygon points="1,nan;3,4"/>', "with finite numbers"),
        ('<mask rle="1,2" left="0" top="0" width="0" height="2"/>', "the mask has 0 x 2 pixels"),
        ('<mask rle="1,2" left="-1" top="0" width="2" height="2"/>', "the mask has 2 x 2 pixels at -1, 0"),
        ('<mask rle="1,2" left="0" top="0" width="1e9" height="2"/>', "width is no whole number of pixels"),
        ('<mask rle="1,2.5" left="0" top="0" width="2" height="2"/>', "rle is no list of whole numbers"),
        ('<mask rle="" left="0" top="0" width="2" height="2"/>', "rle is no list of whole numbers"),
        ('<mask rle="1,-2,3" left="0" top="0" width="2" height="2"/>', "rle is not one of 2 x 2 pixels"),
        ('<mask rle="1,4" left="0" top="0" width="2" height="2"/>', "rle is not one of 2 x 2 pixels"),
        (f'<mask rle="{2**63 - 1},{2**63 - 1},4" left="0" top="0" width="2" height="2"/>', "rle is not one"),
        (f'<mask rle="{2**70}" left="0" top="0" width="2" height="2"/>', "rle is no list of whole numbers"),
    ],
)
def test_a_broken_shape_is_named(element: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parsed(element)


def test_an_ellipse_with_a_negative_axis_is_none() -> None:
    with pytest.raises(ValueError, match="negative axis"):
        outline_of(shape("ellipse", 0, 0, -1, 5))


# ------------------------------------------------------------------------------------ between key frames


@pytest.mark.parametrize(
    ("start", "end", "share", "expected"),
    [
        (10, 30, 0.25, 15),
        (30, 10, 0.25, 25),
        (350, 10, 0.5, 0),  # the short way over 0
        (350, 10, 0.25, 355),
        (10, 350, 0.75, 355),
        (0, 180, 0.5, 270),  # as long one way as the other
        (20, 20, 0.5, 20),
    ],
)
def test_a_rotation_goes_the_short_way(start: float, end: float, share: float, expected: float) -> None:
    box = (0, 0, 4, 4)
    found = between(shape("box", *box, rotation=start), shape("box", *box, rotation=end), share)
    assert found is not None and found.rotation == pytest.approx(expected)


def test_polygons_of_as_many_points_move_point_by_point() -> None:
    found = between(shape("polygon", 0, 0, 8, 0, 8, 8), shape("polygon", 4, 4, 8, 0, 16, 12), 0.25)
    assert found is not None and found.numbers.tolist() == [1, 1, 8, 0, 10, 9]


@pytest.mark.parametrize("end", [shape("polygon", 1, 1, 2, 2), shape("box", 0, 0, 8, 0), shape("polygon")])
def test_what_cannot_be_paired_stays(end: Shape) -> None:
    start = shape("polygon", 0, 0, 8, 0, 8, 8)
    assert between(start, end, 0.5) is start


def test_masks_do_not_move() -> None:
    mask = Shape("mask", np.zeros(0), mask=RowMask(0, 0, 2, 1, np.asarray([0, 2])))
    assert between(mask, mask, 0.5) is None


# ------------------------------------------------------------------------------------ masks


def dense(mask: RowMask, size: tuple[int, int]) -> list[list[int]]:
    return Masks.from_coco([coco_mask(mask, size, budget())])[0].astype(int).tolist()


def test_runs_go_row_by_row_and_begin_with_zeros() -> None:
    ring = RowMask(1, 1, 3, 2, np.asarray([1, 3, 1, 1]))  # .XX / X.X
    expected = [[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    assert dense(ring, (5, 4)) == expected
    assert bounds_of(ring) == (1, 1, 4, 3)


def test_the_last_run_of_zeros_may_lack_and_runs_may_be_empty() -> None:
    whole = RowMask(0, 0, 3, 2, np.asarray([1, 2, 3]))
    for counts in ([1, 2], [1, 1, 0, 1, 3], [0, 0, 1, 2, 3], [1, 2, 3, 0]):
        assert dense(RowMask(0, 0, 3, 2, np.asarray(counts)), (3, 2)) == dense(whole, (3, 2))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (RowMask(4, 0, 2, 1, np.asarray([0, 2])), "reaches out of the image of 5 x 4"),
        (RowMask(0, 3, 2, 2, np.asarray([0, 4])), "reaches out of the image of 5 x 4"),
        (RowMask(0, 0, 2, 2, np.asarray([4])), "has no pixels"),
    ],
)
def test_a_mask_that_cannot_be_is_named(mask: RowMask, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        coco_mask(mask, (5, 4), budget())


def test_a_mask_without_pixels_has_no_box() -> None:
    assert bounds_of(RowMask(0, 0, 2, 2, np.asarray([4]))) is None


def test_a_file_of_small_texts_that_are_large_masks_is_refused() -> None:
    carpet = RowMask(0, 0, 60_000, 2, np.asarray([0, 60_000]))  # a row of a wide image
    left = budget(1_000_000)
    with pytest.raises(InputError, match=r"a\.xml holds masks that unfold to far more than the file"):
        for _ in range(20):
            coco_mask(carpet, (60_000, 60_000), left)


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))), st.integers(0, 3), st.integers(0, 3))
def test_masks_are_the_same_after_writing_and_reading(pixels: np.ndarray, right: int, below: int) -> None:
    if not pixels.any():
        return
    image = np.pad(pixels, ((1, below), (2, right)))
    size = (image.shape[1], image.shape[0])
    found = coco_mask(row_mask(image), size, budget())
    assert Masks.from_coco([found]) == Masks.from_dense(image[None])
    assert bounds_of(row_mask(image)) == tuple(Masks.from_dense(image[None]).boxes_xyxy()[0].tolist())
