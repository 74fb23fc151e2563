"""SIGINT and SIGTERM during training: finish the iteration, save, and say how to resume."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from aerostat.errors import AerostatError

_log = logging.getLogger(__name__)


class InterruptedRunError(AerostatError):
    """A run was asked to stop. Its state is saved, and the exit code is 128 + signal.

    Args:
        what: a sentence: what was stopped, and what is left of it.
        signal_number: of the request.
        command: what to type to go on; empty for nothing.
    """

    def __init__(self, what: str, signal_number: int, command: str = "") -> None:
        self.what = what.removesuffix(".")
        super().__init__(f"{self.what}; go on with: {command}" if command else what)
        self.signal_number, self.exit_code = signal_number, 128 + signal_number


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Yield a list that gets the first SIGINT or SIGTERM; a second one acts at once."""
    requested: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield requested
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, _frame: FrameType | None) -> None:
        requested.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        with suppress(RuntimeError):  # the signal may interrupt a line that is being printed
            _log.info("stopping as soon as can be; the state will be saved (again to stop at once)")

    for number in before:
        signal.signal(number, remember)
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _AtOnce(KeyboardInterrupt):
    """A signal that ends a block. As a KeyboardInterrupt it passes handlers of `Exception`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def leaving_at_once(left: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """End the block with one sentence on SIGINT or SIGTERM; a second signal has its usual effect.

    This is for the work before and after training, which has no state to save, and for a second signal
    during training.

    Args:
        left: returns what is left of the work, a clause, and what to type to go on, empty for nothing. It is
            called after the block has ended.

    Raises:
        InterruptedRunError: on a signal; the exit code is 128 + its number.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored: the job may have to outlive its terminal, or run in the background.
    before = {n: h for n in (signal.SIGINT, signal.SIGTERM) if (h := signal.getsignal(n)) != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def leave(number: int, _frame: FrameType | None) -> None:
        restore()
        raise _AtOnce(number)

    for number in before:
        signal.signal(number, leave)
    try:
        yield
    except _AtOnce as stopped:
        name, (rest, command) = signal.Signals(stopped.number).name, left()
        raise InterruptedRunError(f"Stopped at once by {name}; {rest}.", stopped.number, command) from None
    finally:
        restore()
