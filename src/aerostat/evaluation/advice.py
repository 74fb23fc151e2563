"""Advice: what to do after a run, derived from its own figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aerostat.datasets.rare_classes import rare_classes_text
from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError
from aerostat.evaluation.coco import evaluate_detections
from aerostat.evaluation.evaluate import detect, validation_slices
from aerostat.evaluation.label_issues import KIND_TEXTS, Kind, LabelIssue, find_label_issues
from aerostat.evaluation.matching import match
from aerostat.files import write_text
from aerostat.images.letterbox import Letterbox
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections
from aerostat.text import counted

MAX_IMAGES = 100
"""Images of a split that the advice is computed from, spread evenly over it."""

MIN_VALIDATIONS = 8
"""Minimum number of validations; a shorter curve has no trend."""
WINDOW_SHARE = 0.2
"""Share of the validations in each of the two windows that are compared at the end of the curve."""
MIN_RISE = 0.01
"""Minimum rise of AP between the windows, and within the last; less is not worth a longer run."""
MIN_FALL = 0.03
"""Minimum distance of AP between the best epoch and the end of a run that was too long."""
MIN_AP_GAP = 0.25
"""Minimum AP on training images minus AP on validation images at which the model overfits."""
MAX_UNSEEN = 0.1
"""Where more of the objects are unseen, the model is too weak to contradict labels."""
SMALL_SIDE = 16.0
"""Pixels of the network's input: two cells of its finest map. Smaller objects are small."""
MIN_SMALL = 5
"""Minimum number of small objects."""
MIN_RECALL_GAP = 0.15
"""Minimum recall of other objects minus recall of small ones."""
MAX_INPUT = 1280
"""Maximum side of the input that is suggested, in pixels."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, and the figures that it follows from.

    Args:
        about: subject: ``length``, ``images``, ``classes``, ``size`` or ``labels``.
        text: one or two sentences.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class AdviceReport:
    """What a finished run suggests.

    Args:
        advice: most important first; empty where no figure stands out.
        label_issues: labels of the training images that the model contradicts.
        checked_images: number of training images whose labels were compared.
    """

    advice: tuple[Advice, ...] = ()
    label_issues: tuple[LabelIssue, ...] = ()
    checked_images: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as JSON values, under the names of the file."""
        return {
            "advice": [dataclasses.asdict(one) for one in self.advice],
            "disputed": [issue.to_dict() for issue in self.label_issues],
            "looked_at": self.checked_images,
        }

    def write(self, path: Path) -> None:
        """Write the advice as JSON."""
        write_text(path, json.dumps(self.to_dict(), indent=2))


class _StoredReport(msgspec.Struct):
    """The file: its names are those of version 0.1."""

    advice: tuple[Advice, ...] = ()
    disputed: tuple[_StoredIssue, ...] = ()
    looked_at: int = 0


class _StoredIssue(msgspec.Struct):
    """A label issue in the file."""

    file_name: str
    kind: Kind
    box_xyxy: tuple[float, float, float, float]
    found: str | None
    annotated: str | None
    score: float
    instance: int | None = None

    def to_issue(self) -> LabelIssue:
        return LabelIssue(
            self.file_name, self.kind, self.box_xyxy, self.found, self.annotated, self.score, self.instance
        )


def read_advice(path: Path) -> AdviceReport:
    """Return the advice of a run from its file.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_StoredReport)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path} holds no readable advice: {error}; remove it to go without.") from None
    issues = tuple(issue.to_issue() for issue in stored.disputed)
    return AdviceReport(stored.advice, issues, stored.looked_at)


def advise(
    detector: Detector,
    validations: Sequence[Mapping[str, Any]],
    train_split: Split,
    val_split: Split | None,
    *,
    epochs: int,
) -> AdviceReport:
    """Return the advice that follows from a finished run.

    Args:
        detector: detector with the run's weights.
        validations: lines about validations from the run's ``metrics.jsonl``.
        train_split: images that it has learned from; at most `MAX_IMAGES` of them are used.
        val_split: images that it has not learned from, likewise; None without a validation split.
        epochs: number of epochs of the run.
    """
    classes = train_split.classes
    # A weak model misses objects everywhere: then its unseen objects say nothing about the labels.
    train_images, train_found = _seen(detector, train_split)
    issues = find_label_issues(train_images, train_found, classes)
    unseen = sum(issue.kind == "unseen" for issue in issues)
    if unseen > MAX_UNSEEN * sum(len(image.instances) for image in train_images):
        issues = [issue for issue in issues if issue.kind != "unseen"]
    advice = [about_length(validations, epochs), about_classes(train_split), about_labels(issues)]
    if val_split is not None and len(val_split):
        val_images, val_found = _seen(detector, val_split)
        train_ap = evaluate_detections(train_images, train_found, classes).ap
        val_ap = evaluate_detections(val_images, val_found, classes).ap
        advice.insert(1, about_images(train_ap, val_ap, len(train_split)))
        advice.insert(3, about_size(val_images, val_found, classes, max(detector.input_size)))
    given = tuple(one for one in advice if one is not None)
    return AdviceReport(given, tuple(issues), len(train_images))


def _seen(detector: Detector, split: Split) -> tuple[list[ImageRecord], list[Detections]]:
    slices = validation_slices(detector)
    pairs = detect(detector, split.sample(MAX_IMAGES), on_unreadable=lambda *_: None, slices=slices)
    return [record for record, _ in pairs], [found for _, found in pairs]


def about_length(validations: Sequence[Mapping[str, Any]], epochs: int) -> Advice | None:
    """Return advice on the number of epochs, None if the validations show no trend.

    Args:
        validations: lines about validations from the run's ``metrics.jsonl``.
        epochs: number of epochs of the run.
    """
    ap = np.asarray([float(line["ap"]) for line in validations])
    if len(ap) < MIN_VALIDATIONS:
        return None
    window = max(3, round(len(ap) * WINDOW_SHARE))
    last, before = ap[-window:], ap[-2 * window : -window]
    rise = float(last.mean() - before.mean())
    # Means of few epochs differ by chance. Neighbours differ by 2 / sqrt(pi) deviations on average.
    deviation = float(np.abs(np.diff(ap[-2 * window :])).mean()) * np.sqrt(np.pi) / 2
    noise = deviation * np.sqrt(2 / window)
    # Neighbouring epochs share most of their averaged weights, so AP drifts. It also rises when Mosaic ends.
    # So the slope within the last window must agree with the difference between the windows.
    on = float(np.polyfit(np.arange(window), last, 1)[0]) * window
    best = int(ap.argmax())
    if rise > max(MIN_RISE, 2 * noise) and on > MIN_RISE:
        more = round(epochs * 1.5)
        return Advice(
            "length",
            f"AP was still rising at the end ({before.mean():.3f} to {last.mean():.3f} over the last "
            f"{counted(2 * window, 'validation')}): a longer run may gain more, `epochs={more}`.",
        )
    if last.mean() < ap[best] - MIN_FALL and rise < -max(MIN_RISE, 2 * noise) and on < -MIN_RISE:
        return Advice(
            "length",
            f"AP was falling at the end (best {ap[best]:.3f} in epoch {validations[best]['epoch']}, "
            f"{last.mean():.3f} over the last {counted(window, 'validation')}): take fewer "
            "epochs for this number of images.",
        )
    return None


def about_images(train_ap: float, val_ap: float, train_images: int) -> Advice | None:
    """Return the advice to annotate more images, None unless the model overfits.

    Args:
        train_ap, val_ap: AP of the same weights, without augmentation; -1 if undefined.
        train_images: number of images in the training split.
    """
    if train_ap < 0 or val_ap < 0 or train_ap - val_ap < MIN_AP_GAP:
        return None
    return Advice(
        "images",
        f"AP is {train_ap:.3f} on training images and {val_ap:.3f} on validation images: the model overfits. "
        f"Annotating more than these {train_images} images will help most; begin with those on which it is "
        "wrong.",
    )


def about_classes(train_split: Split) -> Advice | None:
    """Return the advice to add objects of rare classes, None without any.

    Args:
        train_split: images that the model has learned from.
    """
    text = rare_classes_text(train_split)
    if not text:
        return None
    return Advice(
        "classes",
        f"{text}: too few to learn. Add photographs with them, or leave these classes out with `classes`.",
    )


def about_size(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    input_size: int,
) -> Advice | None:
    """Return the advice to enlarge the input, None unless small objects are missed far more often.

    Args:
        images, detections: images of the validation split and the detections on each.
        classes: names that the labels of `images` index.
        input_size: side of the network's input in pixels.
    """
    matching = match(images, detections, classes, score=SHOW_SCORE)
    objects = matching.objects
    sides = np.zeros(len(objects.image))
    for row, (image, place) in enumerate(zip(objects.image.tolist(), objects.place.tolist(), strict=True)):
        record = images[image]
        x1, y1, x2, y2 = record.instances[place].box_xyxy
        scale = Letterbox.fit((record.width, record.height), (input_size, input_size)).scale[0]
        sides[row] = np.sqrt(max(x2 - x1, 0) * max(y2 - y1, 0)) * scale
    found = np.zeros(len(sides), np.bool_)
    found[matching.detections.taken[matching.detections.right]] = True
    small, other = (sides < SMALL_SIDE) & ~objects.crowd, (sides >= SMALL_SIDE) & ~objects.crowd
    if small.sum() < MIN_SMALL or not other.any() or input_size >= MAX_INPUT:
        return None
    recall_small, recall_other = float(found[small].mean()), float(found[other].mean())
    if recall_other - recall_small < MIN_RECALL_GAP:
        return None
    larger = min(MAX_INPUT, -(-round(input_size * 1.5) // 32) * 32)
    return Advice(
        "size",
        f"Of {counted(int(small.sum()), 'object')} smaller than {SMALL_SIDE:.0f} pixels in the input "
        f"{recall_small:.0%} are found, of the others {recall_other:.0%}: a larger input shows them larger, "
        f"`input_size={larger}`.",
    )


def about_labels(issues: Sequence[LabelIssue]) -> Advice | None:
    """Return the advice to check labels, None without issues."""
    if not issues:
        return None
    parts = [
        f"{count} {text}"
        for kind, text in KIND_TEXTS.items()
        if (count := sum(issue.kind == kind for issue in issues))
    ]
    first = issues[0].file_name
    return Advice(
        "labels",
        f"The model contradicts {counted(len(issues), 'label')} of its training images "
        f"({', '.join(parts)}; first on {first}). Model or label may be wrong: see the report.",
    )
