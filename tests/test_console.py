"""Notes and progress go to stderr: plain lines off a terminal, a bar on one."""

import io
import threading

import pytest
from rich.console import Console

from aerostat import console


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hand = Clock()
    monkeypatch.setattr(console, "time", hand)
    return hand


def slowly(time: Clock, count: int, seconds: float):
    for i in range(count):
        time.now += seconds
        yield i


def test_a_note_goes_to_stderr_as_it_is(capsys):
    text = "loss [bold]1.0[/bold] [3/4] :smile: " + "x" * 300
    console.note(text)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == text + "\n", "no markup, no emoji, no wrapping"


def test_results_go_to_stdout(capsys):
    console.stdout().print("found")
    assert capsys.readouterr() == ("found\n", "")


def test_off_a_terminal_items_come_through_with_a_line_every_20_seconds(time, capsys):
    assert list(console.track(slowly(time, 10, 7.0), "working", total=10)) == list(range(10))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["working: 3 of 10", "working: 6 of 10", "working: 9 of 10"]


def test_at_least_one_line_a_minute_as_promised():
    assert console.PLAIN_LINE_SECONDS < console.LONGEST_SILENCE <= 60


def test_an_item_that_takes_longer_than_a_minute_does_not_mean_silence(monkeypatch, capsys):
    monkeypatch.setattr(console, "LONGEST_SILENCE", 0.02)
    shown: list[str] = []

    def wait_for_lines(count: int) -> str:
        for _ in range(1000):
            if len(shown) >= count:
                break
            shown.extend(capsys.readouterr().err.splitlines())
            threading.Event().wait(0.01)
        return "item"

    assert list(console.track((wait_for_lines(n) for n in (2, 4)), "reading", total=2)) == ["item"] * 2
    assert shown[:2] == ["reading: 0 of 2"] * 2
    assert shown[-1] == "reading: 1 of 2"


def test_what_is_abandoned_falls_silent():
    items = console.track(iter([1, 2]), "reading")
    next(items)
    items.close()
    assert "aerostat-progress" not in [thread.name for thread in threading.enumerate()]


def test_without_a_total_the_lines_count(time, capsys):
    list(console.track(slowly(time, 4, 11.0), "reading"))
    assert capsys.readouterr().err.splitlines() == ["reading: 2", "reading: 4"]


def test_a_list_knows_its_own_total(time, capsys):
    for _ in console.track(["a", "b"], "reading"):
        time.now += 30
    assert capsys.readouterr().err.splitlines() == ["reading: 1 of 2", "reading: 2 of 2"]


@pytest.mark.parametrize("items", [[], iter(())])
def test_nothing_to_do_says_nothing(items, capsys):
    assert list(console.track(items, "reading")) == []
    assert capsys.readouterr() == ("", "")


def test_what_is_quick_says_nothing(time, capsys):
    assert len(list(console.track(range(10_000), "reading"))) == 10_000
    assert capsys.readouterr().err == ""


def test_an_error_on_the_way_comes_through():
    def broken():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(console.track(broken(), "reading"))


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(console, "stderr", lambda: terminal)
    assert list(console.track([1, 2, 3], "reading")) == [1, 2, 3]
    shown = screen.getvalue()
    assert "reading" in shown
    assert "3/3" in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the last thing done is to clear the line"


def test_a_title_is_no_markup_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(console, "stderr", lambda: terminal)
    list(console.track([1], "evaluating [val]"))
    assert "evaluating [val]" in screen.getvalue()


def test_on_a_terminal_what_is_being_done_is_shown_as_it_is(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(console, "stderr", lambda: Console(file=shown, force_terminal=True, width=80))
    with console.activity() as begun:
        begun("measuring [red]onnx[/red]")
    assert "measuring [red]onnx[/red]" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[2K"), "the line is taken away at the end"
