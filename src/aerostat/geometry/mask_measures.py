"""What is measured on masks: area, perimeter, centroid, diameter and direction, in pixels or in a length."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.mask_columns import ColumnSpans, Ints
from aerostat.geometry.masks import Masks

Floats = NDArray[np.float64]

UNITS = ("pm", "nm", "um", "mm", "cm", "dm", "m", "km", "in", "ft")
"""Units of a pixel's side."""
_MICRO = {"\N{MICRO SIGN}m": "um", "\N{GREEK SMALL LETTER MU}m": "um"}
_SAME = 1e-9
"""Share of the spread below which a mask has no direction: it is as long as it is wide."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The side of a pixel as a length.

    >>> PixelSize.parse("0.35um")
    PixelSize(side=0.35, unit='um')

    Args:
        side: in units.
        unit: one of `UNITS`.
    """

    side: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> PixelSize:
        """Return the pixel size that a text such as ``0.35um`` states.

        Raises:
            InputError: it is no positive number with a unit.
        """
        found = re.fullmatch(r"\s*([0-9.eE+-]{1,40}?)\s*([a-zA-Z\u00b5\u03bc]{1,3})\s*", text)
        try:
            side, unit = float(found[1]) if found else 0.0, found[2] if found else ""
        except ValueError:
            side, unit = 0.0, ""
        unit = _MICRO.get(unit, unit)
        if unit not in UNITS or not 0 < side < math.inf:
            raise InputError(
                f"Expected `pixel_size` as a length such as 0.35um (units {', '.join(UNITS)}), "
                f"found {text!r}."
            )
        return cls(side, unit)


@dataclass(frozen=True, slots=True, eq=False)
class MaskMeasures:
    """Measures of n masks in columns (n,) float64. An empty mask has the area 0; all else is NaN.

    Args:
        area: square pixels.
        perimeter: pixels; an estimate for the smooth outline that the pixels stand for, equal to
            `perimeter_crofton` of scikit-image. It is the Cauchy and
            Crofton formula with four directions of lines (Legland, Kieu and Devaux, Computation of Minkowski
            measures on 2D and 3D binary images, 2007). A large disc is right within 1 %, a square along the
            axes is 5 % too small. The border of the image counts as outline.
        centroid_x, centroid_y: mean place of the pixels; that of a single first pixel is 0.5, 0.5.
        equivalent_diameter: of the disc with the same area, in pixels.
        orientation: angle of the longest axis in degrees, in (-90, 90]: 0 along x, 90 upright, positive
            counter-clockwise as the picture is seen. The axis is that of the ellipse with the same second
            moments. NaN without a longest axis, as for a disc or a square.
    """

    area: Floats
    perimeter: Floats
    centroid_x: Floats
    centroid_y: Floats
    equivalent_diameter: Floats
    orientation: Floats

    def columns(self, pixel_size: PixelSize | None = None) -> dict[str, Floats]:
        """Return the columns by name.

        Args:
            pixel_size: adds all lengths and areas in its unit, such as ``area_um2`` and ``perimeter_um``.
        """
        names = ("area", "perimeter", "centroid_x", "centroid_y", "equivalent_diameter", "orientation")
        columns: dict[str, Floats] = {name: getattr(self, name) for name in names}
        if pixel_size is not None:
            side, unit = pixel_size.side, pixel_size.unit
            columns[f"area_{unit}2"] = self.area * side**2
            for name in names[1:-1]:
                columns[f"{name}_{unit}"] = columns[name] * side
        return columns


def measure(masks: Masks) -> MaskMeasures:
    """Return the measures of masks. The work follows the number of runs, not the number of pixels.

    >>> bar = measure(Masks.from_polygons([[[2, 1, 8, 1, 8, 3, 2, 3]]], (10, 10)))
    >>> bar.area.tolist(), bar.centroid_x.tolist(), bar.centroid_y.tolist(), bar.orientation.tolist()
    ([12.0], [5.0], [2.0], [0.0])
    """
    spans = masks.spans()
    count = len(masks)
    area = np.bincount(spans.mask, spans.bottom - spans.top, count).astype(np.float64)
    filled = np.where(area > 0, area, np.nan)
    # Relative to the first pixel of each box, where sums of squares lose no digits.
    origin = masks.boxes_xyxy()[:, :2].astype(np.float64)
    x = spans.column - origin[spans.mask, 0] + 0.5
    top, bottom = spans.top - origin[spans.mask, 1], spans.bottom - origin[spans.mask, 1]
    pixels, sum_y = bottom - top, (bottom**2 - top**2) / 2
    sum_yy = (bottom**3 - top**3) / 3 - pixels / 12  # of squares of the pixels' middles

    def mean(values: Floats) -> Floats:
        """Return the mean over the pixels of each mask."""
        return np.bincount(spans.mask, values, count) / filled

    mean_x, mean_y = mean(pixels * x), mean(sum_y)
    var_x, var_y = mean(pixels * x**2) - mean_x**2, mean(sum_yy) - mean_y**2
    covariance = mean(x * sum_y) - mean_x * mean_y
    return MaskMeasures(
        area,
        np.where(area > 0, _perimeter(spans, area), np.nan),
        mean_x + origin[:, 0],
        mean_y + origin[:, 1],
        np.sqrt(4 * filled / np.pi),
        _direction(var_x, var_y, covariance),
    )


def _direction(var_x: Floats, var_y: Floats, covariance: Floats) -> Floats:
    """Return the angles (n,) of the longest axes in degrees, counter-clockwise although y points down."""
    angle = np.degrees(0.5 * np.arctan2(-2 * covariance, var_x - var_y))
    angle = np.where(angle <= -90.0 + 1e-9, 90.0, angle)  # -90 is 90, but for rounding
    round_ = np.hypot(2 * covariance, var_x - var_y) <= _SAME * np.maximum(var_x + var_y, 1.0)
    directions: Floats = np.where(round_, np.nan, angle + 0.0)
    return directions


def _perimeter(spans: ColumnSpans, area: Floats) -> Floats:
    """Return the perimeters (n,): the crossings of lines in four directions, weighted by the lines' distance.

    Two neighbours differ as often as a mask and the mask moved by one pixel in that direction do.
    """
    straight, diagonal = np.zeros_like(area), np.zeros_like(area)
    for across, down in ((1, 0), (0, 1), (1, 1), (1, -1)):
        differing = area - np.bincount(spans.mask, _shared(spans, across, down), len(area))
        if across and down:
            diagonal += differing
        else:
            straight += differing
    perimeter: Floats = np.pi / 4 * (straight + diagonal / math.sqrt(2))
    return perimeter


def _shared(spans: ColumnSpans, across: int, down: int) -> Ints:
    """Return for each span (s,) how many of its pixels, moved by columns and rows, are in the mask, too."""
    column = spans.column + across
    before = spans.pixels_before(spans.mask, column, spans.bottom + down)
    return before - spans.pixels_before(spans.mask, column, spans.top + down)
