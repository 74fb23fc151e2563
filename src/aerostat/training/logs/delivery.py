"""Brings what a run says to a tracker, in a thread of its own, so that no tracker slows or stops a run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aerostat.runs.directory import Run
from aerostat.runs.metrics import is_number
from aerostat.text import counted
from aerostat.training.logs.figures import figures_of
from aerostat.training.logs.pictures import Example
from aerostat.training.logs.redaction import redacted
from aerostat.training.logs.tracker import Beginning, Measured, Place, Tracker
from aerostat.training.recipe import Recipe

_log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Records, pictures and files that wait for a tracker; what comes when as many wait is dropped."""
RETRY_S = 30.0
"""Seconds between two attempts to begin."""


MAX_TOGETHER = 100
"""Records that are delivered together, if as many wait."""


@dataclass(frozen=True)
class Item:
    """Something to deliver.

    Args:
        kind: record, picture or file; empty for the end itself.
        deliver: brings it to the tracker; a record has figures in its place.
        measured: the figures of a record.
    """

    kind: str
    deliver: Callable[[], None] | None = None
    measured: Measured | None = None


class Delivery:
    """Sends a run to a tracker; a `aerostat.training.loggers.Logger`.

    Records, pictures and files wait in one bounded queue, and a thread delivers them. At the end of the run
    `close` waits for the thread, at most `Tracker.deadline_s`. What was not delivered by then is a warning.

    In a ``with`` block the delivery goes on until the block ends, so that what is made after the run, such as
    its report, is delivered too.

    Args:
        tracker: where to.

    Example:
        >>> from aerostat.training.logs import TensorBoard
        >>> with Delivery(TensorBoard()) as log:  # doctest: +SKIP
        ...     run = aerostat.train(data, loggers=[log])
        ...     aerostat.report(run)
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._queue: queue.Queue[Item] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._run: Run | None = None
        self._place = Place(0, 1)
        self._held = self._finished = self._warned = self._deserted = False
        self._taken: list[str] = []  # kinds of the items that are no longer in the queue, nor delivered
        self._began, self._ending = threading.Event(), threading.Event()
        self._lost: Counter[str] = Counter()

    # --------------------------------------------------------------------------------- a logger of a run

    def start(self, run: Run, recipe: Recipe) -> None:
        """Begin in a thread; nothing is waited for."""
        self._run, self._place = run, _last_place(run)
        beginning = Beginning(run, recipe, self._place)
        self._thread = threading.Thread(
            target=self._work, args=(beginning,), name=f"aerostat-{self.tracker.title}", daemon=True
        )
        self._thread.start()

    def log(self, record: Mapping[str, Any]) -> None:
        """Queue the figures of a record."""
        self._finished = record.get("kind") == "end"
        epoch, iteration = record.get("epoch"), record.get("iteration", self._place.iteration)
        if is_number(epoch) and is_number(iteration):
            self._place = Place(int(iteration), int(epoch))
        figures = figures_of(record)
        if figures:
            self._put(Item("record", measured=Measured(figures, self._place, time.time())))

    def show(self, examples: Sequence[Example]) -> None:
        """Queue pictures of a validation; they are read and drawn in the thread."""
        place = self._place

        def deliver(example: Example) -> Callable[[], None]:
            return lambda: self.tracker.picture(example.name, example.draw(), place)

        for example in examples:
            self._put(Item("picture", deliver(example)))

    def close(self) -> None:
        """Queue the files of the run and wait for the thread; in a ``with`` block its end does that."""
        if not self._held:
            self._end()

    def __enter__(self) -> Delivery:
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False
        self._end()

    # --------------------------------------------------------------------------------------- the queue

    def _put(self, item: Item, wait_until: float | None = None) -> None:
        wait = 0.0 if wait_until is None else max(0.0, wait_until - time.monotonic())
        try:
            self._queue.put(item, block=wait > 0, timeout=wait or None)
        except queue.Full:
            self._lost[item.kind] += 1

    def _end(self) -> None:
        """Deliver what a run leaves, and wait until the deadline."""
        if self._thread is None or self._run is None:
            return
        deadline, finished = time.monotonic() + self.tracker.deadline_s, self._finished
        for item in [*self._files(self._run), Item("", lambda: self.tracker.end(finished))]:
            self._put(item, deadline if self._began.is_set() else None)
        self._ending.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        late = self._thread.is_alive()
        self._thread, self._deserted = None, late
        if late:
            self._lost.update([*self._taken, *(item.kind for item in [*self._queue.queue])])
            try:
                self.tracker.abandon()
            except Exception as error:
                _log.debug(f"{self.tracker.title} could not be let go: {_reason(error)}")
        self._tell(late)

    def _files(self, run: Run) -> list[Item]:
        """Return what a run has in its directory; weights only if it has finished."""
        places = [
            ("run", [run.recipe, run.metrics]),
            ("curves", sorted(run.plots.glob("*.png"))),
            ("report", [run.path / "report.html"]),
            ("weights", [run.best, run.last] if self._finished else []),
        ]

        def deliver(path: Any, folder: str) -> Callable[[], None]:
            return lambda: self.tracker.file(path, folder)

        return [
            Item("file", deliver(path, folder))
            for folder, paths in places
            for path in paths
            if path.is_file()
        ]

    def _tell(self, late: bool) -> None:
        """Warn of what was not delivered."""
        number = {kind: count for kind, count in self._lost.items() if kind and count}
        if not late and not number:
            return
        title, wait = self.tracker.title, f"{self.tracker.deadline_s:g} s"
        what = ", ".join(counted(count, kind) for kind, count in sorted(number.items()))
        why = f"it did not answer within {wait} of the end" if late else "it failed or was too slow"
        _log.warning(f"{title} did not get {what or 'the end of the run'}: {why}; the run itself is whole")

    # -------------------------------------------------------------------------------------- the thread

    def _work(self, beginning: Beginning) -> None:
        if not self._begin(beginning):
            while not self._queue.empty():
                self._lost[self._queue.get_nowait().kind] += 1
            return
        item: Item | None = None
        while True:
            item = item or self._queue.get()
            measured, following = self._records_from(item)
            kinds = ["record"] * len(measured) or [item.kind]
            self._taken = [*kinds, following.kind] if following else kinds
            try:
                if measured:
                    self.tracker.figures(measured)
                elif item.deliver:
                    item.deliver()
            except Exception as error:
                self._lost.update(kinds)
                self._warn(error, "the run goes on, and some of it may be missing there")
            self._taken = self._taken[len(kinds) :]
            if not item.kind:
                return
            item = following

    def _records_from(self, item: Item) -> tuple[list[Measured], Item | None]:
        """Return the figures of an item and of records that wait behind it, and what is next, if known."""
        measured: list[Measured] = []
        following: Item | None = item
        while following and following.measured and len(measured) < MAX_TOGETHER:
            measured.append(following.measured)
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                following = None
        return measured, following if measured else None

    def _begin(self, beginning: Beginning) -> bool:
        """Begin, as often as it takes; returns False if the run ended before that."""
        while True:
            try:
                self.tracker.begin(beginning)
            except Exception as error:
                self._warn(error, "the run goes on, and it is tried again meanwhile")
            else:
                self._began.set()
                return True
            if self._ending.wait(RETRY_S):
                return False

    def _warn(self, error: Exception, consequence: str) -> None:
        if not self._warned and not self._deserted:
            self._warned = True
            _log.warning(f"logging to {self.tracker.title} failed ({_reason(error)}); {consequence}")


def _reason(error: Exception) -> str:
    """Return what an error says, in one line and without secrets."""
    text = redacted(" ".join(str(error)[:10_000].split()))
    return f"{type(error).__name__}: {text}"[:300]


def _last_place(run: Run) -> Place:
    """Return the place of the last iteration that a run has logged."""
    if not run.metrics.is_file():
        return Place(0, 1)
    train = [
        record
        for record in run.read_metrics()
        if record.get("kind") == "train"
        and is_number(record.get("iteration"))
        and is_number(record.get("epoch"))
    ]
    return Place(int(train[-1]["iteration"]), int(train[-1]["epoch"])) if train else Place(0, 1)
