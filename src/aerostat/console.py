"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere.

Results go to stdout; notes, warnings and progress go to stderr, so that ``--json`` output stays clean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PLAIN_LINE_SECONDS = 20.0
"""Off a terminal a line of progress is printed at least this often while items keep finishing."""


@cache
def stderr() -> Console:
    """Return the console for notes and progress."""
    from rich.console import Console

    return Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)


@cache
def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console(emoji=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print one line for the person who waits, on stderr, as it is: a file may be called ``[red]``."""
    stderr().print(text, markup=False)


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing how far along they are (a bar on a terminal, plain lines elsewhere)."""
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
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= PLAIN_LINE_SECONDS:
            last = time.monotonic()
            print(f"{title}: {done}" + (f" of {total}" if total else ""), file=sys.stderr, flush=True)
