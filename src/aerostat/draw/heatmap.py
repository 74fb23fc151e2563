"""Heat over a photograph, in colours whose order any colour vision sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.draw.text import GAP, elide, paint_text, text_mask, text_width
from aerostat.errors import InputError
from aerostat.text import counted

COLOUR_MAP = "inferno"
"""Perceptually uniform and monotone in lightness, so that it works in grey and for any colour vision (Smith
and van der Walt, "A Better Default Colormap for Matplotlib", SciPy 2015)."""
TITLE_TEXT = 14
"""Size of the titles of a contact sheet in pixels per em."""
MIN_CAPTION = 12
"""Smallest caption in pixels per em; a longer text is shortened."""
STRENGTH = 0.7
"""Opacity of the brightest heat; the photograph below stays visible."""
_FULL_AT, _GREY_AT = 0.8, 0.2
"""Heat above which the opacity is full, and heat above which the photograph is grey, so that only heat has
colour."""
BAND_PIXELS = 1 << 20
"""Pixels that are blended at a time, because float arrays of a huge photograph need much memory."""
_INK = (40, 40, 40)


@cache
def _colours() -> NDArray[np.uint8]:
    """Return the colour map as (256, 3) BGR."""
    import matplotlib

    rgb = matplotlib.colormaps[COLOUR_MAP](np.arange(256), bytes=True)[:, :3]
    return np.ascontiguousarray(rgb[:, ::-1])


def heat_colours(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return heat (H, W) in [0, 1] as an image (H, W, 3) uint8 BGR of the colour map, dark to bright.

    Raises:
        InputError: the heat is not (H, W) or not finite.
    """
    return np.asarray(_colours()[_levels(heat)], np.uint8)


def overlay_heat(
    image_bgr: NDArray[np.uint8],
    heat: NDArray[np.floating],
    *,
    strength: float = STRENGTH,
    grey: bool = False,
) -> NDArray[np.uint8]:
    """Return the photograph with heat over it; the photograph is grey below heat and unchanged elsewhere.

    Args:
        image_bgr: (H, W, 3) uint8.
        heat: (H, W), from 0 to 1; other values are clipped.
        strength: opacity of the brightest heat, in [0, 1].
        grey: whether the whole photograph is grey, so that no yellow object looks like heat.

    Raises:
        InputError: the heat is of another size or not finite, or the strength is outside of [0, 1].
    """
    if heat.shape != image_bgr.shape[:2]:
        raise InputError(f"Expected heat of shape {image_bgr.shape[:2]} as the image's, found {heat.shape}.")
    if not 0 <= strength <= 1:
        raise InputError(f"Expected a strength in [0, 1], found {strength}.")
    steps = np.arange(256, dtype=np.float32) / 255
    opacity = np.minimum(steps / _FULL_AT, 1) * strength
    greyness = np.ones_like(steps) if grey else np.minimum(steps / _GREY_AT, 1)
    painted = image_bgr.copy()
    rows = max(1, BAND_PIXELS // max(1, image_bgr.shape[1]))
    for top in range(0, image_bgr.shape[0], rows):
        band = painted[top : top + rows]
        levels = _levels(heat[top : top + rows])
        lightness = cv2.cvtColor(band, cv2.COLOR_BGR2GRAY).astype(np.float32)[..., None]
        below = band + (lightness - band) * greyness[levels][..., None]
        band[:] = np.rint(below + (_colours()[levels] - below) * opacity[levels][..., None]).astype(np.uint8)
    return painted


def _levels(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise InputError(f"Expected finite heat of shape (H, W), found shape {heat.shape} or NaN in it.")
    levels: NDArray[np.uint8] = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    return levels


def outline_boxes(image_bgr: NDArray[np.uint8], boxes_xyxy: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the image with boxes (n, 4) in white on black, which are visible on any heat, without labels."""
    image = image_bgr.copy()
    stroke = max(1, round(max(image.shape[:2]) / 500))
    limits = (image.shape[1] - 1, image.shape[0] - 1)
    for x1, y1, x2, y2 in np.clip(np.rint(boxes_xyxy), 0, limits * 2).astype(int).tolist():
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), stroke + 2)
        cv2.rectangle(image, (x1, y1), (x2, y2), (255, 255, 255), stroke)
    return image


def captioned(
    image_bgr: NDArray[np.uint8], lines: Sequence[str], ends: tuple[str, str] | None = None
) -> NDArray[np.uint8]:
    """Return the image with lines of text and a scale of its heat below it.

    Args:
        image_bgr: (H, W, 3) uint8, unchanged at the top of the result.
        lines: of text; wide ones are drawn smaller, then shortened in their middle.
        ends: names of the darkest and the brightest colour; None draws no scale.
    """
    width = image_bgr.shape[1]
    size = max(MIN_CAPTION, min(28, round(math.sqrt(image_bgr.shape[0] * width) / 55)))
    while size > MIN_CAPTION and any(text_width(text, size) > width - size // 2 * 2 for text in lines):
        size -= 1
    line, edge = text_mask("Ag", size).shape[0] + 1, size // 2
    band = np.full((line * (len(lines) + (ends is not None)) + 2 * edge, width, 3), 255, np.uint8)
    for number, text in enumerate(lines):
        paint_text(
            band,
            elide(text, size, max(1, width - 2 * edge), missing=GAP),
            edge,
            edge + number * line,
            size,
            _INK,
        )
    if ends is not None:
        top, left = edge + len(lines) * line, edge + text_width(ends[0], size) + edge
        right = max(left + 1, min(left + 12 * size, width - text_width(ends[1], size) - 2 * edge))
        ramp = _colours()[np.linspace(0, 255, right - left).round().astype(np.intp)]
        paint_text(band, ends[0], edge, top, size, _INK)
        shown = ramp[: max(0, width - left)]
        band[top + line // 5 : top + line * 4 // 5, left : left + len(shown)] = shown
        paint_text(band, ends[1], right + edge, top, size, _INK)
    return np.concatenate([image_bgr, band])


def contact_sheet(
    cells: Sequence[Sequence[NDArray[np.uint8] | None]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    *,
    cell: tuple[int, int] = (320, 240),
    gap: int = 8,
) -> NDArray[np.uint8]:
    """Return one image with a table of pictures, titles on the left and above.

    Args:
        cells: rows of images (H, W, 3) uint8 of any sizes, which keep their aspect ratio; None for an empty
            cell.
        row_titles: one for each row; long ones are broken into lines.
        column_titles: one for each column; long ones are shortened in their middle.
        cell: width and height of a cell in pixels.
        gap: pixels between cells and around the sheet.

    Raises:
        InputError: there is no picture, or the titles differ in number from the rows and columns.
    """
    if not any(image is not None for row in cells for image in row):
        raise InputError("Expected at least one picture for a contact sheet, found none.")
    if len(row_titles) != len(cells) or any(len(row) != len(column_titles) for row in cells):
        raise InputError(
            f"Expected a cell for each of {counted(len(row_titles), 'row title')} and "
            f"{counted(len(column_titles), 'column title')}, found rows of {list(map(len, cells))} cells."
        )
    line = text_mask("Ag", TITLE_TEXT).shape[0]
    wrapped = [_wrap(title, max(80, cell[0] * 3 // 4)) for title in row_titles]
    margin = max((text_width(part, TITLE_TEXT) for parts in wrapped for part in parts), default=0)
    left, top = gap + (margin + gap if margin else 0), gap + (line + gap // 2 if any(column_titles) else 0)
    height, width = top + len(cells) * (cell[1] + gap), left + len(column_titles) * (cell[0] + gap)
    sheet = np.full((height, width, 3), 255, np.uint8)
    for column, title in enumerate(column_titles):
        text = elide(title, TITLE_TEXT, cell[0], f"column {column + 1}")
        x = left + column * (cell[0] + gap) + (cell[0] - text_width(text, TITLE_TEXT)) // 2
        paint_text(sheet, text, x, gap // 2, TITLE_TEXT, _INK)
    for row, (parts, images) in enumerate(zip(wrapped, cells, strict=True)):
        y = top + row * (cell[1] + gap)
        start = y + max(0, (cell[1] - line * len(parts)) // 2)
        for number, part in enumerate(parts):
            paint_text(sheet[: y + cell[1]], part, gap, start + number * line, TITLE_TEXT, _INK)
        for column, image in enumerate(images):
            if image is not None:
                _place(sheet, image, left + column * (cell[0] + gap), y, cell)
    return sheet


def _place(
    sheet: NDArray[np.uint8], image: NDArray[np.uint8], left: int, top: int, cell: tuple[int, int]
) -> None:
    """Paint an image into the middle of its cell, as large as fits, at its aspect ratio."""
    high, wide = image.shape[:2]
    scale = min(cell[0] / wide, cell[1] / high)
    size = (min(cell[0], max(1, round(wide * scale))), min(cell[1], max(1, round(high * scale))))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    y, x = top + (cell[1] - size[1]) // 2, left + (cell[0] - size[0]) // 2
    sheet[y : y + size[1], x : x + size[0]] = small


def _wrap(text: str, room: int) -> list[str]:
    """Break a title, such as the name of a layer, into lines after dots, brackets, underscores and spaces."""
    pieces: list[str] = [""]
    for character in text:
        pieces[-1] += character
        if character in "._] ":
            pieces.append("")
    lines = [""]
    for piece in pieces:
        if lines[-1] and text_width(lines[-1] + piece, TITLE_TEXT) > room:
            lines.append("")
        lines[-1] += piece
    return [elide(line.strip(), TITLE_TEXT, room, missing=GAP) for line in lines if line.strip()]
