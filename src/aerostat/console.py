"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere.

Results go to stdout; notes, warnings and progress go to stderr, so that ``--json`` output stays clean. Names
of files and classes come from somebody's archive: nothing in them reaches a terminal as more than text.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aerostat.wording import plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

T = TypeVar("T")

PLAIN_LINE_SECONDS = 20.0
"""Off a terminal a line of progress is printed at least this often while items keep finishing."""
LONGEST_SILENCE = 45.0
"""Off a terminal a line is printed after so many seconds even though not a single item was finished."""


_elsewhere: list[Console] = []


def stderr() -> Console:
    """Return the console for notes and progress."""
    return _elsewhere[-1] if _elsewhere else _terminal()


@cache
def _terminal() -> Console:
    from rich.console import Console

    return _harmless(Console(stderr=True, emoji=False, highlight=False, soft_wrap=True))


@contextlib.contextmanager
def notes_to(path: Path) -> Iterator[None]:
    """Let notes and progress go to the end of a file while the block runs, as plain lines."""
    from rich.console import Console

    with path.open("a", encoding="utf-8", buffering=1) as file:
        plain_file = Console(file=file, emoji=False, highlight=False, soft_wrap=True, width=120)
        _elsewhere.append(_harmless(plain_file))
        try:
            yield
        finally:
            _elsewhere.pop()


@cache
def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return _harmless(Console(emoji=False, highlight=False, soft_wrap=True))


def _harmless(console: Console) -> Console:
    """Let a console write what does not print as escapes, in whatever it is given; its own colours stay."""
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

    console.push_render_hook(Hook())  # type: ignore[arg-type]  # asks for no more than that method
    return console


def tell(*lines: str) -> None:
    """Print lines of a result on stdout; what does not print, a line's end too, stands there as an escape."""
    for line in lines:
        print(plain(line))


def note(text: str) -> None:
    """Print a line or more for the person who waits, on stderr, as text: a file may be called ``[red]``."""
    stderr().print(text, markup=False)


class PlainLines:
    """Lines of progress off a terminal, at least one a minute however long a single item takes.

    Args:
        line: gives the state as one line; it may be called from another thread.
    """

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._file = stderr().file  # what begins here is told here, wherever notes go meanwhile
        self._printed = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, name="aerostat-progress", daemon=True)

    def __enter__(self) -> PlainLines:
        """Begin to watch for silence."""
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch."""
        self._over.set()
        self._watch.join()

    def item_done(self) -> None:
        """Print a line if the last one was long enough ago."""
        if time.monotonic() - self._printed >= PLAIN_LINE_SECONDS:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        self._file.write(self._line() + "\n")  # in one piece, as two threads may print
        self._file.flush()

    def _break_silence(self) -> None:
        left = LONGEST_SILENCE
        while not self._over.wait(left):
            left = LONGEST_SILENCE - (time.monotonic() - self._printed)
            if left <= 0:
                self._print()
                left = LONGEST_SILENCE


class _Living:
    """What is being done, asked anew whenever the terminal is drawn."""

    def __init__(self, text: Callable[[], str]) -> None:
        self.text = text

    def __rich__(self) -> Text:
        from rich.text import Text

        return Text(self.text())


@contextlib.contextmanager
def activity() -> Iterator[Callable[[str | Callable[[], str]], None]]:
    """Yield a function that is told what is being done: a spinner on a terminal, plain lines elsewhere.

    It takes a text, or a function that gives one whenever it is shown, from another thread.
    """
    console = stderr()
    doing: str | Callable[[], str] = "starting"

    def line() -> str:
        return doing if isinstance(doing, str) else doing()

    def begin(text: str | Callable[[], str]) -> None:
        nonlocal doing
        doing = text
        if lines is not None:
            lines.item_done()

    lines = None if console.is_terminal else PlainLines(line)
    # Seldom redrawn: what is being done may be measuring.
    with lines or console.status(_Living(line), refresh_per_second=2):
        yield begin


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing how far along they are (a bar on a terminal, plain lines elsewhere)."""
    title = plain(title)
    if total is None and isinstance(items, Sized):
        total = len(items)
    console = stderr()
    if console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        name = TextColumn("{task.description}", markup=False)
        columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield from progress.track(items, total=total, description=title)
        return
    done = 0
    with PlainLines(lambda: f"{title}: {done}" + (f" of {total}" if total else "")) as lines:
        for item in items:
            yield item
            done += 1
            lines.item_done()
