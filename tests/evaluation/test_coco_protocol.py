"""How classes are put together to be scored, worked by hand; the figures are tested in the file beside it."""

import numpy as np
import pytest

from aerostat.evaluation import coco_protocol as protocol
from aerostat.evaluation.coco import CocoResult
from aerostat.evaluation.coco_protocol import Found, Truth, precision_and_recall


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ([], []),
        ([0], [(0, 1)]),
        ([3, 3, 3], [(0, 3)]),
        ([4, 6], [(0, 2)]),
        ([4, 7], [(0, 1), (1, 2)]),
        ([6, 4, 1], [(0, 2), (2, 3)]),
        ([30, 1], [(0, 1), (1, 2)]),
        ([1, 30, 1, 9, 1], [(0, 1), (1, 2), (2, 4), (4, 5)]),
        ([10, 10, 0, 0, 1], [(0, 1), (1, 4), (4, 5)]),
    ],
)
def test_classes_are_scored_together_up_to_a_number_of_boxes(monkeypatch, counts, parts) -> None:
    monkeypatch.setattr(protocol, "AT_ONCE", 10)
    found = list(protocol._parts(np.asarray(counts, np.int64)))
    assert [(part.start, part.stop) for part in found] == parts


def test_the_rows_of_some_classes_are_theirs_alone_in_their_own_order() -> None:
    rows = protocol._by_class(np.asarray([2, 0, 1, 2, 1, 0, 3]), 4)
    assert rows.places(range(1, 2)).tolist() == [2, 4]
    assert rows.places(range(1, 3)).tolist() == [2, 4, 0, 3]
    assert rows.places(range(0, 4)).tolist() == [1, 5, 2, 4, 0, 3, 6]


def columns(count: int) -> tuple[Truth, Found]:
    """One object of each class on an image of its own, found exactly."""
    numbers, boxes = np.arange(count), np.tile([10.0, 10, 50, 50], (count, 1))
    truth = Truth(numbers, numbers, boxes, np.full(count, 2500.0), np.zeros(count, bool))
    return truth, Found(numbers, numbers, boxes, np.full(count, 0.9, np.float32))


@pytest.mark.parametrize(("at_once", "told"), [(4, []), (2, ["scoring classes"]), (1, ["scoring classes"])])
def test_how_far_it_is_is_told_from_two_parts_on_if_it_is_asked_for(monkeypatch, at_once: int, told) -> None:
    said: list[str] = []
    monkeypatch.setattr(protocol, "track", lambda items, title: said.append(title) or items)
    monkeypatch.setattr(protocol, "AT_ONCE", at_once)
    precision, recall = precision_and_recall(*columns(2), 2, (1, 10))
    assert said == []
    assert precision_and_recall(*columns(2), 2, (1, 10), progress=True)[0].shape == (10, 101, 2, 4, 2)
    assert said == told
    assert (precision[:, :, :, 0] == 1).all() and (recall[:, :, 2] == 1).all()
    assert (precision[:, :, :, 1] == -1).all() and (
        recall[:, :, 3] == -1
    ).all()  # nothing small, nothing large


def test_a_result_made_by_hand_has_left_nothing_out_and_cocos_limits() -> None:
    result = CocoResult(*[0.5] * 12, per_class=(), images=1, instances=1, detections=1)
    assert (result.left_out, result.max_dets) == (0, (1, 10, 100))
    assert "left out" not in result.render()
