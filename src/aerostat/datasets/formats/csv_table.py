"""Tables with one box in each line: ``filename,width,height,class,xmin,ymin,xmax,ymax`` and its relatives.

TensorFlow's tutorials, Roboflow (``_annotations.csv``) and many competitions write such tables. The header
says which column is what; columns may have other names and another order. RetinaNet's form,
``path,x1,y1,x2,y2,class`` without a header, is recognised where every line has it. Coordinates are pixels,
taken as they are written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aerostat.datasets.annotation_text import HEAD_BYTES, AnnotationText
from aerostat.datasets.formats import csv_cells, openimages
from aerostat.datasets.formats.assembly import Findings, StatedImage, StatedObject, assemble
from aerostat.datasets.formats.format import LEFT_OUT, Format, SplitFiles, WriteOptions
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import OtherClassesError, Split
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.text import listed, shown

HEADER = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
"""Columns of a written table, in the order of TensorFlow's tutorials and of Roboflow."""

_FILE = (
    *("filename", "imagefilename", "imagename", "imgname", "imagepath", "imgpath", "filepath"),
    *("image", "img", "file", "path", "imageid"),
)
_CLASS = (
    *("classname", "labelname", "categoryname", "class", "label", "category", "name"),
    *("classid", "labelid", "categoryid"),
)
_CORNERS = (
    ("xmin", "x1", "bboxxmin", "boxxmin", "bboxx1", "left"),
    ("ymin", "y1", "bboxymin", "boxymin", "bboxy1", "top"),
    ("xmax", "x2", "bboxxmax", "boxxmax", "bboxx2", "right"),
    ("ymax", "y2", "bboxymax", "boxymax", "bboxy2", "bottom"),
)
_WIDTH, _HEIGHT = ("width", "imagewidth", "imgwidth"), ("height", "imageheight", "imgheight")
_REDUNDANT = frozenset(
    ("", "id", "index", "unnamed0", "depth", "area", "filesize", *_FILE, *_CLASS, *_WIDTH, *_HEIGHT)
)
"""Columns that say nothing about an object that the others do not say."""

_LOOKED_AT = 1000
"""Lines that show whether a table without a header is one of boxes."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the cells of a table stand.

    Args:
        layout: separator, number of columns, column of the image.
        corners: x1, y1, x2, y2.
        name: the class; None if the table has no such column.
        width, height: of the image; None if the table does not state them.
        unread: columns that are not read, by their names.
    """

    layout: csv_cells.Layout
    corners: tuple[int, int, int, int]
    name: int | None = None
    width: int | None = None
    height: int | None = None
    unread: tuple[tuple[int, str], ...] = ()


def columns_of(head: bytes) -> Columns | None:
    """Return the columns of a table from its beginning, None if it is no table of boxes.

    >>> columns_of(b"image,label,x1,y1,x2,y2").corners
    (2, 3, 4, 5)
    """
    for delimiter, names in csv_cells.headers(head):
        if len(names) > 4 and (found := _by_header(names, delimiter) or _by_cells(head, delimiter)):
            return found
    return None


def _by_header(names: Sequence[str], delimiter: str) -> Columns | None:
    if openimages.is_header(names):
        return None
    places: dict[str, int] = {}
    for number, column in enumerate(names):
        places.setdefault(_plain(column), number)

    def place_of(known: Sequence[str]) -> int | None:
        return next((places[name] for name in known if name in places), None)

    file, x1, y1, x2, y2 = map(place_of, (_FILE, *_CORNERS))
    if file is None or x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    name, width, height = map(place_of, (_CLASS, _WIDTH, _HEIGHT))
    used = (file, x1, y1, x2, y2, name, width, height)
    unread = tuple(
        (place, text)
        for place, text in enumerate(names)
        if place not in used and _plain(text) not in _REDUNDANT
    )
    return Columns(
        csv_cells.Layout(delimiter, len(names), file), (x1, y1, x2, y2), name, width, height, unread
    )


def _plain(name: str) -> str:
    """Return a column's name without case, blanks and signs: ``X_min`` is ``xmin``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _by_cells(head: bytes, delimiter: str) -> Columns | None:
    """Return the columns of RetinaNet's form if all lines have it, and at least one of them has a box."""
    boxes = 0
    for line in csv_cells.first_lines(head, _LOOKED_AT):
        cells = csv_cells.cells_of(line, delimiter)
        if len(cells) != 6 or not csv_cells.has_image_suffix(cells[0]):
            return None
        if not any(cells[1:]):
            continue
        if not cells[5] or not all(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", cell) for cell in cells[1:5]):
            return None
        boxes += 1
    return Columns(csv_cells.Layout(delimiter, 6, 0, has_header=False), (1, 2, 3, 4), 5) if boxes else None


def _read(files: SplitFiles, options: ReadOptions) -> Split:
    (text,) = files.texts
    content, path = text.take(), text.path
    columns = columns_of(content[:HEAD_BYTES])
    if columns is None:
        raise InputError(
            f"Expected a table with the columns {', '.join(HEADER)}, found another header in {path}."
        )
    only_class = None if columns.name is not None else _only_class(options, path)
    findings = Findings(files.split)
    stated = list(_images(content, columns, path, only_class, findings).values())
    csv_cells.name_in_full(stated, files.image_roots)
    return assemble(stated, files, options, findings, format_name=FORMAT.name)


def _only_class(options: ReadOptions, path: AnyPath) -> str:
    """Return the class of all boxes of a table without a column for it.

    Raises:
        OtherClassesError: no single class was given.
    """
    if options.classes is None or len(options.classes) != 1:
        given = (
            f"`classes` gives {len(options.classes)} ({listed(options.classes)})"
            if options.classes
            else "none was given"
        )
        raise OtherClassesError(
            f"{path} has no column for the class, so it takes one name, `classes=NAME`, but {given}."
        )
    return options.classes[0]


def _images(
    content: bytes, columns: Columns, path: AnyPath, only_class: str | None, findings: Findings
) -> dict[str, StatedImage]:
    """Return the images of a table by their names, in the order of their first rows."""
    images: dict[str, StatedImage] = {}
    objects: dict[str, list[StatedObject]] = {}
    for line, file_name, row in csv_cells.image_rows(content, path, columns.layout, findings):
        if file_name not in images:
            objects[file_name] = []
            images[file_name] = StatedImage(file_name, objects[file_name], _size(row, columns))
        try:
            found = _object(row, columns, path, line, only_class)
        except ValueError as error:
            findings.add(file_name, "malformed record", f"line {line}: {error}; dropped", f"line {line}")
            continue
        if found is not None:
            objects[file_name].append(found)
            for place, name in columns.unread:
                findings.unread[f"values of the column {shown(name)}"] += bool(row[place].strip())
    return images


def _size(row: Sequence[str], columns: Columns) -> tuple[int, int] | None:
    """Return the size that a row states, None if it states none."""
    if columns.width is None or columns.height is None:
        return None
    try:
        size = int(float(row[columns.width])), int(float(row[columns.height]))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def _object(
    row: Sequence[str], columns: Columns, path: AnyPath, line: int, only_class: str | None
) -> StatedObject | None:
    """Return the object of a row, None if the row only says that there is an image.

    Raises:
        ValueError: the box is none.
        InputError: its numbers have a decimal comma.
    """
    cells = [row[place] for place in columns.corners]
    if not any(cell.strip() for cell in cells):
        return None
    x1, y1, x2, y2 = (csv_cells.coordinate(cell, path, line) for cell in cells)
    name = only_class if columns.name is None else row[columns.name]
    return StatedObject(name if name and name.strip() else None, f"line {line}", (x1, y1, x2, y2))


def write_csv(split: Split, path: Path) -> Counter[str]:
    """Write a split as a table with the columns of `HEADER`.

    An image without objects has one row with its name and size and empty cells, which reads back as such.
    pandas reads the cells as NaN. Without the row the image would be lost.

    Args:
        split: what to write; file names as they are.
        path: the CSV file, replaced whole.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    names = [csv_cells.quoted(name) for name in split.classes]
    rows: list[Sequence[str]] = []
    for image in split.images:
        start = (csv_cells.quoted(image.file_name), str(image.width), str(image.height))
        written = len(rows)
        for instance in image.instances:
            if instance.crowd:  # a reader would take it for an object
                lost[LEFT_OUT] += 1
                continue
            csv_cells.count_lost(instance, lost)
            rows.append((*start, names[instance.label], *map(csv_cells.number, instance.box_xyxy)))
        if len(rows) == written:
            rows.append((*start, "", "", "", "", ""))
    csv_cells.write_table(path, HEADER, rows)
    return lost


# --- the format ---


def _may_begin(head: bytes) -> bool:
    return not head.startswith((b"{", b"[", b"<")) and columns_of(head) is not None


def _recognise(text: AnnotationText) -> bool:
    return not text.is_json() and _may_begin(text.content()[:HEAD_BYTES].lstrip())


def _write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    return write_csv(split, path)


FORMAT = Format("csv", "CSV", _may_begin, _recognise, _read, _write, suffix=".csv")
