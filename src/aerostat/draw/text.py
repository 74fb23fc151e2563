"""Text in any script as a mask of coverage, with the fonts of this machine."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

ELLIPSIS = "…"
GAP = "□"
"""Replacement for a character that no font has; DejaVu Sans has the square itself."""

# Parts of file names of fonts for Chinese, Japanese or Korean on Linux, macOS and Windows, in order of
# preference. DejaVu Sans, which comes with matplotlib, covers Latin, Greek, Cyrillic and Arabic.
_WIDE_FONTS = (
    "notosanscjk", "sourcehansans", "notosanssc", "notosanstc", "notosansjp", "notosanskr", "wqy-microhei",
    "wqy-zenhei", "droidsansfallback", "pingfang", "hiragino", "stheiti", "arialunicode", "arial unicode",
    "msyh", "simhei", "simsun", "yugoth", "meiryo", "malgun", "unifont", "notosans",
)  # fmt: skip


@cache
def usable_fonts() -> tuple[tuple[str, frozenset[int]], ...]:
    """Return the usable font files, best first, and the code points that each covers."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    dejavu = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    found: list[tuple[str, frozenset[int]]] = []
    for path in [str(dejavu), *_wide_fonts()]:
        try:
            found.append((path, frozenset(FT2Font(path).get_charmap())))
        except (OSError, RuntimeError):  # FreeType cannot read this system font
            continue
    return tuple(found)


def _wide_fonts() -> list[str]:
    from matplotlib import font_manager

    try:
        paths = font_manager.findSystemFonts()
    except OSError:
        return []
    ranked = []
    for path in sorted(paths):
        stem = Path(path).stem.lower().replace("_", "")
        rank = next((i for i, name in enumerate(_WIDE_FONTS) if name in stem), None)
        if rank is not None:
            ranked.append((rank, "bold" in stem or "light" in stem or "thin" in stem, len(stem), path))
    return [path for *_, path in sorted(ranked)]


@lru_cache(maxsize=4096)
def drawable(text: str, fallback: str = "?", missing: str = "") -> tuple[str, str]:
    """Return a text as it can be drawn, and the font file to draw it with.

    Args:
        text: any string; line breaks and other control characters become spaces.
        fallback: returned if no letter of `text` can be drawn, such as Chinese without a font for it; with
            `missing`, if neither a letter nor a digit can.
        missing: replaces each character that no font covers; by default such characters are left out.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    fonts = usable_fonts()
    best, best_covered = fonts[0][0], -1
    for path, points in fonts:
        covered = sum(ord(c) in points for c in text)
        if covered > best_covered:
            best, best_covered = path, covered
            drawn = "".join(c for c in text if ord(c) in points)
            kept = " ".join("".join(c if ord(c) in points else missing for c in text).split())
        if covered == len(text):
            break
    # Without a Japanese font "自転車_2" would be "_2", which is no name; "□□□_2" shows the gap.
    says = str.isalnum if missing else str.isalpha
    if not any(map(says, drawn)) and any(map(says, text)):
        return fallback, fonts[0][0]
    return kept, best


@lru_cache(maxsize=256)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def text_width(text: str, size: int, fallback: str = "?") -> int:
    """Return the width in pixels of `text` drawn at `size` pixels per em."""
    shown, path = drawable(text, fallback)
    return int(np.ceil(_font(path, size).getlength(shown)))


def elide(text: str, size: int, max_width: int, fallback: str = "?", missing: str = "") -> str:
    """Return `text` for a width of at most `max_width` pixels, an ellipsis in place of its middle if needed.

    For `fallback` and `missing` see `drawable`.
    """
    shown, _ = drawable(text, fallback, missing)
    if text_width(shown, size, fallback) <= max_width:
        return shown
    fits, too_many = 0, len(shown)  # characters to keep, by bisection: measuring a text is slow
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if text_width(_cut(shown, middle), size, fallback) <= max_width:
            fits = middle
        else:
            too_many = middle
    return _cut(shown, fits)


def _cut(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - (kept - head) :].lstrip()


@lru_cache(maxsize=512)
def text_mask(text: str, size: int, fallback: str = "?") -> NDArray[np.uint8]:
    """Return the coverage (h, w), 0-255, of one line of text at `size` pixels per em.

    The height is that of a line, the same for all texts of a font, so that neighbours align. The array is
    shared between calls and read-only.
    """
    shown, path = drawable(text, fallback)
    font = _font(path, size)
    ascent, descent = font.getmetrics()
    picture = Image.new("L", (max(1, int(np.ceil(font.getlength(shown))) + 1), ascent + descent), 0)
    ImageDraw.Draw(picture).text((0, 0), shown, fill=255, font=font)
    mask = np.asarray(picture)
    mask.flags.writeable = False
    return mask


def paint_text(
    image_bgr: NDArray[np.uint8], text: str, left: int, top: int, size: int, colour_bgr: tuple[int, int, int],
    fallback: str = "?",
) -> None:  # fmt: skip
    """Draw one line of text into `image_bgr` in place, from (left, top), clipped to the image."""
    mask = text_mask(text, size, fallback)
    height, width = image_bgr.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return
    alpha = mask[y1 - top : y2 - top, x1 - left : x2 - left, None].astype(np.float32) / 255
    part = image_bgr[y1:y2, x1:x2]
    part[:] = np.rint(part + (np.asarray(colour_bgr, np.float32) - part) * alpha).astype(np.uint8)
