"""Warnings about what goes wrong in a run without an error, each given once and with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from aerostat.runs.commands import PYTHON, Commands, Origin
from aerostat.text import counted, listed

WINDOW = 50
"""Iterations whose median a loss is compared with."""
MIN_LOSSES = 20
"""Losses that a median needs before it is compared with."""
SPIKE = 5.0
"""Times the median. The losses of sound runs (balloons, batches of 8) stay below 1.5 times."""
ABOVE_MAX = 2.0
"""Times the highest loss. From fresh weights the losses of single images often vary more than fivefold."""
MIN_SHARE = 0.1
"""Share of a run after which something has to be detected."""
ZERO_AP = 0.0005
"""An AP below this is shown as 0.000."""
MAX_SKIPPED = 3
"""Steps in a row without finite gradients. One more batch will not help."""


@dataclass
class Monitor:
    """Watches losses, gradients and validations. Its memory goes into the checkpoint.

    Args:
        recent: the last losses.
        given: kinds of warnings that have been given.
        skipped: steps in a row whose gradients were not finite.
        all_skipped: all such steps of the run.
        commands: what to type next, as the caller words it.
    """

    recent: list[float] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    skipped: int = 0
    all_skipped: int = 0
    commands: Commands = field(default=PYTHON, repr=False, compare=False)

    def state(self) -> dict[str, Any]:
        """Return the memory as plain values."""
        return {
            "recent": self.recent,
            "said": self.given,
            "skipped": self.skipped,
            "all_skipped": self.all_skipped,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], commands: Commands = PYTHON) -> Monitor:
        """Return a monitor with the memory that `state` returned; an empty mapping is an empty memory."""
        return cls(
            list(state.get("recent", ())),
            list(state.get("said", ())),
            state.get("skipped", 0),
            state.get("all_skipped", 0),
            commands,
        )

    def see_loss(self, loss: float, file_names: Sequence[str]) -> str:
        """Remember the loss of an iteration; returns a warning if it jumped, else an empty text.

        Args:
            loss: the sum of all losses.
            file_names: of the batch.
        """
        usual = median(self.recent) if len(self.recent) >= MIN_LOSSES else 0.0
        highest = max(self.recent, default=loss)
        self.recent = [*self.recent[-WINDOW + 1 :], loss]
        if usual <= 0 or loss <= SPIKE * usual or loss <= ABOVE_MAX * highest:
            return ""
        return self._once(
            "loss spike",
            f"the loss jumped to {loss:.3g}, {loss / usual:.0f} times what it usually is ({usual:.3g}), on "
            f"{listed(file_names, 3)}; if it does not come down again, begin with a lower learning rate, and "
            f"look at the labels of these images with {self.commands.inspect_any}",
        )

    def see_gradients(self, finite: bool, file_names: Sequence[str]) -> str:
        """Remember whether the gradients of a step were finite; returns a warning if they were not.

        Args:
            finite: whether they were.
            file_names: of the batch.
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
        """Whether `MAX_SKIPPED` steps in a row were left out."""
        return self.skipped >= MAX_SKIPPED

    def see_validation(
        self, *, best_ap: float, same_scores: bool, share: float, fresh: bool, origin: Origin
    ) -> list[str]:
        """Return warnings about what a validation found.

        Args:
            best_ap: of boxes or masks, the better one of the run so far; below 0 where it is undefined.
            same_scores: whether all detections have the same score.
            share: of the run that is done, 0 to 1.
            fresh: whether the run began with fresh weights.
            origin: how the data were read.
        """
        if share < MIN_SHARE:
            return []
        start = (
            "fresh weights take long to find anything: start from trained ones with "
            f"{self.commands.parameter('weights')}, or "
        ) * fresh
        inspect, texts = self.commands.inspect(origin), []
        if 0 <= best_ap < ZERO_AP:
            texts.append(
                self._once(
                    "nothing found",
                    f"after {share:.0%} of the run AP is still 0: {start}see with {inspect} whether the "
                    "labels of both splits lie on their objects, or begin with a lower learning rate",
                )
            )
        if same_scores:
            texts.append(
                self._once(
                    "equal scores",
                    "all detections have the same score, so the network does not look at its input any more: "
                    f"begin with a lower learning rate, or see with {inspect} whether the images are what "
                    "they should be",
                )
            )
        return [text for text in texts if text]

    def _once(self, kind: str, text: str) -> str:
        if kind in self.given:
            return ""
        self.given.append(kind)
        return text
