"""What follows the loop: curves, predictions, advice, what came out, and the record of the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aerostat.datasets.records import Split
from aerostat.errors import AerostatError, InputError, clause
from aerostat.evaluation.advice import AdviceReport, advise
from aerostat.evaluation.evaluate import validation_slices
from aerostat.images.read import read_image
from aerostat.inference.resolve import load
from aerostat.runs.curves import plot_training
from aerostat.runs.directory import Run
from aerostat.text import counted
from aerostat.training.loop import Trainer, primary_ap
from aerostat.training.position import Position
from aerostat.training.progress import clock

_log = logging.getLogger(__name__)

MAX_PICTURES = 16
"""Validation images that are drawn at the end of a run."""

T = TypeVar("T")


def run_to_end(trainer: Trainer) -> None:
    """Train, then write what a finished run has, and log what came out.

    Raises:
        InterruptedRunError: a signal asked to stop; the state is saved.
        AerostatError: training failed.
    """
    run, first = trainer.job.run, trainer.fabric.is_global_zero
    try:
        try:
            position = trainer.fit()
        finally:
            if first:
                _written(
                    lambda: plot_training(run.read_metrics(), run.plots) if run.metrics.is_file() else []
                )
        if first:
            _finish(trainer, position)
    finally:
        trainer.loggers.close()


def _finish(trainer: Trainer, position: Position) -> None:
    """Write predictions and advice, log what came out, and record the end."""
    job = trainer.job
    lines = [f"finished {counted(position.epoch, 'epoch')} in {clock(position.seconds)}"]
    if position.stopped_early:
        patience = counted(job.recipe.schedule.patience, "validation")
        lines[0] += f": AP did not rise for {patience}"
    lines += write_predictions(trainer)
    given = _written(lambda: _advise(trainer))
    if given and given.advice:
        lines += ["advice:", *(f"  - {one.text}" for one in given.advice)]
    steps = job.commands.next_steps(job.run.path, job.origin)
    lines += ["next:", *(f"  {command}" for command in steps)]
    _log.info("\n".join(lines))
    trainer.loggers.log({"kind": "end", "epoch": position.epoch, "seconds": round(position.seconds, 1)})


def write_predictions(trainer: Trainer) -> list[str]:
    """Draw what the best weights detect, and return lines about all weights of a run that has ended.

    Raises:
        InputError: the best weights are gone.
    """
    run, position, last = trainer.job.run, trainer.position, trainer.result
    split = trainer.job.val_split
    if split is None:
        return [f"  last    {run.last}"]
    if not run.best.is_file():
        raise InputError(f"{run.path} has lost {run.best.name}, which validation wrote; take {run.last}.")
    if last is not None:
        _log.info(f"validation of epoch {position.epoch}:\n{last.render()}\n")
    what = "AP" if last is None or last.masks is None else "mask AP"
    lines = [
        f"  best    {what} {position.best_ap:.3f}  epoch {position.best_epoch}  {run.best}",
        f"  last    {what} {primary_ap(last):.3f}  epoch {position.epoch}  {run.last}"
        if last
        else f"  {run.last}",
    ]
    drawn = _written(lambda: draw_predictions(run, split))
    if drawn is not None:
        lines.append(f"  {counted(drawn, 'picture')} in {run.predictions}, curves in {run.plots}")
    return lines


def _advise(trainer: Trainer) -> AdviceReport:
    """Compute advice from the last weights and store it; an error leaves it empty."""
    job = trainer.job
    try:
        given = advise(
            load(job.run.last),
            job.run.read_validations(),
            job.train_split,
            job.val_split,
            epochs=job.recipe.schedule.epochs,
        )
    except AerostatError as error:
        _log.info(f"the run gives no advice: {clause(error)}")
        return AdviceReport()
    given.write(job.run.advice)
    return given


def _written(write: Callable[[], T]) -> T | None:
    """Return what `write` returns; None, with a warning, if the system refuses a file."""
    try:
        return write()
    except OSError as error:
        _log.warning(f"pictures could not be written: {error.strerror or error} ({error.filename})")
        return None


def draw_predictions(run: Run, split: Split, count: int = MAX_PICTURES) -> int:
    """Draw what the run's best weights detect on the first images of a split, as its validation does.

    Args:
        run: with weights.
        split: of the run's classes.
        count: images that are drawn at most; those that cannot be read are left out.

    Returns:
        How many were drawn.
    """
    detector = load(run.path)
    drawn, stems = 0, set[str]()
    found = detector.predict_images(
        split.images[:count], slices=validation_slices(detector), on_unreadable=lambda *_: None
    )
    for record, detections in found:
        stem = Path(record.file_name).stem
        # Images in two folders may have one name, and some systems ignore its case.
        taken = stem.lower() in stems
        name = f"{stem}_{drawn}.jpg" if taken else f"{stem}.jpg"
        detections.draw(read_image(record.location)).save(run.predictions / name)
        stems.add(stem.lower())
        drawn += 1
    return drawn
