"""Evaluation of a single image: objects found, objects missed, and false detections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.evaluation.matching import match
from aerostat.results.detections import Detections
from aerostat.text import listed


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Counts of right and wrong detections on an annotated image, at IoU 0.5.

    Args:
        found: number of objects with a detection of their class.
        missed: number of other objects.
        false: number of detections without an object; those in a crowd region do not count.
    """

    found: int
    missed: int
    false: int

    @property
    def right(self) -> bool:
        """Whether every object is found and no detection is false."""
        return not self.missed and not self.false

    def __str__(self) -> str:
        """Return the counts of errors, or ``correct``."""
        wrong = [f"{self.missed} missed"] * bool(self.missed) + [f"{self.false} false"] * bool(self.false)
        return ", ".join(wrong) or "correct"


def evaluate_image(
    image: ImageRecord, detections: Detections, classes: tuple[str, ...], *, masks: bool | None = None
) -> ImageResult:
    """Return the counts of one image; detections and objects are matched as in COCO, at IoU 0.5.

    Args:
        image: image with its objects; crowd regions need not be found.
        detections: detections above the score that counts; those of other classes are left out.
        classes: names that the labels of the objects index.
        masks: whether the IoU is that of masks. None chooses masks if the detections have them and all
            objects do, too; otherwise an object with only a box would not count.

    Raises:
        InputError: a label has no class, the detector knows none of the classes, or masks are asked for and
            the detections lack them.
    """
    if masks is None:
        masks = detections.masks is not None and bool(image.instances.has_masks().all())
    matching = match([image], [detections], classes, masks=masks)
    there = ~matching.objects.crowd
    hits = int(matching.detections.right.sum())
    false = int((~matching.detections.right & ~matching.detections.ignored).sum())
    return ImageResult(hits, int(there.sum()) - hits, false)


def image_evaluator(
    data: Dataset, detector_classes: tuple[str, ...]
) -> Callable[[Path, Detections], ImageResult | None]:
    """Return a function that evaluates the detections of a photograph, given its path.

    The function returns None for a photograph without annotations.

    Args:
        data: annotations of all splits.
        detector_classes: classes of the detector.

    Raises:
        InputError: the detector does not have a class of the annotations.
    """
    unknown = [name for name in data.classes if name not in detector_classes]
    if unknown:
        raise InputError(
            f"The detector knows the classes {listed(detector_classes)}, but the photographs are annotated "
            f"with {listed(unknown)}; sort by annotations of its own classes."
        )
    records = {image.path.resolve(): image for split in data.splits.values() for image in split.images}

    def evaluate(path: Path, found: Detections) -> ImageResult | None:
        record = records.get(path.resolve())
        return None if record is None else evaluate_image(record, found, data.classes)

    return evaluate
