"""Run a detector over a split and score what it finds by the COCO protocol."""

from __future__ import annotations

from collections.abc import Callable

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError
from aerostat.evaluation.coco import CocoResult, evaluate_detections
from aerostat.geometry.postprocess import MAX_DETECTIONS, NMS_IOU, SCORE_THRESHOLD
from aerostat.inference.detector import Detector
from aerostat.inference.tta import TTA
from aerostat.progress import track
from aerostat.results.detections import Detections
from aerostat.text import listed


def evaluate(
    detector: Detector,
    split: Split,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
    tta: TTA | bool = False,
    max_dets: tuple[int, int, int] = (1, 10, 100),
    batch_size: int = 4,
    threads: int = 2,
    progress: bool = True,
    on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
) -> CocoResult:
    """Return the COCO figures of a detector on a split.

    Args:
        detector: its classes are matched with the split's by name.
        split: the ground truth.
        score_threshold, nms_iou, max_detections: see `aerostat.geometry.postprocess`.
        tta: test-time augmentation, as for `Detector.predict`.
        max_dets: COCO's ``maxDets``.
        batch_size: images at a time.
        threads: that read and decode.
        progress: whether to show how far along it is.
        on_unreadable: told of images that cannot be read, which then do not count; None raises.

    Raises:
        InputError: if the detector does not know a class of the split, or an image cannot be read.
    """
    pairs = detect(
        detector,
        split,
        score_threshold=score_threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        tta=tta,
        batch_size=batch_size,
        threads=threads,
        progress=progress,
        on_unreadable=on_unreadable,
    )
    images, found = [record for record, _ in pairs], [detections for _, detections in pairs]
    return evaluate_detections(images, found, split.classes, max_dets=max_dets)


def detect(
    detector: Detector,
    split: Split,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
    tta: TTA | bool = False,
    batch_size: int = 4,
    threads: int = 2,
    progress: bool = True,
    on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
) -> list[tuple[ImageRecord, Detections]]:
    """Return the images of a split in order, each with what a detector finds on it.

    Args:
        detector: it must know the classes of the split.
        split: the images.
        score_threshold, nms_iou, max_detections, tta, batch_size, threads, progress: as for `evaluate`.
        on_unreadable: told of images that cannot be read, which are then left out; None raises.

    Raises:
        InputError: if the detector does not know a class of the split, or an image cannot be read.
    """
    _require_classes(detector, split)
    results = detector.predict_images(
        split.images,
        score=score_threshold,
        nms_iou=nms_iou,
        max_detections=max_detections,
        tta=tta,
        batch_size=batch_size,
        threads=threads,
        on_unreadable=on_unreadable,
    )
    return list(track(results, f"evaluating {split.name}", len(split)) if progress else results)


def _require_classes(detector: Detector, split: Split) -> None:
    unknown = [name for name in split.classes if name not in detector.classes]
    if unknown:
        raise InputError(
            f"The detector knows the classes {listed(detector.classes)}, but the split {split.name!r} is "
            f"annotated with {listed(unknown)}: evaluate with weights trained on these classes."
        )
