"""From raw outputs to boxes, on cases worked by hand: points, clipping, thresholds, limits, ties."""

import numpy as np
import pytest
import torch

from aerostat.model import candidate_boxes, decode


def outputs(classes=2, size=64, logit=-20.0, distance=4.0):
    cls = [torch.full((1, classes, size // s, size // s), logit) for s in (8, 16, 32)]
    reg = [torch.full((1, 4, size // s, size // s), distance) for s in (8, 16, 32)]
    return cls, reg


def test_a_point_is_its_cells_corner_and_its_distances_are_left_top_right_bottom():
    cls, reg = outputs()
    cls[1][0, 1, 2, 3] = 0.0  # level of stride 16, row 2, column 3: the point (48, 32)
    reg[1][0, :, 2, 3] = torch.tensor([5.0, 6, 7, 8])
    (found,) = decode(cls, reg, [(64, 64)])
    assert found.boxes_xyxy.tolist() == [[43, 26, 55, 40]]
    assert found.scores.tolist() == [0.5]
    assert found.labels.tolist() == [1]


def test_boxes_are_clipped_to_the_content_and_what_lies_in_the_padding_goes():
    cls, reg = outputs()
    cls[0][0, 0, 0, 0] = cls[0][0, 0, 0, 7] = 0.0  # the points (0, 0) and (56, 0)
    (found,) = decode(cls, reg, [(40, 64)])
    assert found.boxes_xyxy.tolist() == [[0, 0, 4, 4]]


def test_a_score_at_the_threshold_is_no_detection():
    cls, reg = outputs(logit=0.0)
    assert len(decode(cls, reg, [(64, 64)], score_threshold=0.5)[0].scores) == 0
    assert len(decode(cls, reg, [(64, 64)], score_threshold=0.49)[0].scores) > 0


def test_one_point_may_be_of_several_classes():
    cls, reg = outputs(classes=3)
    cls[2][0, :, 0, 0] = torch.tensor([1.0, 2, -20])
    (found,) = decode(cls, reg, [(64, 64)])
    assert found.labels.tolist() == [1, 0]
    assert found.scores == pytest.approx([0.880797, 0.731059], abs=1e-6)  # 1 / (1 + e^-2), 1 / (1 + e^-1)


def test_the_best_candidates_of_each_level_come_to_suppression():
    cls, reg = outputs(classes=1)
    for level in range(3):
        cls[level][0, 0].view(-1)[:4] = torch.tensor([0.1, 0.4, 0.2, 0.3])
    candidates = candidate_boxes([x[0] for x in cls], [x[0] for x in reg], pre_nms=2)
    scores = torch.tensor([0.4, 0.3] * 3).sigmoid().numpy()
    assert np.allclose(candidates.scores, scores)
    assert candidates.boxes_xyxy[:, 0].tolist() == [8 - 4, 24 - 4, 16 - 4, 48 - 4, 32 - 4, 32 - 4]


def test_equal_scores_keep_the_order_of_the_points():
    cls, reg = outputs(classes=1, distance=2.0)
    cls[0][0, 0, 0, 2:5] = 1.0
    (found,) = decode(cls, reg, [(64, 64)])
    assert found.boxes_xyxy[:, 0].tolist() == [14, 22, 30]
    (first,) = decode(cls, reg, [(64, 64)], max_detections=1)
    assert first.boxes_xyxy[:, 0].tolist() == [14]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nothing_above_the_threshold_gives_empty_arrays(dtype):
    cls, reg = outputs()
    (found,) = decode([x.to(dtype) for x in cls], [x.to(dtype) for x in reg], [(64, 64)])
    assert found.boxes_xyxy.shape == (0, 4) and found.boxes_xyxy.dtype == np.float32
    assert found.scores.shape == found.labels.shape == (0,)
    assert found.labels.dtype == np.int64


def test_a_detection_has_the_level_and_the_point_that_predicted_it() -> None:
    cls = [torch.full((1, 2, side, side), -9.0) for side in (8, 4, 2)]
    reg = [torch.full((1, 4, side, side), 6.0) for side in (8, 4, 2)]
    cls[0][0, 1, 3, 5], cls[2][0, 0, 1, 0] = 2.0, 3.0  # row 3, column 5 of stride 8; row 1, column 0 of 32
    (detections,) = decode(cls, reg, [(64, 64)], score_threshold=0.5)
    assert detections.levels.tolist() == [2, 0]
    assert detections.points.tolist() == [1 * 2 + 0, 3 * 8 + 5]
    assert detections.boxes_xyxy.tolist() == [[0, 26, 6, 38], [34, 18, 46, 30]]
    (none,) = decode(cls, reg, [(64, 64)], score_threshold=0.99)
    assert len(none.levels) == len(none.points) == 0


def test_hundreds_of_equal_scores_keep_the_order_of_their_points():
    cls, reg = outputs(classes=1, size=256)
    cls[0][0, 0] = torch.tensor([0.5, -0.5, 1.5]).repeat(342)[:1024].reshape(32, 32)
    candidates = candidate_boxes([x[0] for x in cls], [x[0] for x in reg], score_threshold=0.1)
    order = [*range(2, 1024, 3), *range(0, 1024, 3), *range(1, 1024, 3)]
    expected = [[i % 32 * 8 - 4, i // 32 * 8 - 4, i % 32 * 8 + 4, i // 32 * 8 + 4] for i in order]
    assert candidates.boxes_xyxy.tolist() == expected
