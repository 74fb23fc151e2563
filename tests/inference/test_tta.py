"""Views and their merge: plans by the published sizes, mirrors by hand, what cannot be is one sentence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.geometry.boxes import mirror_boxes
from aerostat.geometry.postprocess import Candidates
from aerostat.images.letterbox import Letterbox
from aerostat.inference.tta import (
    PUBLISHED_SCALES,
    TTA,
    View,
    merge_views,
    mirror_content,
    parse_scales,
)

# --- which views ---


@pytest.mark.parametrize(
    ("scales", "own", "sides"),
    [
        (PUBLISHED_SCALES, 640, [640, 320, 960]),
        (PUBLISHED_SCALES, 320, [320, 160, 480]),
        ((640, 320, 960), 320, [640, 320, 960]),
        ((0.75, 1.25), 320, [256, 416]),  # 240 and 400 lie between multiples of 32
        ((0.76, 1.24), 320, [256, 384]),
        ((64, 1.0), 128, [64, 128]),
        ((1.0, 1.04, 320), 320, [320]),  # one size is one view
        ((0.05,), 32, [32]),
    ],
)
def test_scales_come_to_sizes(scales, own, sides):
    views = TTA(scales, flip=False).plan((own, own)).views
    assert views == tuple(View((side, side)) for side in sides)


def test_each_size_is_also_seen_mirrored_unless_it_shall_not():
    assert TTA((640, 320)).plan((640, 640)).views == (
        View((640, 640)),
        View((640, 640), True),
        View((320, 320)),
        View((320, 320), True),
    )


def test_a_relative_scale_of_a_large_input_has_the_same_end_as_pixels():
    assert TTA((8.0,), flip=False).plan((1024, 1024)).views == (View((8192, 8192)),)
    with pytest.raises(InputError, match=r"at most 8192 pixels, found 8x of .* 2048, which is 16384"):
        TTA((1.0, 8.0)).plan((2048, 2048))


def test_sides_that_differ_are_scaled_each():
    assert TTA((0.5,), flip=False).plan((640, 384)).views == (View((320, 192)),)


def test_numbers_of_numpy_and_lists_are_as_good():
    assert TTA(np.array([64, 96])) == TTA([64, 96]) == TTA((64, 96))
    assert TTA(np.array([0.5, 1.0])) == TTA((0.5, 1.0))


@pytest.mark.parametrize("own", [32, 320, 640])
def test_the_default_is_the_own_size_half_of_it_and_twice_it_each_also_mirrored(own):
    half, twice = (max(32, own // 2),) * 2, (2 * own, 2 * own)
    between = () if half == (own, own) else (View(half), View(half, True))
    assert TTA().plan((own, own)).views == (
        View((own, own)),
        View((own, own), True),
        *between,
        View(twice),
        View(twice, True),
    )
    assert TTA().plan((own, own)).merge == "wbf"


@pytest.mark.parametrize(
    ("tta", "iou"),
    [
        (TTA(merge="nms"), 0.4),
        (TTA(merge="wbf"), 0.4),
        (TTA(merge="nms", merge_iou=0.7), 0.7),
        (TTA(merge="wbf", merge_iou=0.7), 0.7),
    ],
)
def test_views_are_merged_where_the_prediction_suppresses_unless_told_otherwise(tta, iou):
    assert tta.plan((64, 64), nms_iou=0.4).merge_iou == iou


def test_a_plan_tells_its_views():
    plan = TTA((1.0, 0.5), merge="wbf").plan((320, 320))
    assert plan.describe() == (
        "test-time augmentation: 4 views (320, 160 px, each plain and mirrored), merged by WBF at IoU 0.65"
    )
    assert json.loads(json.dumps(plan.to_dict())) == {
        "views": [
            {"input_size": [320, 320], "flip": False},
            {"input_size": [320, 320], "flip": True},
            {"input_size": [160, 160], "flip": False},
            {"input_size": [160, 160], "flip": True},
        ],
        "merge": "wbf",
        "merge_iou": 0.65,
    }
    assert TTA((1.0,)).plan((64, 32)).describe() == (
        "test-time augmentation: 2 views (64 x 32 px, plain and mirrored), merged by WBF at IoU 0.65"
    )
    assert TTA((96,), flip=False).plan((64, 64)).describe() == "test-time augmentation: 1 view (96 px)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": ()}, ["at least one scale"]),
        ({"scales": (0,)}, ["multiples of 32", "found 0;"]),
        ({"scales": (-320,)}, ["multiples of 32", "found -320;"]),
        ({"scales": (100,)}, ["multiples of 32", "found 100;"]),
        ({"scales": (1,)}, ["found 1;", "as 1.0"]),
        ({"scales": (320, 32000)}, ["8192", "found 32000;"]),
        ({"scales": (0.0,)}, ["0.05", "found 0;"]),
        ({"scales": (-1.0,)}, ["found -1;"]),
        ({"scales": (640.0,)}, ["found 640;", "whole number"]),
        ({"scales": (float("nan"),)}, ["found nan;"]),
        ({"scales": (float("inf"),)}, ["found inf;"]),
        ({"scales": (True,)}, ["True"]),
        ({"scales": (None,)}, ["None"]),
        ({"scales": 640}, ["list of scales", "640"]),
        ({"scales": "640"}, ["list of scales", "'640'"]),
        ({"scales": ("640",)}, ["'640'"]),
        ({"scales": (320, 640, 320)}, ["320 twice"]),
        ({"scales": (0.5, 0.5)}, ["0.5x twice"]),
        ({"merge": "mean"}, ["nms or wbf", "'mean'"]),
        ({"merge_iou": 0.0}, ["between 0 and 1", "0.0"]),
        ({"merge_iou": 1.0}, ["between 0 and 1", "1.0"]),
        ({"merge_iou": float("nan")}, ["nan"]),
    ],
)
def test_what_cannot_be_is_one_sentence(options, words):
    with pytest.raises(InputError) as caught:
        TTA(**options)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("words", "scales"),
    [
        (["640,320,960"], (640, 320, 960)),
        (["640", "320", "960"], (640, 320, 960)),
        (["640, 320", "960"], (640, 320, 960)),
        (["0.5", "1.0", "1.5"], (0.5, 1.0, 1.5)),
        (["0.5x,1x,1.5x"], (0.5, 1.0, 1.5)),
        (["1.", ".5"], (1.0, 0.5)),
        (["640", "2x"], (640, 2.0)),
        (["-5", "-0.5"], (-5, -0.5)),  # numbers; that they are no scales TTA says
        (["published"], PUBLISHED_SCALES),
        ([], ()),
    ],
)
def test_scales_are_read_as_typed(words, scales):
    read = parse_scales(words)
    assert read == scales
    assert [type(scale) for scale in read] == [type(scale) for scale in scales]


@pytest.mark.parametrize(
    "word", ["", ",", "big", "1e3", "0x20", "640px", "640x480", "nan", "inf", "1/2", "½", "published,1.0"]
)
def test_what_is_no_scale_is_quoted(word):
    with pytest.raises(InputError, match=r"640,320,960.*1x,0\.5x,1\.5x.*published, found '"):
        parse_scales([word])


# --- mirrors ---


@pytest.mark.parametrize("source_size", [(8, 4), (4, 8), (8, 8), (1, 8)])
def test_the_photograph_is_mirrored_in_its_place_and_the_padding_stays(source_size):
    letterbox = Letterbox.fit(source_size, (8, 8))
    image = np.random.default_rng(0).integers(0, 255, (*source_size[::-1], 3), np.uint8)
    mirrored = mirror_content(letterbox.apply(image), letterbox)
    np.testing.assert_array_equal(mirrored, letterbox.apply(np.ascontiguousarray(image[:, ::-1])))


def test_mirroring_leaves_the_original_alone():
    letterbox = Letterbox.fit((8, 4), (8, 8))
    canvas = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    before = canvas.copy()
    mirror_content(canvas, letterbox)
    np.testing.assert_array_equal(canvas, before)


def test_boxes_are_mirrored_by_hand():
    boxes = np.array([[0, 1, 10, 2], [90, 3, 100, 4], [20, 5, 50, 6]], float)
    mirrored = [[90, 1, 100, 2], [0, 3, 10, 4], [50, 5, 80, 6]]
    np.testing.assert_array_equal(mirror_boxes(boxes, 100), mirrored)
    np.testing.assert_array_equal(mirror_boxes(mirror_boxes(boxes, 100), 100), boxes)
    assert mirror_boxes(np.zeros((0, 4)), 100).shape == (0, 4)


# --- the merge of recorded views ---


def view(*rows: tuple[float, ...]) -> Candidates:
    """Rows are x1, y1, x2, y2, score, label."""
    table = np.reshape(np.array(rows, np.float32), (-1, 6))
    return Candidates(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


RECORDED = [
    view((0, 0, 10, 10, 0.8, 0), (50, 50, 60, 60, 0.3, 0), (0, 0, 10, 10, 0.2, 1)),
    view((0, 0, 10, 12, 0.9, 0)),  # IoU 100 / 120 with the first
    view((0, 0, 10, 16, 0.7, 0), (50, 50, 60, 62, 0.6, 0)),  # 10 / 16 and, with the second, 12 / 16
]


def rows(found: Candidates) -> list[list[float]]:
    table = np.concatenate([found.boxes_xyxy, found.scores[:, None], found.labels[:, None]], axis=1)
    return np.round(table.astype(float), 4).tolist()


def test_nms_keeps_the_best_of_each_object_as_it_is():
    merged = merge_views(RECORDED, merge="nms", iou_threshold=0.65)
    assert rows(merged) == [[0, 0, 10, 12, 0.9, 0], [50, 50, 60, 62, 0.6, 0], [0, 0, 10, 10, 0.2, 1]]
    # 0.8 beyond the threshold: of the first object only the two nearest are one
    strict = merge_views(RECORDED, merge="nms", iou_threshold=0.8)
    assert [row[4] for row in rows(strict)] == [0.9, 0.7, 0.6, 0.2]  # and 100 / 120 of the second
    assert [row[4] for row in rows(merge_views(RECORDED, merge="nms", iou_threshold=0.9))] == [
        *(0.9, 0.8, 0.7, 0.6, 0.3, 0.2)
    ]


def test_fusion_makes_means_of_each_object():
    merged = merge_views(RECORDED, merge="wbf", iou_threshold=0.55)
    # y2 = (0.9 * 12 + 0.8 * 10 + 0.7 * 16) / 2.4 = 12.5, score 0.8 * 3 / 3; [12, 10] fuse to 11.0588: 0.691
    # y2 = (0.6 * 62 + 0.3 * 60) / 0.9 = 61.3333, score 0.45 * 2 / 3; the last 0.2 * 1 / 3
    assert rows(merged) == [
        [0, 0, 10, 12.5, 0.8, 0],
        [50, 50, 60, 61.3333, 0.3, 0],
        [0, 0, 10, 10, 0.0667, 1],
    ]
    assert (merged.boxes_xyxy.dtype, merged.scores.dtype) == (np.float32, np.float32)
    assert merged.labels.dtype == np.int64


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_the_best_are_kept_where_there_are_too_many(merge):
    all_of_them = merge_views(RECORDED, merge=merge, iou_threshold=0.6)
    two = merge_views(RECORDED, merge=merge, iou_threshold=0.6, max_detections=2)
    assert rows(two) == rows(all_of_them)[:2]


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_a_single_view_is_returned_as_it_is(merge):
    crowded = view((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 10, 0.7, 0))
    assert merge_views([crowded], merge=merge, iou_threshold=0.5) is crowded


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_views_that_found_nothing_give_nothing(merge):
    merged = merge_views([view()] * 6, merge=merge, iou_threshold=0.6)
    assert (merged.boxes_xyxy.shape, merged.scores.shape, merged.labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_six_full_views_of_a_crowd_are_merged(merge):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 8000, (300, 2))
    boxes = np.concatenate([corners, corners + 60], 1).astype(np.float32)
    scores, labels = np.sort(rng.uniform(0.1, 1, 300).astype(np.float32))[::-1], np.arange(300) % 80
    merged = merge_views([Candidates(boxes, scores, labels)] * 6, merge=merge, iou_threshold=0.6)
    np.testing.assert_allclose(merged.boxes_xyxy, boxes, rtol=1e-6)
    np.testing.assert_allclose(merged.scores, scores, rtol=1e-6)


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_other_columns_of_merged_boxes_are_those_of_the_best_member(merge):
    first, second = view((0, 0, 10, 10, 0.8, 0)), view((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.3, 0))
    views = [
        replace(first, columns={"row": np.asarray([0])}),
        replace(second, columns={"row": np.asarray([1, 2])}),
    ]
    merged = merge_views(views, merge=merge, iou_threshold=0.6)
    assert merged.columns["row"].tolist() == [1, 2]
