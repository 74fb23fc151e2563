"""Validation images that a training holds out of data without such a split, and holds out again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import aerostat as ae
from aerostat.cli.commands import COMMANDS
from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.progress import log_to
from aerostat.reporting.subject import read_subject
from aerostat.splitting.split import arrange
from aerostat.training.api import resume, train
from aerostat.training.plan import TrainRequest, plan
from aerostat.training.resume_checks import Fingerprint
from aerostat.training.signals import InterruptedRunError
from aerostat.weights.training_state import load_state, save_state


@pytest.fixture
def twelve(write_scenes, tmp_path):
    """Twelve photographs in one folder, two of them nearly the same."""
    return Dataset.read(write_scenes(tmp_path / "photos", [*range(11), 4]))


def asked(small, **options):
    return TrainRequest("rtmdet-nano", "", values=small, **options)


def held_out_of(run):
    return json.loads(run.holdout.read_text())["file_names"]


def test_a_fifth_is_held_out_printed_and_stored(twelve, start, small, tmp_path):
    with log_to(tmp_path / "log.txt"):
        run = start(twelve, tmp_path / "run", small, commands=COMMANDS)
    expected = arrange(twelve).data.split("val").images.file_names
    assert len(expected) == 2 and tuple(held_out_of(run)) == expected
    assert run.read_validations() and run.best.is_file()
    prints = load_state(run.checkpoint)["fingerprint"]
    assert Fingerprint.read(prints["val"]).names == expected
    assert len(Fingerprint.read(prints["train"]).names) == 10
    said = (tmp_path / "log.txt").read_text()
    assert "2 of 12 images are held out for validation (--val 0 learns from all)" in said
    assert "1 group of like images (2 images, at most 2 in one) stays together" in said
    assert "preset small: 10 training images" in said, "the preset sees what is learned"
    card = json.loads(run.environment.read_text())["data_card"]
    assert [(split["name"], split["images"]) for split in card["splits"]] == [("train", 10), ("val", 2)]


def test_nothing_is_held_out_if_that_is_asked_for(twelve, small, tmp_path):
    run = train(twelve, "small", model="rtmdet-nano", weights="", out=tmp_path / "run", val=0, epochs=1,
                input_size=64, batch_size=2, threads=0, device="cpu")  # fmt: skip
    assert not run.holdout.exists() and not run.best.exists()
    state = load_state(run.checkpoint)
    assert state["train_images"] == 12 and "held_out" not in state


def test_the_share_can_be_chosen(twelve, small):
    planned = plan(twelve, asked(small, val=0.5))
    assert (len(planned.train_split), len(planned.val_split)) == (6, 6)


@pytest.mark.parametrize("val", [-0.1, 1.0, 1.5])
def test_an_impossible_share_is_refused(twelve, small, val):
    with pytest.raises(InputError, match="`val` to be at least 0 and below 1"):
        plan(twelve, asked(small, val=val))


def test_a_share_of_data_that_have_validation_images_is_refused(discs, small):
    with pytest.raises(InputError, match=r"have a split 'val' for validation, so `val=0.3` would do nothing"):
        plan(discs, asked(small, val=0.3))
    assert plan(discs, asked(small, val=0.0)).holdout is None


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_data_with_a_split_to_validate_on_stay_as_they_are(twelve, small, held_out):
    parts = dict(zip(("train", held_out), ae.split(twelve, val=0.25).splits.values(), strict=True))
    data = Dataset(twelve.classes, {n: replace(s, name=n) for n, s in parts.items()})
    planned = plan(data, asked(small))
    assert planned.data is data and planned.holdout is None
    assert planned.train_split is data.splits["train"] and planned.val_split is data.splits[held_out]


def test_of_a_few_images_none_is_held_out(drawn, start, small, tmp_path, caplog):
    data = Dataset.read(drawn(train=9, val=0))
    start(data, tmp_path / "run", small)
    assert "there are only 9 images, so none is held out for validation" in caplog.text
    assert not (tmp_path / "run" / "holdout.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("made_in_memory", [False, True])
def test_a_stopped_run_goes_on_with_the_same_images_to_the_bit(
    twelve, start, small, tmp_path, signal_at, made_in_memory
):
    data = replace(twelve, origin=None) if made_in_memory else twelve
    small["schedule"] = {"epochs": 2}
    whole = start(data, tmp_path / "whole", small)
    with pytest.raises(InterruptedRunError):
        start(data, tmp_path / "run", small, loggers=[signal_at(7)])
    (tmp_path / "run" / "holdout.json").unlink()  # the state knows it too
    run = resume(tmp_path / "run", data if made_in_memory else None)
    assert held_out_of(run) == held_out_of(whole)
    first, second = (load_state(each.checkpoint) for each in (whole, run))
    for part in ("net", "ema"):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name
    np.testing.assert_array_equal(
        *([line["ap"] for line in each.read_validations()] for each in (whole, run))
    )
    assert not [line for line in run.read_metrics() if line["kind"] == "resume" and line["differences"]]


def test_an_old_run_without_validation_goes_on_without_it(twelve, start, small, tmp_path, signal_at):
    """Checkpoints of before know nothing of held-out images."""
    with pytest.raises(InterruptedRunError):
        train(twelve, "small", model="rtmdet-nano", weights="", out=tmp_path / "run", val=0, epochs=1,
              input_size=64, batch_size=2, threads=0, device="cpu", loggers=[signal_at(2)])  # fmt: skip
    state = load_state(tmp_path / "run" / "last.ckpt")
    assert "held_out" not in state and state["fingerprint"]["val"] is None
    save_state(tmp_path / "run" / "last.ckpt", state)
    run = resume(tmp_path / "run")
    assert run.ended and not run.read_validations() and not run.holdout.exists()
    assert load_state(run.checkpoint)["train_images"] == 12


def test_the_page_shows_the_held_out_images(twelve, start, small, tmp_path):
    run = start(twelve, tmp_path / "run", small)
    for data in (None, twelve, plan(twelve, asked(small)).data):
        subject = read_subject(run, data)
        assert list(subject.val_split.images.file_names) == held_out_of(run)
        assert len(subject.train_split) == 10
