"""Pictures of explanations: photograph, heat, explained boxes and captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.boxes import draw_boxes
from aerostat.draw.grid import image_grid
from aerostat.draw.heatmap import captioned, contact_sheet, outline_boxes, overlay_heat
from aerostat.explanation.methods import TITLES
from aerostat.images.letterbox import PAD_VALUE
from aerostat.images.resize import resize_image, scaled_size
from aerostat.text import listed

if TYPE_CHECKING:
    from aerostat.explanation.result import Explanation, Explanations

MAX_DRAWN_SIDE, MIN_DRAWN_SIDE = 2000, 480
"""Maximum and minimum longer side of a drawn photograph in pixels."""
MAX_HEAT_SIDE = 640
"""Maximum longer side of heat that is drawn without its photograph."""
CELL_SIDE = 420
"""Longer side of a photograph on a sheet in pixels."""
MAX_SHEET_HEIGHT = 30_000
"""Maximum height of a sheet in pixels; a JPEG has at most 65535."""


def draw_explanations(explanations: Explanations, *, norm_in_box: bool = False) -> NDArray[np.uint8]:
    """Return one picture of all explanations.

    One explanation is drawn large. Several explanations of one detection make a sheet of methods by layers.
    Several detections make a grid, or a sheet of detections by methods and layers.

    Args:
        explanations: at least one explanation.
        norm_in_box: whether only the heat within the explained boxes is drawn, divided by its maximum there.
    """
    if len(explanations) == 1:
        return draw_explanation(explanations, explanations[0], norm_in_box=norm_in_box)
    subjects = explanations.by_subject()
    if len(subjects) == 1:
        return draw_sheet(subjects[0], norm_in_box=norm_in_box)
    titles = [TITLES.get(name, name) for name in dict.fromkeys(item.method for item in explanations)]
    lines = [f"{listed(titles, 8)}, target {explanations[0].target}"]
    if len(explanations) == len(subjects):
        cells = [_cell(one, one[0], norm_in_box, _titles(one[0])) for one in subjects]
        return captioned(_grid(cells), lines, ("none", "most"))
    columns = list(dict.fromkeys(_column(item, explanations) for item in explanations))
    rows = [[_cell(one, item, norm_in_box) for item in one] for one in subjects]
    # The default layer differs between pyramid levels, so the columns have no common titles.
    if any(len(row) != len(columns) for row in rows):
        columns = [""] * max(len(row) for row in rows)
    names = [f"{one[0].subject}, {one[0].origin}" for one in subjects]
    return captioned(contact_sheet(rows, names, columns, cell=_cell_size(rows)), lines, ("none", "most"))


def draw_explanation(
    explanations: Explanations, item: Explanation, *, norm_in_box: bool = False
) -> NDArray[np.uint8]:
    """Return one explanation over the photograph, at its top left corner, with a caption below."""
    image_bgr = _over_photograph(explanations.photograph_bgr, item, norm_in_box)
    size = (image_bgr.shape[1], image_bgr.shape[0])
    image_bgr = draw_boxes(
        image_bgr,
        item.boxes_at(size),
        [d.label for d in item.detections],
        explanations.detections.classes,
        [d.score for d in item.detections],
    )
    where = " (in its box alone)" if norm_in_box else ""
    lines = [f"{item.subject}, {item.origin}", f"{item.source}, target {item.target}{where}"]
    lines += [text for text in (item.note, item.remark) if text]
    return captioned(image_bgr, lines, None if item.remark else ("none", "most"))


def draw_sheet(explanations: Explanations, *, norm_in_box: bool = False) -> NDArray[np.uint8]:
    """Return the explanations of one detection as a sheet: a row for each method, a column for each layer.

    A single row or column becomes a grid, which fits a screen better.
    """
    item = explanations[0]
    lines = [f"{item.subject}, {item.origin}, target {item.target}", *filter(None, [item.note])]
    methods = list(dict.fromkeys(item.method for item in explanations))
    layers = list(dict.fromkeys(item.layers for item in explanations if item.layers)) or [()]
    if min(len(methods), len(layers)) == 1:
        cells = [_cell(explanations, one, norm_in_box, [one.source]) for one in explanations]
        return captioned(_grid(cells), lines, ("none", "most"))
    rows: list[list[NDArray[np.uint8] | None]] = [[None] * len(layers) for _ in methods]
    for item in explanations:
        column = layers.index(item.layers) if item.layers else 0  # a black box has no layers
        rows[methods.index(item.method)][column] = _cell(explanations, item, norm_in_box)
    titles = [TITLES.get(method, method) for method in methods]
    columns = [" + ".join(names) for names in layers]
    sheet = contact_sheet(rows, titles, columns, cell=_cell_size(rows))
    return captioned(sheet, lines, ("none", "most"))


def _titles(item: Explanation) -> list[str]:
    return [f"{item.subject}, {item.origin}", " + ".join(item.layers) or "black box"]


def _grid(cells: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    room = (max(cell.shape[1] for cell in cells), max(cell.shape[0] for cell in cells))
    return image_grid(cells, cell=room)


def _column(item: Explanation, explanations: Explanations) -> str:
    several = len({other.method for other in explanations}) > 1
    return f"{TITLES.get(item.method, item.method)} " * several + " + ".join(item.layers)


def _cell(
    explanations: Explanations, item: Explanation, norm_in_box: bool, titles: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Return a small explanation with the share of heat within the boxes, for comparison on a sheet.

    Args:
        explanations: explanations with the photograph.
        item: explanation that is drawn.
        norm_in_box: see `draw_explanations`.
        titles: lines of the caption that are not titles of a row or column.
    """
    photograph = explanations.photograph_bgr
    scale = CELL_SIDE / max(photograph.shape[:2])
    size = (max(1, round(photograph.shape[1] * scale)), max(1, round(photograph.shape[0] * scale)))
    resized = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    drawn = _over_photograph(np.asarray(resized, np.uint8), item, norm_in_box)
    drawn = outline_boxes(drawn, item.boxes_at(size))
    if item.remark:
        text = "nothing speaks for it here" if item.influence else "no influence on it"
    else:
        text = f"{item.share_in_boxes(size):.0%} of the heat in the box"
    return captioned(drawn, [*titles, text])


def _over_photograph(image_bgr: NDArray[np.uint8], item: Explanation, norm_in_box: bool) -> NDArray[np.uint8]:
    size = (image_bgr.shape[1], image_bgr.shape[0])
    heat = item.heat_in_box_at(size) if norm_in_box else item.heat_at(size)
    return overlay_heat(image_bgr, heat)


def _cell_size(rows: Sequence[Sequence[NDArray[np.uint8] | None]]) -> tuple[int, int]:
    """Return width and height of the cells of a sheet; many rows have smaller cells."""
    high, wide = next(image for row in rows for image in row if image is not None).shape[:2]
    shrink = min(1.0, MAX_SHEET_HEIGHT / (high * len(rows)))
    return max(1, int(wide * shrink)), max(1, int(high * shrink))


def draw_heat(item: Explanation) -> NDArray[np.uint8]:
    """Return the heat of an explanation on grey, with the explained boxes and a caption."""
    width, height = item.letterbox.source_size
    scale = min(1.0, MAX_HEAT_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = np.full((size[1], size[0], 3), PAD_VALUE, np.uint8)
    drawn = outline_boxes(overlay_heat(grey, item.heat_at(size)), item.boxes_at(size))
    return captioned(drawn, [item.subject, item.source], None if item.remark else ("none", "most"))


def drawn_size(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a photograph (H, W, 3) at the size in which it is drawn."""
    side = max(image_bgr.shape[:2])
    wanted = min(max(side, MIN_DRAWN_SIDE), MAX_DRAWN_SIDE)
    size = scaled_size((image_bgr.shape[1], image_bgr.shape[0]), wanted / side)
    if wanted < side:
        return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return resize_image(image_bgr, size)
