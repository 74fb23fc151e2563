"""Checks of what annotations state twice, and of units: box and outline, corners and sizes, crowd marks.

Each check looks at all objects of a split together. A finding gives their number; few objects are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.crowd import CrowdMarks
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Problem, Split
from aerostat.lint.listing import SHOWN_FINDINGS, Finding, box_text, finding, of_object
from aerostat.lint.split_masks import SplitMasks
from aerostat.text import counted

TOLERANCE = 2.0
"""Pixels by which a box may miss its outline. Tools round to whole pixels, and count from 0 or 1."""

MIN_IOU = 0.7
"""Overlap of a box and the bounds of its outline below which they contradict each other.

Boxes drawn by hand beside masks overlap by 0.8 and more.
"""

MIN_SHARE = 0.1
"""Share of a split's boxes from which their unit is doubted. One odd box is not a matter of units."""

MIN_PER_CENT = 5
"""Boxes from which a split is tested for per cent. Fewer may lie in a corner by chance."""

MIN_SIDE = 200
"""Sides of the images, in pixels, from which boxes within 0 to 100 are doubted."""

DOUBTFUL_CROWDS = 0.25
"""Share of outlines and masks marked as crowd regions that is doubted. COCO has 1.2 %."""


def check_contradictions(data: Dataset, masks: Mapping[str, SplitMasks] | None = None) -> list[Finding]:
    """Return boxes in other units, boxes that lie elsewhere than their outlines, and doubtful crowd marks.

    Args:
        data: as it was read.
        masks: of each split; None decodes them.
    """
    found: list[Finding] = []
    for split in data.splits.values():
        wrong = _units(split) or _per_cent(split) or _corners(split)
        mine = SplitMasks.of(split) if masks is None else masks[split.name]
        found += wrong or _other_than_outline(split, mine)
        if data.origin is None or data.origin.options.crowd == "auto":
            found += _doubtful_crowds(split)
    return found


def _sizes(split: Split) -> NDArray[np.float64]:
    """Return the size (n, 2) of the image of each object."""
    return split.images.sizes[split.images.places].astype(np.float64)


def _units(split: Split) -> list[Finding]:
    boxes, sizes = split.images.instances.boxes_xyxy, _sizes(split)
    tiny = (boxes[:, :2] < 1).all(axis=1) & (boxes[:, 2:] <= 2).all(axis=1) & (sizes >= 8).all(axis=1)
    count, total = int(tiny.sum()), len(boxes)
    if not count or (count < total and count < max(2, MIN_SHARE * total)):
        return []
    within = "0 to 1" if boxes[tiny].max() <= 1 else "the first two pixels"
    wrong = (
        f"{counted(count, 'box', 'boxes')} of {total} within {within}, as if in shares of the image's size "
        "and not in pixels"
    )
    return [of_object(split, int(np.flatnonzero(tiny)[0]), "box-units", wrong)]


def _per_cent(split: Split) -> list[Finding]:
    boxes, sizes = split.images.instances.boxes_xyxy, _sizes(split)
    if len(boxes) < MIN_PER_CENT or sizes.min() < MIN_SIDE or not 50 < boxes.max() <= 100:
        return []
    wrong = (
        f"all {len(boxes)} boxes within 0 to 100 of images of {sizes.min():g} pixels and more, as if in per "
        "cent of the image's size"
    )
    return [of_object(split, 0, "box-units", wrong, severity="warning")]


def _corners(split: Split) -> list[Finding]:
    """Find boxes that reach out of the image if read as x, y, width, height, and fit if read as corners."""
    boxes = split.images.instances.boxes_xyxy
    size_of = dict(zip(split.images.file_names, split.images.sizes.tolist(), strict=True))
    clipped = [p for p in split.problems if p.kind == "clipped" and p.box_xyxy is not None]
    if not clipped or not all(_fits_as_corners(p, size_of.get(p.file_name)) for p in clipped):
        return []
    at_border = (boxes[:, 2:] >= _sizes(split)).any(axis=1)  # what is clipped is among them
    ordered = (boxes[:, 2:] - boxes[:, :2] > boxes[:, :2]).all(axis=1)
    if len(clipped) < max(2, 2 * MIN_SHARE * len(boxes)) or not (ordered | at_border).all():
        return []
    first = clipped[0]
    wrong = (
        f"{counted(len(clipped), 'box', 'boxes')} of {len(boxes)} out of the image, and inside if read as "
        "corners: x1, y1, x2, y2 seem to stand where x, y, width, height are expected"
    )
    return [finding("box-of-corners", split.name, first.file_name, wrong, record=first.record)]


def _fits_as_corners(problem: Problem, size: Sequence[int] | None) -> bool:
    assert problem.box_xyxy is not None
    x1, y1, x2, y2 = problem.box_xyxy
    width, height = x2 - x1, y2 - y1  # the corner, if they are corners
    return size is not None and 0 <= x1 < width <= size[0] and 0 <= y1 < height <= size[1]


def _other_than_outline(split: Split, masks: SplitMasks) -> list[Finding]:
    instances = split.images.instances
    bounds = instances.outline_bounds()
    for those, group in masks.groups:
        bounds[those] = group.boxes_xyxy()
    boxes = instances.boxes_xyxy
    stated = ~np.isnan(bounds[:, 0])
    apart = stated & (np.abs(boxes - np.where(stated[:, None], bounds, boxes)).max(axis=1) > TOLERANCE)
    rows = np.flatnonzero(apart)
    rows = rows[_iou(boxes[rows], bounds[rows]) < MIN_IOU]
    if not len(rows):
        return []
    first = int(rows[0])
    if len(rows) > 1 and (found := _corners_by_outline(split, rows, bounds)):
        return found
    shown = [
        of_object(
            *(split, int(row), "box-other-than-outline"),
            f"has the box {box_text(boxes[row])}, and its outline or mask lies in {box_text(bounds[row])}",
        )
        for row in rows[:SHOWN_FINDINGS].tolist()
    ]
    if len(rows) <= SHOWN_FINDINGS:
        return shown
    wrong = f"{len(rows)} of {int(stated.sum())} boxes lie elsewhere than the outline or mask, first {{}}"
    total = of_object(split, first, "box-other-than-outline", wrong.format(shown[0].wrong))
    return [total, *shown[1:]]


def _corners_by_outline(split: Split, rows: NDArray[np.int64], bounds: NDArray[np.float64]) -> list[Finding]:
    """Find boxes that are the bounds of their outlines if read as two corners."""
    boxes, sizes = split.images.instances.boxes_xyxy[rows], _sizes(split)[rows]
    as_read = bounds[rows].copy()
    as_read[:, 2:] = np.minimum(as_read[:, :2] + as_read[:, 2:], sizes)
    same = (np.abs(as_read - boxes) <= TOLERANCE).all(axis=1)
    if same.mean() < 0.5:
        return []
    wrong = (
        f"{counted(int(same.sum()), 'box', 'boxes')} around the outline if read as corners: x1, y1, x2, y2 "
        "seem to stand where x, y, width, height are expected"
    )
    return [of_object(split, int(rows[same][0]), "box-of-corners", wrong)]


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the overlap (n,) of each box with the other of the same row."""
    start, end = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    common = np.maximum(end - start, 0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    union = np.maximum(areas[0] + areas[1] - common, 1e-9)
    overlap: NDArray[np.float64] = common / union
    return overlap


def _doubtful_crowds(split: Split) -> list[Finding]:
    if not split.images.instances.crowd.any():
        return []
    marks = CrowdMarks.of([split])
    if marks.marked < max(3, DOUBTFUL_CROWDS * marks.shaped):
        return []
    wrong = (
        f"{marks.marked} of {counted(marks.shaped, 'object')} with an outline or mask marked as crowd "
        "regions (iscrowd=1); `crowd='object'` takes them for plain objects"
    )
    first = int(np.flatnonzero(split.images.instances.crowd)[0])
    return [of_object(split, first, "crowd-marks-doubtful", wrong)]
