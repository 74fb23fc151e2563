"""What the command line writes: results to stdout, log records and progress to stderr.

``--json`` output stays clean, because nothing else goes to stdout. Names of files and classes come from
somebody's archive: nothing in them reaches a terminal as more than text.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from aerostat.progress import escaping, terminal
from aerostat.text import plain

if TYPE_CHECKING:
    from rich.console import Console


def stderr() -> Console:
    """Return the console for notes and progress."""
    return terminal()


@cache
def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return escaping(Console(emoji=False, highlight=False, soft_wrap=True))


def tell(*lines: str) -> None:
    """Print lines of a result on stdout; characters that do not print become escapes."""
    for line in lines:
        print(plain(line))


def note(text: str) -> None:
    """Print a line or more on stderr, as text: a file may be called ``[red]``."""
    stderr().print(text, markup=False)


class NoteHandler(logging.Handler):
    """Prints log records on stderr, warnings and errors with their level before them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        note(f"{level}{record.getMessage()}")


@contextlib.contextmanager
def log_on_stderr(level: int = logging.INFO) -> Iterator[None]:
    """Print the library's log records of at least `level` on stderr while the block runs."""
    package, handler = logging.getLogger("aerostat"), NoteHandler()
    before = package.level
    package.addHandler(handler)
    package.setLevel(level)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(before)
