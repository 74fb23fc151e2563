"""Records of a run's ``metrics.jsonl``: those of a kind that have a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

Line = TypeVar("Line", bound=Mapping[str, Any])


def lines_of(metrics: Iterable[Line], kind: str, key: str) -> list[Line]:
    """Return the records of a kind that have a number under `key` and for the epoch, in order.

    Args:
        metrics: all records; they may hold anything.
        kind: ``train``, ``val``, ``stage``, ...
        key: such as ``ap``, which is -1 where no object was annotated.

    >>> lines_of([{"kind": "val", "epoch": 1, "ap": 0.5}, {"kind": "val", "epoch": 2}], "val", "ap")
    [{'kind': 'val', 'epoch': 1, 'ap': 0.5}]
    """
    return [
        line
        for line in metrics
        if line.get("kind") == kind and is_number(line.get(key)) and is_number(line.get("epoch"))
    ]


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
