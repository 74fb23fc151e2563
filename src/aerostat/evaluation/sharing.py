"""Images of an evaluation shared between processes; the figures are those of one to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError
from aerostat.inference.detector import Detector
from aerostat.inference.options import PredictArguments
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detections

if TYPE_CHECKING:  # exported models are evaluated without torch
    from aerostat.processes.exchange import Processes
    from aerostat.processes.placement import Placement


@contextmanager
def sharing(placement: Placement) -> Iterator[Processes | None]:
    """Start processes that share images, and connect them; yields None for a single one.

    Args:
        placement: how many.

    Raises:
        InputError: the processes do not find each other.
    """
    if placement.count == 1:
        yield None
        return
    from aerostat.processes.exchange import Processes
    from aerostat.processes.lifeline import connected
    from aerostat.processes.start import Start, launch

    # Detections are exchanged between processors, whatever device finds them.
    processes = Processes(launch(placement.within(), Start("cpu")))
    with connected(processes):
        yield processes


def detect_shared(
    detector: Detector,
    split: Split,
    processes: Processes,
    asked: PredictArguments,
    *,
    batch_size: int,
    threads: int,
    on_unreadable: Callable[[ImageRecord, InputError], None],
) -> list[tuple[ImageRecord, Detections]]:
    """Return the readable images of a split in order, each with its detections, in every process.

    Args:
        detector: the same in all processes.
        split: the images.
        processes: each looks at its share.
        asked: see `aerostat.inference.options.PredictOptions`.
        batch_size: images that the network sees at a time, if it sees batches.
        threads: that all processes of a machine share.
        on_unreadable: is called in process 0 with each image that cannot be read.

    Raises:
        InputError: the processes have other versions or read other data.
    """
    from aerostat.processes.exchange import share_of
    from aerostat.processes.facts import digest, versions

    processes.require_same({**versions(), f"split {split.name}": digest(split), "request": repr(asked)})
    rank = processes.rank
    places = share_of(len(split), batch_size=batch_size, rank=rank, processes=processes.count)
    images = [split.images[place] for place in places]
    place_of = {id(record): place for record, place in zip(images, places, strict=True)}
    found: dict[int, Detections] = {}
    unreadable: dict[int, str] = {}
    with progress_shown(rank == 0):
        results = detector.predict_images(
            images,
            batch_size=batch_size,
            threads=max(1, threads // processes.on_this_machine),
            on_unreadable=lambda record, error: unreadable.update({place_of[id(record)]: str(error)}),
            **asked,
        )
        for record, detections in track(results, f"evaluating {split.name}", len(images)):
            found[place_of[id(record)]] = detections
    for theirs, missing in processes.gather((found, unreadable)):
        found |= theirs
        unreadable |= missing
    if rank == 0:
        for place in sorted(unreadable):
            on_unreadable(split.images[place], InputError(unreadable[place]))
    return [(split.images[place], found[place]) for place in sorted(found)]
