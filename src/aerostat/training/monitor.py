"""What goes wrong in a run without an error: noticed, and said once with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from aerostat.text import counted, listed

WINDOW = 50
"""Iterations whose median a loss is compared with."""
FEWEST = 20
"""Of fewer iterations a median says nothing yet."""
SPIKE = 5.0
"""Times the median; the losses of sound runs (balloons, batches of 8) stay below 1.5 times."""
ABOVE_ALL = 2.0
"""Times the highest: losses of single images, from fresh weights, vary more than fivefold as a rule."""
UNTIL = 0.1
"""Share of a run after which something has to be found."""
NOTHING = 0.0005
"""An AP below it is said as 0.000."""
SKIPPED_AT_MOST = 3
"""Steps in a row without finite gradients; one more batch will not mend it."""


@dataclass
class Monitor:
    """Watches losses, gradients and validations; all that it remembers goes into the checkpoint.

    Args:
        recent: the last losses.
        said: kinds of warnings that have been given.
        skipped: steps in a row whose gradients were not finite.
        all_skipped: such steps of the whole run.
    """

    recent: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    skipped: int = 0
    all_skipped: int = 0

    def state(self) -> dict[str, Any]:
        """Return what is remembered, plain values only."""
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Monitor:
        """Return the monitor that remember what `state` says."""
        return cls(**state)

    def see_loss(self, loss: float, file_names: Sequence[str]) -> str:
        """Remember the loss of an iteration; returns a warning about a jump, empty if there is none."""
        usual = median(self.recent) if len(self.recent) >= FEWEST else 0.0
        highest = max(self.recent, default=loss)
        self.recent = [*self.recent[-WINDOW + 1 :], loss]
        if usual <= 0 or loss <= SPIKE * usual or loss <= ABOVE_ALL * highest:
            return ""
        return self._once(
            "loss spike",
            f"the loss jumped to {loss:.3g}, {loss / usual:.0f} times what it usually is ({usual:.3g}), on "
            f"{listed(file_names, 3)}; if it does not come down again, begin with a lower learning rate, and "
            "look at the labels of these images with aerostat inspect",
        )

    def see_gradients(self, finite: bool, file_names: Sequence[str]) -> str:
        """Remember whether the gradients of a step were finite; returns what to say if they were not.

        That is said of each of the first such steps in a row: what is skipped is not learned from.
        """
        if finite:
            self.skipped = 0
            return ""
        self.skipped, self.all_skipped = self.skipped + 1, self.all_skipped + 1
        return (
            f"a gradient is not finite, so the step is left out ({counted(self.all_skipped, 'step')} so far) "
            f"on {listed(file_names, 3)}; if it happens again, begin with a lower learning rate, "
            "or set optim.clip_grad_norm"
        )

    @property
    def hopeless(self) -> bool:
        """Whether so many steps in a row were left out that more will be."""
        return self.skipped >= SKIPPED_AT_MOST

    def see_validation(
        self, *, best_ap: float, same_scores: bool, share: float, fresh: bool, inspect: str
    ) -> list[str]:
        """Return warnings about what a validation found.

        Args:
            best_ap: of the run so far; below 0 where it is undefined.
            same_scores: whether all detections have the same score.
            share: of the run that is done.
            fresh: whether the run began with fresh weights.
            inspect: the command that shows the data.
        """
        if share < UNTIL:
            return []
        start = (
            "fresh weights take long to find anything: start from trained ones with --weights, or " * fresh
        )
        told = []
        if 0 <= best_ap < NOTHING:
            told.append(
                self._once(
                    "nothing found",
                    f"after {share:.0%} of the run AP is still 0: {start}see with {inspect} whether the "
                    "labels of both splits lie on their objects, or begin with a lower learning rate",
                )
            )
        if same_scores:
            told.append(
                self._once(
                    "equal scores",
                    "all detections have the same score, so the network does not look at its input any more: "
                    f"begin with a lower learning rate, or see with {inspect} whether the images are what "
                    "they should be",
                )
            )
        return [text for text in told if text]

    def _once(self, kind: str, text: str) -> str:
        if kind in self.said:
            return ""
        self.said.append(kind)
        return text
