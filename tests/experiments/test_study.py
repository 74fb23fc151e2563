"""A study makes each run once, goes on where it stopped, and refuses to mix two studies."""

import dataclasses
import io
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.experiments import study as study_module
from aerostat.experiments.study import Arm, Study, Trial, fold_of, folder_of, slug, state_of, study
from aerostat.experiments.summary import plot, render
from aerostat.runs.directory import Run
from aerostat.training.plan import TrainRequest
from aerostat.training.signals import InterruptedRunError
from aerostat.training.validation import Validator
from aerostat.weights.training_state import load_state

FAST = {
    "model": {"size": "nano"},
    "data": {"input_size": 64, "threads": 0},
    "optim": {"batch_size": 2},
    "schedule": {"epochs": 2},
    "run": {"device": "cpu"},
}
SLOWER = {**FAST, "optim": {"batch_size": 2, "lr": 1e-5}}


def arm(name: str, values: dict) -> Arm:
    return Arm(name, TrainRequest(weights="", preset="small", values=values))


ARMS = [arm("small", FAST), arm("lr 1e-5", SLOWER)]


@pytest.fixture
def data(drawn) -> Dataset:
    return Dataset.read(drawn(train=4, val=2))


def said(study: Study) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(study))
    return console.export_text()


@pytest.mark.slow
def test_every_recipe_gets_every_seed_and_a_second_call_makes_nothing_anew(data, tmp_path, monkeypatch):
    found = study(data, ARMS, out=tmp_path / "study", seeds=[0, 1], tta=True)
    assert [(t.arm, t.seed) for t in found.trials] == [
        ("small", 0), ("small", 1), ("lr 1e-5", 0), ("lr 1e-5", 1)
    ]  # fmt: skip
    for trial in found.trials:
        run = Run(folder_of(tmp_path / "study", trial) / "run")
        logged = [line["ap"] for line in run.read_metrics() if line["kind"] == "val"]
        assert (trial.ap, trial.best_ap) == (logged[-1], max(logged))
        assert load_state(run.checkpoint)["recipe"]["run"]["seed"] == trial.seed
        assert trial.tta_ap is not None and trial.seconds > 0
    record = json.loads((tmp_path / "study" / "results.json").read_text())
    assert record["trials"][0]["ap"] == found.trials[0].ap and len(record["comparisons"]) == 1

    monkeypatch.setattr(study_module, "start_run", None)
    again = study(data, ARMS, out=tmp_path / "study", seeds=[0, 1], tta=True)
    assert again.trials == found.trials
    text = said(found)
    assert "lr 1e-5 against small: AP" in text and "2 pairs" in text and "optimistic" in text
    assert plot(found, tmp_path / "study.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_stopped_study_goes_on_and_ends_where_an_undisturbed_one_does(data, tmp_path, monkeypatch):
    expected = study(data, ARMS[:1], out=tmp_path / "whole", seeds=[0, 1])
    calls, begin = [], study_module.start_run

    def stopped(*args, **kwargs):
        if calls:
            raise KeyboardInterrupt
        calls.append(kwargs)
        return begin(*args, **kwargs)

    monkeypatch.setattr(study_module, "start_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        study(data, ARMS[:1], out=tmp_path / "cut", seeds=[0, 1])
    monkeypatch.setattr(study_module, "start_run", begin)
    # the second run was stopped before its first checkpoint: what is left of it is worth nothing
    leftover = folder_of(tmp_path / "cut", Trial("small", 1)) / "run"
    leftover.mkdir(parents=True, exist_ok=True)
    (leftover / "recipe.toml").write_text("half")
    found = study(data, ARMS[:1], out=tmp_path / "cut", seeds=[0, 1])
    assert [t.ap for t in found.trials] == [t.ap for t in expected.trials]


@pytest.mark.slow
def test_a_run_stopped_at_its_last_validation_is_validated_before_it_counts(data, tmp_path, monkeypatch):
    expected = study(data, ARMS[:1], out=tmp_path / "whole", seeds=[0])
    detect, calls = Validator.detect, [0]

    def left(self):
        calls[0] += 1
        if calls[0] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return detect(self)

    said = r"^small, seed 0: Stopped by SIGINT .* is saved; go on with: the same call again$"
    with monkeypatch.context() as patch, pytest.raises(InterruptedRunError, match=said):
        patch.setattr(Validator, "detect", left)
        study(data, ARMS[:1], out=tmp_path / "cut", seeds=[0])
    (found,) = study(data, ARMS[:1], out=tmp_path / "cut", seeds=[0]).trials
    (whole,) = expected.trials
    assert (found.ap, found.best_ap, found.best_epoch) == (whole.ap, whole.best_ap, whole.best_epoch)
    lines = Run(folder_of(tmp_path / "cut", found) / "run").read_metrics()
    assert [line["epoch"] for line in lines if line["kind"] == "val"] == [1, 2]


@pytest.mark.slow
def test_a_photograph_that_cannot_be_read_is_left_out_with_tta_too(data, tmp_path):
    broken = data.split("val").images[0].path
    broken.write_bytes(broken.read_bytes()[:200])
    (found,) = study(data, ARMS[:1], out=tmp_path / "study", seeds=[0], tta=True).trials
    assert found.tta_ap is not None and found.tta_ap >= 0
    assert "left out" in (folder_of(tmp_path / "study", found) / "log.txt").read_text()


@pytest.mark.slow
def test_another_study_in_the_same_place_is_refused(data, drawn, tmp_path):
    out = tmp_path / "study"
    study(data, ARMS[:1], out=out, seeds=[0])
    with pytest.raises(InputError, match=r"recipe 'small' with optim.lr = .*, asked for was 0.5"):
        other = {**FAST, "optim": {"batch_size": 2, "lr": 0.5}}
        study(data, [arm("small", other)], out=out, seeds=[0])
    with pytest.raises(InputError, match="other folds"):
        study(data, ARMS[:1], out=out, seeds=[0], folds=2)
    with pytest.raises(InputError, match="other images"):
        study(Dataset.read(drawn(train=6, name="more")), ARMS[:1], out=out, seeds=[0])
    scored = data.split("val").chosen([0])
    with pytest.raises(InputError, match="other validation images"):  # AP of two sets are not to be compared
        fewer = Dataset(data.classes, {"train": data.split("train"), "val": scored})
        study(fewer, ARMS[:1], out=out, seeds=[0])
    shutil.copy(out / "study.json", tmp_path / "kept.json")
    (out / "study.json").write_text("{")
    with pytest.raises(InputError, match="no readable record"):
        study(data, ARMS[:1], out=out, seeds=[0])


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [(0, "The data's val split holds no object .* use `folds`"), (4, "Fold . of seed 0 holds no object")],
)
def test_runs_that_could_not_be_scored_are_refused(data, tmp_path, folds, sentence):
    def bare(split, kept):
        images = [dataclasses.replace(image, instances=()) for image in split.images[kept:]]
        return dataclasses.replace(split, images=(*split.images[:kept], *images))

    splits = {"train": bare(data.split("train"), 3), "val": bare(data.split("val"), 0)}
    with pytest.raises(InputError, match=sentence):
        study(
            Dataset(data.classes, splits),
            ARMS[:1],
            out=tmp_path / "study",
            seeds=[0],
            folds=folds,
        )
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "none twice"),
        ({"folds": 1}, "at least 2 folds"),
        ({"folds": 5}, r"training images \(4\), found 5"),
        ({"arms": []}, "different names"),
        ({"arms": [ARMS[0], ARMS[0]]}, "different names"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(data, tmp_path, changes, sentence):
    request = {"arms": ARMS, "seeds": [0], **changes}
    with pytest.raises(InputError, match=sentence):
        study(data, request.pop("arms"), out=tmp_path / "study", **request)
    assert not (tmp_path / "study").exists()


def test_a_recipe_that_cannot_be_is_refused_before_the_first_run(data, tmp_path):
    broken = arm("broken", {**FAST, "optim": {"batch_size": 0}})
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        study(data, [ARMS[0], broken], out=tmp_path / "study", seeds=[0])
    assert not (tmp_path / "study").exists()


def test_a_folder_of_something_else_and_data_without_val_are_refused(data, drawn, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is no study"):
        study(data, ARMS, out=tmp_path / "full", seeds=[0])
    with pytest.raises(InputError, match="no val split to score the runs on; use `folds` 5"):
        study(Dataset.read(drawn(val=0, name="alone")), ARMS, out=tmp_path / "s", seeds=[0])


def test_folds_hold_out_every_training_image_once_and_are_alike(drawn):
    data = Dataset.read(drawn(train=11, val=2))
    held_out = []
    for fold in (1, 2, 3):
        part = fold_of(data, 3, fold, seed=7)
        ours = {i.file_name for i in part.split("val").images}
        assert ours.isdisjoint(i.file_name for i in part.split("train").images)
        assert len(part.split("train")) + len(ours) == 11 and len(ours) in (3, 4)
        held_out += sorted(ours)
    assert sorted(held_out) == sorted(i.file_name for i in data.split("train").images)
    assert fold_of(data, 3, 1, seed=7) == fold_of(data, 3, 1, seed=7)
    others = [tuple(i.file_name for i in fold_of(data, 3, 1, seed=s).split("val").images) for s in range(5)]
    assert len(set(others)) > 1


def test_folds_of_the_photographs_have_as_many_objects_each(balloon: Path):
    data = Dataset.read(balloon, ["balloon"])
    counts = [fold_of(data, 5, fold, seed=0).split("val").box_count for fold in range(1, 6)]
    assert sum(counts) == 255
    assert np.ptp(counts) <= 6  # dealt without looking at counts: about 40


def test_names_become_folders_that_differ():
    names = ["auto", "optim.lr=0.1", "optim.lr 0.1", "../../up", "a/b", "a-b", "", "." * 3, "长" * 100]
    slugs = [slug(name) for name in names]
    assert slugs[0] == "auto" and len(set(slugs)) == len(names)
    assert all("/" not in s and not s.startswith(".") and len(s) < 80 for s in slugs)


def test_the_time_left_runs_down_while_a_run_is_made(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.log({"kind": "val", "epoch": 3})
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    assert state_of("run 2 of 2", None, run) == "run 2 of 2, epoch 3"
    assert state_of("run 2 of 2", 1090.0, run) == "run 2 of 2, epoch 3, about 1:30 left"
    assert state_of("run 2 of 2", 1030.0, run) == "run 2 of 2, epoch 3, about 0:30 left"
    assert state_of("run 2 of 2", 999.0, run) == "run 2 of 2, epoch 3"  # slower than thought
    assert state_of("run 2 of 2", 1030.0, Run(tmp_path / "none")) == "run 2 of 2, starting, about 0:30 left"


@pytest.mark.slow
def test_recipes_with_masks_are_ranked_by_masks_and_those_with_boxes_alone_by_boxes(drawn, outline, tmp_path):
    data = outline(Dataset.read(drawn(train=4, val=2)))
    masks = arm("masks", {**FAST, "model": {"size": "nano", "masks": True}})
    slower = arm("slower", {**SLOWER, "model": {"size": "nano", "masks": True}})
    found = study(data, [masks, slower], out=tmp_path / "masks", seeds=[0], tta=True)
    assert found.headline == "mask_ap" and found.comparisons()[0].ours == "slower"
    for trial in found.trials:
        run = Run(folder_of(tmp_path / "masks", trial) / "run")
        logged = [line for line in run.read_metrics() if line["kind"] == "val"]
        best = max(logged, key=lambda line: line["mask_ap"])
        assert (trial.mask_ap, trial.ap) == (logged[-1]["mask_ap"], logged[-1]["ap"])
        assert (trial.best_mask_ap, trial.best_ap, trial.best_epoch) == (
            best["mask_ap"], best["ap"], best["epoch"]
        )  # fmt: skip
        assert trial.tta_mask_ap is not None and trial.tta_ap is not None
    text = said(found)
    assert "slower against masks: mask AP" in text and text.count("TTA") == 2
    assert plot(found, tmp_path / "study.png").stat().st_size > 1000

    mixed = study(data, [ARMS[0], masks], out=tmp_path / "mixed", seeds=[0])
    assert mixed.headline == "ap" and mixed.values("small", "mask_ap") == []
    assert "masks against small: AP" in said(mixed)


def test_a_study_ranks_by_masks_where_all_recipes_have_them():
    boxes, masks = Trial("a", 0, ap=0.6, best_ap=0.7), Trial("b", 0, ap=0.5, mask_ap=0.4, best_mask_ap=0.4)
    other = Trial("c", 0, ap=0.4, mask_ap=0.5, best_mask_ap=0.5)
    both = Study(Path("study"), (masks, other))
    assert both.headline == "mask_ap" and both.to_dict()["headline"].startswith("mask_ap")
    assert both.comparisons()[0].difference.spread.mean == pytest.approx(0.1)
    assert list(both.measures) == ["mask_ap", "ap", "best_mask_ap"]
    mixed = Study(Path("study"), (boxes, masks))
    assert mixed.headline == "ap" and list(mixed.measures) == ["ap", "ap50", "best_ap", "mask_ap"]
    assert mixed.comparisons()[0].difference.spread.mean == pytest.approx(-0.1)
