"""The chapters about the validation images: with test-time augmentation, and what is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence

from aerostat.data.dataset import ImageRecord
from aerostat.detections import Detections
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.report.evaluation import mistake_chapters
from aerostat.report.page import Card, Chapter, Table
from aerostat.report.run import FIGURES, three_digits
from aerostat.report.subject import Subject, recorded_source
from aerostat.tta import TTA


def view_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of COCO figures without and with test-time augmentation; nothing without val."""
    if subject.val_split is None or not subject.shown.box_count:
        return []
    plain = _score(subject, subject.found)
    views = _score(subject, subject.seen)
    rows = [
        (
            title,
            three_digits(one),
            three_digits(other),
            f"{other - one:+.3f}" if min(one, other) >= 0 else "–",
        )
        for key, title in FIGURES.items()
        for one, other in [(getattr(plain, key), getattr(views, key))]
    ]
    plan = TTA().plan(subject.detector.input_size).describe()
    text = f"{plan[0].upper()}{plan[1:]}. COCO figures on {subject.part}:"
    return [
        Chapter(
            "Test-time augmentation",
            paragraphs=[text],
            tables=[Table(("", "plain", "with views", "difference"), rows)],
            commands=[f"{subject.run.next_commands(recorded_source(subject.run))[0]} --tta"],
        )
    ]


def view_card(subject: Subject) -> Card | None:
    """Return AP with test-time augmentation for the summary; nothing without validation images."""
    if subject.val_split is None or not subject.shown.box_count:
        return None
    some = "" if len(subject.shown) == len(subject.val_split) else f", {len(subject.shown)} images"
    return Card("AP with TTA", three_digits(_score(subject, subject.seen).ap), f"several views{some}")


def right_and_wrong_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapters of precision, confusion and mistakes on the validation images."""
    if subject.val_split is None:
        return []
    images, detections = [record for record, _ in subject.found], [one for _, one in subject.found]
    return mistake_chapters(images, detections, subject.shown.classes)


def _score(subject: Subject, found: Sequence[tuple[ImageRecord, Detections]]) -> CocoResult:
    images, detections = [record for record, _ in found], [one for _, one in found]
    return evaluate_detections(images, detections, subject.shown.classes)
