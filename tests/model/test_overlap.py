"""Overlaps as tensors, worked by hand and by the published formula in plain Python."""

import math

import pytest
import torch

from aerostat.model.overlap import clip_boxes_to, generalized_iou, pairwise_iou

CASES = {
    "the same": ([0, 0, 10, 10], [0, 0, 10, 10], 1, 1),
    "half in x": ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3, 1 / 3),
    "half in y": ([0, 0, 10, 10], [0, 5, 10, 15], 1 / 3, 1 / 3),
    "a corner": ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, 1 / 7 - 2 / 9),
    "inside": ([0, 0, 10, 10], [2, 3, 4, 8], 0.1, 0.1),
    "apart in x": ([0, 0, 2, 2], [4, 0, 6, 2], 0, -1 / 3),
    "apart in y": ([0, 0, 2, 2], [0, 4, 2, 6], 0, -1 / 3),
    "apart in both": ([0, 0, 2, 2], [4, 4, 6, 6], 0, -28 / 36),
    "touching": ([0, 0, 2, 2], [2, 0, 4, 2], 0, 0),
    "no area, one place": ([3, 3, 3, 3], [3, 3, 3, 3], 0, 0),
    "no area, another place": ([0, 0, 0, 0], [2, 2, 2, 2], 0, -1),
    "a line beside a line": ([0, 0, 4, 0], [6, 0, 8, 0], 0, 0),
    "less than the smallest union": ([0, 0, 1e-4, 1e-4], [0, 0, 1e-4, 1e-4], 1e-2, 1e-2),
}
"""Two boxes, their IoU and their GIoU. The smallest area that is divided by is 1e-6."""


@pytest.mark.parametrize(("a", "b", "iou", "giou"), CASES.values(), ids=CASES.keys())
def test_overlaps_worked_by_hand(a, b, iou: float, giou: float) -> None:
    first, second = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    for left, right in ((first, second), (second, first)):
        assert pairwise_iou(left[None], right[None]).item() == pytest.approx(iou, abs=1e-6)
        assert generalized_iou(left, right).item() == pytest.approx(giou, abs=1e-5)


def test_all_pairs_of_all_images_are_compared() -> None:
    g = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 9, 2, generator=g) * 20
    boxes = torch.cat([corners, corners + torch.rand(3, 9, 2, generator=g) * 20], -1)
    table = pairwise_iou(boxes[:, :4], boxes[:, 4:])
    assert table.shape == (3, 4, 5)
    for image in range(3):
        for i in range(4):
            for j in range(5):
                ax1, ay1, ax2, ay2 = boxes[image, i].tolist()
                bx1, by1, bx2, by2 = boxes[image, 4 + j].tolist()
                both = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
                areas = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
                assert table[image, i, j].item() == pytest.approx(both / (areas - both), abs=1e-5)


def test_no_boxes_have_no_overlaps() -> None:
    assert pairwise_iou(torch.zeros(2, 0, 4), torch.zeros(2, 5, 4)).shape == (2, 0, 5)
    assert generalized_iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_the_gradient_moves_a_box_towards_its_target() -> None:
    box = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
    generalized_iou(box, torch.tensor([4.0, 4, 6, 6])).backward()
    assert (box.grad[2:] > 0).all() and all(map(math.isfinite, box.grad.tolist()))


def test_given_boxes_stay_as_they_are() -> None:
    a, b = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 2, 6, 6], [9, 9, 9, 9]])
    pairwise_iou(a, b)
    assert a.tolist() == [[0, 0, 4, 4]] and b.tolist() == [[2, 2, 6, 6], [9, 9, 9, 9]]


def test_corners_are_moved_into_the_image() -> None:
    boxes = torch.tensor([[[-3.0, -4, 50, 60], [1, 2, 3, 5]], [[0.5, 0.25, 20, 30], [45, 70, -1, 0.75]]])
    expected = [[[0, 0, 40, 50], [1, 2, 3, 5]], [[0.5, 0.25, 20, 30], [40, 50, 0, 0.75]]]
    assert clip_boxes_to(boxes, (40, 50)).tolist() == expected
