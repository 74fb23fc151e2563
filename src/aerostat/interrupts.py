"""Ctrl-C and SIGTERM: long work ends between two items, and no signal gets lost."""

from __future__ import annotations

import _thread
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_log = logging.getLogger(__name__)

REPEAT_S = 0.05
"""Seconds after which a lost KeyboardInterrupt comes again: the callback that dropped it is over by then."""


class StopRequest:
    """Whether SIGINT or SIGTERM asked work to end.

    Work that writes several files looks at `made` between two items, so that all files have the same items.
    An exception in the middle of an item would end one file before the other.

    >>> StopRequest().made
    False
    """

    def __init__(self) -> None:
        self.made = False
        self._has_raised = False
        self._is_heeded = False
        self._item = ""

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Let both signals raise KeyboardInterrupt while the block runs, except in a block of `heeded`.

        An ignored signal stays ignored. Outside of the main thread, which alone gets signals, nothing
        changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._on_signal)
        try:
            yield
        except Exception:
            if self._has_raised:  # code in C may put an error of its own in the place of the interrupt
                raise KeyboardInterrupt from None
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def heeded(self, item: str) -> Iterator[None]:
        """Let the first signal only set `made` while the block runs; the second raises KeyboardInterrupt.

        Args:
            item: what is finished before the work ends, such as ``frame``, for the log.
        """
        self._is_heeded, self._item = True, item
        try:
            yield
        finally:
            self._is_heeded = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.made or not self._is_heeded:
            self._has_raised = True
            raise KeyboardInterrupt
        self.made = True
        with suppress(RuntimeError):  # the signal may interrupt a line that is being printed
            _log.info("stopping after this %s (again to stop at once)", self._item)


@contextmanager
def lost_interrupts_repeated() -> Iterator[None]:
    """Let a KeyboardInterrupt come again that Python dropped, while the block runs.

    A signal may be handled while Python runs a finaliser, a callback of a weak reference or the collector.
    Python cannot raise an exception there: it prints it and goes on.
    """
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            before(dropped)
            return
        again = threading.Timer(REPEAT_S, _interrupt)
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    """Send SIGINT to the main thread, where it also ends a wait."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
