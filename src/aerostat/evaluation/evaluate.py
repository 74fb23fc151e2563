"""Evaluation of a detector on an annotated split by the COCO protocol."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack, cast

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import AerostatError, InputError, clause
from aerostat.evaluation.coco import MAX_DETS, CocoResult, evaluate_detections
from aerostat.evaluation.object_masks import have_masks, require_masks
from aerostat.evaluation.sharing import detect_shared, sharing
from aerostat.geometry.postprocess import SCORE_THRESHOLD
from aerostat.inference.detector import MAX_WORKERS, Detector
from aerostat.inference.options import PredictArguments
from aerostat.inference.slices import SliceSide
from aerostat.processes.placement import Placement
from aerostat.processors import compute_threads
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detections
from aerostat.text import counted, listed

if TYPE_CHECKING:  # exported models are evaluated without torch
    from aerostat.processes.exchange import Processes

_log = logging.getLogger(__name__)


class EvaluateArguments(PredictArguments, total=False):
    """Keyword arguments of `evaluate` beside its own: how it predicts, and in how many processes."""

    devices: int
    nodes: int


def evaluate(
    detector: Detector,
    split: Split,
    *,
    max_dets: tuple[int, int, int] = MAX_DETS,
    batch_size: int = 4,
    threads: int | None = None,
    progress: bool = True,
    on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
    **options: Unpack[EvaluateArguments],
) -> CocoResult:
    """Return the COCO figures of a detector on a split.

    An image that cannot be read is left out with its objects: a warning is logged, and `unreadable` of the
    result has its name.

    Args:
        detector: its classes are matched with those of the split by name.
        split: the ground truth.
        max_dets: COCO's ``maxDets``.
        batch_size: images that the network sees at a time, if it sees batches.
        threads: threads that read and decode; on a CPU they also detect. None for one per processor, 2 to 8.
        progress: whether to show progress.
        on_unreadable: is called with each image that cannot be read, in place of the warning.
        **options: see `PredictOptions`; the default of ``score`` is 0.001, since AP needs weak detections.
            Also ``devices`` and ``nodes``: processes on each machine and machines that share the images. All
            of them make this call and get the same figures.

    Raises:
        InputError: the detector lacks a class of the split, or masks are asked for and no object has one.
        AerostatError: the split has images, but none can be read.
    """
    if options.get("masks"):
        require_masks(split.images)
    placement = Placement(options.pop("devices", 1), options.pop("nodes", 1))
    predict = cast(PredictArguments, options)
    with sharing(placement) as processes:
        pairs = detect(
            detector,
            split,
            batch_size=batch_size,
            threads=threads,
            progress=progress,
            on_unreadable=on_unreadable,
            processes=processes,
            **predict,
        )
    if len(split) and not pairs:
        raise AerostatError(f"None of the {counted(len(split), 'image')} of {split.name} can be read.")
    return score_detections(split, pairs, max_dets=max_dets, masks=predict.get("masks"))


def validation_slices(detector: Detector) -> SliceSide:
    """Return the `slices` by which training validates a detector: windows only if it was trained on windows.

    Advice and report look at photographs in the same way, so that their figures are those of the run.
    """
    return "auto" if detector.trained_on is not None and detector.trained_on.slices else "off"


def detect(
    detector: Detector,
    split: Split,
    *,
    batch_size: int = 4,
    threads: int | None = None,
    progress: bool = True,
    on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
    processes: Processes | None = None,
    **options: Unpack[PredictArguments],
) -> list[tuple[ImageRecord, Detections]]:
    """Return the readable images of a split in order, each with its detections.

    Args:
        detector: it must know the classes of the split.
        split: the images.
        batch_size, threads, progress, on_unreadable, **options: as for `evaluate`.
        processes: that share the images; each returns all of them. None for one process.

    Raises:
        InputError: the detector lacks a class of the split.
    """
    _require_classes(detector, split)

    def leave_out(image: ImageRecord, error: InputError) -> None:
        _log.warning(f"{split.name}: {image.file_name} is left out with its objects: {clause(error)}")

    asked: PredictArguments = {"score": SCORE_THRESHOLD, **options}
    threads = max(2, min(MAX_WORKERS, compute_threads())) if threads is None else threads
    with progress_shown(progress):
        if processes is not None:
            return detect_shared(
                detector,
                split,
                processes,
                asked,
                batch_size=batch_size,
                threads=threads,
                on_unreadable=on_unreadable or leave_out,
            )
        results = detector.predict_images(
            split.images,
            batch_size=batch_size,
            threads=threads,
            on_unreadable=on_unreadable or leave_out,
            **asked,
        )
        return list(track(results, f"evaluating {split.name}", len(split)))


def score_detections(
    split: Split,
    pairs: list[tuple[ImageRecord, Detections]],
    *,
    max_dets: tuple[int, int, int] = MAX_DETS,
    masks: bool | None = None,
) -> CocoResult:
    """Return the COCO figures for what `detect` returns; images that are missing in it were unreadable.

    A warning is logged about objects whose masks are not evaluated.

    Args:
        split: the ground truth.
        pairs: images with their detections.
        max_dets: COCO's ``maxDets``.
        masks: whether masks are evaluated; None if there are any.
    """
    images, detections = [image for image, _ in pairs], [found for _, found in pairs]
    result = evaluate_detections(images, detections, split.classes, max_dets=max_dets, masks=masks)
    if remark := mask_remark(split, detections, result, masks):
        _log.warning(remark)
    missing = Counter(split.images.file_names) - Counter(image.file_name for image in images)
    return replace(result, unreadable=tuple(missing.elements()))


def mask_remark(
    split: Split, detections: Sequence[Detections], result: CocoResult, masks: bool | None = None
) -> str:
    """Return a sentence about objects whose masks are not evaluated; empty if there is nothing to say.

    Args:
        split: the ground truth.
        detections: detections on its images.
        result: their figures.
        masks: whether masks were asked for.
    """
    if result.masks is None:
        if masks is False or not have_masks(detections):
            return ""
        return f"{split.name}: the masks are not evaluated, because no object has an outline."
    if not result.masks.without_mask:
        return ""
    some = f"{result.masks.without_mask} of {counted(result.instances, 'object')}"
    return f"{split.name}: {some} have no mask; in the figures of masks they are neither found nor missed."


def _require_classes(detector: Detector, split: Split) -> None:
    unknown = [name for name in split.classes if name not in detector.classes]
    if unknown:
        raise InputError(
            f"The detector knows the classes {listed(detector.classes)}, but the split {split.name!r} is "
            f"annotated with {listed(unknown)}: evaluate with weights trained on these classes."
        )
