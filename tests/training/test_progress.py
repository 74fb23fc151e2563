"""What a person sees of an epoch, with a clock moved by hand."""

import io
import threading
import time as real_time

import pytest
from rich.console import Console

from aerostat import progress as shared
from aerostat.training import progress as module
from aerostat.training.progress import EpochProgress, clock, showing


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hand = Clock()
    monkeypatch.setattr(module, "time", hand)
    monkeypatch.setattr(shared, "time", hand)
    return hand


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (5.4, "0:05"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"),
     (86_400 + 62, "24:01:02")],
)  # fmt: skip
def test_seconds_are_shown_as_a_clock(seconds, text):
    assert clock(seconds) == text


def epoch(time: Clock, first: int = 0) -> EpochProgress:
    return EpochProgress("epoch 2/4", batches=10, first=first, remaining=20, started=time.now)


def test_the_line_has_mean_losses_rate_speed_memory_and_time_left(time):
    progress = epoch(time)
    progress.add({"loss": 3.0, "loss_cls": 1.0}, images=4)
    progress.add({"loss": 1.0, "loss_cls": 0.5}, images=4)
    time.now += 4
    assert progress.images_per_second == 2.0
    assert progress.seconds_left == 2.0 * (8 + 20)  # two seconds each
    assert progress.line(1e-3, 812.3) == (
        "loss 2.000  loss_cls 0.750  lr 1.00e-03  2.0 images/s  812 MB  ETA 0:56"
    )


def test_a_resumed_epoch_has_fewer_iterations_left(time):
    progress = epoch(time, first=6)
    progress.add({"loss": 1.0}, images=4)
    time.now += 1
    assert progress.seconds_left == 1.0 * (10 - 6 - 1 + 20)


def test_an_epoch_without_iterations_yet_has_a_line(time):
    assert "ETA 0:00" in epoch(time).line(0.0, 0.0)


def test_off_a_terminal_there_is_a_plain_line_every_20_seconds(time, caplog):
    caplog.set_level("INFO", "aerostat")
    progress = epoch(time)
    with showing(progress) as display:
        for _ in range(10):
            time.now += 7
            progress.add({"loss": 1.0}, images=1)
            display.update(1e-3, 100.0)
    lines = caplog.messages
    assert [line.split("  ")[1] for line in lines] == ["3/10", "6/10", "9/10"]
    assert all(line.startswith("epoch 2/4") and "\x1b" not in line and "\r" not in line for line in lines)


@pytest.mark.parametrize(
    ("iterations", "words"), [(0, "3/10  the first batch takes long: 1:35 so far"), (1, "4/10  loss 2.000")]
)
def test_off_a_terminal_a_slow_iteration_does_not_mean_silence(time, monkeypatch, caplog, iterations, words):
    monkeypatch.setattr(shared, "time", real_time)  # the watch waits for real
    monkeypatch.setattr(shared, "MAX_SILENCE_SECONDS", 0.02)
    caplog.set_level("INFO", "aerostat")
    progress = epoch(time, first=3)
    time.now += 95
    for _ in range(iterations):
        progress.add({"loss": 2.0}, images=1)
    with showing(progress):  # not one iteration finishes in here
        for _ in range(1000):
            if len(caplog.messages) >= 2:
                break
            threading.Event().wait(0.01)
    assert len(caplog.messages) >= 2
    assert caplog.messages[0].startswith(f"epoch 2/4  {words}")


def test_only_one_of_several_processes_shows_the_epoch(time, caplog):
    caplog.set_level("INFO", "aerostat")
    progress = epoch(time)
    with showing(progress, silent=True) as display:
        time.now += 70
        progress.add({"loss": 1.0}, images=1)
        display.update(1e-3, 100.0)
    assert caplog.messages == []


def test_on_a_terminal_there_is_one_bar(time, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=150)
    monkeypatch.setattr(shared, "terminal", lambda: terminal)
    monkeypatch.setattr(module, "terminal", lambda: terminal)
    progress = epoch(time, first=3)
    with showing(progress) as display:
        progress.add({"loss": 1.25}, images=1)
        time.now += 1
        display.update(1e-3, 100.0)
    shown = screen.getvalue()
    assert "epoch 2/4" in shown
    assert "4/10" in shown
    assert "loss 1.250" in shown
