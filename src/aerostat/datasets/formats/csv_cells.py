"""Cells of annotation tables: separators, headers, numbers, quotation."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aerostat.datasets.annotation_text import table_rows
from aerostat.datasets.formats.assembly import Findings, StatedImage, pixels
from aerostat.datasets.formats.checks import BrokenRecords
from aerostat.datasets.image_folder import ImageFolder
from aerostat.datasets.records import Instance
from aerostat.errors import InputError
from aerostat.files import write_bytes
from aerostat.images.archive import AnyPath
from aerostat.images.read import IMAGE_SUFFIXES
from aerostat.text import shown

DELIMITERS = (",", ";", "\t")
"""What separates cells; spreadsheets write semicolons where the comma is the decimal sign."""

_MAX_HEADER = 1 << 14
"""Bytes in which the first line must end."""

_DECIMAL_COMMA = re.compile(r"\s*[-+]?[0-9]*,[0-9]+\s*")
_NEEDS_QUOTES = re.compile(r"[\",;\t\r\n]|^[\s=+@-]|\s$")


def headers(head: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield for each separator in the first line the separator and the cells.

    Args:
        head: the beginning of a file.
    """
    start = head.lstrip()[:_MAX_HEADER]
    line = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode("utf-8", "replace")
    for delimiter in DELIMITERS:
        if delimiter in line:
            yield delimiter, cells_of(line, delimiter)


def first_lines(head: bytes, most: int) -> list[str]:
    """Return the first lines of a text that are not empty.

    Args:
        head: the beginning of a file; its last line may be cut off.
        most: how many lines.
    """
    lines = re.split(r"\r\n|\r|\n", head.decode("utf-8", "replace"))
    whole = lines[:-1] if len(lines) > 1 else lines
    return [line for line in whole if line.strip()][:most]


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line without white space around them; none if its quotes are broken."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except (csv.Error, StopIteration):
        return []


def has_decimal_comma(text: str) -> bool:
    """Return whether a cell holds a number such as ``12,5``."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


def coordinate(text: str, path: AnyPath, line: int) -> float:
    """Return a coordinate in pixels.

    Raises:
        ValueError: it is no finite number.
        InputError: it has a decimal comma; the table then was saved by a program that means other numbers.
    """
    if has_decimal_comma(text):
        raise InputError(
            f"{path} has numbers with a decimal comma, first {shown(text.strip())} in line {line}; save it "
            "with decimal points."
        )
    return pixels(text)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is laid out.

    Args:
        delimiter: between the cells.
        count: how many columns there are.
        file: the column of the image.
        has_header: whether the first row names the columns.
    """

    delimiter: str
    count: int
    file: int
    has_header: bool = True


def image_rows(
    content: bytes, path: AnyPath, layout: Layout, findings: Findings
) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line number, image and cells of the rows of a table; a row that cannot be used is reported.

    Raises:
        InputError: the table is cut off, is not UTF-8, or has too many such rows.
    """
    broken = BrokenRecords(findings.problems, path)
    short = 0
    for line, cells in itertools.islice(table_rows(content, path, layout.delimiter), layout.has_header, None):
        broken.refuse_too_many()
        short = 0
        row = _fitted(cells, layout.count)
        name = cells[layout.file].strip() if len(cells) > layout.file else ""
        if row is None:
            short = line
            detail = f"line {line} has {len(cells)} columns, the header has {layout.count}; dropped"
            findings.add(name or path.name, "malformed record", detail, f"line {line}")
        elif not name:
            detail = f"line {line} names no image; dropped"
            findings.add(path.name, "malformed record", detail, f"line {line}")
        else:
            yield line, name, row
    if short and content[-1:] not in (b"\n", b"\r"):
        raise InputError(f"{path} is cut off at line {short}; export it again.")


def _fitted(row: list[str], count: int) -> list[str] | None:
    """Return a row with `count` cells, None if it has others. Empty cells at its end may be too many."""
    if len(row) > count and not any(cell.strip() for cell in row[count:]):
        return row[:count]
    return row if len(row) == count else None


def name_in_full(stated: Sequence[StatedImage], roots: Sequence[AnyPath]) -> None:
    """Give images that are named without a suffix the names of their files; ``.jpg`` is tried first.

    Args:
        stated: changed in place; an image whose file is not found keeps its name.
        roots: folders in which the images may be.
    """
    bare = [image for image in stated if not has_image_suffix(image.file_name)]
    if not bare:
        return
    guesses = (
        image.file_name if has_image_suffix(image.file_name) else f"{image.file_name}.jpg" for image in stated
    )
    folder = ImageFolder.choose(roots, guesses)
    for image in bare:
        found = folder.find(f"{image.file_name}.jpg") or folder.find(image.file_name)
        image.file_name = found or image.file_name


def has_image_suffix(name: str) -> bool:
    """Return whether a name ends with the suffix of an image format."""
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES if "." in name else False


def quoted(text: str) -> str:
    """Return a text as a cell.

    Quotes stand around a text that needs them, and around one that a spreadsheet would take for a formula.
    The text itself is never changed: a class called ``-1`` or ``@home`` must stay itself.

    >>> quoted("kite"), quoted("=1+1"), quoted('a "b", c')
    ('kite', '"=1+1"', '"a ""b"", c"')
    """
    if not text or not _NEEDS_QUOTES.search(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def number(value: float) -> str:
    """Return a number that reads back the same, without a point if it is whole.

    >>> number(12.0), number(12.25)
    ('12', '12.25')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table of finished cells as UTF-8, whole or not at all.

    Raises:
        InputError: a name in it is no text that UTF-8 can hold.
    """
    text = "\n".join(",".join(row) for row in (header, *rows)) + "\n"
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        name = shown(text[max(error.start - 20, 0) : error.start + 20])
        raise InputError(
            f"{path} cannot hold the name around {name}, which is not Unicode; rename the file or the class."
        ) from None
    write_bytes(path, content)


def count_lost(instance: Instance, lost: Counter[str]) -> None:
    """Count what a table of boxes does not hold of an object."""
    has = {
        "outlines": bool(instance.polygons),
        "masks": instance.rle is not None,
        "difficult marks": instance.difficult,
    }
    lost.update(what for what, there in has.items() if there)
