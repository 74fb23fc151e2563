"""How classes are put together to be scored, worked by hand; the figures are tested in the file beside it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from aerostat.evaluation import coco_protocol as protocol
from aerostat.evaluation.coco import ClassResult, CocoResult
from aerostat.evaluation.coco_protocol import DetectionColumns, TruthColumns, precision_and_recall


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ([], []),
        ([0], []),
        ([3, 3, 3], []),
        ([4, 6], []),
        ([4, 7], [(0, 1), (1, 2)]),
        ([6, 4, 1], [(0, 2), (2, 3)]),
        ([30, 1], [(0, 1), (1, 2)]),
        ([1, 30, 1, 9, 1], [(0, 1), (1, 2), (2, 4), (4, 5)]),
        ([10, 10, 0, 0, 1], [(0, 1), (1, 4), (4, 5)]),
    ],
)
def test_classes_are_scored_together_up_to_a_number_of_boxes(monkeypatch, counts, parts) -> None:
    """A single part is not announced."""
    told: list[range] = []
    monkeypatch.setattr(protocol, "track", lambda items, _: told.extend(items) or items)
    monkeypatch.setattr(protocol, "AT_ONCE", 10)
    labels = np.repeat(np.arange(len(counts)), counts)
    precision_and_recall(objects(labels), detections(labels[:0]), len(counts), (1,), progress=True)
    assert [(part.start, part.stop) for part in told] == parts


def objects(labels: np.ndarray) -> TruthColumns:
    """Objects of these classes, each on an image of its own."""
    boxes = np.tile([10.0, 10, 50, 50], (len(labels), 1))
    return TruthColumns(
        np.arange(len(labels)), labels, boxes, np.full(len(labels), 2500.0), np.zeros(len(labels), bool)
    )


def detections(labels: np.ndarray, scores: float = 0.9) -> DetectionColumns:
    """Detections where `objects` has objects."""
    boxes = np.tile([10.0, 10, 50, 50], (len(labels), 1))
    return DetectionColumns(np.arange(len(labels)), labels, boxes, np.full(len(labels), scores, np.float32))


def test_classes_scored_in_parts_have_the_figures_of_all_at_once(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 60)
    found = detections(np.where(rng.random(60) < 0.3, rng.integers(0, 5, 60), labels))
    found.score[:] = rng.random(60)
    whole = precision_and_recall(objects(labels), found, 5, (1, 10))
    monkeypatch.setattr(protocol, "AT_ONCE", 1)
    parts = precision_and_recall(objects(labels), found, 5, (1, 10))
    assert all((a == b).all() for a, b in zip(whole, parts, strict=True))
    recall = [np.mean(found.label[labels == k] == k) for k in range(5)]  # at COCO's largest limit
    np.testing.assert_allclose(whole[1][0, :, 0, 1], recall)


def columns(count: int) -> tuple[TruthColumns, DetectionColumns]:
    """One object of each class on an image of its own, found exactly."""
    return objects(np.arange(count)), detections(np.arange(count))


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


def test_tables_of_a_result_have_a_header_and_fit_a_terminal() -> None:
    rows = (ClassResult("cat", 0.25, -1.0, 3), ClassResult("a" * 60, 0.5, 0.75, 4))
    result = CocoResult(*[0.5] * 12, per_class=rows, images=1, instances=7, detections=2)
    assert max(map(len, result.render().splitlines()[13:])) == 80
    cells = re.findall(r"<(t[hd]|caption)[^>]*>(.*?)</", result._repr_html_())
    texts = [text for _, text in cells]
    assert texts[:3] == ["1 image, 7 instances, 2 detections", "COCO", "figure"]
    assert texts[3].startswith("Average Precision") and texts[4] == "0.500" and len(texts) == 3 + 24 + 12
    assert texts[-12:-4] == ["class", "instances", "AP", "AP50", "cat", "3", "0.250", "-"]
    assert [tag for tag, _ in cells].count("th") == 6
    both = replace(result, masks=replace(result, ap=0.625))
    page = both._repr_html_()
    assert page.index("<b>Boxes</b>") < page.index("0.500") < page.index("<b>Masks</b>") < page.index("0.625")
