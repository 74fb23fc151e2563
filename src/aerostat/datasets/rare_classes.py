"""Classes with too few objects to learn."""

from __future__ import annotations

import numpy as np

from aerostat.datasets.records import Split
from aerostat.text import counted, listed

MIN_CLASS_OBJECTS = 30
"""Objects of a class below which a detector hardly learns it. With 30 objects a class of COCO has an AP of
0.14 after fine-tuning, with 10 it has 0.10 (arXiv:2003.06957, table 3)."""


def rare_classes(split: Split) -> dict[str, int]:
    """Return the classes with fewer than `MIN_CLASS_OBJECTS` objects and their counts, the rarest first.

    Crowd regions are no objects. A data set of one class has none.
    """
    instances = split.images.instances
    if len(split.classes) < 2:
        return {}
    counts = np.bincount(instances.labels[~instances.crowd], minlength=len(split.classes)).tolist()
    rare = [(count, name) for name, count in zip(split.classes, counts, strict=True)]
    return {name: count for count, name in sorted(rare) if count < MIN_CLASS_OBJECTS}


def rare_classes_text(split: Split) -> str:
    """Return a clause about the rare classes of a split; empty without any."""
    rare = rare_classes(split)
    if not rare:
        return ""
    shown = listed(f"{name} {count}" for name, count in rare.items())
    verb = "has" if len(rare) == 1 else "have"
    return (
        f"{len(rare)} of {counted(len(split.classes), 'class', 'classes')} {verb} fewer than "
        f"{MIN_CLASS_OBJECTS} objects in {split.name} ({shown})"
    )
