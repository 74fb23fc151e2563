"""The confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.confusion import Confusion, confusion_matrix
from aerostat.results.detections import Detections

CLASSES = ("cat", "dog")
A, B, C = (0.0, 0.0, 100.0, 100.0), (200.0, 0.0, 300.0, 100.0), (400.0, 0.0, 500.0, 100.0)


def image(*objects: tuple[tuple[float, ...], int], crowd: bool = False) -> ImageRecord:
    instances = tuple(Instance(box, label, crowd=crowd) for box, label in objects)
    return ImageRecord(Path("a.jpg"), "a.jpg", 640, 480, instances)


def found(*rows: tuple[tuple[float, ...], int, float], classes: tuple[str, ...] = CLASSES) -> Detections:
    return Detections([r[0] for r in rows], [r[2] for r in rows], [r[1] for r in rows], classes)


def counts(
    record: ImageRecord, detections: Detections, classes: tuple[str, ...] = CLASSES
) -> list[list[int]]:
    return confusion_matrix([record], [detections], classes).counts.tolist()


@pytest.mark.parametrize(
    ("objects", "rows", "expected"),
    [
        ([], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, 0)], [], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([], [(A, 1, 0.9)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
        ([], [(A, 1, 0.2)], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),  # below the score
        ([(A, 0), (B, 1)], [(A, 0, 0.9), (B, 1, 0.9)], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        ([(A, 0), (B, 0), (C, 1)], [(A, 1, 0.9), (B, 0, 0.9)], [[1, 1, 0], [0, 0, 1], [0, 0, 0]]),
        # the better score takes the object, the other one is left with the background
        ([(A, 0)], [(A, 0, 0.5), (A, 1, 0.9)], [[0, 1, 0], [0, 0, 0], [1, 0, 0]]),
        # of two objects in one place that of the same class
        ([(A, 0), (A, 1)], [(A, 0, 0.9), (A, 1, 0.8)], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        ([(A, 1), (A, 0)], [(A, 0, 0.9), (A, 1, 0.8)], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        # IoU 0.4 is not enough
        ([(A, 0)], [((0, 0, 100, 40), 0, 0.9)], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
    ],
)
def test_hand_worked_matrices(objects: list, rows: list, expected: list[list[int]]) -> None:
    assert counts(image(*objects), found(*rows)) == expected


def test_one_class_gives_found_missed_and_false() -> None:
    detections = found((A, 0, 0.9), (C, 0, 0.9), classes=("cat",))
    assert counts(image((A, 0), (B, 0)), detections, ("cat",)) == [[1, 1], [1, 0]]


def test_crowd_regions_are_left_out_with_what_lies_in_them() -> None:
    record = image((A, 0), crowd=True)
    assert counts(record, found((A, 0, 0.9), ((0, 0, 50, 50), 0, 0.8))) == [[0] * 3] * 3
    assert counts(record, found((A, 1, 0.9)))[2] == [0, 1, 0]


def test_rows_sum_to_the_objects_and_columns_to_the_detections() -> None:
    rng = np.random.default_rng(0)
    images, detections = [], []
    for _ in range(20):
        corners = rng.uniform(0, 300, (15, 2)).tolist()
        boxes = [(x, y, x + 80, y + 60) for x, y in corners]
        images.append(image(*((box, int(rng.integers(2))) for box in boxes[:10])))
        rows = [((x + 5, y, x + 80, y + 60), int(rng.integers(2)), rng.uniform(0.3, 1)) for x, y in corners]
        detections.append(found(*rows))
    matrix = confusion_matrix(images, detections, CLASSES).counts
    objects = np.bincount([i.label for record in images for i in record.instances])
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), objects)
    np.testing.assert_array_equal(
        matrix[:, :-1].sum(axis=0), np.bincount(np.r_[*(d.labels for d in detections)])
    )
    assert matrix[-1, -1] == 0


def test_confused_pairs_come_with_their_share_the_commonest_first() -> None:
    matrix = Confusion(
        ("a", "b", "c"), np.array([[5, 1, 0, 0], [0, 2, 7, 1], [0, 1, 1, 0], [9, 9, 9, 0]]), 0.3
    )
    assert matrix.confused() == [("b", "c", 7, 10), ("a", "b", 1, 6), ("c", "b", 1, 2)]


def test_the_most_confused_of_many_classes_stay_in_their_order() -> None:
    counts = np.zeros((501, 501), np.int64)
    counts[400, 30], counts[7, 8], counts[100, -1], counts[-1, 200] = 5, 2, 50, 60
    matrix = Confusion(tuple(f"c{k}" for k in range(500)), counts, 0.3)
    small = matrix.most_confused(6)
    assert small.classes == ("c7", "c8", "c30", "c100", "c200", "c400")
    assert small.counts.shape == (7, 7)
    assert small.counts[5, 2] == 5 and small.counts[3, 6] == 50 and small.counts[6, 4] == 60
    assert matrix.most_confused(500) is matrix


def test_no_images_give_an_empty_matrix() -> None:
    assert confusion_matrix([], [], CLASSES).counts.tolist() == [[0] * 3] * 3
    assert confusion_matrix([], [], CLASSES).confused() == []


def test_a_notebook_shows_the_matrix_with_escaped_names() -> None:
    record = image((A, 0), (B, 1))
    matrix = confusion_matrix([record], [found((A, 1, 0.9), classes=("<b>", "dog"))], ("<b>", "dog"))
    assert repr(matrix) == "Confusion(2 classes, 1 object found as another class)"
    assert "<b>" not in matrix._repr_html_() and "&lt;b&gt;" in matrix._repr_html_()
    assert matrix.to_dict() == {"classes": ["<b>", "dog"], "counts": matrix.counts.tolist(), "score": 0.3}
