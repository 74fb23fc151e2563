"""Random images with masks of every kind, in this project's types and as a COCO file has them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections

KINDS = ("outline", "outlines", "text", "numbers", "empty", "box")
"""Kinds of objects: one outline, several, run lengths as text or as numbers, no pixel, only a box."""


@dataclass
class MaskCase:
    """Images and detections, and the annotations as a COCO file has them."""

    images: list[ImageRecord]
    detections: list[Detections]
    classes: tuple[str, ...]
    annotations: list[dict[str, Any]]


def blob(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return an outline that may leave the image a little."""
    corners = int(rng.integers(3, 16))
    angle = np.sort(rng.random(corners)) * 2 * np.pi
    radius = rng.uniform(2, 60) * rng.uniform(0.6, 1.3, corners)
    centre = rng.uniform(0, size)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def filled(outlines: list[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a dense mask (h, w) of outlines, 0 or 1."""
    dense = np.zeros((size[1], size[0]), np.uint8)
    for outline in outlines:
        cv2.fillPoly(dense, [np.rint(outline).astype(np.int32)], 1)
    return dense


def numbers_of(dense: NDArray[np.uint8]) -> list[int]:
    """Return the run lengths of a dense mask, one pixel after the other."""
    counts, value = [0], 0
    for pixel in dense.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def box_around(outlines: list[NDArray[np.float64]], size: tuple[int, int]) -> tuple[float, ...]:
    points = np.concatenate(outlines)
    low, high = points.min(axis=0).clip(0, size), points.max(axis=0).clip(0, size)
    return (*low.tolist(), *np.maximum(low, high).tolist())


def random_object(
    rng: np.random.Generator, size: tuple[int, int], label: int, kinds: tuple[str, ...]
) -> tuple[Instance, dict[str, Any], NDArray[np.uint8]]:
    """Return an object, the same in a COCO file, and about the same pixels."""
    from pycocotools import mask as coco_mask

    kind = kinds[rng.integers(len(kinds))]
    outlines = [blob(rng, size) for _ in range(int(rng.integers(2, 4)) if kind == "outlines" else 1)]
    box, dense, crowd = box_around(outlines, size), filled(outlines, size), bool(rng.random() < 0.15)
    if kind == "empty":
        dense[:] = 0
    polygons, rle, segmentation = (), None, None
    if kind in ("outline", "outlines"):
        polygons, segmentation = tuple(outlines), [outline.ravel().tolist() for outline in outlines]
    elif kind == "box":
        # pycocotools has no figures for an object without a mask: to it this one is a crowd region.
        x1, y1, x2, y2 = box
        segmentation = coco_mask.frPyObjects(np.asarray([[x1, y1, x2 - x1, y2 - y1]]), size[1], size[0])[0]
    elif kind == "numbers":
        rle = segmentation = {"size": [size[1], size[0]], "counts": numbers_of(dense)}
    else:
        text = coco_mask.encode(np.asfortranarray(dense))["counts"].decode()
        rle = segmentation = {"size": [size[1], size[0]], "counts": text}
    stated = float(rng.choice([0.0, 0.5, 1.0])) * float(dense.sum())
    row = {"category_id": label + 1, "iscrowd": int(crowd or kind == "box"), "segmentation": segmentation}
    row |= {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]], "area": stated}
    return Instance(box, label, polygons, rle, crowd, stated), row, dense


def random_mask_case(seed: int, kinds: tuple[str, ...] = KINDS, images: int = 12) -> MaskCase:
    """Return images of several sizes with crowd regions, some of them empty, and detections near objects.

    Args:
        seed: of the random numbers.
        kinds: of the objects.
        images: number of images.
    """
    rng = np.random.default_rng(seed)
    classes = tuple(f"class {k}" for k in range(rng.integers(1, 5)))
    case = MaskCase([], [], classes, [])
    for image_id in rng.permutation(np.arange(1, images + 1)).tolist():
        size = (int(rng.integers(90, 260)), int(rng.integers(90, 260)))
        count = int(rng.choice([0, 1, 4, 12]))
        made = [random_object(rng, size, int(rng.integers(len(classes))), kinds) for _ in range(count)]
        case.annotations += [{**row, "image_id": image_id} for _, row, _ in made]
        instances = tuple(instance for instance, _, _ in made)
        case.images.append(
            ImageRecord(Path(f"{image_id}.jpg"), f"{image_id}.jpg", *size, instances, image_id)
        )
        case.detections.append(random_detections(rng, size, made, classes))
    return case


def random_detections(
    rng: np.random.Generator,
    size: tuple[int, int],
    made: list[tuple[Instance, dict[str, Any], NDArray[np.uint8]]],
    classes: tuple[str, ...],
) -> Detections:
    """Return objects moved a little, of the wrong class at times, beside false ones and empty ones."""
    count = int(rng.choice([0, 3, 30, 130]))
    masks, boxes, labels = [], [], []
    for _ in range(count):
        if made and rng.random() < 0.8:
            instance, _, dense = made[rng.integers(len(made))]
            dense = np.roll(dense, rng.integers(-3, 4, 2) * int(rng.choice([0, 1, 3])), axis=(0, 1))
            box = np.asarray(instance.box_xyxy) + rng.normal(0, 3, 4)
            label = instance.label if rng.random() < 0.8 else int(rng.integers(len(classes)))
        else:
            outline = blob(rng, size)
            dense, box = filled([outline], size), np.asarray(box_around([outline], size))
            label = int(rng.integers(len(classes)))
        masks.append(dense * (rng.random() > 0.05))
        boxes.append([*box[:2], *np.maximum(box[:2], box[2:])])
        labels.append(label)
    scores = rng.choice([0.1, 0.4, 0.9], count) if rng.random() < 0.5 else rng.random(count)
    found = Masks.from_dense(np.asarray(masks)) if count else Masks.empty(size)
    return Detections(np.reshape(boxes, (-1, 4)), scores, labels, classes, masks=found)


class MaskPeer:
    """What pycocotools says of the masks of a case."""

    def __init__(self, case: MaskCase, max_dets: tuple[int, ...] = (1, 10, 100)) -> None:
        from pycocotools import mask as coco_mask
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        results = [
            {
                "image_id": image.id,
                "category_id": label + 1,
                "score": score,
                "segmentation": coco_mask.encode(np.asfortranarray(dense.astype(np.uint8))),
            }
            for image, found in zip(case.images, case.detections, strict=True)
            for dense, score, label in zip(
                found.masks, found.scores.tolist(), found.labels.tolist(), strict=True
            )
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": i.id, "width": i.width, "height": i.height} for i in case.images],
                "annotations": [dict(row, id=n) for n, row in enumerate(case.annotations, start=1)],
                "categories": [{"id": k + 1, "name": name} for k, name in enumerate(case.classes)],
            }
            truth.createIndex()
            for row in truth.dataset["annotations"]:
                row["area"] = row["area"] or float(coco_mask.area(truth.annToRLE(row)))
            evaluation = COCOeval(truth, truth.loadRes(results), "segm")
            evaluation.params.maxDets = list(max_dets)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        self.stats = evaluation.stats.tolist()
        self.precision = evaluation.eval["precision"]

    def ap_of_class(self, k: int, iou: slice | int = slice(None)) -> float:
        values = self.precision[iou, :, k, 0, 2]
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0
