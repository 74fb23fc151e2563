"""Which labels a detector disputes, in hand-worked scenes."""

from pathlib import Path

import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.label_issues import find_label_issues
from aerostat.results.detections import Detections

CLASSES = ("cat", "dog")
A, B, C = (0.0, 0.0, 100.0, 100.0), (200.0, 0.0, 300.0, 100.0), (400.0, 0.0, 420.0, 20.0)
NEXT, BETWEEN = (60.0, 0.0, 160.0, 100.0), (25.0, 0.0, 125.0, 100.0)  # IoU 0.6 with A, 0.48 with NEXT
SHIFTED = (50.0, 0.0, 150.0, 100.0)  # IoU 1/3 with A


def image(*objects, name="a.jpg", crowd=False) -> ImageRecord:
    return ImageRecord(
        Path(name), name, 640, 480, tuple(Instance(b, label, crowd=crowd) for b, label in objects)
    )


def found(*rows) -> Detections:
    return Detections([r[0] for r in rows], [r[2] for r in rows], [r[1] for r in rows], CLASSES)


@pytest.mark.parametrize(
    ("objects", "rows", "expected"),
    [
        ([], [], []),
        ([(A, 0)], [(A, 0, 0.9)], []),
        ([(A, 0)], [(A, 0, 0.9), (B, 1, 0.9)], [("unlabelled", None)]),
        ([(A, 0)], [(A, 0, 0.9), (B, 1, 0.5)], []),  # not sure enough
        ([(A, 0)], [(A, 1, 0.9)], [("class", 0)]),
        ([(A, 0)], [(A, 1, 0.9), (A, 0, 0.95)], []),  # its own class, too: that label stands
        ([(A, 0)], [], [("unseen", 0)]),
        ([(A, 0)], [(A, 0, 0.04)], [("unseen", 0)]),
        ([(A, 0)], [(A, 0, 0.06)], []),
        ([(A, 0)], [(SHIFTED, 0, 0.9)], []),  # a loose box is another matter
        ([(A, 0)], [(SHIFTED, 1, 0.9)], []),
        ([(C, 0), (A, 1)], [], [("unseen", 1), ("unseen", 0)]),  # the larger one first
        ([(A, 0), (NEXT, 0)], [(BETWEEN, 0, 0.95)], []),  # it overlaps both
        ([(A, 0), (NEXT, 0)], [(BETWEEN, 0, 0.04)], [("unseen", 0), ("unseen", 1)]),
    ],
)
def test_hand_worked_scenes(objects, rows, expected):
    result = find_label_issues([image(*objects)], [found(*rows)], CLASSES)
    assert [(d.kind, d.instance) for d in result] == expected


def test_the_surest_come_first_over_all_images_and_say_what_they_are_about():
    images = [image((A, 0), name="a.jpg"), image((B, 1), name="b.jpg")]
    found_on = [found((A, 1, 0.7)), found((B, 1, 0.9), (A, 0, 0.8))]
    first, second = find_label_issues(images, found_on, CLASSES)
    assert (first.file_name, first.kind, first.detected, first.annotated) == (
        "b.jpg",
        "unlabelled",
        "cat",
        None,
    )
    assert first.box_xyxy == A and first.score == pytest.approx(0.8)
    assert (second.file_name, second.kind, second.detected, second.annotated) == (
        "a.jpg",
        "class",
        "dog",
        "cat",
    )


def test_crowd_regions_are_disputed_by_nobody():
    assert find_label_issues([image((A, 0), crowd=True)], [found((A, 0, 0.9))], CLASSES) == []
    assert find_label_issues([image((A, 0), crowd=True)], [found()], CLASSES) == []
    assert find_label_issues([], [], CLASSES) == []
