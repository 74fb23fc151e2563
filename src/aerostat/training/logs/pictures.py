"""Validation photographs with their labels beside what was detected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord, Split
from aerostat.draw.grid import image_grid
from aerostat.images.read import read_image
from aerostat.inspection.pictures import draw_labels
from aerostat.results.detections import Detections
from aerostat.training.logs.figures import plain_name

MAX_EXAMPLES = 4
"""Photographs of a validation that are shown."""
CELL = (640, 480)
"""Width and height of each half in pixels."""
SCORE = 0.3
"""Detections of a lower score are not drawn."""


@dataclass(frozen=True)
class Example:
    """A validation photograph and what was detected on it.

    Args:
        place: in the split, from 0.
        record: the photograph and its labels.
        detections: of the weights that were validated.
    """

    place: int
    record: ImageRecord
    detections: Detections

    @property
    def name(self) -> str:
        """The photograph's place and name, as the name of a file without suffix."""
        return f"{self.place + 1}_{plain_name(PurePath(self.record.file_name).stem, 60)}"

    def draw(self) -> NDArray[np.uint8]:
        """Return the photograph twice, BGR: with its labels, and with the detections.

        Raises:
            InputError: it cannot be read.
        """
        image = read_image(self.record.location)
        labelled = draw_labels(image, self.record, self.detections.classes)
        detected = self.detections.filter(score=SCORE).draw(image).image_bgr
        return image_grid([labelled, detected], columns=2, cell=CELL, captions=["labels", "detections"])


def examples_of(split: Split, detections: Mapping[int, Detections]) -> list[Example]:
    """Return the first photographs of a split that have objects, else the first ones.

    Args:
        split: that was validated.
        detections: by the photograph's place; those that could not be read are missing.
    """
    counts = split.images.instance_counts.tolist()
    places = sorted(detections, key=lambda place: (not counts[place], place))
    return [Example(at, split.images[at], detections[at]) for at in sorted(places[:MAX_EXAMPLES])]
