"""Class colours that any colour vision can distinguish, and a legible text colour for each."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Blue, green, red, each 0-255."""

# The first seven are the scheme of Okabe and Ito, "Color Universal Design" (2008), without black. The others
# come from Paul Tol's "muted" scheme (SRON/EPS/TN/09-002, 2021): the five that differ most from the first
# seven and from one another.
_BASE_HEX = (
    "E69F00",  # orange
    "56B4E9",  # sky blue
    "009E73",  # bluish green
    "F0E442",  # yellow
    "0072B2",  # blue
    "D55E00",  # vermillion
    "CC79A7",  # reddish purple
    "332288",  # indigo
    "DDCC77",  # sand
    "882255",  # wine
    "999933",  # olive
    "AA4499",  # purple
)
_BASE: tuple[Colour, ...] = tuple((int(h[4:], 16), int(h[2:4], 16), int(h[:2], 16)) for h in _BASE_HEX)

# Lightness of the later dozens, positive towards white, negative towards black. All 84 colours differ by at
# least 6 units of CIELAB, the first 24 by at least 12.
_STEPS = (0.0, -0.45, 0.5, -0.75, 0.2, -0.3, 0.35)


def class_colour(index: int) -> Colour:
    """Return the colour (blue, green, red) of class `index`, the same in all pictures and runs.

    The first twelve come from published schemes for colour-blind readers. They differ under simulated
    deuteranopia and protanopia (by at least 8 units of CIELAB, the first seven by 15). Each further dozen
    repeats them darker or lighter, so that 84 colours differ for people with all three cones. For others some
    look alike, so pictures also name every class. From class 84 on the colours repeat.

    Example:
        >>> class_colour(0), class_colour(84)
        ((0, 159, 230), (0, 159, 230))
    """
    hue = _BASE[index % len(_BASE)]
    step = _STEPS[index // len(_BASE) % len(_STEPS)]
    target = 255 if step > 0 else 0
    blue, green, red = (round(value + (target - value) * abs(step)) for value in hue)
    return blue, green, red


def relative_luminance(colour_bgr: Colour) -> float:
    """Return the relative luminance, 0 black to 1 white, of an sRGB colour (WCAG 2.1)."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour_bgr)
    ]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]


def text_colour_on(background_bgr: Colour) -> Colour:
    """Return black or white, whichever has the higher contrast ratio on `background_bgr` (WCAG 2.1)."""
    luminance = relative_luminance(background_bgr)
    contrast_black, contrast_white = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
    return (0, 0, 0) if contrast_black >= contrast_white else (255, 255, 255)
