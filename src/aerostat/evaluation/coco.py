"""Average precision and recall by the COCO protocol, computed by faster-coco-eval.

Lin et al., *Microsoft COCO: Common Objects in Context*, arXiv:1405.0312; the protocol is the one of
https://cocodataset.org/#detection-eval as pycocotools computes it, which the tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.evaluation.coco_columns import box_columns
from aerostat.evaluation.coco_protocol import (
    AREA_RANGES,
    DetectionColumns,
    TruthColumns,
    precision_and_recall,
)
from aerostat.evaluation.coco_protocol import UNDEFINED as UNDEFINED
from aerostat.evaluation.object_masks import mask_columns, whether_masks
from aerostat.evaluation.table import text_table
from aerostat.results.detections import Detections
from aerostat.text import counted, html_table

MAX_DETS = (1, 10, 100)
"""Maximum numbers of detections per image and class, best first."""
CLASS_HEADER = ("class", "instances", "AP", "AP50")


@dataclass(frozen=True, slots=True)
class ClassResult:
    """Figures of one class.

    Args:
        name: name of the class.
        ap: AP over IoU 0.50 to 0.95; -1 without instances.
        ap50: AP at IoU 0.50; -1 without instances.
        instances: number of annotated objects without crowd regions.
    """

    name: str
    ap: float
    ap50: float
    instances: int


@dataclass(frozen=True, slots=True, repr=False)
class CocoResult:
    """COCO's twelve figures, from 0 to 1; -1 if undefined.

    Args:
        ap, ap50, ap75: average precision over IoU 0.50 to 0.95 in steps of 0.05, at 0.50 and at 0.75.
        ap_small, ap_medium, ap_large: AP of objects below 32**2, up to 96**2 and above, in square pixels.
        ar1, ar10, ar100: average recall with at most `max_dets` detections per image and class; the fields
            keep their names where `max_dets` is not (1, 10, 100).
        ar_small, ar_medium, ar_large: AR by the size of the object.
        per_class: figures of each class, in the order of the classes.
        images: number of evaluated images, including those without objects.
        instances: number of annotated objects without crowd regions.
        detections: number of detections of these classes.
        left_out: number of detections of other classes, which are not evaluated.
        max_dets: maximum numbers of detections per image and class.
        unreadable: names of images that could not be read; they and their objects do not count.
        masks: the same figures with the IoU of masks in place of that of boxes; None without masks.
        without_mask: in the figures of masks, the number of objects that have none. They count as crowd
            regions in their boxes.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: tuple[ClassResult, ...]
    images: int
    instances: int
    detections: int
    left_out: int = 0
    max_dets: tuple[int, int, int] = MAX_DETS
    unreadable: tuple[str, ...] = ()
    masks: CocoResult | None = None
    without_mask: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values.

        An undefined figure is None, because a -1 would be averaged and plotted. ``unreadable`` is there only
        if an image could not be read, ``masks`` only if there are masks, and ``without_mask`` only in it.
        """
        plain: dict[str, Any] = _undefined_as_none(asdict(replace(self, masks=None)))
        del plain["masks"]
        if not self.without_mask:
            del plain["without_mask"]
        unreadable = {"unreadable": list(plain.pop("unreadable"))}
        return plain | {
            "per_class": [_undefined_as_none(row) for row in plain["per_class"]],
            "max_dets": list(self.max_dets),
            **(unreadable if self.unreadable else {}),
            **({"masks": self.masks.to_dict()} if self.masks is not None else {}),
        }

    def __repr__(self) -> str:
        """Return the result in one line."""
        left_out = f", {counted(len(self.unreadable), 'image')} unreadable" if self.unreadable else ""
        masks = f", mask AP {self.masks.ap:.3f}" if self.masks is not None else ""
        on = counted(self.images, "image")
        return f"CocoResult(AP {self.ap:.3f}, AP50 {self.ap50:.3f}{masks} on {on}{left_out})"

    def _repr_html_(self) -> str:
        """Return the figures and the table of classes for a notebook."""
        figures = [(title.strip(), _figure(value)) for title, value in self._coco_lines()]
        page = html_table(("COCO", "figure"), figures, self._totals()) + html_table(
            CLASS_HEADER, self._class_rows()
        )
        if self.masks is None:
            return page
        return f"<b>Boxes</b>{page}<b>Masks</b>{self.masks._repr_html_()}"

    def render(self) -> str:
        """Return COCO's twelve lines, a table of the classes, and the counts."""
        lines = [f"{title} = {value:0.3f}" for title, value in self._coco_lines()]
        table = text_table(CLASS_HEADER, self._class_rows(), width=80)
        text = "\n".join(lines) + f"\n\n{table}\n\n{self._totals()}"
        return text if self.masks is None else f"Boxes\n\n{text}\n\nMasks\n\n{self.masks.render()}"

    def _coco_lines(self) -> list[tuple[str, float]]:
        """Return the title and value of each of COCO's twelve lines."""
        low, middle, high = self.max_dets
        return [
            _coco_line("AP", self.ap, high),
            _coco_line("AP", self.ap50, high, iou="0.50"),
            _coco_line("AP", self.ap75, high, iou="0.75"),
            _coco_line("AP", self.ap_small, high, area="small"),
            _coco_line("AP", self.ap_medium, high, area="medium"),
            _coco_line("AP", self.ap_large, high, area="large"),
            _coco_line("AR", self.ar1, low),
            _coco_line("AR", self.ar10, middle),
            _coco_line("AR", self.ar100, high),
            _coco_line("AR", self.ar_small, high, area="small"),
            _coco_line("AR", self.ar_medium, high, area="medium"),
            _coco_line("AR", self.ar_large, high, area="large"),
        ]

    def _class_rows(self) -> list[tuple[str, ...]]:
        return [(row.name, str(row.instances), _figure(row.ap), _figure(row.ap50)) for row in self.per_class]

    def _totals(self) -> str:
        counts = (self.images, "image"), (self.instances, "instance"), (self.detections, "detection")
        totals = ", ".join(counted(number, noun) for number, noun in counts)
        if self.left_out:
            totals += f"; {counted(self.left_out, 'detection')} of other classes left out"
        if self.without_mask:
            totals += f"; {counted(self.without_mask, 'object')} without a mask left out"
        return totals


def evaluate_detections(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    max_dets: Sequence[int] = MAX_DETS,
    progress: bool = False,
    masks: bool | None = None,
) -> CocoResult:
    """Return the figures of detections by the COCO protocol for boxes, and for masks where there are any.

    A detection within a crowd region is not evaluated. Images without objects count: their detections are
    false. An annotated area of 0 means "not stated" and is replaced by the area of the box. Images are
    processed by ascending id, which ranks equal scores on different images.

    Args:
        images: annotated images.
        detections: detections on each image; their classes are matched by name.
        classes: names that the labels of `images` index; figures are averages over those with instances.
        max_dets: three ascending limits on the detections per image and class; AP uses the last.
        progress: whether progress is shown if it takes more than a moment.
        masks: whether masks are evaluated, too; None if all detections have masks and an object has one. An
            object without a mask then counts as a crowd region in its box: it is neither found nor missed.
            Areas that are not stated are those of masks.

    Raises:
        InputError: lengths differ, a label has no class, the limits are not three ascending numbers,
            the detector knows none of the classes, or masks are asked for but missing.
    """
    limits = _check_limits(max_dets)
    total = sum(map(len, detections))
    columns = box_columns(images, detections, tuple(classes))
    result = _figures(*columns, classes, limits, len(images), total, progress)
    if not whether_masks(images, detections, masks):
        return result
    truth, found = mask_columns(images, detections, tuple(classes), columns)
    of_masks = _figures(truth, found, classes, limits, len(images), total, progress)
    without = int((truth.crowd & ~columns[0].crowd).sum())
    return replace(result, masks=replace(of_masks, without_mask=without))


def _figures(
    truth: TruthColumns,
    found: DetectionColumns,
    classes: Sequence[str],
    limits: tuple[int, int, int],
    images: int,
    detections: int,
    progress: bool,
) -> CocoResult:
    left_out = detections - len(found.score)
    precision, recall = precision_and_recall(truth, found, len(classes), limits, progress=progress)
    counts = np.bincount(truth.label[~truth.crowd], minlength=len(classes))
    return CocoResult(
        ap=_mean(precision[..., 0, 2]),
        ap50=_mean(precision[0, ..., 0, 2]),
        ap75=_mean(precision[5, ..., 0, 2]),
        ap_small=_mean(precision[..., 1, 2]),
        ap_medium=_mean(precision[..., 2, 2]),
        ap_large=_mean(precision[..., 3, 2]),
        ar1=_mean(recall[..., 0, 0]),
        ar10=_mean(recall[..., 0, 1]),
        ar100=_mean(recall[..., 0, 2]),
        ar_small=_mean(recall[..., 1, 2]),
        ar_medium=_mean(recall[..., 2, 2]),
        ar_large=_mean(recall[..., 3, 2]),
        per_class=tuple(
            ClassResult(
                name, _mean(precision[:, :, k, 0, 2]), _mean(precision[0, :, k, 0, 2]), int(counts[k])
            )
            for k, name in enumerate(classes)
        ),
        images=images,
        instances=int(counts.sum()),
        detections=len(found.score),
        left_out=left_out,
        max_dets=limits,
    )


def precision_by_recall(
    images: Sequence[ImageRecord],
    detections: Sequence[Detections],
    classes: Sequence[str],
    *,
    max_detections: int = MAX_DETS[-1],
    masks: bool = False,
) -> NDArray[np.float64]:
    """Return COCO's precision (10, 101, k): at each IoU, at each recall, of each class.

    AP is the mean of these values. The IoUs are 0.50 to 0.95 in steps of 0.05, the recalls 0 to 1 in steps of
    0.01. The precision at a recall is the highest at this recall or a higher one. It is 0 where a recall is
    not reached, and -1 for a class without objects.

    Args:
        images, detections, classes: as for `evaluate_detections`.
        max_detections: maximum number per image and class, best first.
        masks: whether the IoU is that of masks.

    Raises:
        InputError: as for `evaluate_detections`.
    """
    columns = box_columns(images, detections, tuple(classes))
    truth, found = mask_columns(images, detections, tuple(classes), columns) if masks else columns
    precision, _ = precision_and_recall(truth, found, len(classes), (max_detections,), AREA_RANGES[:1])
    return precision[..., 0, 0]


def _check_limits(max_dets: Sequence[int]) -> tuple[int, int, int]:
    limits = tuple(max_dets)
    if len(limits) != 3 or not 0 < limits[0] < limits[1] < limits[2]:
        raise InputError(
            f"Expected three ascending numbers for `max_dets`, such as (1, 10, 100), found {limits}."
        )
    return int(limits[0]), int(limits[1]), int(limits[2])


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the defined values, or -1 without any."""
    defined = values[values > UNDEFINED]
    return float(defined.mean()) if defined.size else UNDEFINED


def _undefined_as_none(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == UNDEFINED else value for key, value in figures.items()}


def _coco_line(
    kind: str, value: float, limit: int, iou: str = "0.50:0.95", area: str = "all"
) -> tuple[str, float]:
    title = {"AP": "Average Precision", "AR": "Average Recall"}[kind]
    return f" {title:<18} ({kind}) @[ IoU={iou:<9} | area={area:>6s} | maxDets={limit:>3d} ]", value


def _figure(value: float) -> str:
    return "-" if value == UNDEFINED else f"{value:.3f}"
