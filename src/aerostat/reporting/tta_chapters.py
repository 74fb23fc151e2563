"""Chapters of the report about the validation images: test-time augmentation, and errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.inference.tta import TTA
from aerostat.reporting.error_chapters import error_chapters
from aerostat.reporting.mask_chapters import mask_chapters
from aerostat.reporting.page import Card, Chapter, Table
from aerostat.reporting.run import FIGURES, three_digits
from aerostat.reporting.subject import Subject, recorded_source
from aerostat.results.detections import Detections


def view_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapter of COCO figures with and without test-time augmentation; none without val."""
    if subject.val_split is None or not subject.shown.box_count or not subject.found:
        return []
    plain, views = _plain_and_views(subject)
    header, rows = ("", "plain", "with views", "difference"), _compared(plain, views)
    tables = [Table(header, rows)]
    if plain.masks is not None and views.masks is not None:
        tables.append(Table(header, _compared(plain.masks, views.masks), "Masks"))
    plan = TTA().plan(subject.detector.input_size).describe()
    text = f"{plan[0].upper()}{plan[1:]}. COCO figures on {subject.part(len(subject.seen))}:"
    return [
        Chapter(
            "Test-time augmentation",
            paragraphs=[text],
            tables=tables,
            commands=[subject.commands.evaluate(subject.run.path, recorded_source(subject.run), True)],
        )
    ]


def _compared(plain: CocoResult, views: CocoResult) -> list[tuple[str, str, str, str]]:
    """Return a row for each of COCO's figures: title, plain, with views, difference."""
    return [
        (title, three_digits(one), three_digits(other), _difference(one, other))
        for key, title in FIGURES.items()
        for one, other in [(getattr(plain, key), getattr(views, key))]
    ]


def view_card(subject: Subject) -> Card | None:
    """Return AP with test-time augmentation for the summary, None without validation images.

    It is that of masks if there are any. AP of a part of the images does not compare with AP of all. So the
    card has the gain if only a part was evaluated.
    """
    if subject.val_split is None or not subject.shown.box_count or not subject.found:
        return None
    plain, views = _plain_and_views(subject)
    what = "AP"
    if plain.masks is not None and views.masks is not None:
        plain, views, what = plain.masks, views.masks, "mask AP"
    if len(subject.seen) == len(subject.val_split):
        name = f"{what[0].upper()}{what[1:]} with TTA"
        return Card(name, three_digits(views.ap), "several views of each image")
    some = f"{what}, on {len(subject.seen)} of {len(subject.val_split)} images"
    return Card("TTA gain", _difference(plain.ap, views.ap), some)


def right_and_wrong_chapters(subject: Subject) -> Sequence[Chapter]:
    """Return the chapters of precision, confusion, errors and masks on the validation images."""
    if subject.val_split is None:
        return []
    images, detections = [record for record, _ in subject.found], [one for _, one in subject.found]
    chapters = error_chapters(images, detections, subject.shown.classes)
    chapters += mask_chapters(images, detections, subject.shown.classes)
    if len(images) == len(subject.val_split):
        return chapters
    text = f"This is about {subject.part(len(images))}."
    return [dataclasses.replace(chapter, paragraphs=[text, *chapter.paragraphs]) for chapter in chapters]


def _plain_and_views(subject: Subject) -> tuple[CocoResult, CocoResult]:
    """Return the COCO figures without and with test-time augmentation, both on the same images."""
    seen = {record.path for record, _ in subject.seen}
    plain = [pair for pair in subject.found if pair[0].path in seen]
    return _score(subject, plain), _score(subject, subject.seen)


def _difference(one: float, other: float) -> str:
    return f"{other - one:+.3f}" if min(one, other) >= 0 else "–"


def _score(subject: Subject, found: Sequence[tuple[ImageRecord, Detections]]) -> CocoResult:
    images, detections = [record for record, _ in found], [one for _, one in found]
    return evaluate_detections(images, detections, subject.shown.classes)
