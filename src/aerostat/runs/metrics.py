"""Lines of a run's ``metrics.jsonl`` in memory: which of them tell something."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

Line = TypeVar("Line", bound=Mapping[str, Any])


def lines_of(metrics: Iterable[Line], kind: str, key: str) -> list[Line]:
    """Return the lines of a kind that have a number under `key` and for the epoch, in order.

    Args:
        metrics: all lines, whatever stands in them.
        kind: ``train``, ``val``, ``stage``, ...
        key: such as ``ap``, which is -1 where there was no object to find.
    """
    return [
        line
        for line in metrics
        if line.get("kind") == kind and is_number(line.get(key)) and is_number(line.get("epoch"))
    ]


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value that was read is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
