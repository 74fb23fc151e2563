"""The state of a run, to disk and back, and its best and last weights.

Training is worth more than its files: what the disk refuses is reported, training goes on, and the next save
tries again. The whole state is written first, because all other files can be made from it. Whoever is killed
between two files loses nothing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from aerostat.datasets.records import Split
from aerostat.errors import AerostatError, InputError
from aerostat.files import flush_folder, write_text
from aerostat.geometry.boxes import box_area
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.training.job import Job
from aerostat.training.loggers import MetricsFile, reason_of
from aerostat.training.monitor import Monitor
from aerostat.training.optimiser import load_optimiser_state
from aerostat.training.position import Position
from aerostat.training.resume_checks import Fingerprint, made_with
from aerostat.training.step import Learner
from aerostat.weights.checkpoint import Header, read_header, save_weights
from aerostat.weights.training_state import load_state, save_state

_log = logging.getLogger(__name__)

MONITOR_KEY = "guards"
"""Key of the monitor's memory in a checkpoint, as checkpoints have had it since version 0.1."""

Weights = tuple[Mapping[str, Tensor], Header]


class Saver:
    """Writes a run's files. Only `require_saved` fails where the system refuses.

    Args:
        run: its directory, which may vanish.
        metrics: lines that waited for room are written with the next state.
        run_files: texts that belong into the directory, written where they are missing.
        commands: what to type next, as the caller words it.
    """

    def __init__(
        self,
        run: Run,
        metrics: MetricsFile,
        run_files: Mapping[Path, str] | None = None,
        commands: Commands = PYTHON,
    ) -> None:
        self.run, self.metrics, self.commands = run, metrics, commands
        self.run_files = dict(run_files or {})
        self.failure = ""
        """Why the newest state is not on the disk; empty if it is there."""
        self.saved = ""
        """Position of the newest state on the disk, such as ``epoch 3``; empty before the first."""
        self._best: Weights | None = None  # until they are on the disk

    def save(self, state: Mapping[str, Any], weights: Weights | None, *, best: bool, of: str) -> None:
        """Write the whole state, then what follows from it. Each file is whole or as it was.

        Args:
            state: see `aerostat.weights.training_state`.
            weights: the averaged ones; None where nothing has been learned.
            best: whether these are the best weights so far.
            of: position of the state, such as ``epoch 3``.
        """
        if best:
            self._best = weights
        try:
            self._write(state, weights, of)
        except OSError as error:
            self.failure = reason_of(error)
            newest = f"that of {self.saved} is whole" if self.saved else "nothing is saved so far"
            _log.warning(
                f"{of} could not be saved ({self.failure}); training goes on and tries again after the next; "
                f"{newest}"
            )
            # The tensors are about to change, but the best weights must stay as they are.
            if best and weights is not None and self._best is not None:
                copies = {name: tensor.detach().clone() for name, tensor in weights[0].items()}
                self._best = copies, weights[1]
        else:
            if self.failure:
                _log.info(f"{of} is saved: the disk takes it again")
            self.failure = ""

    def _write(self, state: Mapping[str, Any], weights: Weights | None, of: str) -> None:
        if self.saved and not self.run.path.is_dir():
            _log.info(f"{self.run.path} had vanished and is made again")
        save_state(self.run.checkpoint, state)
        flush_folder(self.run.path)
        self.saved = of
        if self._best is not None:
            save_weights(self.run.best, *self._best)
            self._best = None
        if weights is not None:
            save_weights(self.run.last, *weights)
        for path, text in self.run_files.items():
            if not path.is_file():
                write_text(path, text)
        self.metrics.write_waiting()
        self.run.flush_log()
        flush_folder(self.run.path)

    def require_saved(self) -> None:
        """Fail if the newest state is not on the disk.

        Raises:
            AerostatError: naming what is there, and what to do.
        """
        if not self.failure:
            return
        if self.run.checkpoint.is_file():
            raise AerostatError(
                f"Training came to its end, but could not be saved ({self.failure}); make room and, from the "
                f"state of {self.saved or 'nothing'}, go on with: {self.commands.resume(self.run.path)}"
            )
        raise AerostatError(f"Training came to its end, but nothing of it could be saved ({self.failure}).")


class Checkpoints:
    """Puts the state of a run together, saves it, and restores it.

    Args:
        fabric: launched; only its first process writes.
        job: what the run works on.
        learner: whose state this is.
        metrics: the run's ``metrics.jsonl``.
        iterations: of an epoch.
    """

    def __init__(
        self, fabric: Fabric, job: Job, learner: Learner, metrics: MetricsFile, *, iterations: int
    ) -> None:
        self.fabric, self.job, self.learner, self.iterations = fabric, job, learner, iterations
        self.saver = Saver(job.run, metrics, job.run_files, job.commands)
        val_split = job.val_split
        self.fingerprint = {
            "train": Fingerprint.of(job.train_split).state(),
            "val": Fingerprint.of(val_split).state() if val_split else None,
        }
        self.made_with = made_with(fabric.device)

    def save(self, position: Position, monitor: Monitor, figures: Mapping[str, float], *, best: bool) -> None:
        """Write the whole state and the averaged weights; where that fails it is tried again next time.

        Args:
            position: of the run.
            monitor: its memory is part of the state.
            figures: what validation found of these very weights, empty if they were not validated.
            best: whether these are the best weights so far.
        """
        if self.fabric.is_global_zero:
            state = self._state(position, monitor, figures)
            of = position.describe(self.iterations)
            self.saver.save(state, self._weights(position, figures), best=best, of=of)

    def begin(self, position: Position, monitor: Monitor) -> None:
        """Write the state before the first iteration, from which the run can be resumed.

        Raises:
            AerostatError: it cannot be written; better now than after hours of work.
        """
        if self.fabric.is_global_zero:
            state = self._state(position, monitor, {})
            self.saver.save(state, None, best=False, of=position.describe(self.iterations))
            if self.saver.failure:
                raise AerostatError(
                    f"{self.job.run.path} cannot be written to ({self.saver.failure}), so nothing was "
                    "trained; make room, or choose another `out`."
                )
        self.fabric.barrier()

    def restore(self) -> tuple[Position, Monitor]:
        """Read the checkpoint into the learner, and mend what a process that died left behind.

        Returns:
            The position of the run, and its monitor.
        """
        state, learner = load_state(self.job.run.checkpoint), self.learner
        learner.net.load_state_dict(state["net"])
        learner.network.forget_folded()
        learner.ema.net.load_state_dict(state["ema"])
        learner.ema.updates = state["ema_updates"]
        load_optimiser_state(learner.optimiser.optimizer, state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["torch_random_state"])
        position, monitor = (
            Position(**state["position"]),
            Monitor.of(state.get(MONITOR_KEY) or {}, self.job.commands),
        )
        learner.parts = state.get("parts", 1) if self.fabric.world_size == 1 else 1
        self.saver.saved = position.describe(self.iterations)
        if self.fabric.is_global_zero:
            self.job.run.cut_metrics(position.epoch + 1, position.batch + 1)
            self._mend(position, state.get("figures") or {})
        self.fabric.barrier()  # every process has read before anything is written
        return position, monitor

    def _state(self, position: Position, monitor: Monitor, figures: Mapping[str, float]) -> dict[str, Any]:
        learner, job = self.learner, self.job
        return {
            "net": learner.net.state_dict(),
            "ema": learner.ema.net.state_dict(),
            "ema_updates": learner.ema.updates,
            "optimiser": learner.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "torch_random_state": torch.get_rng_state(),
            "position": dataclasses.asdict(position),
            "figures": dict(figures),
            MONITOR_KEY: monitor.state(),
            "parts": learner.parts,
            "recipe": job.recipe.to_dict(),
            "classes": list(job.classes),
            "train_images": len(job.train_split),
            "fingerprint": self.fingerprint,
            "made_with": self.made_with,
            "source": dict(job.origin),
            **({"held_out": job.held_out} if job.held_out else {}),
        }

    def _weights(self, position: Position, figures: Mapping[str, float]) -> Weights:
        """Return the averaged weights, and a header that says what they are for."""
        recipe = self.job.recipe
        size = recipe.data.input_size
        header = Header(
            size=recipe.model.size,
            classes=self.job.classes,
            input_size=(size, size),
            recipe=recipe.to_dict(),
            metrics={"epoch": position.epoch, **figures},
            masks=recipe.model.masks,
            objects=figures_of_objects(self.job.train_split),
        )
        return self.learner.ema.net.state_dict(), header

    def _mend(self, position: Position, figures: Mapping[str, float]) -> None:
        """Write the weights that are missing or older than the state, which is written first."""
        run, weights = self.job.run, self._weights(position, figures)
        if position.place == (0, 0):
            return
        try:
            save_weights(run.last, *weights)
            if self.job.val_split is None or position.best_epoch == 0:
                return
            if position.best_epoch == position.epoch and not (position.batch or position.unvalidated):
                save_weights(run.best, *weights)
                return
        except OSError as error:
            _log.warning(f"the weights in {run.path} could not be written: {error.strerror or error}")
        stored = _epoch_and_ap(run.best)
        # The best weights are older where the disk was full, and missing where somebody removed them.
        if stored is None or stored[0] < position.best_epoch:
            now = f"that of epoch {stored[0]}" if stored else "that of the next validation"
            _log.info(
                f"{run.best} is not that of epoch {position.best_epoch}, whose AP of "
                f"{position.best_ap:.3f} is the best so far; {now} takes its place"
            )
            position.best_epoch, position.best_ap = stored or (0, -1.0)


def _epoch_and_ap(path: Path) -> tuple[int, float] | None:
    """Return the epoch of the weights in a file, and their AP; None if the file does not say."""
    try:
        metrics = read_header(path).metrics
        return int(metrics["epoch"]), float(metrics.get("mask_ap", metrics["ap"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None


def figures_of_objects(split: Split) -> dict[str, float]:
    """Return what a weights file says about the objects of a training split; empty if there is none."""
    instances = split.images.instances
    areas = box_area(instances.boxes_xyxy[~instances.crowd])
    sides = np.sqrt(areas[areas > 0])
    return {"count": len(sides), "side_px": round(float(np.median(sides)), 2)} if len(sides) else {}
