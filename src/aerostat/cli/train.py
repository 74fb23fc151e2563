"""The verb `train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli.app import app
from aerostat.cli.options import (
    FIELDS,
    READ,
    RECIPE,
    SEVERAL,
    Fields,
    Flag,
    Read,
    Recipe,
    Several,
    given_options,
)
from aerostat.cli.pages import write_page
from aerostat.cli.processes import quiet_unless_first
from aerostat.cli.reading import name_of, read
from aerostat.cli.recipes import is_config, tell_migration, training_request
from aerostat.cli.refusals import refuse
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.migration import Migration
    from aerostat.runs.directory import Run
    from aerostat.training.logs import Delivery
    from aerostat.training.plan import TrainRequest

TrackerName = Literal["tensorboard", "mlflow", "wandb"]


@app.command(sort_key=4, usage="Usage: aerostat train DATA [OPTIONS]")
def train(
    data: Path | None = None,
    /,
    *,
    reading: Read = READ,
    start: Recipe = RECIPE,
    fields: Fields = FIELDS,
    several: Several = SEVERAL,
    val: Annotated[float | None, Parameter(show_default=False)] = None,
    out: Path | None = None,
    resume: Path | None = None,
    log: Annotated[list[TrackerName] | None, Parameter(negative=(), show_default=False)] = None,
    dry_run: Flag = False,
) -> None:
    """Fine-tune RTMDet on annotated images.

    DATA is a folder with train/ and val/, each with images and annotations. Their format is one of those
    that `aerostat convert --help` lists. It may be the .py config of an RTMDet of MMDetection or MMYOLO,
    which is parsed, never executed: data and recipe are then those of the config.

    Parameters
    ----------
    data:
        Data set folder, one split's annotation file, or a config of OpenMMLab.
    val:
        Share of the images to hold out for validation, if the data have no split for it; by default 0.2 of
        ten images or more. 0 learns from all.
    out:
        Run directory, which must not exist; by default runs/NAME-OF-DATA.
    resume:
        Go on with this run directory. DATA is read again from where it was, unless it is given.
    log:
        Also log to this experiment tracker; may be repeated. Each needs its extra: pip install
        'aerostat[mlflow]'. MLFLOW_TRACKING_URI and WANDB_MODE=online name a server; without them nothing
        leaves this machine.
    dry_run:
        Print the data card and the resolved recipe, and train nothing.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.runs.directory import Run
    from aerostat.training.signals import leaving_at_once

    quiet_unless_first(several.chosen())
    if resume is not None:
        typed = None if val is None else str(val)  # 0 is typed, too
        own = {**given_options(start), **given_options(fields), "--val": typed, "--out": out}
        own["--dry-run"] = dry_run
        refuse(own, "cannot go with --resume, which goes on with the run's own recipe")
        with leaving_at_once(lambda: COMMANDS.what_is_left(Run(resume))), _logging_to(log) as loggers:
            _resume(Run(resume), read(data, reading) if data else None, reading, several, loggers)
        return
    if data is None:
        words = bool(reading.classes)
        hint = " (--classes takes every name up to the next option, so DATA goes before it)" * words
        raise InputError(f"Expected a data set folder to train on: aerostat train DATA{hint}.")
    migration = _migration(data)
    request = training_request(start, fields, migration, several.devices)
    _require_weights(request)
    if dry_run:
        from aerostat.training.plan import plan, show_plan
        from aerostat.training.runner import look_at

        dataset = read(data, reading)
        asked = replace(_for_data(request, migration, dataset), val=val)
        planned = plan(dataset, asked, COMMANDS)
        show_plan(planned, look_at(planned.data, strict=reading.strict), COMMANDS)
        print(planned.recipe.to_toml(), end="")
        return
    run = _free_run(out, data)
    with leaving_at_once(lambda: COMMANDS.what_is_left(Run(run))), _logging_to(log) as loggers:
        from aerostat.training.runner import RunOptions, start_run

        dataset = read(data, reading)
        trained = start_run(
            dataset,
            run,
            replace(_for_data(request, migration, dataset), val=val),
            RunOptions(loggers, strict=reading.strict, commands=COMMANDS, nodes=several.nodes),
        )
        write_page(trained, dataset)


@contextmanager
def _logging_to(names: list[TrackerName] | None) -> Iterator[tuple[Delivery, ...]]:
    """Yield loggers of a run for the trackers that were asked for; they are ended with the block.

    Raises:
        InputError: a tracker is not installed, or it has no credentials.
    """
    if not names:
        yield ()
        return
    from aerostat.training.logs import Delivery, MLflow, TensorBoard, WandB

    trackers = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
    with ExitStack() as stack:
        yield tuple(stack.enter_context(Delivery(trackers[name]())) for name in dict.fromkeys(names))


def _migration(data: Path) -> Migration | None:
    """Return the migration of a config, having told what became of its settings; None for other data."""
    if not is_config(data):
        return None
    from aerostat.migration import migrate

    found = migrate(data)
    tell_migration(found)
    return found


def _require_weights(request: TrainRequest) -> None:
    """Fetch the weights that a migrated recipe starts from, before the data are read.

    Raises:
        AerostatError: they cannot be had; the message says how to go without.
    """
    if request.recipe is None or request.weights is not None or not request.recipe.model.weights:
        return
    from aerostat.inference.resolve import weights_path

    try:
        weights_path(request.recipe.model.weights)
    except AerostatError as error:
        why = str(error).removesuffix(".")
        raise type(error)(f"{why}, or start from fresh weights with --weights ''.") from None


def _for_data(request: TrainRequest, migration: Migration | None, dataset: Dataset) -> TrainRequest:
    """Return the request for data that are read: lengths in iterations and in epochs can be converted."""
    if migration is None or request.recipe is not migration.recipe:
        return request
    from aerostat.migration import migrate
    from aerostat.training.plan import choose_splits

    images = len(choose_splits(dataset)[0])
    return replace(request, recipe=migrate(migration.config, train_images=images).recipe)


def _resume(
    run: Run, data: Dataset | None, reading: Read, several: Several, loggers: tuple[Delivery, ...]
) -> None:
    """Resume a run, on its own data unless others are given, and write its page.

    A run that was killed while its page was written gets the page alone.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.reporting import report
    from aerostat.reporting.complete import lacks_page
    from aerostat.training.runner import RunOptions, resume_run

    if data is None:
        refuse(given_options(reading), "cannot go with --resume unless DATA is named too")
    if lacks_page(run):
        print(report(run, data, commands=COMMANDS))
    else:
        options = RunOptions(loggers, commands=COMMANDS, devices=several.devices, nodes=several.nodes)
        write_page(resume_run(run, data, options), data)


def _free_run(out: Path | None, data: Path) -> Path:
    """Return the directory of a new run, by default named after its data, which must not exist."""
    from aerostat.runs.directory import Run

    path = out or Path("runs") / name_of(data)
    Run(path).require_absent()
    return path
