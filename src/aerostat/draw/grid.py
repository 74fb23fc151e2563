"""A sheet of many pictures in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.palette import Colour, text_colour_on
from aerostat.draw.text import GAP, elide, paint_text, text_mask, text_width
from aerostat.errors import InputError

CAPTION_TEXT = 13
"""Size of captions in pixels per em."""
TITLE_TEXT = 18
"""Size of the title in pixels per em."""


def image_grid(
    images_bgr: Sequence[NDArray[np.uint8]],
    *,
    columns: int | None = None,
    cell: tuple[int, int] = (320, 240),
    captions: Sequence[str] | None = None,
    gap: int = 8,
    background: Colour = (255, 255, 255),
    title: str | None = None,
) -> NDArray[np.uint8]:
    """Return one image with all of `images_bgr` in equal cells, row by row.

    Each image keeps its aspect ratio and is centred in its cell. Captions are below the cells; a long one is
    shortened in its middle.

    Args:
        images_bgr: at least one image (H, W, 3) uint8, of any sizes.
        columns: images per row; None gives a sheet of about 3:2.
        cell: width and height of a cell in pixels, without the caption.
        captions: one for each image, or None.
        gap: pixels between cells and around the sheet.
        background: blue, green, red behind the images.
        title: above the grid, or None.

    Raises:
        InputError: there is no image, or the captions differ in number from the images.
    """
    if not len(images_bgr):
        raise InputError("Expected at least one image for a grid of images, found none.")
    if captions is not None and len(captions) != len(images_bgr):
        raise InputError(f"Expected {len(images_bgr)} captions for as many images, found {len(captions)}.")
    cell_w, cell_h = cell
    text_h = 0 if captions is None else text_mask("Ag", CAPTION_TEXT).shape[0] + 3
    step_x, step_y = cell_w + gap, cell_h + text_h + gap
    if columns is None:
        columns = math.ceil(math.sqrt(len(images_bgr) * 1.5 * step_y / step_x))
    columns = max(1, min(columns, len(images_bgr)))
    rows = math.ceil(len(images_bgr) / columns)
    head = 0 if title is None else text_mask("Ag", TITLE_TEXT).shape[0] + gap
    sheet = np.full((head + rows * step_y + gap, columns * step_x + gap, 3), background, np.uint8)
    if title is not None:
        text = elide(title, TITLE_TEXT, columns * step_x - gap)
        paint_text(sheet, text, gap, gap, TITLE_TEXT, text_colour_on(background))
    for index, image in enumerate(images_bgr):
        row, column = divmod(index, columns)
        left, top = gap + column * step_x, head + gap + row * step_y
        small = _fit(image, cell_w, cell_h)
        y, x = top + (cell_h - small.shape[0]) // 2, left + (cell_w - small.shape[1]) // 2
        sheet[y : y + small.shape[0], x : x + small.shape[1]] = small
        if captions is not None:
            _caption(
                sheet,
                captions[index],
                f"image {index + 1}",
                left,
                top + cell_h + 2,
                cell_w,
                text_colour_on(background),
            )
    return sheet


def _fit(image_bgr: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the image resized to fit into width x height, at its aspect ratio."""
    high, wide = image_bgr.shape[:2]
    scale = min(width / wide, height / high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    shrinks = scale < 1
    return np.asarray(
        cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def _caption(
    sheet: NDArray[np.uint8], text: str, fallback: str, left: int, top: int, room: int, colour: Colour
) -> None:
    # A file name with gaps is better than the fallback.
    text = elide(text, CAPTION_TEXT, room, fallback, missing=GAP)
    width = text_width(text, CAPTION_TEXT)
    if width <= room:
        paint_text(sheet, text, left + (room - width) // 2, top, CAPTION_TEXT, colour)
