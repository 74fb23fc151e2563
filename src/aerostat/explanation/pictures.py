"""Explanations as pictures: photograph, heat, explained boxes, and a strip that says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.boxes import draw_boxes
from aerostat.draw.heatmap import overlay_heat

if TYPE_CHECKING:
    from aerostat.explanation.result import Explanations


def draw_all(explanations: Explanations, *, norm_in_box: bool = False) -> NDArray[np.uint8]:
    """Return one picture of all explanations."""
    item = explanations[0]
    photo = explanations.photograph_bgr
    out = overlay_heat(photo, item.heat_at((photo.shape[1], photo.shape[0])))
    s = photo.shape[1] / item.letterbox.source_size[0]
    return draw_boxes(
        out,
        [np.asarray(d.box_xyxy) * s for d in item.detections],
        [d.label for d in item.detections],
        explanations.found.classes,
        [d.score for d in item.detections],
    )
