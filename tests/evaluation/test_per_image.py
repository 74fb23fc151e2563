from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.evaluation.per_image import ImageResult, evaluate_image, image_evaluator
from aerostat.results.detections import Detections

CLASSES = ("balloon", "kite")
A, B = (10.0, 10.0, 50.0, 50.0), (60.0, 10.0, 100.0, 50.0)


def image(*objects: Instance, path: str = "a.png") -> ImageRecord:
    return ImageRecord(Path(path), path, 120, 80, objects)


def found(*rows: tuple[tuple[float, float, float, float], int]) -> Detections:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.4, len(rows)).astype(np.float32)
    return Detections(boxes, scores, np.array([label for _, label in rows], np.int64), CLASSES)


SHIFTED = (10.0, 10.0, 50.0, 29.0)  # IoU 19 / 40 with A: below a half
HALF = (10.0, 10.0, 50.0, 30.0)  # exactly a half


@pytest.mark.parametrize(
    ("objects", "detections", "verdict", "words"),
    [
        ([], [], ImageResult(0, 0, 0), "correct"),
        ([(A, 0)], [(A, 0)], ImageResult(1, 0, 0), "correct"),
        ([(A, 0)], [(HALF, 0)], ImageResult(1, 0, 0), "correct"),
        ([(A, 0)], [(SHIFTED, 0)], ImageResult(0, 1, 1), "1 missed, 1 false"),
        ([(A, 0)], [(A, 1)], ImageResult(0, 1, 1), "1 missed, 1 false"),
        ([(A, 0), (B, 0)], [(A, 0)], ImageResult(1, 1, 0), "1 missed"),
        ([(A, 0)], [(A, 0), (A, 0)], ImageResult(1, 0, 1), "1 false"),
        ([], [(A, 0)], ImageResult(0, 0, 1), "1 false"),
        ([(A, 0)], [], ImageResult(0, 1, 0), "1 missed"),
    ],
)
def test_right_is_every_object_once_and_nothing_else(objects, detections, verdict, words: str) -> None:
    record = image(*(Instance(box, label) for box, label in objects))
    result = evaluate_image(record, found(*detections), CLASSES)
    assert (result, str(result), result.right) == (verdict, words, words == "correct")


def test_a_crowd_need_not_be_found_and_what_lies_in_it_is_not_false() -> None:
    record = image(Instance(A, 0), Instance(B, 0, crowd=True))
    assert evaluate_image(record, found((A, 0)), CLASSES) == ImageResult(1, 0, 0)
    assert evaluate_image(record, found((A, 0), (B, 0)), CLASSES) == ImageResult(1, 0, 0)


def test_classes_that_are_not_annotated_do_not_count() -> None:
    record = image(Instance(A, 0))
    assert evaluate_image(record, found((A, 0), (B, 1)), ("balloon",)) == ImageResult(1, 0, 0)


def test_photographs_are_known_by_their_path_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    record = image(Instance(A, 0), path=str(tmp_path / "album" / "a.png"))
    data = Dataset(("balloon",), {"val": Split("val", ("balloon",), (1,), (record,))})
    evaluate = image_evaluator(data, CLASSES)
    assert evaluate(tmp_path / "album" / ".." / "album" / "a.png", found((A, 0))) == ImageResult(1, 0, 0)
    assert evaluate(tmp_path / "a.png", found((A, 0))) is None


def test_annotations_of_classes_that_the_detector_does_not_know_are_refused() -> None:
    data = Dataset(("zebra",), {})
    with pytest.raises(InputError, match=r"balloon, kite.*annotated with zebra"):
        image_evaluator(data, CLASSES)
