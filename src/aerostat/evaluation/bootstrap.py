"""Confidence intervals of COCO's AP by drawing images again and again (percentile bootstrap).

Efron, *Bootstrap Methods*, Annals of Statistics 7 (1979). Images are drawn, not objects, since the objects of
one photograph resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.evaluation.coco import MAX_DETS
from aerostat.evaluation.coco_columns import box_columns
from aerostat.evaluation.coco_protocol import UNDEFINED, precision_and_recall
from aerostat.results.detections import Detections

CONFIDENCE = 0.95
"""Share of the drawn samples within the interval."""
DRAWS = 200
"""Samples: the ends of the interval then move by about a tenth of its width from seed to seed."""


def ap_interval(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the interval of the box AP over other images of the same kind; None if it is not defined.

    Args:
        images: annotated images.
        detections: detections on each image.
        classes: names that the labels of `images` index.
        draws: number of samples.
        seed: of the samples.

    Raises:
        InputError: as `evaluate_detections`.
    """
    truth, found = box_columns(images, detections, tuple(classes))
    if len(images) < 2 or not len(truth.label):
        return None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = np.sort(rng.integers(0, len(images), len(images)))
        objects, object_image = _rows_of(truth.image, chosen)
        boxes, box_image = _rows_of(found.image, chosen)
        drawn_truth = replace(
            truth,
            image=object_image,
            label=truth.label[objects],
            boxes_xywh=truth.boxes_xywh[objects],
            area=truth.area[objects],
            crowd=truth.crowd[objects],
        )
        drawn = replace(
            found,
            image=box_image,
            label=found.label[boxes],
            boxes_xywh=found.boxes_xywh[boxes],
            score=found.score[boxes],
        )
        precision, _ = precision_and_recall(drawn_truth, drawn, len(classes), MAX_DETS[-1:], ("all",))
        defined = precision[precision > UNDEFINED]
        if len(defined):
            values.append(float(defined.mean()))
    if not values:
        return None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _rows_of(
    image: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the chosen images, one after the other, and their places in the choice.

    Args:
        image: (n,) ascending image of each row.
        chosen: images, some of them more than once.
    """
    starts, ends = (np.searchsorted(image, chosen, side) for side in ("left", "right"))
    counts = ends - starts
    place = np.repeat(np.arange(len(chosen)), counts)
    before = np.cumsum(counts) - counts
    return starts[place] + np.arange(len(place)) - before[place], place
