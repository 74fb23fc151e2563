"""Weighted box fusion against cases worked by hand from Solovyev et al., arXiv:1910.13302."""

import numpy as np
import pytest

from aerostat.geometry.fusion import weighted_box_fusion


def fuse(*rows: tuple[float, ...], views: int, iou: float = 0.55):
    """Rows are x1, y1, x2, y2, score, label."""
    table = np.reshape(np.array(rows, float), (-1, 6))
    fused = weighted_box_fusion(
        table[:, :4], table[:, 4], table[:, 5].astype(int), views=views, iou_threshold=iou
    )
    return fused.boxes_xyxy, fused.scores, fused.labels


def test_two_views_of_one_object_become_their_weighted_mean():
    # IoU 100 / 120; y2 = (0.8 * 10 + 0.4 * 12) / 1.2; the score is the plain mean, times 2 / 2
    boxes, scores, labels = fuse((0, 0, 10, 10, 0.8, 0), (0, 0, 10, 12, 0.4, 0), views=2)
    np.testing.assert_allclose(boxes, [[0, 0, 10, 32 / 3]])
    np.testing.assert_allclose(scores, [0.6])
    assert labels.tolist() == [0]


@pytest.mark.parametrize(
    ("found_in", "views", "score"),
    [(1, 1, 0.6), (1, 2, 0.3), (1, 6, 0.1), (3, 6, 0.3), (6, 6, 0.6), (8, 6, 0.6)],
)
def test_the_score_is_the_mean_times_the_share_of_views_that_agree(found_in, views, score):
    rows = [(0, 0, 10, 10, 0.5 + 0.2 * (i % 2), 0) for i in range(found_in)] if found_in > 1 else []
    boxes, scores, _ = fuse(*(rows or [(0, 0, 10, 10, 0.6, 0)]), views=views)
    assert len(boxes) == 1
    expected = score if found_in == 1 or found_in % 2 == 0 else np.mean([0.5, 0.7, 0.5]) * 3 / 6
    np.testing.assert_allclose(scores, [expected])


def test_a_box_is_compared_with_the_fused_box_and_not_with_the_first_member():
    # [0, 10] and [0, 16]: 0.625, fused [0, 13]. [0, 20] overlaps that by 0.65, the first only by 0.5.
    boxes, scores, _ = fuse(
        (0, 0, 10, 1, 0.5, 0), (0, 0, 16, 1, 0.5, 0), (0, 0, 20, 1, 0.4, 0), views=3
    )  # fmt: skip
    np.testing.assert_allclose(boxes, [[0, 0, (5 + 8 + 8) / 1.4, 1]])
    np.testing.assert_allclose(scores, [1.4 / 3])


def test_a_box_joins_the_cluster_that_it_overlaps_most():
    # [0, 10] and [6, 16] overlap by 4 / 16; [5, 15] overlaps them by 5 / 15 and 9 / 11
    boxes, scores, _ = fuse(
        (0, 0, 10, 1, 0.9, 0), (6, 0, 16, 1, 0.8, 0), (5, 0, 15, 1, 0.4, 0), views=2, iou=0.3
    )
    np.testing.assert_allclose(
        boxes, [[(0.8 * 6 + 0.4 * 5) / 1.2, 0, (0.8 * 16 + 0.4 * 15) / 1.2, 1], [0, 0, 10, 1]]
    )
    np.testing.assert_allclose(scores, [0.6, 0.45])


def test_boxes_of_another_class_are_never_fused():
    boxes, scores, labels = fuse((0, 0, 10, 10, 0.8, 1), (0, 0, 10, 10, 0.9, 0), views=1)
    assert len(boxes) == 2
    assert labels.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [0.9, 0.8])


def test_an_overlap_of_exactly_the_threshold_is_not_enough():
    pair = (0, 0, 10, 1, 0.9, 0), (0, 0, 5, 1, 0.8, 0)  # 0.5
    assert len(fuse(*pair, views=2, iou=0.5)[0]) == 2
    assert len(fuse(*pair, views=2, iou=0.49)[0]) == 1


def test_no_boxes_are_no_boxes():
    boxes, scores, labels = fuse(views=6)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
    assert labels.dtype == np.int64


def test_scores_of_zero_and_boxes_without_area_give_numbers():
    boxes, scores, _ = fuse((0, 0, 10, 10, 0.0, 0), (0, 0, 10, 10, 0.0, 0), (3, 3, 3, 3, 0.5, 0), views=2)
    np.testing.assert_allclose(boxes, [[3, 3, 3, 3], [0, 0, 10, 10]])
    np.testing.assert_allclose(scores, [0.25, 0], atol=1e-12)


def test_a_crowd_that_all_views_agree_on_comes_back_itself():
    corners = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0)), -1).reshape(-1, 2) * 20
    boxes = np.concatenate([corners, corners + 10], 1)
    scores = np.linspace(1, 0.1, len(boxes))
    fused = weighted_box_fusion(
        np.tile(boxes, (6, 1)), np.tile(scores, 6), np.zeros(6 * len(boxes), int), views=6
    )
    np.testing.assert_allclose(fused.boxes_xyxy, boxes)
    np.testing.assert_allclose(fused.scores, scores)
    assert fused.best.tolist() == [*range(len(boxes))]


def test_each_fused_box_names_its_best_member_among_the_boxes_given():
    boxes = np.asarray([[0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 10, 11], [50, 0, 60, 11], [0, 0, 10, 10]])
    fused = weighted_box_fusion(
        boxes, np.asarray([0.4, 0.2, 0.5, 0.9, 0.1]), np.asarray([0, 1, 0, 1, 1]), views=1
    )
    assert fused.labels.tolist() == [1, 0, 1]
    assert fused.best.tolist() == [3, 2, 4]


def test_equal_scores_keep_the_order_in_which_they_came():
    corners = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 20
    boxes = np.concatenate([corners, corners + 10], 1)
    scores = np.resize([0.5, 0.25, 0.75], 400)
    fused = weighted_box_fusion(boxes, scores, np.zeros(400, int), views=1)
    expected = [*range(2, 400, 3), *range(0, 400, 3), *range(1, 400, 3)]
    np.testing.assert_allclose(fused.boxes_xyxy, boxes[expected])
    # of two classes with the same scores the lower one comes first
    fused = weighted_box_fusion(boxes, scores, np.arange(400) % 2, views=1)
    by_class = sorted(range(400), key=lambda i: (-scores[i], i % 2, i))
    np.testing.assert_allclose(fused.boxes_xyxy, boxes[by_class])
    assert fused.labels.tolist() == [i % 2 for i in by_class]


def test_what_was_fused_away_in_one_class_takes_no_place_in_another():
    boxes, scores, labels = fuse(
        (0, 0, 10, 10, 0.6, 0), (0, 0, 10, 10, 0.4, 0), (30, 30, 40, 40, 0.9, 1),
        (50, 50, 60, 60, 0.1, 1), views=1,
    )  # fmt: skip
    np.testing.assert_allclose(boxes, [[30, 30, 40, 40], [0, 0, 10, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.1])
    assert labels.tolist() == [1, 0, 1]


def test_each_box_knows_what_it_became_a_part_of():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 11, 10]]
    scores, labels = np.array([0.5, 0.3, 0.9, 0.8, 0.2, 0.4]), np.array([2, 0, 1, 1, 1, 2])
    fused = weighted_box_fusion(np.array(boxes, float), scores, labels, views=1, iou_threshold=0.55)
    np.testing.assert_allclose(fused.scores, [0.85, 0.45, 0.3, 0.2])
    assert fused.clusters.tolist() == [1, 2, 0, 0, 3, 1]
    assert fused.best.tolist() == [2, 0, 1, 4]
    nothing = weighted_box_fusion(np.zeros((0, 4)), scores[:0], labels[:0], views=1, iou_threshold=0.55)
    assert nothing.clusters.shape == (0,)
