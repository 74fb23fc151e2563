"""Starts a run from a data set, or resumes one from its checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import Origin
from aerostat.datasets.summary import data_card, require_usable
from aerostat.errors import InputError
from aerostat.lint.lint import lint, require_clean
from aerostat.lint.listing import LintReport
from aerostat.model import build
from aerostat.processes.exchange import Processes
from aerostat.processes.lifeline import connected
from aerostat.processes.placement import Placement
from aerostat.progress import progress_shown
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.splitting.holdout import Holdout
from aerostat.text import counted
from aerostat.training.finish import run_to_end
from aerostat.training.job import Job
from aerostat.training.loggers import Logger
from aerostat.training.logs.tracker import Tracker
from aerostat.training.loop import Trainer
from aerostat.training.machine import describe_environment, environment_line, is_main_process
from aerostat.training.plan import (
    Plan,
    TrainRequest,
    choose_splits,
    plan,
    show_plan,
    start_network,
    with_held_out,
)
from aerostat.training.position import Position
from aerostat.training.processes import launch
from aerostat.training.recipe import Recipe
from aerostat.training.resume_checks import (
    Fingerprint,
    differences,
    facts,
    in_order_of,
    require_same_classes,
)
from aerostat.weights.container import version
from aerostat.weights.training_state import load_state

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """How a run is done, apart from what it computes.

    Args:
        loggers: receive its records, in addition to ``metrics.jsonl``.
        progress: whether progress is shown.
        strict: refuse data about which lint has an error or a warning.
        commands: what to type next, as the caller words it.
        devices: processes on each machine; None for as many as the recipe says.
        nodes: machines.
    """

    loggers: Sequence[Logger | Tracker] = ()
    progress: bool = True
    strict: bool = False
    commands: Commands = PYTHON
    devices: int | None = None
    nodes: int = 1

    def placement(self, recipe: Recipe | None = None) -> Placement:
        """Return how many processes are asked for."""
        devices = self.devices if self.devices is not None else recipe.run.devices if recipe else 1
        return Placement(devices, self.nodes)

    def left(self, run: Run) -> str:
        """Return a clause on what is left of a run when a process has died."""
        rest, command = self.commands.what_is_left(run)
        return f"{rest}; go on with: {command}" if command else rest


def start_run(data: Dataset, out: Path, request: TrainRequest, options: RunOptions) -> Run:
    """Train a detector and return its run directory.

    Args:
        data: with a training split, and a validation split for AP and the best epoch.
        out: the run directory; it must not exist.
        request: what is asked for.
        options: how the run is done.

    Raises:
        InputError: the request does not fit; nothing is written.
        AerostatError: the run fails.
    """
    run = Run(out)
    with progress_shown(options.progress and is_main_process(options.placement())):
        run.require_absent()
        planned = plan(data, request, options.commands)
        first = options.strict or is_main_process(options.placement())
        findings = look_at(planned.data, strict=options.strict) if first else None
        fabric = launch(planned.recipe, options.placement(planned.recipe))
        with connected(Processes(fabric), lambda: options.left(run)):
            _train(fabric, planned, run, findings, options)
    return run


def _train(fabric: Fabric, planned: Plan, run: Run, findings: LintReport | None, options: RunOptions) -> None:
    """Do a planned run in processes that are connected."""
    data, holdout, recipe = planned.data, planned.holdout, planned.recipe
    processes = Processes(fabric)
    if processes.count > 1:
        processes.require_same(facts(recipe, planned.train_split, planned.val_split))
    environment = describe_environment()
    net, report = start_network(planned, data.classes)
    if fabric.is_global_zero:
        _log.info(environment_line(environment, fabric.device) + _together(processes))
        show_plan(planned, findings, options.commands)
        _log.info(report)
        run.create()
    fabric.barrier()
    origin = data.origin.to_dict() if data.origin else {}
    job = Job(
        run,
        recipe,
        planned.train_split,
        planned.val_split,
        origin=origin,
        held_out=holdout.share if holdout and holdout.file_names else 0.0,
        run_files={
            **_run_files(run, recipe, environment, data, origin, findings),
            **_holdout_file(run, holdout),
        },
        loggers=options.loggers,
        commands=options.commands,
    )
    trainer = Trainer(fabric, net, job)
    with _locked(run, options):
        trainer.begin()
        run_to_end(trainer)


def _together(processes: Processes) -> str:
    """Return the number of processes for the first line of a run; empty for one."""
    if processes.count == 1:
        return ""
    nodes = processes.count // processes.on_this_machine
    return f"  {processes.count} processes" + f" on {nodes} machines" * (nodes > 1)


def resume_run(run: Run, data: Dataset | None, options: RunOptions) -> Run:
    """Resume a run from its checkpoint, after clearing away what was half-written when it died.

    Args:
        run: its directory.
        data: the data set; read again from where it was if None.
        options: how the run is done.

    Raises:
        InputError: there is no checkpoint, the run is finished or being trained, or the data are others.
        AerostatError: the run fails.
    """
    if not run.checkpoint.is_file():
        raise InputError(
            f"{run.path} has no {run.checkpoint.name} to go on from; name the directory of an unfinished run."
        )
    with (
        progress_shown(options.progress and is_main_process(options.placement())),
        _locked(run, options),
        ExitStack() as work,
    ):
        run_to_end(_restored(run, data, options, work))
    return run


def _restored(run: Run, data: Dataset | None, options: RunOptions, work: ExitStack) -> Trainer:
    """Return the trainer of a run as it was when its state was saved, after checking what is asked for.

    Its processes are connected as long as `work` is open.
    """
    state = load_state(run.checkpoint)
    recipe = Recipe().override(state["recipe"], source=str(run.checkpoint))
    position = _position(state, run)
    restart = options.commands.argument("weights", str(run.path))
    if position.ended(recipe.schedule.epochs) and run.ended:
        raise InputError(
            f"{run.path} is finished ({position.epoch} of {counted(recipe.schedule.epochs, 'epoch')}); "
            f"start a new run from its weights with {restart}."
        )
    moved = data.origin if data is not None else None
    data = read_again(state["source"], run) if data is None else data
    origin = moved.to_dict() if moved else state["source"]
    require_same_classes(state, data.classes, run.path)
    holdout = _held_out_before(state)
    if holdout is not None:
        data = with_held_out(data, holdout.file_names)
    train_split, val_split = choose_splits(data)
    train_split = in_order_of(state, train_split, run.path, restart)
    require_usable(data, [split.name for split in (train_split, val_split) if split])
    fabric = launch(recipe, options.placement(recipe))
    processes = Processes(fabric)
    work.enter_context(connected(processes, lambda: options.left(run)))
    if processes.count > 1:
        at = {"state": f"epoch {position.epoch}, iteration {position.batch}"}
        processes.require_same({**facts(recipe, train_split, val_split), **at})
    environment = describe_environment()
    if fabric.is_global_zero:
        _log.info(environment_line(environment, fabric.device) + _together(processes))
    job = Job(
        run,
        recipe,
        train_split,
        val_split,
        origin=origin,
        held_out=holdout.share if holdout else 0.0,
        run_files={**_run_files(run, recipe, environment, data, origin), **_holdout_file(run, holdout)},
        loggers=options.loggers,
        commands=options.commands,
    )
    trainer = Trainer(fabric, build(recipe.model.size, len(data.classes), recipe.model.masks), job)
    trainer.restore()
    if fabric.is_global_zero:
        if moved:
            run.record_source(origin)
        _log_resume(trainer, state)
    return trainer


def _held_out_before(state: Mapping[str, Any]) -> Holdout | None:
    """Return the images that a run holds out; None for a run of data with a validation split, or an old one.

    The state holds their names already, because it holds those of all validation images.
    """
    share = state.get("held_out")
    if not share:
        return None
    names = Fingerprint.read(state["fingerprint"]["val"]).names
    return Holdout(share, names, state["train_images"] + len(names))


def _holdout_file(run: Run, holdout: Holdout | None) -> dict[Path, str]:
    return {run.holdout: holdout.to_json()} if holdout is not None and holdout.file_names else {}


def read_again(origin: Mapping[str, Any], run: Run) -> Dataset:
    """Return the data of a run, read again as they were read for it.

    Raises:
        InputError: they were made in memory, or they cannot be read.
    """
    known = Origin.from_dict(origin)
    if known is None:
        raise InputError(
            f"{run.path} does not know where its data are, because they were not read from files; "
            "give them again as `data`."
        )
    return Dataset.read_again(known)


def _position(state: Mapping[str, Any], run: Run) -> Position:
    try:
        return Position(**state["position"])
    except TypeError:
        by = (state.get("made_with") or {}).get("aerostat", "another version")
        raise InputError(
            f"{run.checkpoint} was saved by aerostat {by}, and this aerostat {version()} does not know all "
            "of its state; go on with that version."
        ) from None


def _log_resume(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Log and record where a run resumes, and what differs from before."""
    position, job = trainer.position, trainer.job
    differing = differences(
        state,
        now=trainer.checkpoints.made_with,
        train_split=job.train_split,
        val_split=job.val_split,
        recipe=job.recipe,
        recipe_file=job.run.recipe,
    )
    _log.info(
        f"going on with {job.run.path} after epoch {position.epoch}, iteration {position.batch}"
        + ", at its validation" * position.unvalidated
    )
    for text in differing:
        _log.info(f"  - differs: {text}")
    place = {"epoch": position.epoch + 1, "batch": position.batch + 1}
    trainer.loggers.log({"kind": "resume", **place, "differences": list(differing)})


def look_at(data: Dataset, *, strict: bool = False) -> LintReport:
    """Return what lint finds in the time that a training may wait for it.

    Raises:
        InputError: it finds an error or a warning, and the request is `strict`.
    """
    report = lint(data, brief=True)
    if strict:
        require_clean(report)
    return report


def _locked(run: Run, options: RunOptions) -> AbstractContextManager[None]:
    """Lock the run in its first process."""
    return run.locked() if is_main_process(options.placement()) else nullcontext()


def _run_files(
    run: Run,
    recipe: Recipe,
    environment: Mapping[str, Any],
    data: Dataset,
    origin: Mapping[str, Any],
    findings: LintReport | None = None,
) -> dict[Path, str]:
    """Return the texts of a run's directory that people read: recipe, environment, data."""
    record = {**environment, "data": dict(origin), "data_card": data_card(data).to_dict()}
    if findings is not None:
        record["lint"] = findings.to_dict(most=20)
    return {run.recipe: recipe.to_toml(), run.environment: json.dumps(record, indent=2, default=str)}
