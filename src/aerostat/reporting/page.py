"""One self-contained HTML page from chapters."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.palette import class_colour
from aerostat.errors import AerostatError, InputError
from aerostat.files import write_bytes
from aerostat.images.read import decode_image
from aerostat.images.resize import shrink
from aerostat.weights import container

MAX_SIDE, MAX_COLUMN_SIDE = 1600, 1000
"""Maximum longer side of photographs in pixels; the second is for photographs in columns. They are sharp on
phones and small enough to mail."""
MAX_BYTES = 10_000_000
"""Maximum size of a page; all photographs shrink until they fit."""
SIZES = (1.0, 0.8, 0.625, 0.5, 0.4, 0.3, 0.2)
"""Sizes of photographs relative to `MAX_SIDE` and `MAX_COLUMN_SIDE`, tried in this order."""

_JPEG_QUALITY = 85
_SHORT = 24  # characters of a cell that is not broken over lines
_PLOT_BYTES = 1 << 20  # a larger PNG is a photograph
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture.

    Args:
        image: path, content of a file, or pixels (H, W, 3) or (H, W) uint8 BGR. A PNG file of moderate size
            is a plot and stays as it is. Everything else is a photograph: it is scaled to `MAX_SIDE` or
            `MAX_COLUMN_SIDE` and embedded as JPEG without its metadata.
        caption: text below the picture.
        alt: description for readers who cannot see it.
        wide: whether it takes the whole width.
    """

    image: Path | bytes | NDArray[np.uint8]
    caption: str
    alt: str
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table; columns of numbers are flush right.

    Args:
        header: title of each column.
        rows: cells, as many in each row as in the header.
        caption: text above the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row has {len(row)} cells under {len(self.header)} titles: {row}")


@dataclass(frozen=True)
class Card:
    """An important number in large type, with its name and a note."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Fold:
    """A pre-formatted text that is folded under its title."""

    title: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """A chapter of the page; its parts appear in the order below.

    Args:
        title: title, also in the table of contents.
        cards: important numbers.
        paragraphs: plain texts.
        commands: shell commands without a prompt.
        tables: tables of figures or texts.
        text_blocks: pre-formatted texts, such as COCO's twelve lines.
        figures: pictures; photographs stand in columns, plots in a grid.
        folds: longer pre-formatted texts, folded.
    """

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[str] = ()
    text_blocks: Sequence[str] = ()
    cards: Sequence[Card] = ()
    folds: Sequence[Fold] = ()


def write_report(path: Path | str, *, title: str, subtitle: str = "", chapters: Sequence[Chapter]) -> Path:
    """Write one self-contained HTML page, whole or not at all, and return its path.

    The page opens from disk: its pictures are embedded, it fetches nothing and runs no script. HTML in texts
    is escaped. Photographs are as large as `MAX_BYTES` allows.

    Args:
        path: path of the page; missing folders are made.
        title, subtitle: texts at the top.
        chapters: chapters in their order.

    Raises:
        InputError: a picture is missing or unreadable; nothing is written.

    Example:
        ``write_report("page.html", title="Balloons", chapters=[Chapter("Data", ["74 images"])])``
    """
    path = Path(path)
    for size in SIZES:
        content = _render(title, subtitle, chapters, size)
        if len(content) <= MAX_BYTES:
            break
    write_bytes(path, content)
    return path


def _render(title: str, subtitle: str, chapters: Sequence[Chapter], size: float) -> bytes:
    anchors = _anchors([chapter.title for chapter in chapters])
    page = _template().render(
        title=title,
        subtitle=subtitle,
        chapters=[_prepare(chapter, anchor, size) for chapter, anchor in zip(chapters, anchors, strict=True)],
        version=container.version(),
        accent=_hex(4),
        accent_dark=_hex(1),
        highlight=_hex(0),
    )
    # A file name that is not UTF-8 reaches Python with surrogates, which UTF-8 cannot encode.
    return page.encode("utf-8", "replace")


def _template() -> jinja2.Template:
    source = resources.files("aerostat").joinpath("assets", "report.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _hex(colour: int) -> str:
    blue, green, red = class_colour(colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _anchors(titles: Sequence[str]) -> list[str]:
    """Return a unique anchor for each title."""
    anchors: list[str] = []
    for title in titles:
        anchor = plain = re.sub(r"\W+", "-", title.lower()).strip("-") or "chapter"
        number = 2
        while anchor in anchors:
            anchor, number = f"{plain}-{number}", number + 1
        anchors.append(anchor)
    return anchors


def _prepare(chapter: Chapter, anchor: str, size: float) -> dict[str, Any]:
    """Return a chapter as variables of the template."""
    fields = {field.name: getattr(chapter, field.name) for field in dataclasses.fields(chapter)}
    figures = [_embed(figure, size) for figure in chapter.figures]
    tables = [
        {"header": t.header, "rows": t.rows, "caption": t.caption, "kinds": _column_kinds(t)}
        for t in chapter.tables
    ]
    photographs = any(not figure["plot"] for figure in figures)
    rows = [(wide, list(group)) for wide, group in itertools.groupby(figures, lambda figure: figure["wide"])]
    return {
        **fields,
        "anchor": anchor,
        "figures": figures,
        "rows": rows,
        "tables": tables,
        "photographs": photographs,
    }


def _column_kinds(table: Table) -> list[str]:
    """Return the kind of each column: numbers (or dashes), short words, or text."""
    number = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?( ?(%|px|kB|MB|s))?|–|")
    kinds = []
    for i in range(len(table.header)):
        column = [row[i] for row in table.rows]
        if column and all(number.fullmatch(cell) for cell in column):
            kinds.append("number")
        else:
            kinds.append("short" if all(len(cell) <= _SHORT for cell in column) else "text")
    return kinds


def _embed(figure: Figure, size: float) -> dict[str, Any]:
    """Return a figure with its picture as a data URI, and its size in pixels."""
    name = figure.caption or figure.alt or "a figure"
    content = figure.image
    if isinstance(content, Path):
        name = str(content)
        try:
            content = content.read_bytes()
        except OSError as error:
            raise InputError(
                f"Expected a picture for the report at {name}: {error.strerror or error}."
            ) from None
    pixels = decode_image(content, name) if isinstance(content, bytes) else content
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise InputError(
            f"Expected pixels (H, W, 3) uint8 for {name}, found {pixels.shape} {pixels.dtype}; convert them."
        )
    if not pixels.size:
        raise InputError(f"Expected a picture for {name}, found one without pixels, {pixels.shape}.")
    plot = isinstance(content, bytes) and content.startswith(_PNG) and len(content) <= _PLOT_BYTES
    if not plot:
        pixels = shrink(pixels, round(size * (MAX_SIDE if figure.wide else MAX_COLUMN_SIDE)))
        content = _jpeg(pixels, name)
    assert isinstance(content, bytes)
    kind = "png" if plot else "jpeg"
    return {
        "uri": f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}",
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "plot": plot,
        "caption": figure.caption,
        "alt": figure.alt,
        "wide": figure.wide,
    }


def _jpeg(image_bgr: NDArray[np.uint8], name: str) -> bytes:
    done, encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise AerostatError(f"The picture {name} of shape {image_bgr.shape} could not be written as JPEG.")
    return bytes(encoded.tobytes())
