"""The outline of an annotated object as it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aerostat.datasets.instances import Instance
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.draw.shapes import Outline


def drawn_outline(instance: Instance, scale: tuple[float, float] = (1.0, 1.0)) -> Outline:
    """Return the polygons of an object, or the shape of its mask if it has no polygons; None without both.

    A mask whose run lengths are broken is left out: `lint` reports it.

    Args:
        instance: the object.
        scale: factors (x, y) from its image to the picture.
    """
    if instance.polygons:
        factors = np.asarray(scale, np.float64)
        return [polygon * factors for polygon in instance.polygons]
    if instance.rle is None:
        return None
    from aerostat.draw.shapes import FILL_OPACITY, shapes_of
    from aerostat.geometry.masks import Masks

    try:
        masks = Masks.from_coco([instance.rle])
    except InputError:
        return None
    return shapes_of(masks, scale, FILL_OPACITY)[0]
