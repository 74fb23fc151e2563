"""What the command line writes: results to stdout, log records and progress to stderr.

``--json`` output stays clean, because nothing else goes to stdout. Names of files and classes come from
somebody's archive: nothing in them reaches a terminal as more than text.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from aerostat.progress import escaping, terminal
from aerostat.text import plain

if TYPE_CHECKING:
    from rich.console import Console


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
    terminal().print(text, markup=False)


def document(content: Any) -> str:
    """Return the JSON document that --json prints; characters that a terminal would obey are escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=not _prints_unicode())
    return re.sub(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _prints_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


class NoteHandler(logging.Handler):
    """Prints log records on stderr, warnings and errors with their level before them.

    Args:
        detailed: whether debugging is on; then each line names its module.
        wording: what is done to a message before it is printed.
    """

    def __init__(self, detailed: bool, wording: Callable[[str], str]) -> None:
        super().__init__()
        self._detailed, self._wording = detailed, wording

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = self._wording(record.getMessage())
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        if self._detailed:
            text = f"{record.name.removeprefix('aerostat.')}: {text}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        note(text)


@contextlib.contextmanager
def log_on_stderr(
    level: int = logging.INFO, wording: Callable[[str], str] = lambda text: text
) -> Iterator[None]:
    """Print the library's log records on stderr while the block runs.

    Args:
        level: the least level of a record that is printed.
        wording: what is done to a message before it is printed.
    """
    package, handler = logging.getLogger("aerostat"), NoteHandler(level <= logging.DEBUG, wording)
    handler.setLevel(level)
    before = package.level
    package.addHandler(handler)
    package.setLevel(level)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(before)
