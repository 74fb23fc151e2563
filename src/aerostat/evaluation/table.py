"""Tables of plain text whose columns line up, in any script."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

MIN_FIRST = 10
"""Cells that the first column keeps, however wide the others are."""


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return a table: the first column flush left, the others flush right, two spaces between.

    Widths are those of a terminal, where a Chinese character takes two cells and a combining accent none.

    Args:
        header: a title for each column.
        rows: cells, as many in each row as in the header.
        width: cells that a line may take. Where lines would be longer, the first column is folded.

    >>> print(text_table(("class", "AP"), [("balloon", "0.700"), ("kite", "0.5")]))
    class       AP
    balloon  0.700
    kite       0.5
    """
    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    if width is not None:
        room = width - sum(2 + other for other in widths[1:])
        widths[0] = max(min(widths[0], room), min(widths[0], MIN_FIRST))
    lines = [line for row in (header, *rows) for line in _folded(row, widths)]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Return the lines of a row: one, unless its first cell has to be folded."""
    first, *more = chop_cells(row[0], widths[0]) if cell_len(row[0]) > widths[0] else [row[0]]
    others = [" " * (width - cell_len(cell)) + cell for cell, width in zip(row[1:], widths[1:], strict=True)]
    blank = " " * (widths[0] - cell_len(first))
    return [[first + blank, *others], *([part] for part in more)]
