"""A disk that refuses, a folder that vanishes: said, outlived, and tried again."""

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from aerostat.errors import AerostatError
from aerostat.files import is_temporary
from aerostat.pipeline.loader import TrainLoader
from aerostat.runs.directory import Run
from aerostat.training.api import resume
from aerostat.training.checkpoints import Saver
from aerostat.training.loggers import MetricsFile
from aerostat.training.loop import Trainer
from aerostat.training.signals import InterruptedRunError
from aerostat.training.validation import Validation
from aerostat.weights.checkpoint import read_header, save_weights
from aerostat.weights.training_state import load_state

resource = pytest.importorskip("resource", reason="the system has no limits for processes")

VALUES = {"schedule": {"epochs": 3}, "optim": {"lr": 0.01}}


@contextmanager
def full_disk() -> Iterator[None]:
    """Let files grow to 100 kB and no further, as on a disk that is full: a log line fits, no state does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_while_saving(trainer: Trainer, monkeypatch, *saves: int) -> None:
    """Let the disk be full during the n-th calls of `save`, counted from 1."""
    save, count = trainer.save, [0]

    def saving() -> None:
        count[0] += 1
        if count[0] in saves:
            with full_disk():
                save()
        else:
            save()

    monkeypatch.setattr(trainer, "save", saving)


def scores(monkeypatch, *aps: float) -> None:
    """Let validations come to these figures instead of their own."""
    left, record = iter(aps), Trainer.record

    def recording(self: Trainer, found: Validation) -> None:
        from dataclasses import replace

        record(self, replace(found, result=replace(found.result, ap=next(left))))

    monkeypatch.setattr(Trainer, "record", recording)


def test_a_full_disk_is_said_once_training_goes_on_and_the_next_save_makes_up_for_it(
    discs, trainer_for, monkeypatch, caplog
):
    caplog.set_level("INFO", "aerostat")
    scores(monkeypatch, 0.1, 0.3, 0.2)
    trainer = trainer_for(discs, **VALUES)
    full_while_saving(trainer, monkeypatch, 2)
    seen = []
    epoch = trainer.loader.epoch

    def looking(number, stage, **options):
        if trainer.job.run.checkpoint.is_file():
            seen.append((number, load_state(trainer.job.run.checkpoint)["position"]["epoch"]))
            assert not [p for p in trainer.job.run.path.iterdir() if is_temporary(p)]
        return epoch(number, stage, **options)

    monkeypatch.setattr(trainer.loader, "epoch", looking)
    assert trainer.fit().epoch == 3
    assert seen == [(1, 1), (2, 1)], "the last whole state stays until there is a newer one"
    said = caplog.text
    assert said.count("epoch 2 could not be saved") == 1
    assert "File too large" in said and "that of epoch 1 is whole" in said
    assert "epoch 3 is saved: the disk takes it again" in said
    assert load_state(trainer.job.run.checkpoint)["position"]["best_epoch"] == 2
    assert read_header(trainer.job.run.best).metrics["epoch"] == 2, "the best weights waited in memory"
    assert any(
        not torch.equal(tensor, load_file(trainer.job.run.last)[name])
        for name, tensor in load_file(trainer.job.run.best).items()
    )


@pytest.mark.slow
def test_an_end_that_cannot_be_saved_is_an_error_and_the_run_can_be_ended_later(
    discs, trainer_for, restored, monkeypatch
):
    whole = trainer_for(discs, name="whole", **VALUES)
    whole.fit()
    trainer = trainer_for(discs, **VALUES)
    full_while_saving(trainer, monkeypatch, 3)
    with pytest.raises(AerostatError, match="came to its end, but could not be saved") as caught:
        trainer.fit()
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert f"the state of epoch 2, go on with: ae.resume('{trainer.job.run.path}')" in str(caught.value)
    again = restored(trainer, discs)
    again.fit()
    ours, theirs = load_file(again.job.run.last), load_file(whole.job.run.last)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_folder_that_vanishes_is_made_again_with_all_its_files(discs, start, small, tmp_path, monkeypatch):
    epoch = TrainLoader.epoch

    def vanishing(self, number, stage, **options):
        if number == 1:
            shutil.rmtree(tmp_path / "run")
        return epoch(self, number, stage, **options)

    monkeypatch.setattr(TrainLoader, "epoch", vanishing)
    scores(monkeypatch, 0.1, 0.2)
    small["schedule"] = {"epochs": 2, "stage2_share": 0.0}
    run = start(discs, tmp_path / "run", small)
    assert {p.name for p in run.path.iterdir()} == {
        "recipe.toml", "advice.json", "environment.json", "metrics.jsonl", "last.ckpt", "best.safetensors",
        "last.safetensors", "plots", "predictions",
    }  # fmt: skip
    kinds = [(r["kind"], r["epoch"]) for r in run.read_metrics()]
    assert kinds == [("train", 2), ("train", 2), ("val", 2), ("end", 2)]


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_learned(
    discs, start, small, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainLoader, "epoch", lambda *_, **__: pytest.fail("something was learned"))
    with (
        full_disk(),
        pytest.raises(AerostatError, match=r"cannot be written to .*nothing was trained") as caught,
    ):
        start(discs, tmp_path / "run", small)
    assert caught.value.exit_code == 1
    assert list((tmp_path / "run").iterdir()) == [], "the same command can be given again"


@pytest.mark.slow
def test_a_log_that_cannot_be_written_waits_in_memory_and_stops_nothing(
    discs, trainer_for, monkeypatch, caplog
):
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, **VALUES)
    log, calls = Run.log, [0]

    def refusing(run: Run, *records) -> None:
        calls[0] += 1
        if 2 <= calls[0] <= 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        log(run, *records)

    monkeypatch.setattr(Run, "log", refusing)
    trainer.fit()
    said = caplog.text
    assert said.count("cannot be written (No space left on device)") == 1
    assert "of the log that had to wait are written" in said
    iterations = [r["iteration"] for r in trainer.job.run.read_metrics() if r["kind"] == "train"]
    assert iterations == [1, 2, 3, 4, 5, 6]


def test_half_a_line_of_the_log_is_taken_back(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.log({"kind": "val", "epoch": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (run.metrics.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.log({"kind": "val", "epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run.log({"kind": "val", "epoch": 3})
    assert [json.loads(line)["epoch"] for line in run.metrics.read_text().splitlines()] == [1, 3]


def test_a_signal_on_a_full_disk_says_what_is_whole(discs, trainer_for, signal_at, monkeypatch):
    trainer = trainer_for(discs, options={"loggers": [signal_at(1)]}, **VALUES)
    trainer.begin()
    full_while_saving(trainer, monkeypatch, 1, 2)
    with pytest.raises(InterruptedRunError, match=r"could not be saved .* that of the beginning is whole"):
        trainer.fit()


# ------------------------------------------------------------------------ what stands between two files


def finished(discs, trainer_for, monkeypatch, *aps: float) -> Trainer:
    scores(monkeypatch, *aps)
    trainer = trainer_for(discs, schedule={"epochs": len(aps)}, optim={"lr": 0.01})
    trainer.fit()
    return trainer


def test_weights_that_are_older_than_the_state_are_made_from_it(discs, trainer_for, restored, monkeypatch):
    trainer = finished(discs, trainer_for, monkeypatch, 0.1, 0.3)
    whole = {path: load_file(path) for path in (trainer.job.run.best, trainer.job.run.last)}
    figures = read_header(trainer.job.run.last).metrics
    trainer.job.run.best.unlink()
    trainer.job.run.last.unlink()  # not cut off in place: it is mapped above
    trainer.job.run.last.write_bytes(b"")
    restored(trainer, discs)
    for path, weights in whole.items():
        assert read_header(path).metrics == figures
        assert all(torch.equal(tensor, weights[name]) for name, tensor in load_file(path).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "ap", "epoch"), [("older", 0.1, 1), ("older, with masks", 0.05, 1), ("none", -1.0, 0)]
)
def test_best_weights_that_were_lost_give_way_to_what_there_is_and_it_is_said(
    discs, trainer_for, restored, monkeypatch, caplog, left, ap, epoch
):
    caplog.set_level("INFO", "aerostat")
    trainer = finished(discs, trainer_for, monkeypatch, 0.3, 0.2)
    match left:
        case "older" | "older, with masks":
            state = load_state(trainer.job.run.checkpoint)
            state["position"] |= {"epoch": 3, "best_epoch": 2, "best_ap": 0.4}
            weights = trainer.learner.ema.net.state_dict(), read_header(trainer.job.run.best)
            of_masks = {"mask_ap": 0.05} if "masks" in left else {}
            weights[1].metrics.update(epoch=1, ap=0.1, **of_masks)  # type: ignore[attr-defined]
            save_weights(trainer.job.run.best, *weights)
            Saver(trainer.job.run, MetricsFile(trainer.job.run)).save(state, None, best=False, of="epoch 3")
        case "none":
            trainer.job.run.best.unlink()
    position = restored(trainer, discs).position
    assert (position.best_ap, position.best_epoch) == (ap, epoch)
    assert "takes its place" in caplog.text


@pytest.mark.slow
def test_a_run_that_died_after_its_last_state_is_given_its_pictures(
    discs, start, small, tmp_path, monkeypatch
):
    def dying(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("aerostat.training.finish.draw_predictions", dying)
    with pytest.raises(KeyboardInterrupt):
        start(discs, tmp_path / "run", small)
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    assert not run.ended and not run.predictions.exists()
    resume(run, discs)
    assert run.ended and len(list(run.predictions.iterdir())) == 2


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_left_alone(discs, start, small, tmp_path):
    run = start(discs, tmp_path / "run", small)
    with run.locked(), pytest.raises(AerostatError, match="is being trained by another process"):
        resume(run, discs)
