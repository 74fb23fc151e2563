"""What a mark as crowd region means: COCO's region of many objects, or a mask as some tools write it.

CVAT writes ``iscrowd: 1`` for every mask. Taken as COCO means it, such data have nothing to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.instances import Instances
from aerostat.datasets.origin import CrowdAs
from aerostat.datasets.records import Problem, Split
from aerostat.text import counted


@dataclass(frozen=True, slots=True)
class CrowdMarks:
    """How many objects are marked as crowd regions.

    Args:
        shaped: objects with an outline or a mask; all objects if no object has one.
        marked: of them that are marked.
    """

    shaped: int
    marked: int

    @classmethod
    def of(cls, splits: Sequence[Split]) -> CrowdMarks:
        """Return the counts over splits. A mark is looked at on objects with a shape, if there are any."""
        shaped = [_shaped(split.images.instances) for split in splits]
        if not any(rows.any() for rows in shaped):
            shaped = [np.ones(len(rows), np.bool_) for rows in shaped]
        marked = [
            int((split.images.instances.crowd & rows).sum())
            for split, rows in zip(splits, shaped, strict=True)
        ]
        return cls(sum(int(rows.sum()) for rows in shaped), sum(marked))


def _shaped(instances: Instances) -> NDArray[np.bool_]:
    rows: NDArray[np.bool_] = instances.outline_counts > 0
    rows[list(instances.masks())] = True
    return rows


def settle_crowd_marks(splits: Sequence[Split], crowd: CrowdAs) -> list[Split]:
    """Return the splits with COCO's crowd marks as they are meant; see `ReadOptions`.

    All splits count together, so that two crowd regions of a small split stay what they are beside a split
    of unmarked outlines.

    Args:
        splits: as they were read.
        crowd: what the marks mean.
    """
    doubtful = [split for split in splits if split.source_format == "coco"]
    if crowd == "region" or not any(split.images.instances.crowd.any() for split in doubtful):
        return list(splits)
    marks = CrowdMarks.of(doubtful)
    if crowd == "auto" and marks.marked < marks.shaped:
        return list(splits)
    reported = crowd == "auto"
    return [_without_marks(split, reported) if split.source_format == "coco" else split for split in splits]


def _without_marks(split: Split, reported: bool) -> Split:
    instances = split.images.instances
    count = int(instances.crowd.sum())
    if not count:
        return split
    images = replace(split.images, instances=instances.without_crowd_marks())
    problems = split.problems
    if reported:
        detail = (
            f"{counted(count, 'object')} marked as a crowd region (iscrowd=1), as is every outline or mask; "
            "taken for plain objects, which `crowd='region'` prevents"
        )
        problems = (*problems, Problem(split.name, "", "crowd marks", detail, "iscrowd"))
    return replace(split, images=images, problems=problems)
