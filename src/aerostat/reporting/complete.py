"""The whole page about a run: chapters from its directory, and from its detector and data."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.progress import progress_shown
from aerostat.reporting.advice_chapters import advice_chapters
from aerostat.reporting.data_chapters import batch_chapters, picture_chapters
from aerostat.reporting.explanation_chapters import explanation_chapters, feature_chapters
from aerostat.reporting.page import Chapter, write_report
from aerostat.reporting.run import Story, read_story, story_chapters, subtitle, title
from aerostat.reporting.subject import Subject, read_subject
from aerostat.reporting.tta_chapters import right_and_wrong_chapters, view_card, view_chapters
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run

_log = logging.getLogger(__name__)

PAGE = "report.html"
"""Name of the page in a run's directory."""

ORDER = ("Summary", "Data", "Curves", "Evaluation", "Predictions", "Recipe", "Environment")
"""Titles of the chapters that need the directory alone, in order."""
SHOWN: Mapping[str, Mapping[str, Callable[[Subject], Sequence[Chapter]]]] = MappingProxyType(
    {
        "Data": {"Images and labels": picture_chapters, "Training batches": batch_chapters},
        "Evaluation": {
            "Test-time augmentation": view_chapters,
            "Errors": right_and_wrong_chapters,
            "Advice": advice_chapters,
        },
        "Predictions": {"Feature maps": feature_chapters, "Explanations": explanation_chapters},
    }
)
"""Chapters that need the detector and the data, by the title of the chapter before them.

Each maker has the title that its chapter gets where it cannot be made."""


def report(
    run: Run | Path | str, data: Dataset | None = None, *, commands: Commands = PYTHON, progress: bool = True
) -> Path:
    """Write the page about a run into its directory and return its path.

    Args:
        run: its directory.
        data: what it was trained on; read again from where they were if None. Where they are gone, the
            chapters that need them are left out, and the page says so.
        commands: what to type next, as the caller words it.
        progress: whether progress is shown.

    Raises:
        InputError: the directory is not a run, a file in it cannot be read, or `data` are other data.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    with progress_shown(progress):
        story = read_story(run)
        chapters = _chapters(story, data, commands)
    return write_report(run.path / PAGE, title=title(story), subtitle=subtitle(story), chapters=chapters)


def lacks_page(run: Run) -> bool:
    """Return whether a finished run has no page, or one from before its end.

    That is so where the run was killed while its page was written.
    """
    if not run.ended:
        return False
    page = run.path / PAGE
    return not page.is_file() or page.stat().st_mtime_ns < run.metrics.stat().st_mtime_ns


def run_chapters(run: Run, data: Dataset | None = None, *, commands: Commands = PYTHON) -> list[Chapter]:
    """Return all chapters about a run that have something to show; see `report`."""
    return _chapters(read_story(run), data, commands)


def _chapters(story: Story, data: Dataset | None, commands: Commands) -> list[Chapter]:
    of_directory = {chapter.title: chapter for chapter in story_chapters(story, commands)}
    if not (story.run.best.is_file() or story.run.last.is_file()):  # the first epoch is not finished yet
        return list(of_directory.values())
    try:
        subject = read_subject(story.run, data, commands)
    except AerostatError as error:
        if data is not None:
            raise
        of_directory["Summary"] = _with_text(
            of_directory["Summary"], f"Chapters that need the detector and the data are left out: {error}"
        )
        return list(of_directory.values())
    return chapters_of_subject(of_directory, subject)


def chapters_of_subject(of_directory: Mapping[str, Chapter], subject: Subject) -> list[Chapter]:
    """Return the chapters of a directory together with those that need its detector and data.

    Args:
        of_directory: chapters by title; the first is the summary.
        subject: detector and data.
    """
    chapters: list[Chapter] = []
    for name in (*ORDER, *(name for name in of_directory if name not in ORDER)):
        chapters += [of_directory[name]] if name in of_directory else []
        for title_of_failure, make in SHOWN.get(name, {}).items():
            chapters += _made(title_of_failure, make, subject)
    chapters[0] = _of_subject(chapters[0], subject)
    return chapters


def _of_subject(summary: Chapter, subject: Subject) -> Chapter:
    """Return the summary with AP by test-time augmentation, and with the images that cannot be read."""
    try:
        card, unreadable = view_card(subject), subject.unreadable
    except Exception:  # the chapters about it name the error
        return summary
    if card is not None:
        summary = dataclasses.replace(summary, cards=[*summary.cards[:1], card, *summary.cards[1:]])
    return _with_text(summary, unreadable) if unreadable else summary


def _with_text(chapter: Chapter, text: str) -> Chapter:
    return dataclasses.replace(chapter, paragraphs=[*chapter.paragraphs, text])


def _made(
    title_of_failure: str, make: Callable[[Subject], Sequence[Chapter]], subject: Subject
) -> Sequence[Chapter]:
    """Return the chapters, or one that says why they cannot be made.

    Any error is caught, lack of memory too: the page is worth more than one of its chapters.
    """
    try:
        return make(subject)
    except Exception as error:
        known = isinstance(error, AerostatError)
        why = str(error) if known else f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]
        _log.info(f"the report goes without the chapter {title_of_failure!r}: {why}")
        return [Chapter(title_of_failure, [f"This could not be shown: {why}"])]
