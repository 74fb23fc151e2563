"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Position:
    """Where a run stands; all of it is in the checkpoint.

    Args:
        epoch: epochs finished.
        batch: iterations finished of the epoch after these.
        best_ap: best validation AP so far, -1 before the first.
        best_epoch: the epoch (counted from 1) that reached it.
        stale: validations since then.
        seconds: that the run has worked.
        stopped_early: whether patience ran out.
        unvalidated: whether the validation of the last finished epoch is still to come.
    """

    epoch: int = 0
    batch: int = 0
    best_ap: float = -1.0
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    stopped_early: bool = False
    unvalidated: bool = False
