"""What a run's figures suggest, and that they suggest nothing where there is nothing to say."""

from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.evaluation.advice import about_classes, about_images, about_labels, about_length, about_size
from aerostat.evaluation.label_issues import LabelIssue
from aerostat.results.detections import Detections

BOX = (0.0, 0.0, 10.0, 10.0)


LEVEL = (
    (0.351, 0.524, 0.555, 0.621, 0.668, 0.682, 0.706, 0.709, 0.721, 0.722,
     0.719, 0.702, 0.705, 0.706, 0.705, 0.706, 0.726, 0.722, 0.714, 0.718),
    (0.362, 0.512, 0.554, 0.62, 0.668, 0.667, 0.675, 0.693, 0.708, 0.724,
     0.734, 0.723, 0.719, 0.732, 0.724, 0.714, 0.7, 0.7, 0.7, 0.697),
)  # fmt: skip
"""AP of two runs on the balloons, every fifth of 100 epochs: both move before their last fifth, not in it."""


def validations(values):
    return [{"kind": "val", "epoch": i + 1, "ap": v} for i, v in enumerate(values)]


def test_a_rising_curve_asks_for_a_longer_run():
    found = about_length(validations(np.linspace(0, 0.5, 40)), 40)
    assert found and found.about == "length" and "`epochs=60`" in found.text and "still rising" in found.text


def test_a_flat_or_noisy_or_short_curve_says_nothing():
    assert about_length(validations(np.full(40, 0.5)), 40) is None
    assert about_length(validations(np.linspace(0, 0.5, 5)), 5) is None
    assert about_length([], 40) is None
    # of a hundred curves that only tremble few are taken for more
    rng = np.random.default_rng(1)
    said = [about_length(validations(0.5 + rng.normal(0, 0.02, 40)), 40) for _ in range(100)]
    assert sum(advice is not None for advice in said) <= 10


def test_curves_that_wander_are_seldom_taken_for_more():
    rng = np.random.default_rng(1)

    def wandering():  # neighbours are alike, as averaged weights are: correlation 0.5
        steps = rng.normal(0, 0.02 * np.sqrt(0.75), 60)
        values = [0.0]
        for step in steps:
            values.append(values[-1] / 2 + step)
        return 0.5 + np.asarray(values[-40:])

    said = [about_length(validations(wandering()), 40) for _ in range(200)]
    assert sum(advice is not None for advice in said) <= 40


@pytest.mark.parametrize("curve", LEVEL)
def test_real_curves_that_are_level_at_their_end_say_nothing(curve):
    assert about_length(validations(curve), 100) is None


def test_a_curve_that_falls_at_the_end_asks_for_a_shorter_run():
    found = about_length(validations([*np.linspace(0, 0.6, 20), *np.linspace(0.6, 0.4, 20)]), 40)
    assert found and "falling" in found.text and "best 0.600 in epoch 20" in found.text


@pytest.mark.parametrize(
    ("train_ap", "val_ap", "said"),
    [(0.9, 0.5, True), (0.6, 0.5, False), (0.5, 0.9, False), (-1.0, 0.5, False), (0.9, -1.0, False)],
)
def test_a_wide_gap_asks_for_images(train_ap, val_ap, said):
    found = about_images(train_ap, val_ap, 61)
    assert (found is not None) == said
    if found:
        assert "0.900" in found.text and "61" in found.text


def objects(sides, seen):
    """One image of 640 px with objects of these sides in a row, of which some are found."""
    boxes = [(i * 30.0, 0.0, i * 30.0 + side, float(side)) for i, side in enumerate(sides)]
    record = ImageRecord(Path("a.jpg"), "a.jpg", 640, 640, tuple(Instance(b, 0) for b in boxes))
    kept = [b for b, s in zip(boxes, seen, strict=True) if s]
    return [record], [Detections(kept, [0.9] * len(kept), [0] * len(kept), ("a",))]


def test_small_objects_that_are_missed_ask_for_a_larger_input():
    images, found = objects([20] * 6 + [26, 26, 28], [False] * 6 + [True] * 3)
    advice = about_size(images, found, ("a",), 320)  # 20 px are 10 px of an input of 320, 26 px are 13
    assert advice is None  # all of them are small there
    images, found = objects([20] * 6 + [90] * 3, [False] * 6 + [True] * 3)
    advice = about_size(images, found, ("a",), 320)
    assert advice and "6 objects" in advice.text and "0% are found, of the others 100%" in advice.text
    assert "`input_size=480`" in advice.text
    assert about_size(images, found, ("a",), 640) is None  # there 20 px are 20 px
    images, found = objects([20] * 6 + [90] * 3, [True] * 9)
    assert about_size(images, found, ("a",), 320) is None
    assert about_size([], [], ("a",), 320) is None


def test_disputed_labels_are_counted_by_kind():
    assert about_labels([]) is None
    found = about_labels(
        [
            LabelIssue("b.jpg", "unlabelled", BOX, "a", None, 0.9),
            LabelIssue("c.jpg", "unseen", BOX, None, "a", 0.0, 1),
        ]
    )
    assert found and "2 labels" in found.text and "first on b.jpg" in found.text
    assert "1 found with certainty where nothing is annotated, 1 annotated and not found" in found.text


def test_rare_classes_ask_for_more_objects_of_them():
    objects = tuple(Instance(BOX, label) for label in [0] * 30 + [1] * 29)
    split = Split("train", ("cat", "dog"), (0, 1), (ImageRecord(Path("a.png"), "a.png", 20, 20, objects),))
    advice = about_classes(split)
    assert advice is not None and advice.about == "classes"
    assert advice.text.startswith("1 of 2 classes has fewer than 30 objects in train (dog 29): too few")
