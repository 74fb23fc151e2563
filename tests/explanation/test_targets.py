"""What is asked to rise, on head outputs of four points worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from aerostat.explanation.targets import Subject, loss_target, score_target, share_lost

CONTENT = (64, 64)
BOX = (0.0, 0.0, 32.0, 32.0)
SCORES = (0.5, 0.25, 0.75, 0.9)
IOUS = (1.0, 1.0, 0.5, 0.0)
"""Of the four points of level 2 (stride 32) with the explained box."""
EVIDENCE = 0.5 + 0.25 + 0.5**4 * 0.75


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def outputs() -> tuple[list[Tensor], list[Tensor]]:
    """Return head outputs of two classes at 64 px; levels 0 and 1 are full of perfect scores."""
    cls = [torch.full((1, 2, side, side), 9.0) for side in (8, 4)]
    reg = [torch.full((1, 4, side, side), 16.0) for side in (8, 4)]
    last = torch.tensor([[logit(s) for s in SCORES], [9.0] * 4]).view(1, 2, 2, 2)
    # Points (0, 0), (32, 0), (0, 32), (32, 32): left, top, right, bottom to the box, to the box, to twice the
    # box, and to the opposite corner.
    distances = torch.tensor([[0, 0, 32, 32], [32, 0, 0, 32], [0, 32, 32, 32], [0, 0, 32, 32]]).float()
    cls, reg = [*cls, last], [*reg, distances.T.reshape(1, 4, 2, 2)]
    return [x.requires_grad_() for x in cls], [x.requires_grad_() for x in reg]


def subject(*boxes: tuple[float, ...], scores: tuple[float, ...] = ()) -> Subject:
    count = len(boxes)
    return Subject(
        torch.tensor(boxes),
        torch.zeros(count, dtype=torch.long),
        torch.full((count,), 2),
        torch.tensor(scores or (0.5,) * count),
    )


def test_the_score_target_is_the_agreeing_evidence_of_the_own_level_and_class() -> None:
    value = score_target(*outputs(), subject(BOX), CONTENT)
    assert value.tolist() == pytest.approx([math.log(0.5 + 0.25 + 0.5**4 * 0.75)])


def test_the_score_target_reaches_each_candidate_by_its_share_and_no_distance() -> None:
    cls, reg = outputs()
    score_target(cls, reg, subject(BOX), CONTENT).sum().backward()
    expected = [i**4 * s * (1 - s) / EVIDENCE for i, s in zip(IOUS, SCORES, strict=True)]
    assert cls[2].grad is not None
    assert cls[2].grad[0, 0].flatten().tolist() == pytest.approx(expected)
    assert not cls[2].grad[0, 1].any()  # the other class
    assert cls[0].grad is None and cls[1].grad is None
    assert all(x.grad is None for x in reg)


def test_candidates_that_stick_out_are_compared_as_detections_are_clipped() -> None:
    cls, reg = outputs()
    with torch.no_grad():
        reg[2][0, :2, 0, 0] = 500  # far out of the photograph at the left and top
    value = score_target(cls, reg, subject(BOX), CONTENT)
    assert value.tolist() == pytest.approx([math.log(EVIDENCE)])


def test_several_detections_are_weighted_so_that_their_log_odds_count_alike() -> None:
    cls, reg = outputs()
    both = subject(BOX, (32.0, 32.0, 64.0, 64.0), scores=(0.5, 0.9))  # weights 2 and 10, of mean 1
    assert both.weights.tolist() == pytest.approx([1 / 3, 5 / 3])
    value = score_target(cls, reg, both, CONTENT)
    assert value.tolist() == pytest.approx([math.log(EVIDENCE) / 3 + math.log(0.9) * 5 / 3], abs=1e-6)
    assert subject(BOX, scores=(0.999999,)).weights.tolist() == [1]


def test_a_batch_of_images_has_a_value_each() -> None:
    cls, reg = outputs()
    cls = [torch.cat([x, x - 1]) for x in cls]
    values = score_target(cls, [torch.cat([x, x]) for x in reg], subject(BOX), CONTENT)
    assert values.shape == (2,)
    assert values[1] < values[0]


def test_evidence_that_is_all_gone_is_a_number() -> None:
    cls, reg = outputs()
    value = score_target(cls, reg, subject((40.0, 0.0, 44.0, 4.0)), CONTENT)
    assert torch.isfinite(value).all()


def test_the_loss_target_asks_for_boxes_alone() -> None:
    cls, reg = outputs()
    with torch.no_grad():
        for level in range(2):
            reg[level] *= 0  # nothing on the other levels to match
    value = loss_target(cls, reg, subject((0.0, 0.0, 40.0, 40.0)))
    value.sum().backward()
    assert value.item() < 0
    assert all(x.grad is None or not x.grad.any() for x in cls)
    assert reg[2].grad is not None and reg[2].grad.any()


def test_the_share_lost_is_a_share_of_the_sum_for_scores_and_of_the_loss_for_losses() -> None:
    whole, left = torch.tensor([[math.log(0.8)]]), torch.tensor([[math.log(0.2), math.log(1.6)]])
    assert share_lost("score", whole, left)[0].tolist() == pytest.approx([0.75, -1.0])
    whole, left = torch.tensor([[-0.5]]), torch.tensor([[-1.0, -0.25]])
    assert share_lost("loss", whole, left)[0].tolist() == pytest.approx([1.0, -0.5])
