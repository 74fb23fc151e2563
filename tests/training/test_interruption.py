"""Signals during training, sent to this very process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from aerostat import console
from aerostat.errors import AerostatError
from aerostat.training.interruption import InterruptedRunError, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_remembered_and_announced(number, capsys):
    with stop_requests() as requested:
        assert requested == []
        os.kill(os.getpid(), number)
        assert requested == [number]
    assert "the state will be saved" in capsys.readouterr().err


SECOND_SIGNAL = """
import os, signal
from aerostat.training.interruption import stop_requests
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a script begins with it ignored
try:
    with stop_requests() as requested:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        print("the second signal came to nothing")
except KeyboardInterrupt:
    print("stopped at once, first asked by", *requested)
"""


def test_a_second_signal_acts_at_once():
    # In a process of its own: what other tests have loaded has no say in how signals are delivered.
    done = subprocess.run([sys.executable, "-c", SECOND_SIGNAL], capture_output=True, text=True, check=True)
    assert done.stdout == f"stopped at once, first asked by {int(signal.SIGTERM)}\n"


@pytest.mark.parametrize("numbers", [[], [signal.SIGINT]])
def test_afterwards_the_handlers_are_the_old_ones(numbers):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests():
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) != before
        for number in numbers:
            os.kill(os.getpid(), number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_in_the_middle_of_printing_is_remembered_all_the_same(monkeypatch):
    def busy(_: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    monkeypatch.setattr(console, "note", busy)
    with stop_requests() as requested:
        os.kill(os.getpid(), signal.SIGTERM)
    assert requested == [signal.SIGTERM]


def test_in_another_thread_nothing_is_listened_to():
    found: list[list[int]] = []

    def work() -> None:
        with stop_requests() as requested:
            found.append(requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_is_the_shells_for_that_signal(number, code):
    error = InterruptedRunError("stopped", number)
    assert isinstance(error, AerostatError)
    assert (str(error), error.exit_code) == ("stopped", code)
    assert AerostatError.exit_code == 1
