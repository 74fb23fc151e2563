"""The whole page about a run: what its directory tells, and what its detector shows on its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from aerostat import console
from aerostat.data.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.report.data import batch_chapters, picture_chapters
from aerostat.report.explanation import explanation_chapters, feature_chapters
from aerostat.report.page import Chapter, write_report
from aerostat.report.run import Story, read_story, story_chapters, subtitle, title
from aerostat.report.subject import Subject, read_subject
from aerostat.report.views import right_and_wrong_chapters, view_card, view_chapters
from aerostat.training.run import Run

PAGE = "report.html"
"""Name of the page in a run's directory."""

ORDER = ("Summary", "Data", "Curves", "Evaluation", "Predictions", "Recipe", "Environment")
"""Of the chapters that the directory tells."""
SHOWN: Mapping[str, tuple[Callable[[Subject], Sequence[Chapter]], ...]] = MappingProxyType(
    {
        "Data": (picture_chapters, batch_chapters),
        "Evaluation": (view_chapters, right_and_wrong_chapters),
        "Predictions": (feature_chapters, explanation_chapters),
    }
)
"""What follows them, by the title of the chapter before."""


def report(run: Run | Path | str, data: Dataset | None = None) -> Path:
    """Write the page about a run into its directory and return its path.

    Args:
        run: its directory.
        data: what it was trained on; read again from where they were if None. Where they are gone, the
            chapters that need them are left out, and the page says so.

    Raises:
        InputError: if the directory is no run, a file in it cannot be read, or `data` are other data.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    story = read_story(run)
    return write_report(
        run.path / PAGE, title=title(story), subtitle=subtitle(story), chapters=_chapters(story, data)
    )


def run_chapters(run: Run, data: Dataset | None = None) -> list[Chapter]:
    """Return all chapters about a run, without those that have nothing to tell; see `report`."""
    return _chapters(read_story(run), data)


def _chapters(story: Story, data: Dataset | None) -> list[Chapter]:
    told = {chapter.title: chapter for chapter in story_chapters(story)}
    if not (story.run.best.is_file() or story.run.last.is_file()):  # the first epoch is not finished yet
        return list(told.values())
    try:
        subject = read_subject(story.run, data)
    except AerostatError as error:
        if data is not None:
            raise
        summary = told["Summary"]
        left_out = f"Chapters that need the detector and the data are left out: {error}"
        told["Summary"] = dataclasses.replace(summary, paragraphs=[*summary.paragraphs, left_out])
        return list(told.values())
    told["Summary"] = _with_views(told["Summary"], subject)
    chapters: list[Chapter] = []
    for name in ORDER:
        chapters += [told[name]] if name in told else []
        chapters += [chapter for make in SHOWN.get(name, ()) for chapter in _made(make, subject)]
    return chapters


def _with_views(summary: Chapter, subject: Subject) -> Chapter:
    """Return the summary with AP by test-time augmentation beside the plain AP."""
    try:
        card = view_card(subject)
    except AerostatError:  # its chapter will say why
        card = None
    return (
        dataclasses.replace(summary, cards=[*summary.cards[:1], card, *summary.cards[1:]])
        if card
        else summary
    )


def _made(make: Callable[[Subject], Sequence[Chapter]], subject: Subject) -> Sequence[Chapter]:
    """Return the chapters, or none if they cannot be made: the page is worth more than one of them."""
    try:
        return make(subject)
    except AerostatError as error:
        console.note(f"the report goes without a chapter: {error}")
        return []
