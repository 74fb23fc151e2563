"""What a run keeps on disk while it lasts, and what becomes of it where the disk refuses.

A night's training is worth more than a line of its log: what cannot be written is said, training goes on, and
the next save tries again. The order of the files is such that whoever is killed between two of them loses
nothing: the whole state first, since all others can be made from it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aerostat.errors import AerostatError
from aerostat.files import flush_folder, write_text
from aerostat.runs.directory import Run
from aerostat.text import counted
from aerostat.weights.checkpoint import Header, save_weights
from aerostat.weights.training_state import save_state

_log = logging.getLogger(__name__)

MAX_LINES = 100_000
"""Lines of the log that wait for room on the disk, some 25 MB; older ones are given up."""

Weights = tuple[Mapping[str, Tensor], Header]


class Saver:
    """Writes a run's files; all but `require_saved` goes on where the system refuses.

    Args:
        run: its directory, which may vanish.
        papers: texts that belong into the directory, written where they are missing.
    """

    def __init__(self, run: Run, papers: Mapping[Path, str] | None = None) -> None:
        self.run = run
        self.papers = dict(papers or {})
        self.failure = ""
        """Why the newest state is not on the disk; empty if it is."""
        self.saved = "nothing"
        """What the newest state on the disk is of."""
        self._best: Weights | None = None
        self._lines: list[dict[str, Any]] = []
        self._log_failed = False

    def save(self, state: Mapping[str, Any], weights: Weights | None, *, best: bool, of: str) -> None:
        """Write the whole state, then what follows from it; each file is whole or as it was.

        Args:
            state: see `aerostat.weights.training_state`.
            weights: the averaged ones; None where nothing has been learned.
            best: whether these are the best so far, too.
            of: what this is the state of, such as ``epoch 3``.
        """
        if best:
            self._best = weights
        try:
            if self.saved != "nothing" and not self.run.path.is_dir():
                _log.info(f"{self.run.path} had vanished and is made anew")
            save_state(self.run.checkpoint, state)
            flush_folder(self.run.path)
            self.saved = of
            if self._best is not None:
                save_weights(self.run.best, *self._best)
                self._best = None
            if weights is not None:
                save_weights(self.run.last, *weights)
            for path, text in self.papers.items():
                if not path.is_file():
                    write_text(path, text)
            self._write_lines()
            self.run.flush_log()
            flush_folder(self.run.path)
        except OSError as error:
            self._fail(error, of)
            if best and weights is not None:  # they are about to change
                copies = {name: tensor.detach().clone() for name, tensor in weights[0].items()}
                self._best = (copies, weights[1]) if self._best is not None else None
        else:
            if self.failure:
                _log.info(f"{of} is saved: the disk takes it again")
            self.failure = ""

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to the log, together with those that could not be written before."""
        self._lines = [*self._lines[-MAX_LINES:], record] if self._lines else [record]
        try:
            self._write_lines()
        except OSError as error:
            if not self._log_failed:
                _log.info(
                    f"{self.run.metrics} cannot be written ({_why(error)}); training goes on, and its lines "
                    "wait until it can"
                )
            self._log_failed = True

    def require_saved(self) -> None:
        """Fail if the newest state is not on the disk.

        Raises:
            AerostatError: saying what is, and what to do.
        """
        if not self.failure:
            return
        if self.run.checkpoint.is_file():
            raise AerostatError(
                f"Training came to its end, but could not be saved ({self.failure}); make room and, from the "
                f"state of {self.saved}, go on with: {self.run.resume_command}"
            )
        raise AerostatError(f"Training came to its end, but nothing of it could be saved ({self.failure}).")

    def _write_lines(self) -> None:
        if not self._lines:
            return
        self.run.log(*self._lines)
        if self._log_failed:
            _log.info(f"{counted(len(self._lines), 'line')} of the log that had to wait are written")
        self._lines, self._log_failed = [], False

    def _fail(self, error: OSError, of: str) -> None:
        self.failure = _why(error)
        newest = f"that of {self.saved} is whole" if self.saved != "nothing" else "nothing is saved so far"
        _log.info(
            f"warning: {of} could not be saved ({self.failure}); training goes on and tries again after the "
            f"next; {newest}"
        )


def _why(error: OSError) -> str:
    return f"{error.strerror or error}" + (f", {error.filename}" if error.filename else "")
