"""The chapter about masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.evaluation.coco import evaluate_detections
from aerostat.geometry.masks import Masks
from aerostat.images.location import Location
from aerostat.images.read import read_image
from aerostat.reporting import Chapter, write_report
from aerostat.reporting.mask_chapters import mask_chapters
from aerostat.results.detections import Detections

CLASSES = ("cat", "dog")
SIZE = (400, 300)
BOX = (20.0, 20.0, 120.0, 120.0)
OTHER = (200.0, 20.0, 300.0, 120.0)


def part(box: tuple[float, ...], share: float) -> np.ndarray:
    """Return the outline of the upper part of a box."""
    x1, y1, x2, y2 = box
    low = y1 + share * (y2 - y1)
    return np.asarray([(x1, y1), (x2, y1), (x2, low), (x1, low)])


def image(*objects: tuple[tuple[float, ...], int], name: str = "a", only_boxes: bool = False) -> ImageRecord:
    instances = [
        Instance(box, label, () if only_boxes else (part(box, 1.0),), area=1e4) for box, label in objects
    ]
    return ImageRecord(Path(f"{name}.jpg"), f"{name}.jpg", *SIZE, tuple(instances))


def found(
    *rows: tuple[tuple[float, ...], float, int, float], classes: tuple[str, ...] = CLASSES
) -> Detections:
    """Return detections of a box, the share of it that the mask covers, a label and a score."""
    return Detections(
        np.reshape([row[0] for row in rows], (-1, 4)),
        [row[3] for row in rows],
        [row[2] for row in rows],
        classes,
        masks=Masks.from_polygons([[part(box, share)] for box, share, *_ in rows], SIZE),
    )


def grey(_: Location) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)


def chapters(
    images: list[ImageRecord],
    detections: list[Detections],
    classes: tuple[str, ...] = CLASSES,
    **more: object,
) -> list[Chapter]:
    return mask_chapters(images, detections, classes, **{"read": grey, **more})


def test_the_chapter_has_figures_of_masks_and_boxes_and_their_errors(tmp_path: Path) -> None:
    images = [image((BOX, 0), (OTHER, 1)), image((BOX, 1), name="b")]
    detections = [found((BOX, 0.4, 0, 0.9), (OTHER, 0.9, 1, 0.8)), found((BOX, 0.6, 1, 0.7))]
    (chapter,) = chapters(images, detections)
    result = evaluate_detections(images, detections, CLASSES)
    assert chapter.title == "Masks"
    assert f"Mask AP is {result.masks.ap:.3f}, box AP 1.000." in chapter.paragraphs[0]
    assert (
        "boxes find 3 objects. Their masks have a mean IoU of 0.63; 2 of them are below 0.75."
        in (chapter.paragraphs[1])
    )
    of_coco, by_class, kinds = chapter.tables
    assert ("AP50", f"{result.masks.ap50:.3f}", "1.000") in of_coco.rows
    assert [row[0] for row in by_class.rows] == ["cat", "dog"]
    assert by_class.rows[0] == ("cat", "1", "0.000", "0.000", "1.000")
    assert kinds.rows[0] == ("localisation", "1", "0.500", "0")
    assert [figure.caption for figure in chapter.figures] == [
        "Errors of masks by kind",
        "a.jpg. cat 90%, IoU 0.40 of the masks and 1.00 of the boxes.",
        "b.jpg. dog 70%, IoU 0.60 of the masks and 1.00 of the boxes.",
    ]
    assert write_report(tmp_path / "page.html", title="t", chapters=[chapter]).stat().st_size < 1_000_000


def test_the_picture_shows_the_annotated_mask_left_and_the_predicted_one_right() -> None:
    (chapter,) = chapters([image((BOX, 0))], [found((BOX, 0.5, 0, 0.9))])
    pixels = chapter.figures[1].image
    half = pixels.shape[1] // 2
    scale = half / SIZE[0]
    top = pixels.shape[0] - round(SIZE[1] * scale)

    def colour(x: float, y: float, left: int) -> np.ndarray:
        return pixels[top + round(y * scale), left + round(x * scale)].astype(int)

    right = pixels.shape[1] - half
    assert np.abs(colour(70, 45, 0) - 128).max() > 20 and np.abs(colour(70, 95, 0) - 128).max() > 20
    assert np.abs(colour(70, 45, right) - 128).max() > 20
    assert np.abs(colour(70, 95, right) - 128).max() < 10  # not in the mask, but in the box


def test_objects_with_only_a_box_are_counted() -> None:
    images = [image((BOX, 0)), image((BOX, 0), (OTHER, 0), name="b", only_boxes=True)]
    (chapter,) = chapters(images, [found((BOX, 1.0, 0, 0.9)), found((BOX, 1.0, 0, 0.9))])
    assert "2 of 3 objects have no mask." in chapter.paragraphs[1]
    assert len(chapter.figures) == 1  # no mask is poor


@pytest.mark.parametrize(
    ("images", "detections"),
    [
        ([], []),
        ([image((BOX, 0))], [replace(found((BOX, 1.0, 0, 0.9)), masks=None)]),
        ([image((BOX, 0), only_boxes=True)], [found((BOX, 1.0, 0, 0.9))]),
    ],
    ids=["no images", "detections without masks", "objects without masks"],
)
def test_without_masks_there_is_no_chapter(images: list, detections: list) -> None:
    assert chapters(images, detections) == []


def test_a_detector_that_finds_nothing_has_a_chapter_that_says_so(tmp_path: Path) -> None:
    made = chapters([image((BOX, 0))], [found()])
    assert "No object with a mask is found by its box at a score of 0.3 or more." in made[0].paragraphs
    write_report(tmp_path / "page.html", title="t", chapters=made)


def test_no_more_pictures_than_asked_for_and_the_worst_first() -> None:
    images = [image((BOX, 0), name=str(i)) for i in range(6)]
    detections = [found((BOX, 0.1 * i + 0.1, 0, 0.9)) for i in range(6)]
    (chapter,) = chapters(images, detections, pictures=2)
    assert [figure.caption[:5] for figure in chapter.figures[1:]] == ["0.jpg", "1.jpg"]


def test_an_image_that_cannot_be_read_is_left_out_with_a_sentence() -> None:
    def lost(location: Location) -> np.ndarray:
        if location.name == "a.jpg":
            raise InputError("Expected an image, found nothing: a.jpg.")
        return grey(location)

    images = [image((BOX, 0)), image((BOX, 0), name="b")]
    detections = [found((BOX, 0.2, 0, 0.9)), found((BOX, 0.3, 0, 0.9))]
    (chapter,) = chapters(images, detections, read=lost)
    assert "A picture is left out: expected an image, found nothing: a.jpg." in chapter.paragraphs
    assert [figure.caption[:5] for figure in chapter.figures[1:]] == ["b.jpg"]


def test_masks_of_the_balloon_photographs_have_a_chapter(balloon: Path, tmp_path: Path) -> None:
    split = Dataset.read(balloon, classes=["balloon"]).split("val")
    detections = []
    for record in split.images:
        moved = [[p + np.asarray([0.2 * np.ptp(p[:, 0]), 0.0]) for p in o.polygons] for o in record.instances]
        masks = Masks.from_polygons(moved, (record.width, record.height))
        scores = np.linspace(0.9, 0.4, len(masks))
        detections.append(
            Detections(record.boxes_xyxy(), scores, [0] * len(masks), split.classes, masks=masks)
        )
    made = mask_chapters(split.images, detections, split.classes, read=read_image)
    assert [len(table.header) for table in made[0].tables] == [3, 4]
    assert len(made[0].figures) == 4
    assert write_report(tmp_path / "page.html", title="t", chapters=made).stat().st_size < 2_000_000
