"""Tables of plain text whose columns line up, in any script."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column flush left, the others flush right, two spaces between.

    Widths are those of a terminal, where a Chinese character takes two cells and a combining accent none.

    Args:
        header: a title for each column.
        rows: cells, as many in each row as in the header.
    """
    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join("  ".join(_line(row, widths)).rstrip() for row in (header, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    blanks = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
    return [row[0] + blanks[0], *(blank + cell for cell, blank in zip(row[1:], blanks[1:], strict=True))]
