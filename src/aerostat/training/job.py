"""What a run works on: its directory, its recipe, its data, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerostat.datasets.records import Split
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.training.loggers import Logger
from aerostat.training.logs.tracker import Tracker
from aerostat.training.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """What a run works on.

    Args:
        run: directory that exists.
        recipe: resolved.
        train_split: what is learned from.
        val_split: what is validated on; None for no validation.
        origin: how the data were read, which the checkpoint stores; empty for data made in memory.
        held_out: share of the images that was held out for validation; 0 if the data have a split for it.
        run_files: texts that belong into the directory, by their path; written again where they are missing.
        loggers: receive the records, in addition to ``metrics.jsonl``.
        commands: what to type next, as the caller words it.
    """

    run: Run
    recipe: Recipe
    train_split: Split
    val_split: Split | None
    origin: Mapping[str, Any] = field(default_factory=dict)
    held_out: float = 0.0
    run_files: Mapping[Path, str] = field(default_factory=dict)
    loggers: Sequence[Logger | Tracker] = ()
    commands: Commands = PYTHON

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.train_split.classes
