from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aerostat.geometry.boxes import (
    box_area,
    clip_boxes,
    mirror_boxes,
    pairwise_iou,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from aerostat.geometry.nms import nms

REFERENCE = Path(__file__).parent / "references" / "nms_3000.npz"
"""Kept indices as the reference implementation printed them: 3000 boxes, 5 classes, IoU 0.65."""


def plain_nms(boxes_xyxy: NDArray, scores: NDArray, labels: NDArray, threshold: float) -> list[int]:
    """The definition, pair by pair in plain Python, with the IoU worked out in float64."""

    def iou(a: list[float], b: list[float]) -> float:
        wide = min(a[2], b[2]) - max(a[0], b[0])
        high = min(a[3], b[3]) - max(a[1], b[1])
        if wide <= 0 or high <= 0:
            return 0.0
        both = wide * high
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    boxes = boxes_xyxy.astype(np.float64).tolist()
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[k] or iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def crowd_of_boxes(seed: int, count: int, objects: int) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0, 640, (objects, 2)), rng.uniform(20, 120, (objects, 2))
    which = rng.integers(0, objects, count)
    middle = centre[which] + rng.normal(0, 0.05, (count, 2)) * size[which]
    half = size[which] * np.exp(rng.normal(0, 0.08, (count, 2))) / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)
    return boxes, rng.random(count).astype(np.float32), which % 3


@pytest.mark.parametrize(
    ("boxes", "areas"),
    [
        ([], []),
        ([[1, 2, 4, 6]], [12]),
        ([[1, 2, 1, 6]], [0]),
        ([[4, 6, 1, 2]], [0]),
        ([[-3, -3, 3, 3], [0, 0, 0.5, 0.5]], [36, 0.25]),
    ],
    ids=["none", "one", "no width", "swapped corners", "two"],
)
def test_area_is_width_times_height_and_never_negative(boxes: list, areas: list) -> None:
    assert box_area(np.asarray(boxes, float).reshape(-1, 4)).tolist() == areas


def test_xywh_and_xyxy_turn_into_one_another() -> None:
    corners, sides = np.asarray([[10.0, 20.0, 40.0, 25.0]]), np.asarray([[10.0, 20.0, 30.0, 5.0]])
    assert xyxy_to_xywh(corners).tolist() == sides.tolist()
    assert xywh_to_xyxy(sides).tolist() == corners.tolist()
    assert xyxy_to_xywh(np.zeros((0, 4))).shape == (0, 4)
    assert xywh_to_xyxy(np.zeros((0, 4))).shape == (0, 4)


def test_clipping_moves_every_corner_into_the_image_and_keeps_the_type() -> None:
    boxes = np.asarray([[-5, -6, 700, 500], [650, 10, 660, 20], [1, 2, 3, 4]], np.float32)
    clipped = clip_boxes(boxes, 640, 480)
    assert clipped.tolist() == [[0, 0, 640, 480], [640, 10, 640, 20], [1, 2, 3, 4]]
    assert clipped.dtype == np.float32
    assert boxes[0, 0] == -5
    assert clip_boxes(np.zeros((0, 4), np.float32), 640, 480).shape == (0, 4)


def test_iou_of_hand_worked_pairs() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [100, 100, 100, 100]], float)
    others = np.asarray(
        [[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 7], [100, 100, 100, 100]], float
    )
    assert pairwise_iou(boxes, others).tolist() == [[1, 50 / 150, 0, 0.1, 0], [0, 0, 0, 0, 0]]


def test_iou_does_not_depend_on_the_unit() -> None:
    boxes = np.asarray([[0, 0, 0.01, 0.01], [0.005, 0, 0.015, 0.01]])
    assert pairwise_iou(boxes, boxes).tolist() == [[1, pytest.approx(1 / 3)], [pytest.approx(1 / 3), 1]]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_iou_with_no_boxes_has_no_pairs(n: int, m: int) -> None:
    assert pairwise_iou(np.zeros((n, 4)), np.zeros((m, 4))).shape == (n, m)


def test_nms_drops_the_worse_of_two_overlapping_boxes_and_keeps_strangers() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    kept = nms(boxes, np.asarray([0.5, 0.9, 0.7], np.float32), iou_threshold=0.65)
    assert kept.tolist() == [1, 2]
    assert kept.dtype == np.int64


def test_nms_keeps_a_box_whose_iou_equals_the_threshold() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # IoU exactly 0.5
    scores = np.asarray([0.9, 0.8], np.float32)
    assert nms(boxes, scores, iou_threshold=0.5).tolist() == [0, 1]
    assert nms(boxes, scores, iou_threshold=0.4999).tolist() == [0]


def test_nms_lets_a_suppressed_box_suppress_nobody() -> None:
    boxes = np.asarray(
        [[0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 5]], np.float32
    )  # IoU 0.7, 0.5; 5/7 between
    assert nms(boxes, np.asarray([0.9, 0.8, 0.7], np.float32), iou_threshold=0.6).tolist() == [0, 2]


def test_nms_never_suppresses_across_labels() -> None:
    boxes = np.zeros((3, 4), np.float32) + np.asarray([0, 0, 10, 10], np.float32)
    scores = np.asarray([0.7, 0.8, 0.9], np.float32)
    assert nms(boxes, scores, np.asarray([4, 0, 4])).tolist() == [2, 1]
    assert nms(boxes, scores, None).tolist() == [2]


def test_nms_keeps_the_order_of_equal_scores() -> None:
    boxes = np.asarray([[100 * i, 0, 100 * i + 10, 10] for i in (3, 1, 4, 0, 2)], np.float32)
    assert nms(boxes, np.full(5, 0.5, np.float32)).tolist() == [0, 1, 2, 3, 4]
    twins = np.repeat(boxes[:1], 4, axis=0)
    assert nms(twins, np.full(4, 0.5, np.float32)).tolist() == [0]


@pytest.mark.parametrize("max_kept", [0, 1, 7, 300, None])
def test_nms_with_a_limit_returns_the_first_of_what_it_returns_without(max_kept: int | None) -> None:
    boxes, scores, labels = crowd_of_boxes(seed=1, count=500, objects=40)
    everything = nms(boxes, scores, labels)
    assert 40 < len(everything) < 300
    assert nms(boxes, scores, labels, max_kept=max_kept).tolist() == everything[:max_kept].tolist()


@pytest.mark.parametrize("labels", [None, np.zeros(0, np.int64)])
def test_nms_of_no_boxes_keeps_none(labels: NDArray | None) -> None:
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), labels)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


def test_nms_keeps_boxes_without_area() -> None:
    boxes = np.asarray([[5, 5, 5, 9], [5, 5, 5, 9], [0, 0, 10, 10], [8, 8, 2, 2]], np.float32)
    assert nms(boxes, np.asarray([0.9, 0.8, 0.7, 0.6], np.float32)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("axis", [0, 1])
def test_nms_gives_a_box_with_swapped_corners_no_area(axis: int) -> None:
    # A negative area of the first, 10 wide the wrong way, would make no overlap at all too much of the union.
    boxes = np.asarray([[10, 0, 0, 5], [10, 1, 12, 3]], np.float32)
    if axis:
        boxes = boxes[:, [1, 0, 3, 2]]
    assert nms(boxes, np.asarray([0.9, 0.8], np.float32)).tolist() == [0, 1]
    assert nms(boxes, np.asarray([0.8, 0.9], np.float32)).tolist() == [1, 0]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("start", [499.999, -999.999], ids=["the end of it", "it and more"])
def test_nms_finds_a_partner_that_begins_as_far_away_as_the_threshold_lets_it(
    start: float, axis: int
) -> None:
    whole, other = [0.0, 0, 1000, 1], [start, 0, 1000, 1]  # IoU above 0.5 by 3 to 10 parts in ten million
    boxes = np.asarray([whole, other], np.float32)
    if axis:
        boxes = boxes[:, [1, 0, 3, 2]]
    assert nms(boxes, np.asarray([0.9, 0.8], np.float32), iou_threshold=0.5).tolist() == [0]


def test_nms_keeps_what_the_reference_implementation_keeps() -> None:
    with np.load(REFERENCE) as case:
        boxes, scores, labels = case["boxes_xyxy"], case["scores"], case["labels"]
        assert nms(boxes, scores, None, 0.65).tolist() == case["kept"].tolist()
        assert nms(boxes, scores, labels, 0.65).tolist() == case["kept_by_label"].tolist()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.65, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_nms_follows_the_definition_on_crowded_boxes(seed: int, threshold: float) -> None:
    boxes, scores, labels = crowd_of_boxes(seed, count=400, objects=12)
    assert nms(boxes, scores, labels, threshold).tolist() == plain_nms(boxes, scores, labels, threshold)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_nms_follows_the_definition_on_boxes_of_every_shape(data: st.DataObject) -> None:
    corner, side = st.integers(0, 30), st.integers(0, 30)
    rows = data.draw(
        st.lists(st.tuples(corner, corner, side, side, st.integers(0, 4), st.integers(0, 2)), max_size=25)
    )
    table = np.asarray(rows, np.float32).reshape(-1, 6)
    boxes, scores, labels = xywh_to_xyxy(table[:, :4]), table[:, 4], table[:, 5].astype(np.int64)
    threshold = data.draw(
        st.sampled_from([0.1317, 0.3719, 0.6513, 0.8801])
    )  # no ratio of such small areas equals one
    assert nms(boxes, scores, labels, threshold).tolist() == plain_nms(boxes, scores, labels, threshold)


@pytest.mark.parametrize("coordinates", ["far from the origin", "normalised"])
def test_nms_does_not_depend_on_where_and_how_large_the_picture_is(coordinates: str) -> None:
    boxes, scores, labels = crowd_of_boxes(seed=3, count=400, objects=12)
    boxes = np.round(boxes * 4) / 4  # exact in float32 after the change below
    changed = boxes + np.float32(65536) if coordinates == "far from the origin" else boxes / np.float32(1024)
    assert nms(changed, scores, labels).tolist() == nms(boxes, scores, labels).tolist()


def test_nms_of_thirty_thousand_candidates_of_three_hundred_objects_agrees_with_the_definition() -> None:
    boxes, scores, labels = crowd_of_boxes(seed=5, count=30_000, objects=300)
    kept = nms(boxes, scores, labels, 0.65)
    assert 300 <= len(kept) < 3000
    assert (np.diff(scores[kept]) <= 0).all()
    for label in range(3):
        same = kept[labels[kept] == label]
        overlaps = pairwise_iou(boxes[same], boxes[same])
        assert overlaps[~np.eye(len(same), dtype=bool)].max() <= 0.65 + 1e-6
    dropped = np.setdiff1d(np.arange(30_000), kept)[::10]
    better = (scores[kept][None] > scores[dropped][:, None]) & (
        labels[kept][None] == labels[dropped][:, None]
    )
    overlaps = pairwise_iou(boxes[dropped], boxes[kept])
    assert np.where(better, overlaps, 0).max(axis=1).min() > 0.65 - 1e-6
    first = np.sort(np.argsort(-scores, kind="stable")[:3000])
    expected = plain_nms(boxes[first], scores[first], labels[first], 0.65)
    assert kept[: len(expected)].tolist() == first[expected].tolist()
    assert nms(boxes, scores, labels, 0.65, max_kept=300).tolist() == kept[:300].tolist()


def test_nms_keeps_all_of_thirty_thousand_boxes_that_do_not_touch() -> None:
    row, column = np.divmod(np.arange(30_000), 200)
    boxes = np.stack([column * 4, row * 4, column * 4 + 3, row * 4 + 3], axis=1).astype(np.float32)
    scores = np.random.default_rng(0).permutation(30_000).astype(np.float32)
    assert nms(boxes, scores).tolist() == np.argsort(-scores).tolist()
    assert nms(boxes, scores, max_kept=300).tolist() == np.argsort(-scores)[:300].tolist()


def test_mirrored_boxes_change_their_sides_and_keep_their_height_and_dtype() -> None:
    boxes = np.asarray([[1, 2, 4, 8], [0, 0, 10, 5]], np.float32)
    mirrored = mirror_boxes(boxes, 10)
    assert mirrored.tolist() == [[6, 2, 9, 8], [0, 0, 10, 5]]
    assert mirrored.dtype == np.float32
    assert mirror_boxes(mirrored, 10).tolist() == boxes.tolist()
