"""Loggers: where the records of a run go while it lasts.

A logger for another tracker is one class with the three methods of `Logger`, given to
``aerostat.train(..., loggers=(MyLogger(),))``. No other file changes. A `Tracker` can be given in its place:
it is then called in a thread of its own and cannot slow the run (`aerostat.training.logs`).

Text for people goes through `logging`, under the names of the modules. It needs no logger of a run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from aerostat.runs.directory import Run
from aerostat.text import counted
from aerostat.training.logs.delivery import Delivery
from aerostat.training.logs.pictures import Example
from aerostat.training.logs.tracker import Tracker
from aerostat.training.recipe import Recipe

_log = logging.getLogger(__name__)

MAX_WAITING_LINES = 100_000
"""Lines that wait for room on the disk, about 25 MB; older ones are dropped."""


class Logger(Protocol):
    """Receives the records of a run in its first process.

    A record is a mapping of plain values. ``kind`` says which it is:

    - ``train``: an iteration with its losses by name, ``epoch``, ``batch``, ``iteration``, ``lr``,
      ``images_per_second``, ``memory_mb``
    - ``val``: a validation with COCO's figures and ``per_class``
    - ``stage``, ``warning``, ``resume``, ``end``: what happened in an ``epoch``

    After a resume, records since the checkpoint are sent again.
    An error in a logger does not end the run: it becomes a warning, once for each logger.

    Example:
        >>> class Printer:
        ...     def start(self, run, recipe):
        ...         print("epochs:", recipe.schedule.epochs)
        ...     def log(self, record):
        ...         print(record["kind"], record["epoch"])
        ...     def close(self):
        ...         print("closed")
    """

    def start(self, run: Run, recipe: Recipe) -> None:
        """Begin a run, or resume one.

        Args:
            run: its directory; a resumed run has records in it already.
            recipe: resolved.
        """

    def log(self, record: Mapping[str, Any]) -> None:
        """Take one record."""

    def close(self) -> None:
        """End: the run has finished, was stopped or has failed."""


@runtime_checkable
class PictureLogger(Protocol):
    """A logger that also takes pictures of validations."""

    def show(self, examples: Sequence[Example]) -> None:
        """Take photographs of the validation that was recorded last, with labels and detections."""


class MetricsFile:
    """Writes records to a run's ``metrics.jsonl``; a `Logger`.

    Lines that the disk refuses wait in memory, and training goes on.

    Args:
        run: its directory, which may vanish for a while.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._waiting: list[Mapping[str, Any]] = []
        self._failed = False

    def start(self, run: Run, recipe: Recipe) -> None:
        """Do nothing: the file is made with its first line."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line, together with those that could not be written before."""
        self._waiting = [*self._waiting[-MAX_WAITING_LINES:], record] if self._waiting else [record]
        try:
            self.write_waiting()
        except OSError as error:
            if not self._failed:
                _log.warning(
                    f"{self.run.metrics} cannot be written ({reason_of(error)}); training goes on, and its "
                    "lines wait until it can"
                )
            self._failed = True

    def write_waiting(self) -> None:
        """Write the lines that wait.

        Raises:
            OSError: the system refuses; the lines go on waiting.
        """
        if not self._waiting:
            return
        self.run.log(*self._waiting)
        if self._failed:
            _log.info(f"{counted(len(self._waiting), 'line')} of the log that had to wait are written")
        self._waiting, self._failed = [], False

    def close(self) -> None:
        """Do nothing: each line is written when it comes."""


class Loggers:
    """Sends each record of a run to several loggers.

    Args:
        run: its directory.
        recipe: resolved.
        loggers: in order; each is started before its first record. A tracker gets a thread of its own.
        active: whether this is the process of the run that logs; in others nothing happens.
    """

    def __init__(
        self, run: Run, recipe: Recipe, loggers: Sequence[Logger | Tracker], *, active: bool = True
    ) -> None:
        self.run, self.recipe, self.active = run, recipe, active
        chosen = loggers if active else ()
        self._waiting = [Delivery(one) if isinstance(one, Tracker) else one for one in chosen]
        self._started: list[Logger] = []
        self._warned: set[int] = set()

    def log(self, record: Mapping[str, Any]) -> None:
        """Send a record to every logger."""
        self.start()
        for logger in self._started:
            try:
                logger.log(record)
            except Exception as error:
                self._warn_of(logger, error, "some records may be missing there")

    @property
    def take_pictures(self) -> bool:
        """Whether any logger that has been started takes pictures."""
        return any(isinstance(logger, PictureLogger) for logger in self._started)

    def show(self, examples: Sequence[Example]) -> None:
        """Send photographs of the last validation to the loggers that take pictures."""
        for logger in self._started:
            if isinstance(logger, PictureLogger):
                try:
                    logger.show(examples)
                except Exception as error:
                    self._warn_of(logger, error, "some pictures may be missing there")

    def warn(self, text: str, *, epoch: int, iteration: int = 0) -> None:
        """Warn the user, and send the warning to every logger.

        Args:
            text: a clause.
            epoch: from 1.
            iteration: of the epoch, from 1; 0 if it is about none.
        """
        if not self.active:
            return
        _log.warning(f"epoch {epoch}" + f", iteration {iteration}" * bool(iteration) + f": {text}")
        record = {"kind": "warning", "epoch": epoch, "text": text}
        self.log({**record, "batch": iteration} if iteration else record)

    def start(self) -> None:
        """Start every logger, once; one that fails at that is left out."""
        while self._waiting:
            logger = self._waiting.pop(0)
            try:
                logger.start(self.run, self.recipe)
            except Exception as error:
                self._warn_of(logger, error, "it is left out of this run")
            else:
                self._started.append(logger)

    def close(self) -> None:
        """Close every logger that was started, once."""
        while self._started:
            logger = self._started.pop()
            try:
                logger.close()
            except Exception as error:
                self._warn_of(logger, error, "some records may be missing there")

    def _warn_of(self, logger: Logger, error: Exception, consequence: str) -> None:
        if id(logger) not in self._warned:
            self._warned.add(id(logger))
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            _log.warning(f"the logger {type(logger).__name__} failed ({why}); {consequence}")


def reason_of(error: OSError) -> str:
    """Return why the system refused, and for which file."""
    return f"{error.strerror or error}" + (f", {error.filename}" if error.filename else "")
