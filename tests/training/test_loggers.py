"""Loggers receive all records of a run, and an error in one of them does not end the run."""

import logging

import pytest

from aerostat.errors import AerostatError
from aerostat.runs.directory import Run
from aerostat.training.api import resume, train
from aerostat.training.loggers import Loggers
from aerostat.training.recipe import Recipe
from aerostat.training.signals import InterruptedRunError

FAST = {"input_size": 64, "threads": 0, "batch_size": 2, "device": "cpu", "epochs": 2}


class Notes:
    """A logger for a tracker of its own, in ten lines."""

    def __init__(self):
        self.records, self.events = [], []

    def start(self, run, recipe):
        self.events.append(f"start {run.path.name}, {recipe.schedule.epochs} epochs")

    def log(self, record):
        self.records.append(dict(record))

    def close(self):
        self.events.append("close")


class Broken:
    """A logger that fails in the methods that are named."""

    def __init__(self, *methods):
        self.methods, self.calls = methods, []

    def _call(self, name):
        self.calls.append(name)
        if name in self.methods:
            raise ConnectionError("no network")

    def start(self, run, recipe):
        self._call("start")

    def log(self, record):
        self._call("log")

    def close(self):
        self._call("close")


def test_a_logger_receives_all_records_of_a_run(discs, tmp_path):
    notes = Notes()
    run = train(discs, model="rtmdet-nano", weights="", out=tmp_path / "run", loggers=[notes], **FAST)
    assert notes.records == run.read_metrics()
    assert {"train", "val", "end"} <= {record["kind"] for record in notes.records}
    assert notes.events == ["start run, 2 epochs", "close"]


def test_a_logger_receives_all_records_of_a_run_that_was_stopped_and_resumed(discs, tmp_path, signal_at):
    first, second = Notes(), Notes()
    with pytest.raises(InterruptedRunError):
        train(
            discs,
            model="rtmdet-nano",
            weights="",
            out=tmp_path / "run",
            loggers=[first, signal_at(3)],
            **FAST,
        )
    run = resume(tmp_path / "run", loggers=[second])
    assert first.records + second.records == run.read_metrics()
    assert [r["iteration"] for r in first.records if r["kind"] == "train"] == [1, 2, 3]
    assert second.records[0]["kind"] == "resume"
    assert [r["iteration"] for r in second.records if r["kind"] == "train"] == [4]
    assert first.events == second.events == ["start run, 2 epochs", "close"]


def test_a_logger_is_closed_where_a_run_fails(discs, trainer_for):
    notes = Notes()

    def losses(*_, **__):
        raise AerostatError("no loss")

    trainer = trainer_for(discs, options={"loggers": [notes], "losses": losses})
    trainer.loggers.start()
    with pytest.raises(AerostatError, match="no loss"):
        trainer.fit()
    trainer.loggers.close()
    assert notes.events[-1] == "close"


@pytest.mark.parametrize(
    ("methods", "calls"),
    [
        (["start"], ["start"]),
        (["log", "close"], ["start", "log", "log", "close"]),
        (["close"], ["start", "log", "log", "close"]),
    ],
)
def test_a_logger_that_fails_is_reported_once_and_the_others_go_on(tmp_path, caplog, methods, calls):
    notes, broken = Notes(), Broken(*methods)
    loggers = Loggers(Run(tmp_path), Recipe(), [broken, notes])
    loggers.log({"kind": "val", "epoch": 1})
    loggers.log({"kind": "val", "epoch": 2})
    loggers.close()
    assert [record["epoch"] for record in notes.records] == [1, 2] and notes.events[-1] == "close"
    assert broken.calls == calls
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the logger Broken failed (ConnectionError: no network)" in warning.getMessage()


def test_a_failing_logger_does_not_end_a_run(discs, tmp_path):
    broken = Broken("log", "close")
    run = train(discs, model="rtmdet-nano", weights="", out=tmp_path / "run", loggers=[broken], **FAST)
    assert run.ended and broken.calls.count("log") == len(run.read_metrics())


def test_only_the_first_process_logs(tmp_path, caplog):
    notes = Notes()
    loggers = Loggers(Run(tmp_path), Recipe(), [notes], active=False)
    loggers.log({"kind": "val", "epoch": 1})
    loggers.warn("anything", epoch=1)
    loggers.close()
    assert not notes.records and not notes.events and not caplog.records


def test_a_warning_is_a_log_line_and_a_record(tmp_path, caplog):
    notes = Notes()
    loggers = Loggers(Run(tmp_path), Recipe(), [notes])
    loggers.warn("slow", epoch=2)
    loggers.warn("slower", epoch=3, iteration=7)
    assert caplog.messages == ["epoch 2: slow", "epoch 3, iteration 7: slower"]
    assert notes.records == [
        {"kind": "warning", "epoch": 2, "text": "slow"},
        {"kind": "warning", "epoch": 3, "text": "slower", "batch": 7},
    ]
