"""The verb `train`."""

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest


def test_dry_run_prints_the_plan_and_writes_nothing(aerostat, via, working_folder, tree):
    before = tree(via.parent)
    words = ["--classes", "disc", "--model", "rtmdet-nano", "--dry-run", "--epochs", "7", "--freeze-backbone"]
    ended = aerostat("train", via, *words, "--set", "augment.flip=0.25", "--set", "optim.lr=0.0003")
    assert ended.code == 0
    recipe = tomllib.loads(ended.out)
    assert recipe["schedule"]["epochs"] == 7
    assert recipe["model"] == {"size": "nano", "weights": "", "freeze": "backbone", "masks": False}
    assert (recipe["augment"]["flip"], recipe["optim"]["lr"]) == (0.25, 0.0003)
    for words_of_card in ("train", "val", "disc", "7 epochs", "preset small: 3 training images"):
        assert words_of_card in ended.err
    assert tree(via.parent) == before


def test_flags_beat_set_and_set_beats_the_recipe_file(aerostat, coco):
    Path("r.toml").write_text(
        '[model]\nsize = "nano"\n[optim]\nlr = 0.1\nbatch_size = 9\n[data]\ninput_size = 96\n'
    )
    words = [
        "--recipe",
        "r.toml",
        "--set",
        "optim.lr=0.2",
        "--set",
        "data.input_size=128",
        "--input-size",
        "64",
    ]
    recipe = tomllib.loads(aerostat("train", coco, *words, "--dry-run").out)
    assert recipe["model"]["size"] == "nano"
    assert (recipe["optim"]["batch_size"], recipe["optim"]["lr"], recipe["data"]["input_size"]) == (
        9,
        0.2,
        64,
    )
    recipe = tomllib.loads(aerostat("train", coco, *words, "--model", "rtmdet-s", "--dry-run").out)
    assert recipe["model"]["size"] == "s"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "optim.learningrate=1"], ["optim.learningrate", "Known keys", "lr"]),
        (["--set", "schedule.epoch=3"], ["schedule.epoch", "Did you mean", "epochs"]),
        (["--set", "optimm.lr=1"], ["'optimm'", "Did you mean 'optim'"]),
        (["--set", "lr=1"], ["section.key=value", "'lr=1'"]),
        (["--set", "optim.lr=fast"], ["optim.lr", "'fast'"]),
        (["--set", "optim.lr=-1"], ["optim.lr", "-1"]),
        (["--set", "run.device=gpu"], ["run.device", "expected one of the devices auto, cpu, cuda", "'gpu'"]),
        (["--epochs", "0"], ["schedule.epochs", "at least 1"]),
        (["--input-size", "100"], ["input_size", "multiple of 32", "100"]),
        (["--recipe", "tiny"], ["'tiny'", "small", "published"]),
        (["--recipe", "none.toml"], ["none.toml"]),
        (["--recipe", "typo.toml"], ["typo.toml", "schedule.epochz", "Did you mean", "epochs"]),
        (["--recipe", "cut.toml"], ["cut.toml", "TOML", "line 1"]),
        (["--model", "rtmdet-nan"], ["rtmdet-nan", "Did you mean 'rtmdet-nano'"]),
        (["--weights", "none.pth"], ["none.pth"]),
        (["--weights", "rtmdet-tini"], ["rtmdet-tini", "aerostat models", "Did you mean 'rtmdet-tiny'"]),
        (["--weights", "r.txt"], ["r.txt", "not a weights file"]),
        (["--classes", "kite"], ["'disc'", "'kite'"]),
    ],
)
def test_a_request_that_does_not_fit_is_refused_and_nothing_is_written(
    aerostat, coco, words, expected, assert_refused, tree
):
    Path("typo.toml").write_text("[schedule]\nepochz = 3\n")
    Path("cut.toml").write_text("[schedule\n")
    Path("r.txt").write_text("not weights")
    before = tree(coco.parent)
    assert_refused(aerostat("train", coco, *words), *expected)
    assert tree(coco.parent) == before


def test_a_misspelt_key_is_refused_before_the_data_are_read(aerostat, assert_refused):
    assert_refused(aerostat("train", "no/such/data", "--set", "optim.lrr=1"), "optim.lrr")


def test_weights_of_another_size_are_refused(aerostat, coco, weights, working_folder, assert_refused):
    ended = aerostat("train", coco, "--model", "rtmdet-tiny", "--weights", weights)
    assert_refused(ended, "rtmdet-nano", "rtmdet-tiny", str(weights))
    assert list(working_folder.iterdir()) == []


def test_a_run_directory_that_exists_is_refused_untouched(
    aerostat, coco, working_folder, assert_refused, tree, tiny_run
):
    Path("runs/coco").mkdir(parents=True)
    Path("runs/coco/notes.txt").write_text("precious")
    before = tree(working_folder)
    assert_refused(aerostat("train", coco, *tiny_run), "runs/coco exists", "--out")
    assert_refused(aerostat("train", coco, *tiny_run, "--out", "runs/coco/notes.txt"), "exists")
    assert tree(working_folder) == before


@pytest.mark.parametrize(
    ("data", "run"),
    [(".", "v1.2 set"), ("train/..", "v1.2 set"), ("../v1.2 set/", "v1.2 set"), ("train/via.json", "via")],
)
def test_a_run_is_named_after_its_data(
    aerostat, tmp_path, monkeypatch, data, run, assert_refused, write_via, tiny_run
):
    monkeypatch.chdir(write_via(tmp_path / "v1.2 set"))
    (Path("runs") / run / "taken").mkdir(parents=True)  # so that the name is said and nothing is trained
    assert_refused(aerostat("train", data, "--classes", "disc", *tiny_run), f"runs/{run} exists")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resume", "none"], ["none", "last.ckpt"]),
        (["--resume", "r", "--epochs", "9"], ["--epochs", "--resume", "leave it out"]),
        (["--resume", "r", "--dry-run", "--model", "rtmdet-s"], ["--model, --dry-run", "leave them out"]),
        (["--resume", "r", "--classes", "disc"], ["--classes", "DATA"]),
        (["--resume", "r", "--val", "0"], ["--val", "leave it out"]),
    ],
)
def test_resume_ignores_nothing_in_silence(aerostat, words, expected, assert_refused):
    assert_refused(aerostat("train", *words), *expected)


def test_training_needs_a_split_to_learn_from(aerostat, tmp_path, assert_refused, write_via, tiny_run):
    data = write_via(tmp_path / "d", ["val", "test"])
    assert_refused(aerostat("train", data, "--classes", "disc", *tiny_run), "train", "val, test")


@pytest.mark.parametrize(
    ("splits", "note"),
    [
        (["train", "valid"], ""),
        (["train", "test"], "there is no val split: validating on test"),
        (["train"], "there is no val split: nothing is validated"),
    ],
)
def test_the_split_to_validate_on_is_found_and_named(aerostat, tmp_path, splits, note, write_via, tiny_run):
    data = write_via(tmp_path / "d", splits)
    ended = aerostat("train", data, "--classes", "disc", *tiny_run, "--dry-run")
    assert ended.code == 0
    assert note in ended.err
    assert ("there is no val split" in ended.err) == bool(note)


@pytest.mark.slow
def test_the_main_story_from_a_via_file_to_predictions(aerostat, via, assert_refused, tiny_run):
    trained = aerostat("train", via, "--classes", "disc", *tiny_run)
    run = Path("runs/via")
    assert trained.code == 0
    for name in ("recipe.toml", "environment.json", "metrics.jsonl", "last.ckpt", "best.safetensors"):
        assert (run / name).is_file()
    assert "epoch 1/1" in trained.err
    assert f"aerostat eval {run}" in trained.err, "the next commands to type"

    figures = aerostat("eval", run, via, "--json", "--save", "found.json")
    assert (figures.code, figures.document["images"], figures.document["instances"]) == (0, 3, 3)
    assert {row["image_id"] for row in json.loads(Path("found.json").read_text())} <= {1, 2, 3}

    found = aerostat("predict", run, via / "val", "--score", "0.001", "--json", "--out", "native")
    assert found.code == 0
    assert len(found.document["images"]) == 3

    exported = aerostat("export", run, "--to", "openmmlab")
    assert exported == (0, "wrote runs/via/best.pth: rtmdet-nano, classes disc\n", "")
    again = aerostat(
        "predict",
        run / "best.pth",
        via / "val",
        "--score",
        "0.001",
        "--json",
        "--out",
        "exported",
        "--input-size",
        64,
    )
    assert again.document["images"] == found.document["images"]

    assert_refused(aerostat("train", via, "--classes", "disc", *tiny_run), "runs/via exists")
    assert_refused(aerostat("train", "--resume", run), "is finished", f"--weights {run}")


@pytest.mark.slow
def test_without_a_val_split_the_last_weights_are_kept_and_used(aerostat, tmp_path, write_via, tiny_run):
    data = write_via(tmp_path / "d", ["train"])
    assert aerostat("train", data, "--classes", "disc", *tiny_run, "--out", "run").code == 0
    assert not Path("run/best.safetensors").exists()
    figures = aerostat("eval", "run", data, "--json")
    assert (figures.code, figures.document["images"]) == (0, 3)
    assert "there is no val split: evaluating on train" in figures.err


def test_an_unknown_tracker_is_refused(aerostat, via, assert_refused):
    assert_refused(aerostat("train", via, "--classes", "disc", "--log", "sheet"), "sheet", "tensorboard")


def test_a_tracker_that_is_not_installed_is_refused_before_the_run(
    aerostat, via, assert_refused, monkeypatch, tree
):
    find, before = importlib.util.find_spec, tree(via.parent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
    words = ["--classes", "disc", "--weights", "", "--log", "wandb"]
    assert_refused(aerostat("train", via, *words), "pip install 'aerostat[wandb]'")
    assert tree(via.parent) == before
