"""Ctrl-C and SIGTERM: work ends between two items, and a dropped interrupt comes again."""

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

from aerostat.interrupts import StopRequest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_is_noted_while_it_is_heeded_and_the_second_acts_at_once(number, caplog):
    stop = StopRequest()
    with caplog.at_level(logging.INFO), stop.caught(), stop.heeded("frame"):
        signal.raise_signal(number)
        assert stop.made
        assert caplog.messages == ["stopping after this frame (again to stop at once)"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@BOTH
def test_a_signal_before_and_after_the_items_acts_at_once(number):
    stop = StopRequest()
    with stop.caught():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        with stop.heeded("frame"):
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert not stop.made


def test_a_signal_inside_of_a_finaliser_is_noted():
    """An exception would be dropped there."""

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    stop = StopRequest()
    with stop.caught(), stop.heeded("frame"):
        one = Dying()
        del one
    assert stop.made


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_an_error_in_the_place_of_an_interrupt_is_an_interrupt(error):
    """torch makes a ValueError of an interrupt that comes while a tensor is read."""
    with pytest.raises(KeyboardInterrupt), StopRequest().caught():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error("of C") from None
    with pytest.raises(error, match="of its own"), StopRequest().caught():
        raise error("of its own")


def test_an_ignored_signal_stays_ignored():
    stop = StopRequest()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop.caught(), stop.heeded("frame"):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert not stop.made


def test_handlers_are_as_before_and_other_threads_leave_them_alone():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with StopRequest().caught():
            seen.append((signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with StopRequest().caught():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert seen == [before]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    "dying",
    [
        "class Dying:\n    def __del__(self): signal.raise_signal(signal.SIGINT)\none = Dying()\ndel one",
        "class Dying: pass\none = Dying()\n"
        "seen = weakref.ref(one, lambda _: signal.raise_signal(signal.SIGINT))\ndel one",
        "def frames():\n    try:\n        yield 1\n    finally:\n"
        "        signal.raise_signal(signal.SIGINT)\n        time.sleep(0)\n"
        "one = frames()\nnext(one)\none = None",
    ],
    ids=["finaliser", "weak reference", "generator"],
)
def test_an_interrupt_that_python_drops_comes_again(dying):
    script = (
        "import signal, sys, time, weakref\n"
        "from aerostat.interrupts import lost_interrupts_repeated\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "before = sys.unraisablehook\n"
        "try:\n"
        "    with lost_interrupts_repeated():\n"
        + "".join(f"        {line}\n" for line in dying.splitlines())
        + "        print('dropped', flush=True)\n"
        "        time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('came again')\n"
        "assert sys.unraisablehook is before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dropped\ncame again\n", "")


def test_other_errors_of_finalisers_are_shown_as_ever():
    script = (
        "from aerostat.interrupts import lost_interrupts_repeated\n"
        "class Dying:\n    def __del__(self): raise ValueError('of a finaliser')\n"
        "with lost_interrupts_repeated():\n    one = Dying()\n    del one\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0 and "ValueError: of a finaliser" in done.stderr
