"""Progress: log lines off a terminal, a bar on one, nothing where it is turned off."""

import io
import logging
import threading
from pathlib import Path

import pytest
from rich.console import Console

from aerostat import progress


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aerostat")


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hand = Clock()
    monkeypatch.setattr(progress, "time", hand)
    return hand


def slowly(time: Clock, count: int, seconds: float):
    for i in range(count):
        time.now += seconds
        yield i


def test_off_a_terminal_items_come_through_with_a_line_every_20_seconds(time, caplog):
    assert list(progress.track(slowly(time, 10, 7.0), "working", total=10)) == list(range(10))
    assert caplog.messages == ["working: 3 of 10", "working: 6 of 10", "working: 9 of 10"]


def test_at_least_one_line_a_minute_as_promised():
    assert progress.LINE_SECONDS < progress.MAX_SILENCE_SECONDS <= 60


def test_an_item_that_takes_longer_than_a_minute_does_not_mean_silence(monkeypatch, caplog):
    monkeypatch.setattr(progress, "MAX_SILENCE_SECONDS", 0.02)

    def wait_for_lines(count: int) -> str:
        for _ in range(1000):
            if len(caplog.messages) >= count:
                break
            threading.Event().wait(0.01)
        return "item"

    assert list(progress.track((wait_for_lines(n) for n in (2, 4)), "reading", total=2)) == ["item"] * 2
    shown = caplog.messages
    assert shown[:2] == ["reading: 0 of 2"] * 2
    assert shown[-1] == "reading: 1 of 2"


def test_what_is_abandoned_falls_silent():
    items = progress.track(iter([1, 2]), "reading")
    next(items)
    items.close()
    assert "aerostat-progress" not in [thread.name for thread in threading.enumerate()]


def test_without_a_total_the_lines_count(time, caplog):
    list(progress.track(slowly(time, 4, 11.0), "reading"))
    assert caplog.messages == ["reading: 2", "reading: 4"]


def test_a_list_knows_its_own_total(time, caplog):
    for _ in progress.track(["a", "b"], "reading"):
        time.now += 30
    assert caplog.messages == ["reading: 1 of 2", "reading: 2 of 2"]


@pytest.mark.parametrize("items", [[], iter(())])
def test_nothing_to_do_says_nothing(items, caplog):
    assert list(progress.track(items, "reading")) == []
    assert caplog.messages == []


def test_what_is_quick_says_nothing(time, caplog):
    assert len(list(progress.track(range(10_000), "reading"))) == 10_000
    assert caplog.messages == []


def test_an_error_on_the_way_comes_through():
    def broken():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(progress.track(broken(), "reading"))


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "terminal", lambda: terminal)
    assert list(progress.track([1, 2, 3], "reading")) == [1, 2, 3]
    shown = screen.getvalue()
    assert "reading" in shown
    assert "3/3" in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the last thing done is to clear the line"


def test_a_title_is_no_markup_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "terminal", lambda: terminal)
    list(progress.track([1], "evaluating [val]"))
    assert "evaluating [val]" in screen.getvalue()


def test_on_a_terminal_what_is_being_done_is_shown_as_it_is(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(progress, "terminal", lambda: Console(file=shown, force_terminal=True, width=80))
    with progress.activity() as begun:
        begun("measuring [red]onnx[/red]")
    assert "measuring [red]onnx[/red]" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[2K"), "the line is taken away at the end"


def test_progress_can_be_turned_off(monkeypatch, time, caplog):
    screen = io.StringIO()
    with progress.progress_shown(False), progress.activity() as begun:
        begun("measuring")
        assert list(progress.track(slowly(time, 3, 60.0), "reading")) == [0, 1, 2]
        monkeypatch.setattr(progress, "terminal", lambda: Console(file=screen, force_terminal=True))
        assert list(progress.track([1], "reading")) == [1]
    assert caplog.messages == [] and screen.getvalue() == ""


def test_a_log_file_takes_all_lines_but_those_of_the_activity_around_it(tmp_path: Path, caplog, time):
    path = tmp_path / "log.txt"
    log = logging.getLogger("aerostat.anything")
    with progress.activity() as begun:
        with progress.log_to(path):
            log.info("inside")
            time.now += 60
            begun("a study")
            list(progress.track(slowly(time, 1, 60.0), "reading"))
        log.info("after")
    assert path.read_text("utf-8") == "inside\nreading: 1\n"
    assert caplog.messages == ["a study", "after"]
