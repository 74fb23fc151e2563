"""Copy-paste: objects cut out along their outlines and pasted into other samples.

Objects of one image, resized at random, are pasted into another image at a random place (Ghiasi et al.,
arXiv:2012.07177). Here an object hides only a small part of others, so that all boxes stay correct.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.geometry.boxes import box_area
from aerostat.geometry.masks import Masks
from aerostat.geometry.outlines import Outlines
from aerostat.pipeline.layout import Size
from aerostat.pipeline.render import Image, jitter_hsv

MAX_HIDDEN = 0.3
"""Share of another box that a pasted object's box may cover."""
MIN_SIDE, MAX_SHARE = 8, 0.8
"""Smallest side of a pasted object in pixels, and its largest side as a share of the input."""
_FRACTION_BITS = 4
_FINER = 4  # outlines are drawn on a grid that is finer by this factor


def outlined(record: ImageRecord) -> list[Instance]:
    """Return the objects of an image that have outlines or masks and are no crowd."""
    instances = record.instances
    wanted = np.flatnonzero(instances.has_masks() & ~instances.crowd)
    return list(instances.chosen(wanted)) if len(wanted) else []


@dataclass(frozen=True, slots=True, eq=False)
class CutOut:
    """An object to paste, in its image.

    Args:
        instance: with outlines or a run-length mask, in pixels of the upright image.
        size: width and height of that image.
        scale: from pixels of the image to pixels of the sample.
        flip: whether it is mirrored.
    """

    instance: Instance
    size: Size
    scale: float
    flip: bool

    @property
    def pasted_size(self) -> Size:
        """Width and height of the pasted object, in pixels of the sample."""
        x1, y1, x2, y2 = self.instance.box_xyxy
        return math.ceil((x2 - x1) * self.scale), math.ceil((y2 - y1) * self.scale)

    def parts(self) -> list[list[NDArray[np.float64]]]:
        """Return the rings of each part in pixels of the image; none of a mask that is broken.

        A part is filled by the even-odd rule, and the object is what any of its parts covers.
        """
        if self.instance.polygons or self.instance.rle is None:
            return [[polygon] for polygon in self.instance.polygons]
        try:
            rings = Masks.from_coco([self.instance.rle], self.size).rings()
        except InputError:
            return []
        return [[rings.ring(number) for number in range(len(rings))]] if len(rings) else []


def place_for(
    size: Size,
    window: Size,
    boxes_xyxy: NDArray[np.float32],
    places: Sequence[tuple[float, float]],
    side: int,
) -> tuple[int, int] | None:
    """Return x, y of the first place where an object hides little of others; None if no place does.

    Args:
        size: (width, height) of the object.
        window: (width, height) of the area to paste into.
        boxes_xyxy: (n, 4) of the objects in that area.
        places: x, y as shares in [0, 1) of the room, tried in turn.
        side: of the network's square input.
    """
    if min(size) < MIN_SIDE or max(size) > MAX_SHARE * side or size[0] > window[0] or size[1] > window[1]:
        return None
    for share_x, share_y in places:
        x, y = (int(s * (w - o + 1)) for s, w, o in zip((share_x, share_y), window, size, strict=True))
        corners = np.concatenate(
            [
                np.maximum(boxes_xyxy[:, :2], (x, y)),
                np.minimum(boxes_xyxy[:, 2:], (x + size[0], y + size[1])),
            ],
            1,
        )
        if not (box_area(corners) > MAX_HIDDEN * box_area(boxes_xyxy)).any():
            return x, y
    return None


def paste(
    cut_out: CutOut, image_bgr: Image, at: tuple[int, int], hsv_gains: tuple[int, int, int], out_bgr: Image
) -> NDArray[np.float32] | None:
    """Draw an object into a sample and return its box (4,) xyxy; None for a broken mask, drawing nothing.

    Args:
        cut_out: the object.
        image_bgr: its image (h, w, 3) uint8, read at any size.
        at: x, y of the object's corner in the sample.
        hsv_gains: see `aerostat.pipeline.render.jitter_hsv`.
        out_bgr: (S, S, 3) uint8, drawn into.
    """
    width, height = cut_out.pasted_size
    parts = cut_out.parts()
    if not parts:
        return None
    x1, y1, _, _ = cut_out.instance.box_xyxy
    fx = (
        image_bgr.shape[1] / cut_out.size[0] / cut_out.scale
    )  # pixels of the read image per pixel of the sample
    fy = image_bgr.shape[0] / cut_out.size[1] / cut_out.scale
    left, top = x1 * cut_out.scale, y1 * cut_out.scale
    matrix = np.asarray([[fx, 0, (left + 0.5) * fx - 0.5], [0, fy, (top + 0.5) * fy - 0.5]], np.float64)
    patch = np.asarray(
        cv2.warpAffine(
            image_bgr,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )
    patch = jitter_hsv(patch, hsv_gains)
    corner = np.asarray((left, top))
    scaled = [[ring * cut_out.scale - corner for ring in part] for part in parts]
    mask = _mask(scaled, (width, height))
    if cut_out.flip:
        patch, mask = np.ascontiguousarray(patch[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    x, y = at
    target = out_bgr[y : y + height, x : x + width]
    alpha = mask[..., None].astype(np.uint16)
    blended = (patch * alpha + target * (255 - alpha) + 127) // 255
    np.copyto(target, blended.astype(np.uint8))
    return np.asarray([x, y, x + width, y + height], np.float32)


def pasted_outlines(cut_out: CutOut, at: tuple[int, int]) -> Outlines:
    """Return the outline of a pasted object in pixels of the sample.

    Args:
        cut_out: the object.
        at: x, y of the object's corner in the sample.
    """
    x1, y1, _, _ = cut_out.instance.box_xyxy
    size, scale = cut_out.pasted_size, cut_out.scale
    instance = cut_out.instance
    masks = {} if instance.rle is None else {0: instance.rle}
    outlines = Outlines.of([instance.polygons], masks, cut_out.size)
    pasted = outlines.moved((scale, scale), (-x1 * scale, -y1 * scale)).within((0.0, 0.0, *size))
    pasted = pasted.mirrored(size[0]) if cut_out.flip else pasted
    return pasted.moved((1.0, 1.0), at)


def _mask(parts: Sequence[Sequence[NDArray[np.float64]]], size: Size) -> Image:
    """Return how much of each pixel the parts of an object cover, (h, w) uint8, 0 to 255.

    OpenCV also fills pixels that an outline only touches; on a finer grid this adds less.
    """
    mask = np.zeros((size[1] * _FINER, size[0] * _FINER), np.uint8)
    for part in parts:
        rings = [np.round((ring * _FINER - 0.5) * 2**_FRACTION_BITS).astype(np.int32) for ring in part]
        cv2.fillPoly(mask, rings, 255, cv2.LINE_8, _FRACTION_BITS)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)
