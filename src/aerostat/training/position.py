"""The position of a run: what is done, what is best so far, what is still due."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Position:
    """The position of a run. The checkpoint holds all of it.

    Args:
        epoch: finished epochs.
        batch: finished iterations of the epoch after these.
        best_ap: best validation AP so far, -1 before the first.
        best_epoch: the epoch, counted from 1, that reached it; 0 before the first.
        stale: validations since then.
        seconds: time that the run has worked.
        stopped_early: whether patience ran out.
        unvalidated: whether the validation of the last finished epoch is still due.
    """

    epoch: int = 0
    batch: int = 0
    best_ap: float = -1.0
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    stopped_early: bool = False
    unvalidated: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and batch."""
        return self.epoch, self.batch

    def ended(self, epochs: int) -> bool:
        """Return whether all of a run of `epochs` epochs has been learned and validated."""
        return (self.epoch >= epochs or self.stopped_early) and not self.unvalidated

    def see_ap(self, ap: float, *, patience: int) -> bool:
        """Remember the AP of a validation; returns whether it is the best so far.

        Args:
            ap: of the last finished epoch.
            patience: validations without a better AP after which the run stops, 0 for never.
        """
        better = ap > self.best_ap
        if better:
            self.best_ap, self.best_epoch, self.stale = ap, self.epoch, 0
        else:
            self.stale += 1
        self.stopped_early = 0 < patience <= self.stale
        return better

    def describe(self, iterations: int) -> str:
        """Return the position in words, such as ``epoch 3``.

        Args:
            iterations: of an epoch.
        """
        if self.batch:
            return f"epoch {self.epoch + 1} up to iteration {self.batch} of {iterations}"
        if self.epoch == 0:
            return "the beginning"
        return f"epoch {self.epoch}" + " before its validation" * self.unvalidated
