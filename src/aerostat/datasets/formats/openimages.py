"""OpenImages: tables of boxes as shares of the image, such as ``train-annotations-bbox.csv``.

An image is named by its id, the name of its file without ``.jpg``. A class is named by a machine id such as
``/m/01yrx``; ``class-descriptions*.csv`` beside the table says what it is called. The columns and their
values are described at https://storage.googleapis.com/openimages/web/download_v7.html.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path

from aerostat.datasets.annotation_text import HEAD_BYTES, AnnotationText, read_content, table_rows
from aerostat.datasets.formats import csv_cells
from aerostat.datasets.formats.assembly import Findings, StatedImage, StatedObject, assemble, pixels
from aerostat.datasets.formats.format import Format, SplitFiles, WriteOptions
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries
from aerostat.text import counted, shown

HEADER = (
    *("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax"),
    *("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"),
)
"""All columns, in the order of the published tables."""

_NEEDED = frozenset(("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"))
_CORNERS = ("XMin", "YMin", "XMax", "YMax")
_MARKS = ("IsOccluded", "IsTruncated", "IsDepiction", "IsInside")
_UNKNOWN = "-1"
"""What the published tables write for a mark that was not looked at."""

_DIGITS = Context(prec=20)
"""Digits of a share; with 18 its product with a side is the coordinate to the last bit."""


def is_header(names: Iterable[str]) -> bool:
    """Return whether a table with these columns is one of OpenImages.

    >>> is_header(["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"])
    True
    """
    return set(names) >= _NEEDED


def _header_of(head: bytes) -> tuple[str, list[str]] | None:
    """Return the separator and the columns of a table, None if it is none of OpenImages."""
    return next((found for found in csv_cells.headers(head) if is_header(found[1])), None)


def _read(files: SplitFiles, options: ReadOptions) -> Split:
    (text,) = files.texts
    content = text.take()
    header = _header_of(content[:HEAD_BYTES])
    if header is None:
        raise InputError(
            f"Expected a table with the columns {', '.join(HEADER)}, found another header in {text.path}."
        )
    findings = Findings(files.split)
    stated = _images(content, *header, text.path, options, findings)
    _name_classes(stated, text.path)
    csv_cells.name_in_full(stated, files.image_roots)
    return assemble(stated, files, options, findings, format_name=FORMAT.name)


def _images(
    content: bytes,
    delimiter: str,
    names: Sequence[str],
    path: AnyPath,
    options: ReadOptions,
    findings: Findings,
) -> list[StatedImage]:
    objects: dict[str, list[StatedObject]] = {}
    place = {name: number for number, name in enumerate(names)}
    layout = csv_cells.Layout(delimiter, len(names), place["ImageID"])
    commas = 0
    for line, image_id, row in csv_cells.image_rows(content, path, layout, findings):
        found = objects.setdefault(image_id, [])
        corners = [row[place[name]].strip() for name in _CORNERS]
        if not any(corners):
            continue
        commas += sum(map(csv_cells.has_decimal_comma, corners))
        try:
            x1, y1, x2, y2 = map(_share, corners)
        except ValueError as error:
            findings.add(image_id, "malformed record", f"line {line}: {error}; dropped", f"line {line}")
            continue
        crowd = "IsGroupOf" in place and row[place["IsGroupOf"]].strip() == "1"
        name = row[place["LabelName"]]
        found.append(
            StatedObject(
                name if name.strip() else None,
                f"line {line}",
                (x1, y1, x2, y2),
                crowd=crowd and options.crowd != "object",
            )
        )
        for mark in _MARKS:
            if mark in place and row[place[mark]].strip() == "1":
                findings.unread[f"marks {mark}"] += 1
    if commas:
        detail = f"{counted(commas, 'number')} with a decimal comma; read as if it were a point"
        findings.add(path.name, "number in another form", detail)
    return [StatedImage(image_id, found, unit=1.0) for image_id, found in objects.items()]


def _share(text: str) -> Decimal:
    """Return a share with all its digits. A decimal comma is no other number here: shares are below 1000.

    Raises:
        ValueError: it is no finite number.
    """
    text = text.replace(",", ".") if csv_cells.has_decimal_comma(text) else text
    pixels(text)
    try:
        return Decimal(text)
    except InvalidOperation:  # a power beyond 10^18
        raise ValueError(f"{shown(text, 30)} is no number") from None


def _name_classes(stated: Sequence[StatedImage], path: AnyPath) -> None:
    """Give objects whose class is a machine id the name that a list beside the table has for it."""
    used = {o.name for image in stated for o in image.objects if o.name and o.name.startswith("/")}
    if not used:
        return
    names = {key: name for key, name in _descriptions(path).items() if key in used}
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    names = {key: f"{name} ({key})" if name in twice else name for key, name in names.items()}
    for image in stated:
        for found in image.objects:
            if found.name is not None:
                found.name = names.get(found.name, found.name)


def _descriptions(path: AnyPath) -> Mapping[str, str]:
    """Return class names by machine id, from a list beside a table or where FiftyOne has it."""
    beside = path.parent
    for folder in (beside, beside.parent / "metadata") if beside.name == "labels" else (beside,):
        if not folder.is_dir():
            continue
        for name in sorted(entries(folder)[1]):
            if re.fullmatch(r"(.*class-descriptions.*|classes)\.csv", name.lower()):
                rows = table_rows(read_content(folder / name), folder / name)
                pairs = [row for _, row in rows if len(row) == 2 and row[1]]
                found = {key: text for key, text in pairs if key.startswith("/")}
                if found:
                    return found
    return {}


def write_openimages(split: Split, path: Path) -> Counter[str]:
    """Write a split as a table with the columns of `HEADER`; classes stand in it by their names.

    An image without objects has one row with its id and empty cells, which reads back as such.

    Args:
        split: what to write. The id of an image is its file name without ``.jpg``; other suffixes stay.
        path: the CSV file, replaced whole.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    names = [csv_cells.quoted(name) for name in split.classes]
    rows: list[Sequence[str]] = []
    for image in split.images:
        image_id = csv_cells.quoted(_id_of(image.file_name))
        for instance in image.instances:
            csv_cells.count_lost(instance, lost)
            x1, y1, x2, y2 = instance.box_xyxy
            across = [_share_of(x, image.width) for x in (x1, x2)]
            down = [_share_of(y, image.height) for y in (y1, y2)]
            marks = (_UNKNOWN, _UNKNOWN, str(int(instance.crowd)), _UNKNOWN, _UNKNOWN)
            rows.append((image_id, "", names[instance.label], "1", *across, *down, *marks))
        if not image.instances:
            rows.append((image_id, *[""] * (len(HEADER) - 1)))
    csv_cells.write_table(path, HEADER, rows)
    return lost


def _id_of(file_name: str) -> str:
    """Return the id of an image: its name without ``.jpg`` if reading finds the same file by it."""
    stem = file_name.removesuffix(".jpg")
    return file_name if csv_cells.has_image_suffix(stem) or not stem or stem.endswith("/") else stem


def _share_of(coordinate: float, side: int) -> str:
    """Return a share whose product with the side is the coordinate to the last bit, as short as possible."""
    short = repr(coordinate / side)
    if float(Decimal(short) * side) == coordinate:
        return short
    return str(_DIGITS.divide(Decimal(coordinate), Decimal(side)))


# --- the format ---


def _may_begin(head: bytes) -> bool:
    return not head.startswith((b"{", b"[", b"<")) and _header_of(head) is not None


def _recognise(text: AnnotationText) -> bool:
    return not text.is_json() and _may_begin(text.content()[:HEAD_BYTES].lstrip())


def _write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    return write_openimages(split, path)


FORMAT = Format(
    "openimages", "OpenImages", _may_begin, _recognise, _read, _write, suffix=".csv", folders=("labels",)
)
