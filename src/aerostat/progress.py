"""Progress of long work: a bar where a person watches, log lines elsewhere.

A person watches if stderr is a terminal, or if the caller is a notebook. Elsewhere the same progress goes to
`logging` under the name ``aerostat.progress``, at level INFO. `progress_shown` turns both off.

Names of files and classes come from somebody's archive. Nothing in them reaches a terminal as more than text.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aerostat.text import plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

T = TypeVar("T")

LINE_SECONDS = 20.0
"""Off a terminal a line of progress is logged at least this often while items keep finishing."""
MAX_SILENCE_SECONDS = 45.0
"""Off a terminal a line is logged after this time even though no item was finished."""
NOTEBOOK_SECONDS = 0.2
"""In a notebook a bar is drawn at most this often."""
BAR_CELLS = 30
"""Length of a bar in a notebook, in characters."""

_log = logging.getLogger(__name__)
_on_lines = contextvars.ContextVar("aerostat_progress_on_lines", default=False)
_shown = contextvars.ContextVar("aerostat_progress_shown", default=True)

_OUTER = "aerostat_outer"
"""Attribute of log records that `log_to` leaves where they would go without it."""


@contextlib.contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Show progress while the block runs, or hide it: no bar and no log line about progress."""
    token = _shown.set(shown and _shown.get())
    try:
        yield
    finally:
        _shown.reset(token)


def terminal() -> Console:
    """Return the console of stderr, on which bars are drawn."""
    return _stderr()


@cache
def _stderr() -> Console:
    from rich.console import Console

    return escaping(Console(stderr=True, emoji=False, highlight=False, soft_wrap=True, force_jupyter=False))


def escaping(console: Console) -> Console:
    """Let a console write characters that do not print as escapes; return it. Its own colours stay."""
    from rich.segment import Segment

    @dataclass(frozen=True)
    class Escaped:
        renderable: Any

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
            for text, style, control in console.render(self.renderable, options):
                yield Segment(text if control else plain(text, lines=True), style, control)

    class Hook:
        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            return [Escaped(renderable) for renderable in renderables]

    console.push_render_hook(Hook())  # type: ignore[arg-type]  # rich calls this one method
    return console


def progress_is_shown() -> bool:
    """Return whether progress is shown at all, as a bar or in log lines."""
    return _shown.get()


def on_terminal() -> bool:
    """Return whether bars are drawn on a terminal."""
    return _shown.get() and not _on_lines.get() and terminal().is_terminal


def in_notebook() -> bool:
    """Return whether bars are drawn in a Jupyter notebook; IPython in a terminal is not one."""
    if not _shown.get() or _on_lines.get():
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def track(items: Iterable[T], title: str, total: int | None = None) -> Generator[T]:
    """Yield `items` and show how far along they are.

    Args:
        items: what is worked on.
        title: what is being done, such as ``reading train.json``.
        total: number of items; by default the length of `items`, if it has one.

    >>> list(track([1, 2], "counting"))
    [1, 2]
    """
    title = plain(title)
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not _shown.get():
        yield from items
    elif on_terminal():
        yield from _track_on_terminal(items, title, total)
    elif in_notebook():
        with NotebookBar(title, total) as bar:
            for done, item in enumerate(items, 1):
                yield item
                bar.update(done)
    else:
        yield from _track_in_log(items, title, total)


def _track_on_terminal(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal(), transient=True) as progress:
        yield from progress.track(items, total=total, description=title)


def _track_in_log(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    done = 0
    with ProgressLines(lambda: f"{title}: {done}" + (f" of {total}" if total else "")) as lines:
        for item in items:
            yield item
            done += 1
            lines.item_done()


class ProgressLines:
    """Log lines of progress, at least one a minute however long a single item takes.

    Args:
        line: returns the state as one line; it may be called from another thread.
        outer: whether `log_to` leaves the lines where they would go without it.
    """

    def __init__(self, line: Callable[[], str], *, outer: bool = False) -> None:
        self._line = line
        self._extra = {_OUTER: outer}
        self._logged = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, name="aerostat-progress", daemon=True)

    def __enter__(self) -> ProgressLines:
        """Begin to watch for silence."""
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch."""
        self._over.set()
        self._watch.join()

    def item_done(self) -> None:
        """Log a line if the last one was long enough ago."""
        if time.monotonic() - self._logged >= LINE_SECONDS:
            self._write()

    def _write(self) -> None:
        self._logged = time.monotonic()
        _log.info("%s", self._line(), extra=self._extra)

    def _break_silence(self) -> None:
        left = MAX_SILENCE_SECONDS
        while not self._over.wait(left):
            left = MAX_SILENCE_SECONDS - (time.monotonic() - self._logged)
            if left <= 0:
                self._write()
                left = MAX_SILENCE_SECONDS


class NotebookBar:
    """A bar below a notebook's cell, cleared at the end.

    Args:
        title: what is being done.
        total: number of items; None if it is not known.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self._drawn = 0.0
        self._handle: Any = None

    def __enter__(self) -> NotebookBar:
        """Draw the empty bar."""
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        show: Any = display  # IPython has types in some versions only
        self._handle = show(self._content(0, ""), raw=True, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the bar."""
        self._handle.update({"text/plain": ""}, raw=True)

    def update(self, done: int, note: str = "") -> None:
        """Draw the bar with `done` items finished and a note beside it, unless it was drawn just now."""
        if time.monotonic() - self._drawn >= NOTEBOOK_SECONDS or done == self._total:
            self._drawn = time.monotonic()
            self._handle.update(self._content(done, note), raw=True)

    def _content(self, done: int, note: str) -> dict[str, str]:
        if self._total:
            cells = min(BAR_CELLS, done * BAR_CELLS // self._total)
            bar = f"{'█' * cells}{'░' * (BAR_CELLS - cells)} {done}/{self._total}"
        else:
            bar = str(done)
        return {"text/plain": f"{self._title} {bar}  {note}".rstrip()}


class _Living:
    """Text that is asked for whenever the terminal is drawn."""

    def __init__(self, text: Callable[[], str]) -> None:
        self.text = text

    def __rich__(self) -> Text:
        from rich.text import Text

        return Text(self.text())


@contextlib.contextmanager
def activity() -> Iterator[Callable[[str | Callable[[], str]], None]]:
    """Yield a function that takes what is being done: a spinner on a terminal, log lines elsewhere.

    The function takes a text, or a function that returns one; that is called from another thread.
    """
    console = terminal()
    doing: str | Callable[[], str] = "starting"

    def line() -> str:
        return doing if isinstance(doing, str) else doing()

    def begin(text: str | Callable[[], str]) -> None:
        nonlocal doing
        doing = text
        if lines is not None:
            lines.item_done()

    if not _shown.get():
        yield lambda _: None
        return
    lines = None if on_terminal() else ProgressLines(line, outer=True)
    # Two frames a second: what is being done may be a measurement of speed.
    with lines or console.status(_Living(line), refresh_per_second=2):
        yield begin


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Write all log lines of the library to the end of a file while the block runs, and nowhere else.

    Lines of an `activity` that began before the block stay where they are.
    """
    package = logging.getLogger("aerostat")
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(message)s"))
    file.addFilter(lambda record: not getattr(record, _OUTER, False))

    def stays(record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] != "aerostat" or getattr(record, _OUTER, False)

    others = [*package.handlers, *logging.getLogger().handlers]
    level = package.level
    for handler in others:
        handler.addFilter(stays)
    package.addHandler(file)
    package.setLevel(min(package.getEffectiveLevel(), logging.INFO))
    token = _on_lines.set(True)
    try:
        yield
    finally:
        _on_lines.reset(token)
        package.setLevel(level)
        package.removeHandler(file)
        for handler in others:
            handler.removeFilter(stays)
        file.close()
