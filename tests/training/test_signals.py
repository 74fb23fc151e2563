"""Signals during training, sent to this very process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from aerostat.cli import console
from aerostat.errors import AerostatError
from aerostat.training.signals import InterruptedRunError, leaving_at_once, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_remembered_and_announced(number, caplog):
    caplog.set_level("INFO", "aerostat")
    with stop_requests() as requested:
        assert requested == []
        os.kill(os.getpid(), number)
        assert requested == [number]
    assert "the state will be saved" in caplog.text


SECOND_SIGNAL = """
import os, signal
from aerostat.training.signals import stop_requests
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
    with console.log_on_stderr(), stop_requests() as requested:
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
    error = InterruptedRunError("Stopped.", number)
    assert isinstance(error, AerostatError)
    assert (str(error), error.exit_code) == ("Stopped.", code)
    assert str(InterruptedRunError("Stopped.", number, "do this")) == "Stopped; go on with: do this"
    assert AerostatError.exit_code == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_where_nothing_has_to_be_saved_a_signal_ends_the_work_with_a_sentence(number, code):
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            pytest.fail("the work went on")
        except Exception:
            pytest.fail("something in between took it for a failure of its own")
        finally:
            cleaned.append(True)

    with pytest.raises(InterruptedRunError) as caught, leaving_at_once(lambda: ("nothing is kept", "")):
        work()
    assert str(caught.value) == f"Stopped at once by {signal.Signals(number).name}; nothing is kept."
    assert caught.value.exit_code == code
    assert cleaned == [True]


def test_the_second_signal_within_the_loop_is_answered_with_a_sentence_too():
    with (
        pytest.raises(
            InterruptedRunError,
            match=r"at once by SIGINT; all is kept; go on with: aerostat train --resume r$",
        ),
        leaving_at_once(lambda: ("all is kept", "aerostat train --resume r")),
        stop_requests() as requested,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_ignored_and_what_was_there_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with leaving_at_once(lambda: ("", "")):
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_errors_pass_through():
    with pytest.raises(ValueError, match="mine"), leaving_at_once(lambda: ("", "")):
        raise ValueError("mine")


EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from aerostat.datasets import dataset
def read(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("the work went on")
dataset.read_dataset = read
from aerostat.__main__ import main
sys.exit(main(["train", sys.argv[1], "--out", sys.argv[2], "--weights", ""]))
"""


def test_a_signal_while_data_are_read_ends_the_command_with_a_sentence_and_nothing_is_left(tmp_path):
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", EARLY, tmp_path / "data", tmp_path / "run"], capture_output=True, text=True
    )
    assert done.returncode == 143
    sentence = "aerostat: Stopped at once by SIGTERM; nothing had been learned and nothing is kept."
    assert done.stderr.strip() == sentence
    assert not (tmp_path / "run").exists()
