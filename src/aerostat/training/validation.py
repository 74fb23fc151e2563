"""The validation within a run: every process looks at its share of the images, the first one scores them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError, clause
from aerostat.evaluation.coco import MAX_DETS, CocoResult, evaluate_detections
from aerostat.inference.detector import Detector
from aerostat.inference.slices import OVERLAP
from aerostat.processes.exchange import Processes, share_of
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detections
from aerostat.text import counted
from aerostat.training.oom import is_out_of_memory
from aerostat.training.recipe import EvalRecipe

_log = logging.getLogger(__name__)

SAME_SCORE_SPAN = 1e-3
"""Scores whose span is a smaller share of the highest one count as equal."""
MIN_SAME_SCORES = 10
"""Fewer detections may have the same score by chance."""


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Args:
        result: COCO's figures.
        same_scores: whether there are detections, and all of them have the same score.
    """

    result: CocoResult
    same_scores: bool = False


@dataclass
class Share:
    """What one process found on its images.

    Args:
        detections: by the image's place in the split.
        unreadable: by the image's place in the split, why it cannot be read.
    """

    detections: dict[int, Detections] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)


@dataclass
class Validator:
    """Runs a detector on the images of a split, in all processes of a run.

    Args:
        detector: of the split's classes, in the same weights everywhere.
        split: the images.
        asked: thresholds, and images at a time.
        threads: that read and decode in each process.
        processes: of the run.
        requested: signals that this process was sent; it may grow meanwhile.
        slices: side of the windows that large photographs are looked at by; 0 for as a whole only.
        overlap: share of the side that neighbours have in common.
    """

    detector: Detector
    split: Split
    asked: EvalRecipe
    threads: int
    processes: Processes
    requested: Sequence[int]
    slices: int = 0
    overlap: float = OVERLAP
    # Rounds in which the processes have asked each other whether to stop.
    _rounds: int = field(default=0, init=False)

    def detect(self) -> Share | None:
        """Return what all processes together find; every process must call this.

        Where memory does not suffice for a batch, the process goes on with half as many images at a time.

        Returns:
            None if any process was asked to stop before the end.

        Raises:
            RuntimeError: not even one image fits into memory.
        """
        batch_size, count = self.asked.batch_size, self.processes.count
        places = share_of(len(self.split), batch_size=batch_size, rank=self.processes.rank, processes=count)
        with progress_shown(self.processes.rank == 0):
            share = self._detect_share(places)
        # The longest share has this many batches; the others may have one fewer, or were stopped.
        rounds = -(-len(self.split) // (batch_size * count))
        if share is None or self._asked_to_stop(rounds):
            return None
        whole = Share()
        for part in self.processes.gather(share):
            whole.detections |= part.detections
            whole.unreadable |= part.unreadable
        return whole

    def _detect_share(self, places: Sequence[int]) -> Share | None:
        batch_size = self.asked.batch_size
        while True:
            try:
                return self._look(places, batch_size)
            except RuntimeError as error:
                if batch_size == 1 or not is_out_of_memory(error):
                    raise
            batch_size //= 2
            _log.info(
                f"validation goes on with {counted(batch_size, 'image')} at a time: more do not fit into "
                "memory"
            )

    def _look(self, places: Sequence[int], batch_size: int) -> Share | None:
        """Return what is found on the images at these places; None if a process was asked to stop."""
        share, images = Share(), [self.split.images[place] for place in places]
        place_of = {id(record): place for record, place in zip(images, places, strict=True)}

        def leave_out(record: ImageRecord, error: InputError) -> None:
            share.unreadable[place_of[id(record)]] = clause(error)

        results = self.detector.predict_images(
            images,
            score=self.asked.score_threshold,
            nms_iou=self.asked.nms_iou,
            max_detections=None if self.slices else self.asked.max_detections,
            slices=self.slices or "off",
            overlap=self.overlap,
            batch_size=batch_size,
            threads=self.threads,
            on_unreadable=leave_out,
        )
        with closing(results):
            for done, (record, detections) in enumerate(
                track(results, f"evaluating {self.split.name}", len(images)), 1
            ):
                share.detections[place_of[id(record)]] = detections
                if self._asked_to_stop(done // self.asked.batch_size):
                    return None
        return share

    def _asked_to_stop(self, rounds: int) -> bool:
        """Return whether to stop now: a single process looks at once, several ask each other each round.

        Asking each other often keeps the processes together, so that none waits for long in one call.

        Args:
            rounds: that this process has come to; each is asked about once.
        """
        if self.processes.count == 1:
            return bool(self.requested)
        while self._rounds < rounds:
            self._rounds += 1
            if self.processes.agreed_signal(self.requested):
                return True
        return False


def score(share: Share, split: Split, *, all_objects: bool = False) -> Validation:
    """Return the figures of what was found on a split; images that cannot be read do not count.

    Args:
        share: of all processes.
        split: the ground truth.
        all_objects: whether as many detections of an image count as it has objects, where COCO counts 100.
    """
    places = sorted(share.detections)
    detections = [share.detections[place] for place in places]
    images = [split.images[place] for place in places]
    most = max((len(image.instances) for image in images), default=0) if all_objects else 0
    limits = (*MAX_DETS[:2], max(MAX_DETS[2], most))
    result = evaluate_detections(images, detections, split.classes, max_dets=limits)
    return Validation(result, have_same_scores(detections))


def have_same_scores(detections: Sequence[Detections]) -> bool:
    """Return whether all detections on several images have the same score; False for only a few of them."""
    scores = [each.scores for each in detections if len(each)]
    if sum(map(len, scores)) < MIN_SAME_SCORES:
        return False
    highest = max(float(each.max()) for each in scores)
    lowest = min(float(each.min()) for each in scores)
    return highest - lowest < SAME_SCORE_SPAN * highest
