"""How counts and lists of names are said to a person."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 image`` or ``3 images``; a noun that does not just take an s brings its `plural`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return ``a, b, c``; of more than `most` names only so many are said and the others counted.

    A name of more than 80 characters is cut.
    """
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= 80 else f"{name[:77]}..." for name in names[:most]) + rest


def shown(value: object, most: int = 60) -> str:
    """Return a value of somebody's file as a sentence can hold it: quoted, in one line, at most so long.

    What does not print - a newline, an escape that a terminal would obey, letters that turn its direction -
    stands there as Python writes it.
    """
    text = repr(value[: most + 1] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def plain(text: str, lines: bool = False) -> str:
    """Return a text in which every character prints, since a terminal obeys those that do not.

    The others become the escapes that Python writes for them, except for odd spaces, and except for the ends
    of lines if `lines`.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or (lines and letter == "\n") or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def as_text(renderable: RenderableType, width: int = 100) -> str:
    """Return a table or another renderable of rich as plain text, with lines of at most `width` columns."""
    import io

    from rich.console import Console

    file = io.StringIO()
    console = Console(file=file, width=width, emoji=False, highlight=False, color_system=None)
    console.print(renderable)
    lines = (plain(line.rstrip()) for line in file.getvalue().rstrip("\n").split("\n"))
    return "\n".join(lines)
