"""Times as people write them, and which frames of a clip are looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from aerostat.errors import InputError

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*({'|'.join(_UNITS)})?")
_WITH_COLONS = re.compile(rf"(?:(\d{{1,6}}):)?(\d{{1,6}}):({_NUMBER})")

SLACK_S = 1e-4
"""Times of frames are rounded in containers, to a millisecond in WebM; a tick that is this near counts."""


def seconds(text: str) -> float:
    """Return a time in seconds.

    >>> seconds("90"), seconds("1:30"), seconds("1:00:00.5"), seconds("10min"), seconds("1.5h")
    (90.0, 90.0, 3600.5, 600.0, 5400.0)

    Raises:
        InputError: the text is no time.
    """
    text = text.strip()
    if match := _WITH_COLONS.fullmatch(text):
        hours, minutes, rest = match.groups()
        return int(hours or 0) * 3600.0 + int(minutes) * 60.0 + float(rest)
    if match := _WITH_UNIT.fullmatch(text):
        return float(match[1]) * _UNITS[match[2] or "s"]
    raise InputError(f"Expected a time such as 90, 1:30, 45s, 10min or 2h, found {text!r}.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a clip are looked at.

    >>> wanted = Selection(every=2, end_s=1).chooser()
    >>> [wanted(index, index / 4) for index in range(6)]
    [True, False, True, False, None, None]

    Args:
        every: every how many frames of the clip.
        start_s: seconds from which on; 0 is the beginning.
        end_s: seconds before which; None is the end.
        fps: frames per second at most, chosen by their times; None takes all.

    Raises:
        InputError: a number cannot be.
    """

    every: int = 1
    start_s: float = 0.0
    end_s: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"Expected `every` as 1 or more, found {self.every}.")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise InputError(f"Expected `fps` above 0, found {self.fps:g}.")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise InputError(
                f"Expected `end` after `start`, found an end at {self.end_s:g} s and a start at "
                f"{self.start_s:g} s."
            )

    @property
    def takes_all(self) -> bool:
        """Whether every frame is looked at."""
        return self == Selection()

    def chooser(self) -> Callable[[int, float], bool | None]:
        """Return a function of index and time of a frame, to be asked in order.

        It returns whether the frame is looked at, and None if neither it nor a later one is.
        """
        due = self.start_s  # time of the next frame of `fps`

        def wanted(index: int, time_s: float) -> bool | None:
            nonlocal due
            if self.end_s is not None and time_s >= self.end_s - SLACK_S:
                return None
            if time_s < self.start_s - SLACK_S or index % self.every:
                return False
            if self.fps is None:
                return True
            if time_s < due - SLACK_S:
                return False
            due += max(1, math.floor((time_s - due) * self.fps + 1 + SLACK_S)) / self.fps
            return True

        return wanted

    def described(self) -> str:
        """Return from when to when frames are looked at.

        >>> Selection(start_s=2).described()
        '2 s to the end'
        """
        return f"{self.start_s:g} s to {'the end' if self.end_s is None else f'{self.end_s:g} s'}"

    def rate(self, rate: float) -> float:
        """Return how many frames a second are looked at in a clip of `rate` frames a second."""
        rate = rate / self.every
        return rate if self.fps is None else min(rate, self.fps)

    def frames(self, frames: int | None, rate: float) -> int | None:
        """Return about how many of a clip's frames are looked at."""
        if frames is None:
            return None
        duration = max(0.0, min(frames / rate, self.end_s or math.inf) - self.start_s)
        return max(1, round(duration * self.rate(rate)))
