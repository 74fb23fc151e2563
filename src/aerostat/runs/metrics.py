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


def deciding_ap(record: Mapping[str, Any]) -> float:
    """Return the AP by which a validation is ranked: that of masks where masks were evaluated.

    Args:
        record: of a validation; an AP that is undefined counts as -1.

    >>> deciding_ap({"ap": 0.5, "mask_ap": 0.4}), deciding_ap({"ap": 0.5})
    (0.4, 0.5)
    """
    ap = record.get("mask_ap", record.get("ap"))
    return float(ap) if is_number(ap) else -1.0


def best_of(validations: Iterable[Line]) -> Line | None:
    """Return the validation with the highest deciding AP, the first of equals as training keeps it.

    Args:
        validations: records, in order; None is returned without any.
    """
    return max(validations, key=deciding_ap, default=None)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
