"""Text for people: counts, lists of names, foreign values, and tables without a terminal."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    Args:
        number: how many.
        noun: in the singular.
        plural: of the noun, if it is not the singular with an s.

    >>> counted(1, "image"), counted(3, "image"), counted(0, "class", "classes")
    ('1 image', '3 images', '0 classes')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names with commas between; a name of more than 80 characters is cut.

    Args:
        names: any number of names.
        most: how many are listed; the others are counted.

    >>> listed(["a", "b", "c", "d"], most=2)
    'a, b and 2 more'
    """
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= 80 else f"{name[:77]}..." for name in names[:most]) + rest


def shown(value: object, most: int = 60) -> str:
    """Return a value from a file, quoted, on one line, with at most `most` characters.

    Characters that do not print are escaped: line ends, commands to a terminal, changes of direction.

    >>> print(shown("a\\nb"))
    'a\\nb'
    """
    text = repr(value[: most + 1] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def plain(text: str, lines: bool = False) -> str:
    """Return a text in which every character prints, because a terminal obeys those that do not.

    Args:
        text: any text. Characters that do not print are escaped as in Python; wide and other spaces stay.
        lines: whether line ends stay, too.

    >>> print(plain("red\\x1b[31m"))
    red\\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or (lines and letter == "\n") or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table for a notebook; every text is escaped.

    Args:
        header: title of each column; the first column is flush left, the others are flush right.
        rows: cells, as many in each row as in the header.
        caption: title of the table.

    >>> html_table(["class"], [["<b>"]], "Classes")
    '<table><caption>Classes</caption><tr><th>class</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """

    def line(tag: str, cells: Sequence[object]) -> str:
        first, *others = (html.escape(str(cell)) for cell in cells)
        flush_right = [f'<{tag} style="text-align:right">{cell}</{tag}>' for cell in others]
        return f"<tr><{tag}>{first}</{tag}>{''.join(flush_right)}</tr>"

    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{line('th', header)}{''.join(line('td', row) for row in rows)}</table>"


def as_text(renderable: RenderableType, width: int = 80) -> str:
    """Return a table or another renderable of rich as plain text, with lines of at most `width` columns."""
    import io

    from rich.console import Console

    file = io.StringIO()
    console = Console(file=file, width=width, emoji=False, highlight=False, color_system=None)
    console.print(renderable)
    lines = (plain(line.rstrip()) for line in file.getvalue().rstrip("\n").split("\n"))
    return "\n".join(lines)
