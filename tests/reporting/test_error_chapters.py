"""The chapters about precision and recall, confusion, and mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.images.location import Location
from aerostat.images.read import read_image
from aerostat.reporting import Chapter, write_report
from aerostat.reporting.error_chapters import error_chapters
from aerostat.results.detections import Detections

CLASSES = ("cat", "dog")
A, B = (20.0, 20.0, 120.0, 120.0), (200.0, 20.0, 300.0, 120.0)


def image(*objects: tuple[tuple[float, ...], int], name: str = "a") -> ImageRecord:
    instances = tuple(Instance(box, label, area=1e4) for box, label in objects)
    return ImageRecord(Path(f"{name}.jpg"), f"{name}.jpg", 400, 300, instances)


def found(*rows: tuple[tuple[float, ...], int, float], classes: tuple[str, ...] = CLASSES) -> Detections:
    return Detections([r[0] for r in rows], [r[2] for r in rows], [r[1] for r in rows], classes)


def grey(_: Location) -> np.ndarray:
    return np.full((300, 400, 3), 128, np.uint8)


def chapters(
    images: list, detections: list, classes: tuple[str, ...] = CLASSES, **more: object
) -> list[Chapter]:
    return error_chapters(images, detections, classes, **{"read": grey, **more})


def text(made: list[Chapter]) -> str:
    return "\n".join(paragraph for chapter in made for paragraph in chapter.paragraphs)


def figures(made: list[Chapter]) -> int:
    return sum(len(chapter.figures) for chapter in made)


def cells(made: list[Chapter], title: str) -> dict[str, tuple[str, ...]]:
    chapter = next(chapter for chapter in made if chapter.title == title)
    return {row[0]: tuple(row) for row in chapter.tables[0].rows}


def test_a_split_with_mistakes_has_three_chapters_that_make_a_page(tmp_path: Path) -> None:
    images = [image((A, 0), (B, 1)), image((A, 1), name="b")]
    detections = [found((A, 0, 0.9), (B, 0, 0.8)), found((B, 1, 0.7))]
    made = chapters(images, detections)
    assert [chapter.title for chapter in made] == [
        "Precision and recall",
        "Confusion matrix",
        "Kinds of error",
    ]
    kinds = cells(made, "Kinds of error")
    assert {name: row[1] for name, row in kinds.items()} == {
        **{"classification": "1", "background": "1", "missed": "1"},
        **{"localisation": "0", "duplicate": "0", "both": "0"},
    }
    captions = [figure.caption for figure in made[2].figures]
    assert any(c.startswith("a.jpg. Classification: cat 80% on dog, IoU 1.00") for c in captions)
    assert any(c.startswith("b.jpg. Background: dog 70%, touches no object") for c in captions)
    assert any(c.startswith("b.jpg. Missed: dog") for c in captions)
    assert cells(made, "Confusion matrix") == {"dog": ("dog", "cat", "1", "0.50")}
    page = write_report(tmp_path / "page.html", title="t", chapters=made)
    assert page.stat().st_size < 1_000_000


def test_the_best_score_and_what_it_gives_are_said() -> None:
    made = chapters([image((A, 0), (B, 0))], [found((A, 0, 0.9), (B, 0, 0.41), ((20, 200, 90, 290), 0, 0.2))])
    assert "A score threshold of 0.41 gives the best balance (F1 1.00)" in text(made)
    made = chapters([image((A, 0), (B, 0))], [found((A, 0, 0.9), ((20, 200, 90, 290), 0, 0.5))])
    assert "threshold of 0.90 gives" in text(made) and "precision 1.00" in text(made)
    assert "At 0.3, above which pictures show detections, precision is 0.50 and recall 0.50." in text(made)


def test_of_many_classes_those_without_objects_have_no_row() -> None:
    many = tuple(f"class {k}" for k in range(500))
    made = chapters([image((A, 7), (B, 3))], [found((A, 7, 0.9), classes=many)], many)
    assert list(cells(made, "Precision and recall")) == ["class 3", "class 7"]
    assert made[0].tables[0].caption == "By class, the lowest 2 of 500"


@pytest.mark.parametrize(
    ("images", "detections", "says", "pictures"),
    [
        ([], [], "", 0),
        ([image()], [found()], "neither annotated objects nor detections: no errors.", 0),
        ([image()], [found((A, 0, 0.9))], "all are errors", 3),
        ([image((A, 0))], [found()], "There are no detections: precision and recall are 0", 3),
        ([image((A, 0))], [found((A, 0, 0.1))], "there are no detections", 4),
        ([image((A, 0))], [found((B, 0, 0.9))], "No detection finds an object", 4),
        ([image((A, 0)), image()], [found((A, 0, 0.9)), found()], "no errors: each of 1 object", 2),
    ],
    ids=[
        "no images",
        "empty",
        "no objects",
        "no detections",
        "all below the score",
        "all wrong",
        "all right",
    ],
)
def test_where_there_is_nothing_to_show_the_chapters_say_so(
    images: list, detections: list, says: str, pictures: int, tmp_path: Path
) -> None:
    made = chapters(images, detections)
    assert says in text(made)
    assert figures(made) == pictures
    assert bool(made) == bool(images)
    write_report(tmp_path / "page.html", title="t", chapters=made)


def test_with_one_class_nothing_is_said_of_confusion_between_classes() -> None:
    made = chapters([image((A, 0))], [found((A, 0, 0.9), (B, 0, 0.8), classes=("cat",))], ("cat",))
    assert set(cells(made, "Kinds of error")) == {"localisation", "duplicate", "background", "missed"}
    assert "another class" not in text(made)
    assert [len(chapter.tables) for chapter in made] == [0, 0, 1]


def test_kinds_come_in_the_order_of_what_they_cost() -> None:
    rows = [((10.0 * i, 200, 10.0 * i + 9, 260), 0, 0.95) for i in range(9)]  # before the right one
    made = chapters([image((A, 0))], [found(*rows, (A, 0, 0.9), (A, 0, 0.8))], ("cat", "dog"))
    kinds = cells(made, "Kinds of error")
    assert next(iter(kinds)) == "background"
    assert kinds["background"][1:3] == ("9", "0.900")  # precision 1/10 without, 1 with all of them gone


def test_no_more_pictures_than_asked_for() -> None:
    images = [image(name=str(i)) for i in range(9)]
    detections = [found((A, 0, 0.5 + i / 100)) for i in range(9)]
    made = chapters(images, detections, pictures=2)
    assert [f.caption[:5] for f in made[-1].figures[1:]] == ["8.jpg", "7.jpg"]
    assert len(chapters(images, detections, pictures=0)[-1].figures) == 1


def test_an_image_that_cannot_be_read_is_left_out_with_a_sentence() -> None:
    def lost(location: Location) -> np.ndarray:
        if location.name == "a.jpg":
            raise InputError("Expected an image, found nothing: a.jpg.")
        return grey(location)

    made = chapters([image(), image(name="b")], [found((A, 0, 0.9)), found((B, 0, 0.8))], read=lost)
    assert "A picture is left out: expected an image, found nothing: a.jpg." in text(made)
    assert [f.caption[:5] for f in made[-1].figures[1:]] == ["b.jpg"]


def test_of_many_classes_the_ones_that_matter_are_shown() -> None:
    classes = tuple(f"c{k}" for k in range(500))
    images = [image((A, k), name=str(k)) for k in range(0, 500, 5)]
    detections = [
        found((A, k, 0.9) if k % 10 else (A, k + 1, 0.9), classes=classes) for k in range(0, 500, 5)
    ]
    made = chapters(images, detections, classes)
    assert "the 12 most confused of 500 classes" in text(made)
    assert all(len(table.rows) <= 20 for chapter in made for table in chapter.tables)
    assert made[0].tables[0].caption == "By class, the lowest 20 of 500"


def test_figures_of_the_chapters_are_those_of_the_balloon_photographs(balloon: Path, tmp_path: Path) -> None:
    split = Dataset.read(balloon, classes=["balloon"]).split("val")
    rng = np.random.default_rng(0)
    detections = []
    for record in split.images:
        boxes = record.boxes_xyxy() + rng.normal(0, 12, (len(record.instances), 4)).astype(np.float32)
        boxes[:, 2:] = np.maximum(boxes[:, :2] + 1, boxes[:, 2:])
        detections.append(Detections(boxes, rng.uniform(0.2, 1, len(boxes)), [0] * len(boxes), split.classes))
    made = error_chapters(split.images, detections, split.classes, pictures=1, read=read_image)
    said = re.search(r"(\d+) of 50 objects are found", text(made))
    assert said and 20 < int(said.group(1)) < 50
    assert write_report(tmp_path / "page.html", title="t", chapters=made).stat().st_size < 2_000_000
