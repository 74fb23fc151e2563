"""SIGINT and SIGTERM during training: finish the iteration, save, say how to go on."""

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
    """The run was asked to stop, saved its state and can go on; the exit code is 128 + signal.

    Args:
        what: was stopped, and what is left of it: a sentence; kept without its full stop.
        signal_number: the request.
        command: what to type to go on, empty for nothing.
    """

    def __init__(self, what: str, signal_number: int, command: str = "") -> None:
        self.what = what.removesuffix(".")
        super().__init__(f"{self.what}; go on with: {command}" if command else what)
        self.signal_number, self.exit_code = signal_number, 128 + signal_number


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Yield a list that holds the first SIGINT or SIGTERM; a second one acts at once."""
    requested: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield requested
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, _frame: FrameType | None) -> None:
        requested.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        with suppress(RuntimeError):  # the signal may have come while something was being printed
            _log.info("stopping as soon as can be; the state will be saved (again to stop at once)")

    for number in before:
        signal.signal(number, remember)
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _AtOnce(KeyboardInterrupt):
    """A signal on its way out of a block; like an interrupt from the keyboard nothing in between takes it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def leaving_at_once(left: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """End the block with one sentence on SIGINT or SIGTERM; a second one acts as if nobody listened.

    This is for what is done before and after training itself, and for the second signal within it: there is
    no state that would have to be saved.

    Args:
        left: says what is left of the work, a clause, and what to type to go on, empty for nothing; asked
            once the block has been left.

    Raises:
        InterruptedRunError: on a signal; the exit code is 128 + its number.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # What is ignored stays so: a job that is to outlive its terminal, or one in the background of a script.
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
