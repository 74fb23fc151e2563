"""Data sets as a notebook shows them: the data card as tables, and a grid of labelled pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.drawn_outlines import drawn_outline
from aerostat.datasets.summary import DataCard, SplitCard, card_of, data_card
from aerostat.draw.boxes import draw_boxes
from aerostat.draw.grid import image_grid
from aerostat.errors import InputError
from aerostat.images.read import read_resized
from aerostat.text import html_table

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.records import ImageRecord, Split

PICTURES = 8
"""Images in the grid."""

CELL = (320, 240)
"""Width and height of a picture in pixels."""

JPEG_QUALITY = 85

SHOWN_CLASSES = 20
"""Classes in the table; the others are counted."""


def dataset_html(data: Dataset) -> str:
    """Return the card of a data set and some of its images with labels, spread over the splits."""
    splits = [split for split in data.splits.values() if len(split)]
    share = -(-PICTURES // max(len(splits), 1))
    chosen = [(record, split.classes) for split in splits for record in split.sample(share).images]
    return _card_html(data_card(data)) + _grid_html(chosen[:PICTURES])


def split_html(split: Split) -> str:
    """Return the card of a split and some of its images with labels."""
    card = DataCard(split.classes, (card_of(split),))
    return _card_html(card) + _grid_html([(r, split.classes) for r in split.sample(PICTURES).images])


def _card_html(card: DataCard) -> str:
    header = ("split", "images", "empty", "objects", "small", "medium", "large", "crowd")
    rows = [
        (s.name, s.images, s.images_without_objects, s.instances, s.small, s.medium, s.large, s.crowd)
        for s in card.splits
    ]
    tables = [html_table(header, rows, "Data"), _class_html(card)]
    if shapes := [(s.name, s.shapes) for s in card.splits if s.shapes]:
        tables.append(html_table(("split", "outlines and masks"), shapes, "Outlines"))
    problems = [(f"{s.name}: {p.kind}, {p.consequence}", p.count) for s in card.splits for p in s.problems]
    if problems:
        tables.append(html_table(("problem", "number"), problems, "Problems"))
    return "".join(tables)


def _class_html(card: DataCard) -> str:
    def counts(names: Iterable[str], split: SplitCard) -> int:
        return sum(split.instances_per_class[name] for name in names)

    ordered = list(card.classes)
    if len(ordered) > SHOWN_CLASSES:
        ordered.sort(key=lambda name: -sum(s.instances_per_class[name] for s in card.splits))
    groups: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in ordered[:SHOWN_CLASSES]]
    if rest := ordered[SHOWN_CLASSES:]:
        groups.append((f"{len(rest)} more", tuple(rest)))
    rows = [(title, *(counts(names, split) for split in card.splits)) for title, names in groups]
    return html_table(("class", *(s.name for s in card.splits)), rows, "Objects per class")


def _grid_html(images: Sequence[tuple[ImageRecord, tuple[str, ...]]]) -> str:
    """Return a grid of pictures as an element of HTML; empty if no image can be read."""
    drawn = [(picture, record.file_name) for record, classes in images
             if (picture := _labelled(record, classes)) is not None]  # fmt: skip
    if not drawn:
        return ""
    pictures, names = zip(*drawn, strict=True)
    grid = image_grid(pictures, columns=min(4, len(pictures)), cell=CELL, captions=names)
    content = cv2.imencode(".jpg", grid, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    address = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    return f'<img alt="images with their labels" style="max-width:100%" src="{address}">'


def _labelled(record: ImageRecord, classes: Sequence[str]) -> NDArray[np.uint8] | None:
    """Return an image that fits into a cell, with its labels; None if it cannot be read."""
    scale = min(CELL[0] / record.width, CELL[1] / record.height, 1.0)
    size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
    try:
        image_bgr = read_resized(record.location, size)
    except InputError:
        return None
    factors = np.asarray(size) / (record.width, record.height)
    return draw_boxes(
        image_bgr,
        record.boxes_xyxy(crowd=True) * np.tile(factors, 2),
        record.labels(crowd=True),
        classes,
        polygons=[drawn_outline(i, (factors[0], factors[1])) for i in record.instances],
    )
