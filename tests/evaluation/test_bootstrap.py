"""Intervals of AP by drawing images."""

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.evaluation.bootstrap import ap_interval
from aerostat.evaluation.coco import evaluate_detections
from aerostat.results.detections import Detections


def scene(number: int, right: bool) -> tuple[ImageRecord, Detections]:
    """An image with one object, which is found or not."""
    box = (10.0, 10.0, 40.0, 40.0)
    image = ImageRecord(
        file_name=f"{number}.jpg",
        location=f"{number}.jpg",
        width=100,
        height=100,
        id=number,
        instances=[Instance(box, 0)],
    )
    found = box if right else (60.0, 60.0, 90.0, 90.0)
    return image, Detections([found], [0.9 if right else 0.5], [0], ("a",))


def interval(rights: list[bool], **options: int) -> tuple[float, float] | None:
    images, found = zip(*(scene(i, right) for i, right in enumerate(rights)), strict=True)
    return ap_interval(images, found, ("a",), **options)


def test_an_interval_contains_the_ap_and_narrows_with_more_images():
    few = [True, True, False, True]
    images, found = zip(*(scene(i, right) for i, right in enumerate(few * 10)), strict=True)
    ap = evaluate_detections(images, found, ("a",)).ap
    narrow, wide = interval(few * 10), interval(few)
    assert narrow[0] < ap < narrow[1]
    assert wide[1] - wide[0] > narrow[1] - narrow[0] > 0.05
    # A share of 0.75 of 40 images has a standard error of 0.068.
    assert narrow[1] - narrow[0] == pytest.approx(4 * 0.068, rel=0.4)


def test_an_interval_is_the_same_for_the_same_seed():
    rights = [True, False, True, True, False]
    assert interval(rights, seed=3) == interval(rights, seed=3)


def test_certain_images_have_an_interval_without_width():
    assert interval([True] * 5, draws=20) == pytest.approx((1.0, 1.0), abs=1e-6)


def test_a_single_image_has_no_interval():
    assert interval([True]) is None


def test_images_without_objects_have_no_interval():
    empty = [ImageRecord(file_name="a", location="a", width=9, height=9, id=i) for i in range(3)]
    none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), ("a",))
    assert ap_interval(empty, [none] * 3, ("a",)) is None
