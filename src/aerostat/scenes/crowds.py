"""Large drawn scenes with many small balloons, as an aerial photograph shows them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.geometry import polygons
from aerostat.scenes.backdrops import Backdrop, draw_backdrop
from aerostat.scenes.brushes import Image, Random, chance, uniform
from aerostat.scenes.camera import develop
from aerostat.scenes.drawn_balloon import Balloon, balloon_profile, draw_balloon, draw_looks

COARSER = 4
"""The backdrop is drawn smaller by this factor: its textures then have the size of the balloons."""
MAX_HIDDEN = 0.3
"""Share of the smaller of two boxes that both may cover."""
NEAR = 0.4
"""Share of the balloons that stand beside the one before."""
TRIES = 50
"""Places that are tried before a balloon is left out."""


def draw_crowd(
    rng: Random, width: int, height: int, count: int, radii: tuple[float, float] = (9.0, 24.0)
) -> tuple[Image, list[NDArray[np.float64]]]:
    """Draw a scene of many balloons that hide little of each other.

    >>> image, outlines = draw_crowd(np.random.default_rng(0), 320, 240, 4)
    >>> image.shape, len(outlines)
    ((240, 320, 3), 4)

    Args:
        rng: source of all random draws.
        width, height: of the image in pixels.
        count: of balloons; fewer are drawn if there is no place for them.
        radii: smallest and largest radius in pixels, small ones as likely as large ones.

    Returns:
        The image (height, width, 3) uint8 BGR, and the outlines (n, 2) of the balloons, clipped to it.
    """
    small = draw_backdrop(rng, max(width // COARSER, 64), max(height // COARSER, 64))
    canvas = np.asarray(cv2.resize(small.image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    stage = Backdrop(canvas, small.light, small.horizon * COARSER, None, small.wall, 0.0)
    cover = np.zeros((height, width), np.uint8)
    outlines, boxes = list[NDArray[np.float64]](), np.zeros((count, 4))
    last: Balloon | None = None
    looks = [look for _ in range(-(-count // 20)) for look in draw_looks(rng, 20)]
    for look in looks[:count]:
        for _ in range(TRIES):
            radius = math.exp(uniform(rng, math.log(radii[0]), math.log(radii[1])))
            x, y = uniform(rng, 0, 1) * width, uniform(rng, 0, 1) * height
            if last is not None and chance(rng, NEAR):
                turn, gap = uniform(rng, 0, 2 * math.pi), (radius + last.radius) * uniform(rng, 0.9, 1.3)
                x, y = last.x + gap * math.cos(turn), last.y + gap * math.sin(turn)
            balloon = Balloon(x, y, radius, float(rng.normal(0, 0.35)), balloon_profile(rng), look)
            outline = polygons.clip(balloon.annotation(), width, height)
            if len(outline) < 3 or polygons.area(outline) < 0.5 * polygons.area(balloon.outline()):
                continue
            box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
            if _hidden(box, boxes[: len(outlines)]) <= MAX_HIDDEN:
                draw_balloon(rng, canvas, cover, 1, balloon, stage)
                boxes[len(outlines)] = box
                outlines.append(outline)
                last = balloon
                break
    return develop(rng, canvas), outlines


def _hidden(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> float:
    """Return the largest share of the smaller of two boxes that both cover."""
    if not len(boxes):
        return 0.0
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    common = np.clip(sides, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return float((common / np.minimum(areas, (box[2:] - box[:2]).prod())).max())
