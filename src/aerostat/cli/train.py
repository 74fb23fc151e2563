"""The verb `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerostat.cli.app import app
from aerostat.cli.options import FIELDS, READ, RECIPE, Fields, Flag, Read, Recipe, given_options
from aerostat.cli.pages import write_page
from aerostat.cli.reading import name_of, read
from aerostat.cli.recipes import recipe_values
from aerostat.cli.refusals import refuse
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.runs.directory import Run


@app.command(sort_key=4, usage="Usage: aerostat train DATA [OPTIONS]")
def train(
    data: Path | None = None,
    /,
    *,
    reading: Read = READ,
    start: Recipe = RECIPE,
    fields: Fields = FIELDS,
    out: Path | None = None,
    resume: Path | None = None,
    dry_run: Flag = False,
) -> None:
    """Fine-tune RTMDet on annotated images.

    DATA is a folder with train/ and val/, each with images and annotations in VIA or COCO format.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    out:
        Run directory, which must not exist; by default runs/NAME-OF-DATA.
    resume:
        Go on with this run directory. DATA is read again from where it was, unless it is given.
    dry_run:
        Print the data card and the resolved recipe, and train nothing.
    """
    from aerostat.runs.directory import Run
    from aerostat.training.signals import leaving_at_once

    if resume is not None:
        own = {**given_options(start), **given_options(fields), "--out": out, "--dry-run": dry_run}
        refuse(own, "cannot go with --resume, which goes on with the run's own recipe")
        with leaving_at_once(lambda: Run(resume).left):
            write_page(_resumed(resume, data, reading))
        return
    if data is None:
        words = bool(reading.classes)
        hint = " (--classes takes every name up to the next option, so DATA goes before it)" * words
        raise InputError(f"Expected a data set folder to train on: aerostat train DATA{hint}.")
    preset, values = recipe_values(start, fields)
    if dry_run:
        from aerostat.training import api as training

        dataset = read(data, reading)
        planned = training.plan(
            dataset, model=start.model, weights=start.weights, preset=preset, values=values
        )
        training.show_plan(dataset, planned, training.look_at(dataset, strict=reading.strict))
        print(planned.recipe.to_toml(), end="")
        return
    run = _free_run(out, data)
    with leaving_at_once(lambda: Run(run).left):
        from aerostat.training import api as training

        dataset = read(data, reading)
        trained = training.train(
            dataset,
            model=start.model,
            weights=start.weights,
            out=run,
            preset=preset,
            values=values,
            source=_source(dataset),
            strict=reading.strict,
        )
        write_page(trained, dataset)


def _resumed(run: Path, data: Path | None, reading: Read) -> Run:
    """Go on with a run, on its own data unless others are named."""
    from aerostat.training.api import resume

    if data is None:
        refuse(given_options(reading), "cannot go with --resume unless DATA is named too")
        return resume(run)
    dataset = read(data, reading)
    return resume(run, dataset, source=_source(dataset))


def _source(dataset: Dataset) -> dict[str, Any]:
    """Return where and how the data were read, as a run remembers it."""
    return dataset.origin.to_dict() if dataset.origin is not None else {}


def _free_run(out: Path | None, data: Path) -> Path:
    """Return the directory of a new run, by default named after its data, which must not exist."""
    from aerostat.runs.directory import Run

    path = out or Path("runs") / name_of(data)
    Run(path).require_absent()
    return path
