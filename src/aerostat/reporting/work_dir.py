"""The page about a work directory of MMEngine: its logs, its weights, and the migration of its config."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.summary import data_card
from aerostat.draw.figure import png_bytes
from aerostat.errors import AerostatError, InputError
from aerostat.inference.resolve import load
from aerostat.migration import Migration, migrate, read_data
from aerostat.migration.table import GROUPS, TITLES
from aerostat.openmmlab.work_dir import WorkDir
from aerostat.progress import progress_shown
from aerostat.reporting.complete import ORDER, PAGE, chapters_of_subject
from aerostat.reporting.page import Chapter, Figure, Table, write_report
from aerostat.reporting.run import NOTHING, Story, story_chapters, subtitle, title
from aerostat.reporting.subject import Subject
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.curves import ap_curve, loss_curve, lr_curve
from aerostat.runs.directory import Run
from aerostat.runs.metrics import lines_of
from aerostat.training.plan import choose_splits
from aerostat.training.recipe import Recipe

_log = logging.getLogger(__name__)


def report_work_dir(
    found: WorkDir, data: Dataset | None = None, *, commands: Commands = PYTHON, progress: bool = True
) -> Path:
    """Write the page about a work directory into it, and return the path of the page.

    Args:
        found: the directory.
        data: what it was trained on; read from where its config says if None. Where they are gone, the
            chapters that need them are left out, and the page says so.
        commands: what to type next, as the caller words it.
        progress: whether progress is shown.

    Raises:
        InputError: `data` do not have the classes of the weights.
    """
    with progress_shown(progress):
        migration, remarks = _migration(found)
        story = _story(found, migration, data)
        of_directory = {chapter.title: chapter for chapter in story_chapters(story, commands)}
        of_directory["Summary"] = _summary(of_directory["Summary"], found, commands)
        if curves := _curves(story):
            of_directory["Curves"] = curves
        if migration is None:
            of_directory.pop("Recipe", None)
        else:
            of_directory["Migration"] = _table(migration)
        if "Evaluation" in of_directory:
            of_directory["Evaluation"] = _without_empty(of_directory["Evaluation"])
        chapters = [of_directory.pop(name) for name in ORDER if name in of_directory]
        chapters += of_directory.values()
        of_directory = {chapter.title: chapter for chapter in chapters}
        try:
            chapters = chapters_of_subject(of_directory, _subject(found, migration, data, commands))
        except AerostatError as error:
            if data is not None:
                raise
            remarks.append(f"Chapters that need the detector and the data are left out: {error}")
        summary = chapters[0]
        chapters[0] = dataclasses.replace(summary, paragraphs=[*summary.paragraphs, *remarks])
    return write_report(found.path / PAGE, title=title(story), subtitle=subtitle(story), chapters=chapters)


def _migration(found: WorkDir) -> tuple[Migration | None, list[str]]:
    """Return the migration of the directory's config, and a sentence if there is none."""
    try:
        config = found.config
        if config is None:
            return None, ["The directory has no config, so there is no recipe."]
        return migrate(config), []
    except InputError as error:
        return None, [f"The config cannot be migrated: {error}"]


def _story(found: WorkDir, migration: Migration | None, data: Dataset | None) -> Story:
    records = found.records()
    train = [record for record in records if record["kind"] == "train"]
    scored = [record for record in lines_of(records, "val", "ap") if record["ap"] >= 0]
    recipe = migration.recipe if migration else Recipe()
    epoch = max((int(record["epoch"]) for record in records), default=0)
    return Story(
        run=Run(found.path),
        recipe=recipe,
        environment={},
        card=None if data is None else data_card(data),
        train=train,
        validations=scored,
        classes=migration.data.classes if migration else (),
        epoch=epoch,
        seconds=0.0,
        finished=epoch >= recipe.schedule.epochs,
    )


def _summary(chapter: Chapter, found: WorkDir, commands: Commands) -> Chapter:
    """Return the summary with the files of the directory."""
    files = {
        found.best: "weights of the best epoch",
        found.newest: "weights of the last epoch",
        found.config_file: "the config as it was trained with",
    }
    files |= dict.fromkeys(found.logs, "iterations and validations")
    rows = [
        (str(path.relative_to(found.path)), f"{max(1, round(path.stat().st_size / 1000))} kB", what)
        for path, what in files.items()
        if path is not None
    ]
    steps = commands.next_steps(found.path, {}) if found.best or found.newest else []
    table = Table(("file", "size", "what it is"), rows, "Files")
    kept = [other for other in chapter.tables if other.caption != "Files"]
    return dataclasses.replace(chapter, commands=steps, tables=[*kept, table])


def _without_empty(chapter: Chapter) -> Chapter:
    """Return a chapter without tables of dashes: the logs of MMEngine state no recall."""
    full = [table for table in chapter.tables if any(set(row[1:]) - {NOTHING} for row in table.rows)]
    return dataclasses.replace(chapter, tables=full)


def _curves(story: Story) -> Chapter | None:
    records = [*story.train, *story.validations]
    captions = {
        "AP on the validation images, by epoch": ap_curve,
        "Training loss and its parts, by epoch": loss_curve,
        "Learning rate, by epoch": lr_curve,
    }
    figures = []
    for caption, draw in captions.items():
        figure = draw(records)
        if figure is not None:
            figures.append(Figure(png_bytes(figure), caption, f"Plot: {caption}", wide=draw is ap_curve))
    return Chapter("Curves", [], figures) if figures else None


def _table(migration: Migration) -> Chapter:
    tables = []
    for group in GROUPS:
        rows = [(row.original, row.value, row.here, row.why) for row in migration.rows if row.group == group]
        if rows:
            tables.append(Table(("setting", "value", "here", "why"), rows, TITLES[group]))
    return Chapter("Migration", ["What became of each setting of the config."], tables=tables)


def _subject(
    found: WorkDir, migration: Migration | None, data: Dataset | None, commands: Commands
) -> Subject:
    """Return detector and data.

    Raises:
        InputError: there are no weights, the data are gone, or they have other classes.
    """
    detector = load(found.path)
    if data is None:
        if migration is None:
            raise InputError("without a migrated config the data are unknown; name them")
        data = read_data(migration.data)
    if data.classes != detector.classes:
        raise InputError(
            f"{found.path} was trained on {', '.join(detector.classes)[:80]}, but the data have "
            f"{', '.join(data.classes)[:80]}; name the data that it was trained on."
        )
    train_split, val_split = choose_splits(data)
    recipe = migration.recipe if migration else Recipe()
    return Subject(Run(found.path), detector, recipe, data, train_split, val_split, commands)
