"""The container of masks against dense arrays, and against pycocotools to the pixel and to the byte."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from aerostat.errors import InputError
from aerostat.geometry.masks import Masks

SIZE = (7, 5)


def noise(count: int, width: int, height: int, share: float = 0.4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, height, width)) < share


def encoded(dense: np.ndarray) -> list[dict]:
    """Return dense masks (n, h, w) as pycocotools encodes them."""
    return coco.encode(np.asfortranarray(dense.transpose(1, 2, 0).astype(np.uint8)))


KINDS = {
    "none": np.zeros((0, 5, 7), bool),
    "empty": np.zeros((2, 5, 7), bool),
    "full": np.ones((2, 5, 7), bool),
    "one pixel": np.eye(35, dtype=bool).reshape(35, 5, 7),
    "noise": noise(6, 7, 5),
    "one column": noise(4, 1, 9),
    "one row": noise(4, 9, 1),
    "long runs": np.tri(200, 300, -40, bool)[None],
}


@pytest.mark.parametrize("dense", KINDS.values(), ids=KINDS.keys())
def test_masks_are_those_that_went_in_and_their_files_are_those_of_pycocotools(dense):
    masks = Masks.from_dense(dense)
    assert len(masks) == len(dense)
    np.testing.assert_array_equal(masks.to_dense(), dense)
    assert all((one == other).all() for one, other in zip(masks, dense, strict=True))
    theirs = encoded(dense)
    assert [(one["size"], one["counts"].encode()) for one in masks.to_coco()] == [
        (one["size"], one["counts"]) for one in theirs
    ]
    json.dumps(masks.to_coco())
    image_size = (dense.shape[2], dense.shape[1])
    assert Masks.from_coco(theirs, image_size) == Masks.from_coco(masks.to_coco(), image_size) == masks
    assert masks.area().tolist() == dense.sum((1, 2)).tolist()
    if len(dense):
        boxes = np.asarray(coco.toBbox(theirs))
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_array_equal(masks.boxes_xyxy(), boxes)


def test_no_masks_have_empty_arrays():
    masks = Masks.empty(SIZE)
    assert masks.boxes_xyxy().shape == (0, 4)
    assert masks.area().shape == (0,)
    assert masks.iou(Masks.from_dense(noise(3, *SIZE))).shape == (0, 3)
    assert Masks.from_dense(noise(3, *SIZE)).iou(masks).shape == (3, 0)
    assert masks == Masks.from_polygons([], SIZE) == Masks.from_dense(np.zeros((0, 5, 7)))
    assert repr(masks) == "Masks(0 on 7 x 5 px, 8 bytes)"


def test_numbers_other_than_zero_are_inside():
    dense = np.asarray([[[0, 1, 255], [0.5, 0, -1]]])
    np.testing.assert_array_equal(Masks.from_dense(dense).to_dense(), dense != 0)


@given(data=st.data(), width=st.integers(1, 30), height=st.integers(1, 30), count=st.integers(1, 3))
def test_outlines_are_rasterised_as_by_pycocotools(data, width, height, count):
    number = st.integers(-10, 40) | st.floats(-10, 40, width=32)
    outline = st.lists(st.tuples(number, number), min_size=3, max_size=7)
    outlines = [data.draw(outline) for _ in range(count)]
    flat = [[float(value) for point in points for value in point] for points in outlines]
    theirs = coco.merge(coco.frPyObjects(flat, height, width))
    masks = Masks.from_polygons([flat, [], outlines], (width, height))
    assert masks.to_coco()[0]["counts"].encode() == theirs["counts"]
    assert masks[[0]] == masks[[2]]
    assert masks.area()[1] == 0


def test_an_outline_that_reaches_far_beyond_the_image_covers_what_is_on_it():
    far = [[-1e12, -1e12], [1e12, -1e12], [1e12, 1e12], [-1e12, 1e12]]
    near = [[-90, 2], [90, 2], [90, 90], [-90, 90]]
    masks = Masks.from_polygons([[far], [near]], SIZE)
    assert masks[0].all()
    np.testing.assert_array_equal(masks[1], np.repeat([False, False, True, True, True], 7).reshape(5, 7))


def test_a_huge_image_takes_no_more_memory_than_its_outlines():
    outline = [10, 10, 59_990, 10, 59_990, 59_990]
    masks = Masks.from_polygons([[outline]], (60_000, 60_000))
    assert masks.nbytes < 1_000_000  # dense it would take 3.6 GB
    assert masks.area()[0] == pytest.approx(59_980**2 / 2, rel=1e-4)
    (theirs,) = coco.frPyObjects([outline], 60_000, 60_000)
    assert masks.to_coco()[0]["counts"].encode() == theirs["counts"]
    assert masks.iou(masks).tolist() == [[1.0]]
    assert Masks.from_coco(masks.to_coco()) == masks


def test_a_thousand_masks_are_like_one():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 600, (1000, 2))
    masks = Masks.from_polygons([[[[x, y], [x + 40, y], [x, y + 40]]] for x, y in corners], (640, 640))
    assert masks.nbytes < 1_000_000  # dense they would take 410 MB
    each = [Masks.from_polygons([[[[x, y], [x + 40, y], [x, y + 40]]]], (640, 640)) for x, y in corners[:20]]
    assert Masks.concatenate(each) == masks[:20]
    theirs = [{**one, "counts": one["counts"].encode()} for one in masks.to_coco()]
    np.testing.assert_array_equal(masks[:300].iou(masks), coco.iou(theirs[:300], theirs, [0] * 1000))


@pytest.mark.parametrize(
    "index",
    [
        slice(1, None),
        slice(None, None, -2),
        [2, 0, 2],
        np.asarray([], int),
        [],
        np.asarray([True, False, True, True]),
        [False] * 4,
    ],
)
def test_slices_indices_and_booleans_select(index):
    dense = noise(4, *SIZE)
    chosen = Masks.from_dense(dense)[index]
    np.testing.assert_array_equal(chosen.to_dense(), dense[index])


def test_an_integer_gives_one_dense_mask():
    dense = noise(4, *SIZE)
    masks = Masks.from_dense(dense)
    np.testing.assert_array_equal(masks[2], dense[2])
    np.testing.assert_array_equal(masks[-1], dense[-1])
    with pytest.raises(IndexError):
        masks[4]


def test_parts_are_joined_in_order():
    dense = noise(5, *SIZE)
    parts = [Masks.from_dense(dense[:2]), Masks.empty(SIZE), Masks.from_dense(dense[2:])]
    assert Masks.concatenate(parts) == Masks.from_dense(dense)
    with pytest.raises(InputError, match="one image size, found"):
        Masks.concatenate([parts[0], Masks.empty((5, 7))])
    with pytest.raises(InputError, match="at least one part"):
        Masks.concatenate([])


def test_equality_sees_pixels_and_size():
    dense = noise(2, 6, 6)
    masks = Masks.from_dense(dense)
    assert masks == Masks.from_dense(dense)
    assert masks != Masks.from_dense(dense[:1])
    assert masks != Masks.from_dense(dense[::-1])
    assert masks != dense
    same_counts = Masks.from_coco([{"size": [2, 3], "counts": [6]}])
    assert same_counts != Masks.from_coco([{"size": [3, 2], "counts": [6]}])


def test_runs_of_no_pixels_change_nothing():
    plain = Masks.from_coco([{"size": [2, 5], "counts": [3, 4, 3]}, {"size": [2, 5], "counts": [0, 10]}])
    padded = Masks.from_coco(
        [
            {"size": [2, 5], "counts": [3, 2, 0, 2, 3, 0]},
            {"size": [2, 5], "counts": [0, 0, 0, 10, 0, 0]},
        ]
    )
    assert plain == padded


@pytest.mark.parametrize("crowd", [None, [False, False, False], [True, False, True]])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_overlaps_are_those_of_pycocotools(share, crowd):
    one, other = noise(5, 23, 17, share, seed=1), noise(3, 23, 17, seed=2)
    one[1] = other[2] = False
    found = Masks.from_dense(one).iou(Masks.from_dense(other), crowd)
    np.testing.assert_array_equal(found, coco.iou(encoded(one), encoded(other), crowd or [0, 0, 0]))


def test_overlaps_of_images_of_different_sizes_are_refused():
    with pytest.raises(InputError, match=r"\(7, 5\) and \(5, 7\)"):
        Masks.empty((7, 5)).iou(Masks.empty((5, 7)))


def rle(counts: object, size: object = (5, 7)) -> dict:
    return {"size": list(size) if isinstance(size, tuple) else size, "counts": counts}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (rle(""), "mask 0 broken: it is empty"),
        (rle("S1o"), "its end is missing"),
        (rle("S1 "), "byte 32 at 2"),
        (rle("Sü"), "not ASCII"),
        (rle(b"\xff\x00"), "byte 255 at 0"),
        (rle("o" * 8 + "0"), "more than 7 characters"),
        (rle("O"), "impossible length"),
        (rle("T1"), r"35 pixels \(7 x 5\), found"),
        (rle([10, 10]), "found 20 pixels in mask 0"),
        (rle([36]), "found 36 pixels"),
        (rle([40, -5]), "whole numbers from 0"),
        (rle([17.5, 17.5]), "whole numbers from 0"),
        (rle([]), "whole numbers from 0"),
        (rle([[35]]), "whole numbers from 0"),
        (rle(None), "whole numbers from 0"),
        (rle([1 << 70]), "broken"),
        (rle([35], size=None), "no size for mask 0"),
        (rle([35], size=[5]), "no size for mask 0"),
        (rle([35], size=["a", "b"]), "no size for mask 0"),
        (rle([35], size=[0, 35]), "found the size 35 x 0"),
        ({"counts": [35]}, "no size for mask 0"),
        ({"size": [5, 7]}, "whole numbers from 0"),
    ],
)
def test_what_is_no_run_length_object_is_refused_with_its_number(broken, says):
    with pytest.raises(InputError, match=says):
        Masks.from_coco([broken])


def test_objects_of_different_sizes_are_refused():
    with pytest.raises(InputError, match=r"one size \(height, width\) \[5, 7\], found \[7, 5\] for mask 1"):
        Masks.from_coco([rle([35]), rle([35], size=(7, 5))])
    with pytest.raises(InputError, match="`image_size`"):
        Masks.from_coco([])


@given(st.binary(max_size=12) | st.text(max_size=12) | st.lists(st.integers(-(1 << 40), 1 << 40), max_size=6))
def test_any_counts_give_masks_or_one_sentence(counts):
    try:
        masks = Masks.from_coco([rle(counts)])
    except InputError as error:
        assert "\n" not in str(error) and str(error).endswith(".")
    else:
        assert masks.to_dense().shape == (1, 5, 7)


@pytest.mark.parametrize(
    ("outlines", "says"),
    [
        ([[1, 2, 3]], "object 1"),
        ([[[1, 2, 3]]], "object 1"),
        ([[1, 2, np.nan, 4]], "object 1"),
        ([["a", "b"]], "object 1"),
        ([[[1, 2], [3]]], "object 1"),
    ],
)
def test_what_is_no_outline_is_refused_with_its_number(outlines, says):
    with pytest.raises(InputError, match=says):
        Masks.from_polygons([[], outlines], SIZE)


@pytest.mark.parametrize(
    ("counts", "offsets", "says"),
    [
        ([35], [0, 2], "offsets"),
        ([35], [1, 1], "offsets"),
        ([35], [], "offsets"),
        ([35, 35], [0, 2, 2], "offsets"),
        ([34], [0, 1], "found 34 pixels in mask 0"),
    ],
)
def test_columns_that_do_not_fit_are_refused(counts, offsets, says):
    with pytest.raises(InputError, match=says):
        Masks(SIZE, np.asarray(counts), np.asarray(offsets))


def test_dense_masks_have_three_axes_and_pixels():
    with pytest.raises(InputError, match=r"shape \(n, h, w\), found \(5, 7\)"):
        Masks.from_dense(np.zeros((5, 7)))
    with pytest.raises(InputError, match="7 x 0"):
        Masks.from_dense(np.zeros((2, 0, 7)))


@given(data=st.data(), width=st.integers(1, 12), height=st.integers(1, 12))
def test_patches_are_cut_at_the_image(data, width, height):
    sides, places = st.integers(0, 9), st.integers(-10, 14)
    corners = data.draw(st.lists(st.tuples(places, places), max_size=4))
    patches = []
    dense = np.zeros((len(corners), height, width), bool)
    for place, (x, y) in enumerate(corners):
        patch = noise(1, data.draw(sides), data.draw(sides), 0.6, seed=place)[0]
        patches.append(patch)
        for row, column in zip(*np.nonzero(patch), strict=True):
            if 0 <= row + y < height and 0 <= column + x < width:
                dense[place, row + y, column + x] = True
    masks = Masks.from_patches(patches, corners, (width, height))
    assert masks.image_size == (width, height)
    np.testing.assert_array_equal(masks.to_dense(), dense)


def test_a_small_patch_of_a_huge_image_takes_little_memory():
    masks = Masks.from_patches([np.ones((10, 10), bool)] * 50, [(60_000, 60_000)] * 50, (65_000, 65_000))
    assert masks.area().tolist() == [100] * 50
    assert masks.nbytes < 10_000


def test_patches_without_a_corner_or_of_another_shape_are_refused():
    with pytest.raises(InputError, match="a corner for each of 1 patches, found 0"):
        Masks.from_patches([np.ones((2, 2), bool)], [], SIZE)
    with pytest.raises(InputError, match=r"found \(2,\) for mask 0"):
        Masks.from_patches([np.ones(2, bool)], [(0, 0)], SIZE)


def test_a_long_outline_is_filled_in_little_memory_and_to_the_pixel():
    corners = np.random.default_rng(0).uniform(-50, 650, (12_000, 2))  # six million pixels long
    tracemalloc.start()
    masks = Masks.from_polygons([[corners]], (600, 500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 << 20  # it was 2 GB
    mask_tools = pytest.importorskip("pycocotools.mask")
    [expected] = mask_tools.frPyObjects([corners.ravel().tolist()], 500, 600)
    assert masks.to_coco()[0]["counts"] == expected["counts"].decode()
