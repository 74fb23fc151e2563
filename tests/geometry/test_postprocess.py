"""What is kept of a network's proposals, by hand."""

import numpy as np
import pytest

from aerostat.geometry import postprocess
from aerostat.geometry.postprocess import Candidates, keep, select, suppress

SIDE = (32, 32)  # 16 + 4 + 1 points


def all_points(scores: dict[tuple[int, int], float]) -> tuple[np.ndarray, np.ndarray]:
    table = np.zeros((21, 2), np.float32)
    for (point, label), value in scores.items():
        table[point, label] = value
    boxes = np.arange(84, dtype=np.float32).reshape(21, 4)
    return table, boxes


def test_candidates_come_level_by_level_best_first():
    table, boxes = all_points(
        {(3, 0): 0.2, (5, 1): 0.9, (16, 1): 0.5, (19, 0): 0.6, (20, 0): 0.1, (0, 0): 0.05}
    )
    found = select(table, boxes, SIDE, score_threshold=0.05)
    np.testing.assert_allclose(found.scores, [0.9, 0.2, 0.6, 0.5, 0.1])
    assert found.labels.tolist() == [1, 0, 0, 1, 0]
    assert found.levels.tolist() == [0, 0, 1, 1, 2]
    assert found.points.tolist() == [5, 3, 3, 0, 0]
    np.testing.assert_array_equal(found.boxes_xyxy, boxes[[5, 3, 19, 16, 20]])


def test_a_point_may_be_of_several_classes_and_equal_scores_keep_their_order():
    table, boxes = all_points({(2, 0): 0.5, (2, 1): 0.5, (1, 1): 0.5})
    found = select(table, boxes, SIDE)
    assert list(zip(found.points.tolist(), found.labels.tolist(), strict=True)) == [
        (1, 1),
        (2, 0),
        (2, 1),
    ]


def test_each_level_has_a_number_of_its_own():
    table, boxes = all_points(
        {(0, 0): 0.5, (1, 0): 0.6, (2, 0): 0.7, (16, 0): 0.1, (17, 0): 0.2, (20, 0): 0.9}
    )
    found = select(table, boxes, SIDE, pre_nms=2)
    np.testing.assert_allclose(found.scores, [0.7, 0.6, 0.2, 0.1, 0.9])


def test_nothing_above_the_threshold_is_nothing():
    table, boxes = all_points({})
    found = select(table, boxes, SIDE)
    assert found.boxes_xyxy.shape == (0, 4)
    assert (found.labels.dtype, found.levels.dtype, found.points.dtype) == (np.int64,) * 3
    assert len(keep(found, SIDE).scores) == 0


@pytest.mark.parametrize("score", [0.5, 0.0])
def test_every_point_can_be_a_candidate(score):
    table = np.full((8400, 80), 0.75, np.float32)
    found = select(table, np.zeros((8400, 4), np.float32), (640, 640), score_threshold=score)
    assert np.bincount(found.levels).tolist() == [30000, 30000, 30000]


def test_boxes_are_clipped_to_the_content_and_those_of_which_nothing_is_left_go():
    boxes = Candidates(
        np.asarray([[-5, -5, 10, 10], [50, 0, 70, 10], [40, 0, 60, 20]], np.float32),
        np.asarray([0.9, 0.8, 0.7], np.float32),
        np.zeros(3, np.int64),
    )
    found = keep(boxes, (50, 15))
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 0, 10, 10], [40, 0, 50, 15]])
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


def test_suppression_is_within_a_class_and_the_best_are_kept():
    box = [0, 0, 10, 10]
    boxes = Candidates(
        np.asarray([box, box, box, [20, 20, 30, 30]], np.float32),
        np.asarray([0.5, 0.9, 0.8, 0.3], np.float32),
        np.asarray([0, 0, 1, 0]),
    )
    found = keep(boxes, SIDE)
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.3])
    assert len(keep(boxes, SIDE, max_detections=2).scores) == 2


def test_levels_of_an_input_that_is_not_square_have_as_many_points_as_it_has_cells():
    table = np.full((16 * 4 + 8 * 2 + 4 * 1, 1), 0.5, np.float32)
    found = select(table, np.zeros((len(table), 4), np.float32), (128, 32))
    assert np.bincount(found.levels).tolist() == [64, 16, 4]
    assert found.points.tolist() == [*range(64), *range(16), *range(4)]
    assert np.bincount(select(table, np.zeros((len(table), 4), np.float32), (32, 128)).levels).tolist() == [
        64,
        16,
        4,
    ]


def test_hundreds_of_equal_scores_keep_the_order_of_their_points():
    table = np.resize(np.asarray([0.5, 0.25, 0.75], np.float32), (1344, 1))
    found = select(table, np.zeros((1344, 4), np.float32), (256, 256))
    first = found.points[found.levels == 0].tolist()
    assert first == [*range(2, 1024, 3), *range(0, 1024, 3), *range(1, 1024, 3)]


def test_suppression_alone_keeps_the_best_of_each_class_and_place_as_they_are():
    boxes = Candidates(
        np.asarray([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32),
        np.asarray([0.5, 0.9, 0.8, 0.3], np.float32),
        np.asarray([0, 0, 1, 1]),
    )
    found = suppress(boxes)
    np.testing.assert_array_equal(found.boxes_xyxy, boxes.boxes_xyxy[[1, 2, 3]])
    np.testing.assert_array_equal(found.scores, boxes.scores[[1, 2, 3]])
    assert found.labels.tolist() == [0, 1, 1]
    assert len(suppress(boxes, nms_iou=0.95).scores) == 4
    assert len(suppress(boxes, max_detections=2).scores) == 2


def test_suppression_alone_keeps_three_hundred_unless_told_otherwise():
    corners = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 20
    scores = np.linspace(0.9, 0.1, 400, dtype=np.float32)
    boxes = Candidates(
        np.concatenate([corners, corners + 10], 1).astype(np.float32), scores, np.zeros(400, np.int64)
    )
    assert len(suppress(boxes).scores) == 300
    assert len(suppress(boxes, max_detections=None).scores) == 400
    assert len(keep(boxes, (400, 400)).scores) == 300


def test_without_a_word_the_settings_are_the_published_ones_for_ap():
    table, boxes = all_points({(0, 0): 0.0015, (1, 0): 0.0005, (2, 0): 0.001})
    assert select(table, boxes, SIDE).points.tolist() == [0]  # above 0.001, as float32 has it
    same = np.asarray([[0, 0, 100, 100], [0, 0, 100, 64], [0, 0, 100, 66]], np.float32)  # IoU 0.64 and 0.66
    found = keep(Candidates(same, np.asarray([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64)), (100, 100))
    np.testing.assert_allclose(found.scores, [0.9, 0.8])


def test_the_settings_of_networks_with_masks_are_the_published_ones():
    # MMDetection 3.3.0, rtmdet-ins_l_8xb32-300e_coco.py: nms_pre, max_per_img, iou_threshold, mask_thr_binary
    assert (postprocess.MASK_PRE_NMS, postprocess.MAX_MASKS) == (1000, 100)
    assert (postprocess.MASK_NMS_IOU, postprocess.MASK_THRESHOLD) == (0.6, 0.5)


def table_of(count: int, **more: object) -> Candidates:
    corners = np.arange(count, dtype=np.float32)[:, None] * 40
    return Candidates(
        np.concatenate([corners, corners, corners + 20, corners + 20], 1),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.zeros(count, np.int64),
        **more,
    )


def test_every_column_travels_with_its_box_through_suppression():
    same = table_of(1).boxes_xyxy.repeat(3, 0)
    boxes = Candidates(
        same,
        np.asarray([0.5, 0.9, 0.4], np.float32),
        np.asarray([0, 0, 1]),
        levels=np.asarray([0, 1, 2]),
        points=np.asarray([7, 8, 9]),
        columns={"coefficients": np.eye(3), "names": np.asarray(["a", "b", "c"])},
    )
    kept = keep(boxes, (100, 100))
    assert kept.labels.tolist() == [0, 1]
    assert [column.tolist() for column in kept.origin()] == [[1, 2], [8, 9]]
    assert kept.columns["coefficients"].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert kept.columns["names"].tolist() == ["b", "c"]


def test_parts_are_joined_in_order_with_the_columns_that_all_of_them_have():
    known = {"levels": np.zeros(2, np.int64), "points": np.arange(2), "columns": {"x": np.ones((2, 5))}}
    both = Candidates.concatenate([table_of(2, **known), table_of(2, **known)])
    assert len(both) == 4
    assert both.origin()[1].tolist() == [0, 1, 0, 1]
    assert both.columns["x"].shape == (4, 5)
    assert both.scores.tolist() == [*table_of(2).scores, *table_of(2).scores]
    with pytest.raises(ValueError, match="no levels"):
        Candidates.concatenate([table_of(2, **known), table_of(2, columns={"x": np.ones((2, 5))})]).origin()


@pytest.mark.parametrize("known", [{"levels": np.zeros(2, np.int64)}, {"points": np.arange(2)}, {}])
def test_candidates_without_levels_or_points_have_no_origin(known):
    with pytest.raises(ValueError, match="no levels and points"):
        table_of(2, **known).origin()
