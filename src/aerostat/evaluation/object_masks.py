"""Masks of annotated objects and of detections, as COCO's figures and matches need them.

An object has a mask if it has an outline of at least three points, or run lengths of its image. Another one
only has a box. pycocotools refuses a file with such an object, so there are no figures to follow. Here the
object is a crowd region in its box: it is neither found nor missed, and a detection of its class within it
is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as mask_tools
from numpy.typing import NDArray

from aerostat.datasets.instances import Instance
from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.evaluation.coco_columns import coco_order, labels_among
from aerostat.evaluation.coco_protocol import DetectionColumns, Rle, TruthColumns
from aerostat.geometry.boxes import Floats
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections
from aerostat.text import counted

FAR = 100_000.0
"""Pixels behind the image. The library's numbers overflow for outlines that reach much further."""
MAX_WALK = 1 << 23
"""Maximum length of an outline in pixels: 40 bytes for each are taken to rasterise it."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMasks:
    """The masks of the m objects of one image.

    Args:
        rles: COCO's run-length object of each.
        own: (m,) whether it is the object's own mask; others are those of their boxes.
    """

    rles: list[Rle]
    own: NDArray[np.bool_]


def object_masks(image: ImageRecord) -> ObjectMasks:
    """Return the mask of each object of an image; that of its box where it has none, or a broken one."""
    size = image.width, image.height
    found = [_own_mask(instance, size) for instance in image.instances]
    boxes = [_box_mask(image.instances[place].box_xyxy, size) if mask is None else mask
             for place, mask in enumerate(found)]  # fmt: skip
    return ObjectMasks(boxes, np.asarray([mask is not None for mask in found], np.bool_))


def masks_of(image: ImageRecord, detections: Detections) -> Masks:
    """Return the masks of the detections on an image.

    Raises:
        InputError: there are detections without masks, or masks of another size.
    """
    size = image.width, image.height
    if detections.masks is None:
        if len(detections):
            raise InputError(
                f"Expected detections with masks, found none on {image.file_name}: a mask is missing for "
                f"each of {counted(len(detections), 'detection')}."
            )
        return Masks.empty(size)
    if detections.masks.image_size != size:
        raise InputError(
            f"Expected masks of {size[0]} x {size[1]} pixels on {image.file_name}, found masks of "
            f"{detections.masks.image_size[0]} x {detections.masks.image_size[1]}."
        )
    return detections.masks


def mask_iou(detections: Sequence[Rle], objects: Sequence[Rle], crowd: NDArray[np.bool_]) -> Floats:
    """Return COCO's overlaps (n, m): IoU, or the share of the detection within a crowd region.

    Args:
        detections, objects: COCO's run-length objects, all of one size.
        crowd: (m,) whether an object is a crowd region.
    """
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    overlaps = mask_tools.iou(list(detections), list(objects), crowd.astype(int).tolist())
    return np.asarray(overlaps, np.float64)


def whether_masks(
    images: Sequence[ImageRecord], detections: Sequence[Detections], masks: bool | None
) -> bool:
    """Return whether masks are evaluated.

    Args:
        images: annotated images.
        detections: detections on each image.
        masks: whether they are asked for; None if that follows from what is there.

    Raises:
        InputError: masks are asked for, but no object has one.
    """
    if masks:
        require_masks(images)
        return True
    if masks is False or not have_masks(detections):
        return False
    return any(image.instances.has_masks().any() for image in images)


def require_masks(images: Sequence[ImageRecord]) -> None:
    """Check that an object has an outline or a mask, if there are objects.

    Raises:
        InputError: none has.
    """
    objects = sum(len(image.instances) for image in images)
    if objects and not any(image.instances.has_masks().any() for image in images):
        raise InputError(
            f"Expected objects with outlines to evaluate masks, found none among "
            f"{counted(objects, 'object')} on {counted(len(images), 'image')}; leave `masks` out to evaluate "
            "boxes alone."
        )


def have_masks(detections: Sequence[Detections]) -> bool:
    """Return whether detections have masks; images without detections need not have them."""
    with_masks = [one.masks is not None for one in detections]
    return any(with_masks) and all(
        has or not len(one) for has, one in zip(with_masks, detections, strict=True)
    )


def mask_columns(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: tuple[str, ...],
    columns: tuple[TruthColumns, DetectionColumns],
) -> tuple[TruthColumns, DetectionColumns]:
    """Return the columns of objects and detections with their masks.

    A stated area decides between small, medium and large. Where none is stated, that of the mask does.

    Args:
        images, detections, classes: as for `aerostat.evaluation.coco.evaluate_detections`.
        columns: the columns without masks, as `box_columns` returns them.

    Raises:
        InputError: detections of an image have no masks, or masks of another size.
    """
    truth, found = columns
    order = coco_order(images, detections)
    labels = list(labels_among(detections, classes))
    theirs: list[Rle] = []
    areas = [np.zeros(0, np.int64)]
    for i in order:  # the chosen masks of one image at a time are in memory twice
        masks = masks_of(images[i], detections[i])[np.flatnonzero(labels[i] >= 0)]
        theirs += masks.to_coco()
        areas.append(masks.area())
    objects = [object_masks(images[i]) for i in order]
    rles = [rle for one in objects for rle in one.rles]
    own = np.concatenate([np.zeros(0, np.bool_), *(one.own for one in objects)])
    stated = np.concatenate([np.zeros(0), *(images[i].instances.areas for i in order)])
    measured = np.asarray(mask_tools.area(rles), np.float64) if rles else np.zeros(0)
    return (
        replace(truth, masks=rles, crowd=truth.crowd | ~own, area=np.where(stated > 0, stated, measured)),
        replace(found, masks=theirs, area=np.concatenate(areas)),
    )


def _own_mask(instance: Instance, size: tuple[int, int]) -> Rle | None:
    """Return COCO's run-length object of an object's mask; None without one, or if it is broken."""
    outlines = [outline for outline in instance.polygons if len(outline) >= 3]
    try:
        if outlines:
            return _rasterised(outlines, size)
        return None if instance.rle is None else Masks.from_coco([instance.rle], size).to_coco()[0]
    except InputError:
        return None


def _rasterised(outlines: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> Rle:
    """Return the union of outlines.

    Raises:
        InputError: an outline has numbers that are not finite, or is too long.
    """
    reach = max(float(np.abs(outline).max()) for outline in outlines)
    if not reach <= FAR:  # holds for NaN, too
        return Masks.from_polygons([outlines], size).to_coco()[0]
    walk = sum(float(np.abs(outline - np.roll(outline, 1, axis=0)).max(axis=1).sum()) for outline in outlines)
    if walk > MAX_WALK:
        raise InputError(f"Expected an outline of at most {MAX_WALK} pixels, found one of {walk:.0f}.")
    width, height = size
    flat = [outline.ravel().tolist() for outline in outlines]
    return _with_text(mask_tools.merge(mask_tools.frPyObjects(flat, height, width)))


def _box_mask(box_xyxy: Sequence[float], size: tuple[int, int]) -> Rle:
    x1, y1, x2, y2 = box_xyxy
    return Masks.from_polygons([[[x1, y1, x1, y2, x2, y2, x2, y1]]], size).to_coco()[0]


def _with_text(rle: Any) -> Rle:
    """Return a run-length object whose counts are text."""
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}
