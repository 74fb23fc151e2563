"""What a run's own figures suggest doing next."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError
from aerostat.evaluation.coco import evaluate_detections
from aerostat.evaluation.evaluate import detect
from aerostat.evaluation.label_issues import SAID, Dispute, disputes
from aerostat.evaluation.matching import match
from aerostat.files import write_text
from aerostat.images.letterbox import Letterbox
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.results.detections import Detections
from aerostat.text import counted

MAX_IMAGES = 100
"""Of a split that are looked at, spread evenly over it."""

MIN_VALIDATIONS = 8
"""With fewer nothing is said about where a curve leads."""
WINDOW_SHARE = 0.2
"""Of the validations: so many at the end are compared with as many before them."""
LEAST_RISE = 0.01
"""AP, from one part of the end to the next and within the last; less is not worth a longer run."""
FALL = 0.03
"""AP by which the end lies below the best epoch where a run has gone on for too long."""
WIDE_GAP = 0.25
"""AP on training images less that on validation images from which on a model knows the former by heart."""
MAX_UNSEEN = 0.1
"""Where the model overlooks more of the objects than this, that says more of the model than of labels."""
SMALL_SIDE = 16.0
"""Pixels of the network's input: objects below two cells of its finest map are small to it."""
MIN_SMALL = 5
SHORT_RECALL = 0.15
"""Recall that small objects fall short of the others' by before it is said."""
MAX_INPUT = 1280


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, and the figures that it follows from.

    Args:
        about: length, images, size or labels.
        text: a sentence or two.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class AdviceReport:
    """All that is suggested after a run.

    Args:
        advice: most important first; empty where nothing stands out.
        disputed: labels of the training images that the model disputes.
        looked_at: training images that this was asked of.
    """

    advice: tuple[Advice, ...] = ()
    disputed: tuple[Dispute, ...] = ()
    looked_at: int = 0

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(dataclasses.asdict(self), indent=2))


def read_advice(path: Path) -> AdviceReport:
    """Return what was suggested after a run.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=AdviceReport)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path} holds no readable advice: {error}; remove it to go without.") from None


def advise(
    detector: Detector,
    validations: Sequence[Mapping[str, Any]],
    train_split: Split,
    val_split: Split | None,
    *,
    epochs: int,
) -> AdviceReport:
    """Return what a finished run suggests.

    Args:
        detector: in the run's weights.
        validations: lines of the run's ``metrics.jsonl`` about them.
        train_split: what it has learned from; at most `MAX_IMAGES` of it are looked at.
        val_split: what it has not, likewise.
        epochs: of the whole run.
    """
    classes = train_split.classes
    train_images, train_found = _seen(detector, train_split)
    disputed = disputes(train_images, train_found, classes)
    unseen = sum(dispute.kind == "unseen" for dispute in disputed)
    if unseen > MAX_UNSEEN * sum(len(image.instances) for image in train_images):
        disputed = [dispute for dispute in disputed if dispute.kind != "unseen"]
    found = [about_length(validations, epochs), about_labels(disputed)]
    if val_split is not None and len(val_split):
        val_images, val_found = _seen(detector, val_split)
        train_ap = evaluate_detections(train_images, train_found, classes).ap
        val_ap = evaluate_detections(val_images, val_found, classes).ap
        found.insert(1, about_images(train_ap, val_ap, len(train_split)))
        found.insert(2, about_size(val_images, val_found, classes, max(detector.input_size)))
    advice = tuple(one for one in found if one is not None)
    return AdviceReport(advice, tuple(disputed), len(train_images))


def _seen(detector: Detector, split: Split) -> tuple[list[ImageRecord], list[Detections]]:
    pairs = detect(detector, split.sample(MAX_IMAGES), on_unreadable=lambda *_: None)
    return [record for record, _ in pairs], [found for _, found in pairs]


def about_length(validations: Sequence[Mapping[str, Any]], epochs: int) -> Advice | None:
    """Return whether the run was too short or too long, by its validations.

    Args:
        validations: lines of the run's ``metrics.jsonl`` about them.
        epochs: of the whole run.
    """
    ap = np.asarray([float(line["ap"]) for line in validations])
    if len(ap) < MIN_VALIDATIONS:
        return None
    window = max(3, round(len(ap) * WINDOW_SHARE))
    last, before = ap[-window:], ap[-2 * window : -window]
    rise = float(last.mean() - before.mean())
    # Means of few epochs differ by themselves. Neighbours differ by 2 / sqrt(pi) deviations on average.
    deviation = float(np.abs(np.diff(ap[-2 * window :])).mean()) * np.sqrt(np.pi) / 2
    noise = deviation * np.sqrt(2 / window)
    # The averaged weights of neighbouring epochs are alike, so that AP wanders, and it rises once more when
    # Mosaic ends; the curve must also still be on its way.
    on = float(np.polyfit(np.arange(window), last, 1)[0]) * window
    best = int(ap.argmax())
    if rise > max(LEAST_RISE, 2 * noise) and on > LEAST_RISE:
        more = round(epochs * 1.5)
        return Advice(
            "length",
            f"AP was still rising at the end ({before.mean():.3f} to {last.mean():.3f} over the last "
            f"{counted(2 * window, 'validation')}): a longer run may gain more, `epochs={more}`.",
        )
    if last.mean() < ap[best] - FALL and rise < -max(LEAST_RISE, 2 * noise) and on < -LEAST_RISE:
        return Advice(
            "length",
            f"AP was falling at the end (best {ap[best]:.3f} in epoch {validations[best]['epoch']}, "
            f"{last.mean():.3f} over the last {counted(window, 'validation')}): the run was too long for so "
            "few images; take fewer epochs.",
        )
    return None


def about_images(train_ap: float, val_ap: float, train_images: int) -> Advice | None:
    """Return whether more images would help most: where training images are known by heart.

    Args:
        train_ap, val_ap: of the same weights, without augmentation.
        train_images: in the training split.
    """
    if train_ap < 0 or val_ap < 0 or train_ap - val_ap < WIDE_GAP:
        return None
    return Advice(
        "images",
        f"AP is {train_ap:.3f} on images that were learned from and {val_ap:.3f} on others: the model has "
        f"room to learn, but too little to learn from. Annotating more images than these {train_images} will "
        "help most; begin with those on which it is wrong.",
    )


def about_size(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    input_size: int,
) -> Advice | None:
    """Return whether small objects are missed that a larger input would show larger.

    Args:
        images, detections: of the validation split, parallel.
        classes: names that the labels of `images` index.
        input_size: side of the network's input.
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
    found[matching.found.taken[matching.found.right]] = True
    small, other = (sides < SMALL_SIDE) & ~objects.crowd, (sides >= SMALL_SIDE) & ~objects.crowd
    if small.sum() < MIN_SMALL or not other.any() or input_size >= MAX_INPUT:
        return None
    recall_small, recall_other = float(found[small].mean()), float(found[other].mean())
    if recall_other - recall_small < SHORT_RECALL:
        return None
    larger = min(MAX_INPUT, -(-round(input_size * 1.5) // 32) * 32)
    return Advice(
        "size",
        f"Of {counted(int(small.sum()), 'object')} smaller than {SMALL_SIDE:.0f} pixels in the input "
        f"{recall_small:.0%} are found, of the others {recall_other:.0%}: a larger input shows them larger, "
        f"`input_size={larger}`.",
    )


def about_labels(disputed: Sequence[Dispute]) -> Advice | None:
    """Return how many annotations of the training images the model disputes."""
    if not disputed:
        return None
    parts = [
        f"{count} {said}"
        for kind, said in SAID.items()
        if (count := sum(dispute.kind == kind for dispute in disputed))
    ]
    first = disputed[0].file_name
    return Advice(
        "labels",
        f"The model disputes {counted(len(disputed), 'label')} of the images that it learned from "
        f"({', '.join(parts)}; first on {first}): either may be wrong; look at them in the report.",
    )
