"""What a tracker is asked to do, and what it is told about a run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.files import write_text
from aerostat.runs.directory import Run
from aerostat.training.recipe import Recipe

DEADLINE_S = 60.0
"""Seconds that a run waits at its end for one tracker."""

MEMORY = "logs.json"
"""File in a run's directory: the names that trackers gave the run. A resumed run goes on there."""


@dataclass(frozen=True)
class Place:
    """Where in a run something was measured.

    Args:
        iteration: over the whole run, from 1; 0 before the first one.
        epoch: from 1.
    """

    iteration: int
    epoch: int


@dataclass(frozen=True)
class Measured:
    """Figures of one iteration or validation.

    Args:
        figures: finite values by name, such as ``train/loss``.
        place: where in the run.
        time_s: seconds since 1970.
    """

    figures: Mapping[str, float]
    place: Place
    time_s: float


@dataclass(frozen=True)
class Beginning:
    """What a tracker is told when a run begins or resumes.

    Args:
        run: its directory.
        recipe: resolved.
        after: the place of the last iteration that the run has logged; iteration 0 for a new run.
    """

    run: Run
    recipe: Recipe
    after: Place

    @property
    def resumed(self) -> bool:
        """Whether the run has been logged before."""
        return self.after.iteration > 0

    def remembered(self, tracker: str) -> dict[str, Any]:
        """Return what a tracker has remembered about this run; empty if nothing, or if it cannot be read."""
        found = self._memory().get(tracker)
        return found if isinstance(found, dict) else {}

    def remember(self, tracker: str, values: Mapping[str, str]) -> None:
        """Remember the names that a tracker gave this run."""
        content = {**self._memory(), tracker: dict(values)}
        write_text(self.run.path / MEMORY, json.dumps(content, indent=2))

    def _memory(self) -> dict[str, Any]:
        try:
            content = json.loads((self.run.path / MEMORY).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


@runtime_checkable
class Tracker(Protocol):
    """The client of a tracker. All methods but `abandon` are called in one thread, in the order of the run.

    A method may raise anything and take any time: `Delivery` sees to it that the run does not notice.
    """

    title: str
    """As users know it."""
    deadline_s: float
    """Seconds that a run waits for it at its end."""

    def begin(self, beginning: Beginning) -> None:
        """Begin a run, or go on with one. It is called again if it fails."""

    def figures(self, measured: Sequence[Measured]) -> None:
        """Take figures, in order; those that waited come together."""

    def picture(self, name: str, picture_bgr: NDArray[np.uint8], place: Place) -> None:
        """Take a picture (H, W, 3); the name is that of a file without suffix."""

    def file(self, path: Path, folder: str) -> None:
        """Take a file of the run for a folder: ``run``, ``curves``, ``report`` or ``weights``."""

    def end(self, finished: bool) -> None:
        """End; `finished` tells whether the run reached its end."""

    def abandon(self) -> None:
        """Let go of what hangs, so that the process can end. Another thread calls it, at the deadline."""


def require_package(package: str, title: str, extra: str) -> None:
    """Refuse to log to a tracker whose client is not installed.

    Raises:
        InputError: naming the command that installs it.
    """
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise InputError(
            f"Logging to {title} needs the package {package}, which is not installed; "
            f"install it with: pip install 'aerostat[{extra}]'"
        )
