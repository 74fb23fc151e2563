"""Whether what was found on a photograph is right: all of its objects, and nothing else."""

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
    """What is right and wrong about the detections on an annotated photograph.

    Args:
        found: objects that a detection of their class overlaps by half (IoU 0.5).
        missed: objects that none does.
        false: detections that find no object; those in a crowd region do not count.
    """

    found: int
    missed: int
    false: int

    @property
    def right(self) -> bool:
        """Whether every object is found and nothing else."""
        return not self.missed and not self.false

    def __str__(self) -> str:
        """Return what is wrong, or that nothing is."""
        wrong = [f"{self.missed} missed"] * bool(self.missed) + [f"{self.false} false"] * bool(self.false)
        return ", ".join(wrong) or "correct"


def evaluate_image(image: ImageRecord, found: Detections, classes: tuple[str, ...]) -> ImageResult:
    """Return the verdict on the detections of one image, matched as in COCO at IoU 0.5.

    Args:
        image: with its objects; crowd regions need not be found.
        found: the detections that count; those of classes that are not annotated do not.
        classes: names that the labels of the objects index.
    """
    matching = match([image], [found], classes)
    there = ~matching.objects.crowd
    hits = int(matching.detections.right.sum())
    false = int((~matching.detections.right & ~matching.detections.ignored).sum())
    return ImageResult(hits, int(there.sum()) - hits, false)


def image_evaluator(
    data: Dataset, detector_classes: tuple[str, ...]
) -> Callable[[Path, Detections], ImageResult | None]:
    """Return what gives the verdict on a photograph by its path; None for one that is not annotated.

    Args:
        data: the annotations, all splits.
        detector_classes: what the detector can find.

    Raises:
        InputError: the detector knows a class by another name, or not at all.
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
