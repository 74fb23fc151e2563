"""Matches, kinds of error and verdicts on images by the IoU of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.evaluation.coco import evaluate_detections
from aerostat.evaluation.mask_quality import POOR_IOU, mask_pairs
from aerostat.evaluation.matching import match
from aerostat.evaluation.per_image import ImageResult, evaluate_image, image_evaluator
from aerostat.evaluation.tide import KINDS, tide
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections

from .mask_cases import random_mask_case

CLASSES = ("cat", "dog")
SIZE = (200, 100)
WHOLE, MOST, HALF, SOME, SLIVER = (40, 32, 20, 16, 2)
"""Heights of masks within a square of 40: the IoU with it is this share of 40."""

Row = tuple[float, float, int, float]
"""Left side of a square of 40, height of the mask within it, label, score."""


def rectangle(x: float, height: float) -> np.ndarray:
    return np.asarray([(x, 0), (x + 40, 0), (x + 40, height), (x, height)], np.float64)


def image(*objects: tuple[float, int], boxes: tuple[tuple[float, int], ...] = ()) -> ImageRecord:
    """Return an image of squares with masks at x of a label, and of others with only a box."""
    instances = [Instance((x, 0, x + 40, 40), label, (rectangle(x, 40),)) for x, label in objects]
    instances += [Instance((x, 0, x + 40, 40), label) for x, label in boxes]
    return ImageRecord(Path("a.jpg"), "a.jpg", *SIZE, tuple(instances), 1)


def found(*rows: Row) -> Detections:
    """Return detections whose boxes are whole squares, whatever their masks are."""
    return Detections(
        np.reshape([(x, 0, x + 40, 40) for x, *_ in rows], (-1, 4)),
        [score for *_, score in rows],
        [label for _, _, label, _ in rows],
        CLASSES,
        masks=Masks.from_polygons([[rectangle(x, height)] for x, height, *_ in rows], SIZE),
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_ap50_of_the_matches_is_that_of_the_masks(seed: int) -> None:
    case = random_mask_case(seed)
    expected = evaluate_detections(case.images, case.detections, case.classes).masks
    errors = tide(case.images, case.detections, case.classes, masks=True)
    assert errors.ap50 == pytest.approx(expected.ap50, abs=1e-9, rel=0)
    assert errors.objects.tolist() == [row.instances for row in expected.per_class]


def test_matches_by_boxes_do_not_look_at_masks() -> None:
    case = random_mask_case(4)
    boxes = [Detections(d.boxes_xyxy, d.scores, d.labels, d.classes) for d in case.detections]
    one = match(case.images, case.detections, case.classes).detections
    other = match(case.images, boxes, case.classes).detections
    assert np.array_equal(one.taken, other.taken) and np.array_equal(one.own_iou, other.own_iou)


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([(0, WHOLE, 0, 0.9)], {}),
        ([(0, HALF, 0, 0.9)], {}),
        ([(0, SOME, 0, 0.9)], {"localisation": 1}),
        ([(0, SOME, 1, 0.9)], {"both": 1, "missed": 1}),
        ([(0, WHOLE, 1, 0.9)], {"classification": 1}),
        ([(0, SLIVER, 0, 0.9)], {"background": 1, "missed": 1}),
        ([(0, 0, 0, 0.9)], {"background": 1, "missed": 1}),
        ([(0, WHOLE, 0, 0.9), (0, MOST, 0, 0.8)], {"duplicate": 1}),
        ([], {"missed": 1}),
    ],
    ids=[
        *("right", "exactly a half", "poor", "poor and another class", "another class", "a sliver", "empty"),
        *("twice", "nothing"),
    ],
)
def test_each_kind_of_error_follows_from_the_mask(rows: list[Row], kinds: dict[str, int]) -> None:
    errors = tide([image((0, 0))], [found(*rows)], CLASSES, masks=True)
    assert {kind: errors.count(kind) for kind in KINDS if errors.count(kind)} == kinds
    in_place = [row for row in rows if row[2] == 0]
    of_boxes = tide([image((0, 0))], [found(*rows)], CLASSES)
    assert int(of_boxes.right.sum()) == bool(in_place)  # all boxes are perfect


def test_an_object_with_only_a_box_is_neither_found_nor_missed() -> None:
    images = [image((0, 0), boxes=((100, 0),))]
    alone = tide(images, [found((0, WHOLE, 0, 0.9))], CLASSES, masks=True)
    both = tide(images, [found((0, WHOLE, 0, 0.9), (100, WHOLE, 0, 0.8))], CLASSES, masks=True)
    for errors in (alone, both):
        assert (errors.mistakes, errors.objects.tolist(), errors.shown.tolist()) == ((), [1, 0], [1, 0])


def test_detections_without_masks_cannot_be_matched_by_masks() -> None:
    boxes = replace(found((0, WHOLE, 0, 0.9)), masks=None)
    with pytest.raises(InputError, match=r"with masks, found none on a\.jpg"):
        tide([image((0, 0))], [boxes], CLASSES, masks=True)


# ---------------------------------------------------------------------------------------------- worst masks


def test_pairs_have_both_overlaps_and_the_worst_mask_comes_first() -> None:
    images = [image((0, 0), (60, 1)), image((120, 0), boxes=((0, 0),))]
    detections = [
        found((0, MOST, 0, 0.5), (60, SOME, 1, 0.8), (60, WHOLE, 1, 0.7)),
        found((120, 0, 0, 0.6), (0, WHOLE, 0, 0.9), (60, SOME, 0, 0.9), (120, WHOLE, 0, 0.2)),
    ]
    pairs = mask_pairs(images, detections, CLASSES)
    assert [(p.image, p.detection, p.instance, p.label) for p in pairs] == [
        *((1, 0, 0, 0), (0, 1, 1, 1), (0, 0, 0, 0))
    ]
    assert [p.mask_iou for p in pairs] == [0.0, 0.4, 0.8]
    assert {p.box_iou for p in pairs} == {1.0}
    assert [p.severity for p in pairs] == pytest.approx([0.6, 0.48, 0.1])
    assert [p.poor for p in pairs] == [True, True, False]


def test_a_mask_at_the_limit_is_not_poor() -> None:
    (pair,) = mask_pairs([image((0, 0))], [found((0, 40 * POOR_IOU, 0, 0.9))], CLASSES)
    assert pair.mask_iou == POOR_IOU and not pair.poor


def test_without_anything_found_there_are_no_pairs() -> None:
    assert mask_pairs([], [], CLASSES) == []
    assert mask_pairs([image((0, 0))], [found()], CLASSES) == []


# ----------------------------------------------------------------------------------------------- one image

POOR = found((0, SOME, 0, 0.9))


def test_an_image_is_judged_by_masks_where_all_its_objects_have_one() -> None:
    assert evaluate_image(image((0, 0)), POOR, CLASSES) == ImageResult(0, 1, 1)
    assert evaluate_image(image((0, 0)), replace(POOR, masks=None), CLASSES) == ImageResult(1, 0, 0)
    mixed = image((0, 0), boxes=((100, 0),))
    assert evaluate_image(mixed, POOR, CLASSES) == ImageResult(1, 1, 0)
    assert evaluate_image(image(boxes=((0, 0),)), POOR, CLASSES) == ImageResult(1, 0, 0)


def test_how_an_image_is_judged_can_be_chosen() -> None:
    assert evaluate_image(image((0, 0)), POOR, CLASSES, masks=False) == ImageResult(1, 0, 0)
    mixed = image((0, 0), boxes=((100, 0),))
    assert evaluate_image(mixed, POOR, CLASSES, masks=True) == ImageResult(0, 1, 1)


def test_photographs_are_judged_by_masks() -> None:
    record = image((0, 0))
    data = Dataset(CLASSES, {"val": Split("val", CLASSES, (1, 2), (record,))})
    assert image_evaluator(data, CLASSES)(record.path, POOR) == ImageResult(0, 1, 1)
