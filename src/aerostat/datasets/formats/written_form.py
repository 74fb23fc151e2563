"""In which form formats that hold boxes, outlines and masks write an object, and the box beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aerostat.datasets.clip import Box
from aerostat.datasets.instances import Instance
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks

NOT_AROUND = "objects whose box is not around their outline or mask written as a box"
"""Name under which a writer counts objects of which it keeps the box alone."""

_TOLERANCE = 1.0
"""Pixels by which a box may differ from the bounds of its outline or mask: other tools round it."""


@dataclass(frozen=True, slots=True)
class WrittenForm:
    """What of an object is written.

    Args:
        kind: ``box``, ``outlines`` or ``mask``.
        box_xyxy: the box to write beside outlines or a mask, whose bounds differ a little; None if they are
            the same.
    """

    kind: Literal["box", "outlines", "mask"]
    box_xyxy: Box | None = None


def form_of(instance: Instance, size: tuple[int, int], lost: Counter[str]) -> WrittenForm:
    """Return in which form an object is written.

    Args:
        instance: the object.
        size: (width, height) of its image in pixels.
        lost: counts what the form cannot hold.
    """
    if instance.polygons:
        bounds = polygons.bounds(np.concatenate(instance.polygons))
        kind: Literal["outlines", "mask"] = "outlines"
        if instance.rle is not None:
            lost["masks beside outlines"] += 1
    elif instance.rle is not None:
        x1, y1, x2, y2 = Masks.from_coco([instance.rle], size).boxes_xyxy()[0].tolist()
        bounds, kind = (x1, y1, x2, y2), "mask"
    else:
        return WrittenForm("box")
    if bounds == instance.box_xyxy:
        return WrittenForm(kind)
    if is_around(instance.box_xyxy, bounds):
        return WrittenForm(kind, instance.box_xyxy)
    lost[NOT_AROUND] += 1
    return WrittenForm("box")


def is_around(box_xyxy: Box, bounds_xyxy: Box) -> bool:
    """Return whether a box is that around an outline or mask, up to rounding."""
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(box_xyxy, bounds_xyxy, strict=True))


def box_beside(stated: object, bounds_xyxy: Box) -> Box | None:
    """Return the box that a file states beside an outline or mask; None if it does not fit, or is no box.

    A box that does not fit is left from before the outline was edited.

    >>> box_beside([1, 1, 9.5, 9], (1.0, 1.0, 9.25, 9.0))
    (1.0, 1.0, 9.5, 9.0)
    """
    if not (isinstance(stated, list) and len(stated) == 4 and all(type(n) in (int, float) for n in stated)):
        return None
    try:
        x1, y1, x2, y2 = map(float, stated)
    except OverflowError:
        return None
    return (x1, y1, x2, y2) if is_around((x1, y1, x2, y2), bounds_xyxy) else None
