"""A tracker gets all that a run says, and neither its failures nor its silence reach the run."""

import logging
import threading
import time

import pytest

from aerostat.training.loggers import Loggers
from aerostat.training.logs import delivery as module
from aerostat.training.logs.delivery import Delivery
from aerostat.training.recipe import Recipe


def refuse():
    raise ConnectionError("no answer from https://ann:secret-word@host/api?key=1")


def test_a_tracker_gets_figures_pictures_and_files_in_order(notes, deliver, examples):
    tracker = notes()
    deliver(Delivery(tracker), examples)
    names = [call[0] for call in tracker.calls]
    assert names == ["begin", *["figures"] * 3, *["picture"] * 2, *["file"] * 5, "end"]
    assert tracker.calls[2] == ("figures", {"train/loss": 1.0, "train/loss_cls": 0.75, "train/lr": 0.002}, 2)
    assert tracker.calls[3] == ("figures", {"val/ap": 0.25, "val/ap50": 0.5, "val_class_ap/disc": 0.25}, 2)
    files = {call[1:] for call in tracker.calls if call[0] == "file"}
    assert {("recipe.toml", "run"), ("loss.png", "curves"), ("best.safetensors", "weights")} <= files
    assert tracker.calls[-1] == ("end", True)


def test_a_run_that_was_stopped_sends_no_weights(notes, deliver):
    tracker = notes()
    deliver(Delivery(tracker), records=[{"kind": "train", "epoch": 1, "iteration": 1, "loss": 1.0}])
    assert not [call for call in tracker.calls if call[-1] == "weights"]
    assert tracker.calls[-1] == ("end", False)


def test_what_is_made_before_the_block_ends_is_delivered_too(notes, deliver, run):
    tracker = notes()
    with Delivery(tracker) as delivery:
        deliver(delivery)
        (run.path / "report.html").write_text("a page")
    assert ("file", "report.html", "report") in tracker.calls


def test_a_resumed_run_goes_on_after_its_last_iteration(notes, deliver, run):
    deliver(Delivery(notes()))
    again = notes()
    deliver(Delivery(again), records=[{"kind": "val", "epoch": 1, "ap": 0.5}])
    assert again.calls[:2] == [("begin", 2), ("figures", {"val/ap": 0.5}, 2)]


def test_a_failure_is_one_warning_without_secrets(notes, deliver, caplog):
    tracker = notes(figures=refuse)
    with caplog.at_level(logging.WARNING):
        deliver(Delivery(tracker))
    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("logging to Notes failed (ConnectionError: no answer from https://host/api)")
    assert "3 records" in last
    assert "secret-word" not in caplog.text
    assert tracker.calls[-1] == ("end", True)


def test_a_tracker_that_cannot_begin_does_not_hold_the_run(notes, deliver, caplog):
    tracker = notes(begin=refuse)
    before = time.monotonic()
    deliver(Delivery(tracker))
    assert time.monotonic() - before < tracker.deadline_s
    assert "Notes did not get 5 files, 3 records" in caplog.text


def test_a_tracker_is_tried_again_until_it_begins(notes, deliver, monkeypatch, examples):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    attempts = []

    def third_time():
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        began.set()

    began = threading.Event()
    tracker = notes(begin=third_time)
    with Delivery(tracker) as delivery:
        deliver(delivery)
        assert began.wait(30)
    assert [call[0] for call in tracker.calls].count("figures") == 3


def test_a_tracker_that_hangs_holds_the_run_until_its_deadline_only(notes, deliver, caplog):
    forever = threading.Event()
    tracker = notes(0.5, figures=forever.wait)
    deliver(Delivery(tracker))
    forever.set()
    assert ("abandon",) in tracker.calls
    assert "did not get 5 files, 3 records: it did not answer within 0.5 s of the end" in caplog.text


def test_what_waits_is_bounded(notes, run, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    forever = threading.Event()
    delivery = Delivery(notes(0.2, begin=forever.wait))
    delivery.start(run, Recipe())
    for iteration in range(100):
        delivery.log({"kind": "train", "epoch": 1, "iteration": iteration, "loss": 1.0})
    delivery.close()
    forever.set()
    assert "100 records" in caplog.text


def test_a_tracker_among_the_loggers_gets_a_thread_of_its_own(notes, run, examples):
    tracker = notes()
    loggers = Loggers(run, Recipe(), [tracker])
    loggers.log({"kind": "val", "epoch": 1, "ap": 0.5})
    loggers.show(examples)
    loggers.close()
    assert [call[0] for call in tracker.calls[:3]] == ["begin", "figures", "picture"]


@pytest.mark.parametrize("picture", ["labels", "gone"])
def test_a_photograph_that_is_gone_costs_its_picture_alone(notes, deliver, examples, picture):
    if picture == "gone":
        examples[0].record.path.unlink()
    tracker = notes()
    deliver(Delivery(tracker), examples)
    assert [call[0] for call in tracker.calls].count("picture") == (1 if picture == "gone" else 2)
