"""From a data set to a run: what is chosen, refused, written and said; stopping and going on from a shell."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file

from aerostat.cli.commands import COMMANDS
from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError, InputError
from aerostat.inference.resolve import load
from aerostat.model import build
from aerostat.progress import log_to
from aerostat.runs.directory import Run
from aerostat.training.api import resume, train
from aerostat.training.finish import draw_predictions
from aerostat.training.plan import TrainRequest, choose_splits, plan, start_network
from aerostat.training.recipe import Recipe, read_recipe
from aerostat.training.runner import RunOptions, resume_run
from aerostat.training.signals import InterruptedRunError
from aerostat.training.step import Learner
from aerostat.weights.checkpoint import Header, read_header, save_weights
from aerostat.weights.training_state import load_state, save_state


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No published weights are at hand, and nothing may be fetched."""
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))


def write_weights(path: Path, classes: tuple[str, ...], size: str = "nano", **header: object) -> Path:
    torch.manual_seed(5)
    net = build(size, len(classes))
    save_weights(path, net.state_dict(), Header(size, classes, (96, 96), **header))  # type: ignore[arg-type]
    return path


def edit_annotations(split: Path, **replaced: object) -> None:
    path = split / "_annotations.coco.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **replaced}))


# ------------------------------------------------------------------------------------------ a whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_split, small_values, start) -> tuple[Path, Path, str]:
    """One run of two epochs: its directory, its data, and what it said."""
    root = tmp_path_factory.mktemp("finished")
    write_split(root / "data" / "train", 5, ("disc",), seed=1)
    write_split(root / "data" / "val", 3, ("disc",), seed=2)
    values = {**small_values, "schedule": {"epochs": 2}}
    with log_to(root / "log.txt"):
        run = start(Dataset.read(root / "data"), root / "runs" / "discs", values, commands=COMMANDS)
    return run.path, root / "data", (root / "log.txt").read_text("utf-8")


def test_a_run_has_all_its_files(finished):
    path, _, _ = finished
    assert {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} == {
        "recipe.toml",
        "advice.json",
        "environment.json",
        "metrics.jsonl",
        "last.ckpt",
        "best.safetensors",
        "last.safetensors",
        *(f"plots/{name}.png" for name in ("loss", "lr", "ap")),
        *(f"predictions/{i}.jpg" for i in range(3)),
    }
    for picture in path.rglob("*.png"):
        assert cv2.imread(str(picture)) is not None


def test_the_resolved_recipe_is_in_the_run_and_in_the_weights(finished):
    path, _, _ = finished
    recipe = read_recipe(path / "recipe.toml")
    assert (recipe.schedule.epochs, recipe.model.size, recipe.data.input_size) == (2, "nano", 64)
    assert recipe.schedule.stage2_epoch == 1, "the share of a quarter moved with the two epochs"
    assert read_header(path / "best.safetensors").recipe == json.loads(json.dumps(recipe.to_dict()))


def test_the_environment_is_kept_with_where_the_data_were(finished):
    path, data, _ = finished
    environment = json.loads((path / "environment.json").read_text())
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert environment["data"] == Dataset.read(data).origin.to_dict()


def test_the_run_says_what_it_chose_what_it_found_and_what_to_type_next(finished):
    path, data, said = finished
    for words in (
        "train", "val", "objects",  # the data card
        "rtmdet-nano at 64 px, 2 epochs, batch 2",
        "preset small: 5 training images",
        "fresh weights",
        "epoch 1/2", "epoch 2/2", "images/s", "ETA",
        "validation  AP",
        "validation of epoch 2:\n Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] =",
        "class  instances",
        "finished 2 epochs",
        f"{path / 'best.safetensors'}", f"{path / 'last.safetensors'}",
        f"aerostat eval {path} {data}",
        f"aerostat predict {path}",
    ):  # fmt: skip
        assert words in said, words
    assert "\x1b" not in said, "no terminal codes where there is no terminal"


def test_the_run_can_be_loaded_and_predicts(finished):
    path, data, _ = finished
    detector = load(path)
    assert detector.classes == ("disc",)
    assert detector.input_size == (64, 64)
    assert detector.predict(data / "val" / "0.jpg", score=0.0).image_size == (64, 80)


def test_a_finished_run_is_not_gone_on_with(finished):
    path, _, _ = finished
    before = (path / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"is finished \(2 of 2 epochs\).*weights="):
        resume(path)
    assert (path / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_one_others(discs, start, small, tmp_path):
    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        values = {**small, "run": {"device": "cpu", "seed": seed}}
        return load_file(start(discs, tmp_path / name, values).last)

    first, again, other = weights("a", 3), weights("b", 3), weights("c", 4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_predictions_of_images_of_one_name_are_both_kept(finished, tmp_path):
    path, data, _ = finished
    split = Dataset.read(data).split("val")
    a, b = split.images[:2]
    both = replace(split, images=(replace(a, file_name="x/p.jpg"), replace(b, file_name="y/p.jpg")))
    shutil.copytree(path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "predictions")
    assert draw_predictions(Run(tmp_path / "run"), both) == 2
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 2


# ------------------------------------------------------------------------------------------ in Python

FAST = {"input_size": 64, "threads": 0, "batch_size": 2, "device": "cpu", "epochs": 1}


def test_fields_of_the_recipe_are_arguments_of_train(discs, tmp_path):
    run = train(
        discs,
        model="rtmdet-nano",
        weights="",
        out=tmp_path / "run",
        lr=0.003,
        seed=4,
        freeze="backbone",
        **FAST,
    )
    recipe = read_recipe(run.recipe)
    assert (recipe.optim.lr, recipe.run.seed, recipe.model.freeze) == (0.003, 4, "backbone")
    assert (recipe.optim.batch_size, recipe.eval.batch_size) == (2, 8), "the batch is the optimiser's"


def test_a_recipe_is_taken_as_it_is_but_for_the_fields_that_are_named(discs, tmp_path):
    recipe = Recipe().override(
        {"model": {"size": "nano"}, "data": {"input_size": 64, "threads": 0}, "optim": {"batch_size": 4}}
    )
    run = train(discs, recipe, out=tmp_path / "run", epochs=1, device="cpu")
    expected = recipe.override({"schedule": {"epochs": 1}, "run": {"device": "cpu"}})
    assert read_recipe(run.recipe) == expected


def test_a_preset_may_be_named(discs, tmp_path):
    run = train(discs, "published", model="rtmdet-nano", weights="", out=tmp_path / "run", **FAST)
    assert read_recipe(run.recipe).run.log_interval == 20


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"epoch": 3}, ["'epoch'", "'epochs'"]),
        ({"zzz": 2}, ["'zzz'", "epochs", "lr"]),
        ({"epochs": 0}, ["schedule.epochs", "at least 1"]),
        ({"recipe": "smal"}, ["'smal'", "'small'"]),
    ],
)
def test_a_wrong_argument_is_refused_with_the_nearest(discs, tmp_path, fields, parts):
    with pytest.raises(InputError) as caught:
        train(discs, model="rtmdet-nano", weights="", out=tmp_path / "run", **fields)
    assert "\n" not in str(caught.value) and all(part in str(caught.value) for part in parts)
    assert not (tmp_path / "run").exists()


def test_without_progress_a_run_logs_its_results_and_no_progress(discs, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "aerostat")
    monkeypatch.setattr("aerostat.progress.LINE_SECONDS", 0.0)
    for progress in (True, False):
        out = tmp_path / str(progress)
        train(discs, model="rtmdet-nano", weights="", out=out, progress=progress, **FAST)
        logged = caplog.text
        caplog.clear()
        assert ("epoch 1/1  1/2" in logged) == ("evaluating val: 1 of 2" in logged) == progress
        assert "finished 1 epoch" in logged


def test_in_python_the_next_steps_are_calls(discs, tmp_path, caplog):
    caplog.set_level("INFO", "aerostat")
    run = train(discs, model="rtmdet-nano", weights="", out=tmp_path / "run", **FAST)
    logged = caplog.text
    assert f"ae.load('{run.path}').predict('PHOTOGRAPH.jpg')" in logged
    assert "aerostat " not in logged.replace("aerostat 0", "") and "--" not in logged


# ------------------------------------------------------------------------------------ what is resolved


def test_planning_writes_nothing(discs, small, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    planned = plan(discs, TrainRequest("rtmdet-nano", "", values=small))
    assert planned.recipe.data.input_size == 64
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("model", "size"), [("rtmdet-nano", 320), ("rtmdet-tiny", 640), ("m", 640)])
def test_the_input_size_is_the_published_one_of_the_model(discs, model, size):
    assert plan(discs, TrainRequest(model, "")).recipe.data.input_size == size


def test_the_input_size_is_that_of_the_weights_unless_it_is_named(discs, tmp_path):
    weights = str(write_weights(tmp_path / "w.safetensors", ("disc",)))
    assert plan(discs, TrainRequest("rtmdet-nano", weights)).recipe.data.input_size == 96
    named = plan(discs, TrainRequest("rtmdet-nano", weights, values={"data": {"input_size": 128}}))
    assert named.recipe.data.input_size == 128


def test_what_is_asked_for_wins_over_the_preset_and_the_rest_follows(discs):
    values = {"schedule": {"epochs": 100, "patience": 7}, "optim": {"lr": 0.5}, "model": {"size": "s"}}
    recipe = plan(discs, TrainRequest(weights="", values=values)).recipe
    assert (recipe.model.size, recipe.optim.lr, recipe.schedule.patience) == ("s", 0.5, 7)
    assert recipe.schedule.warmup_iterations == 20  # a tenth of 100 epochs of 2
    assert recipe.schedule.stage2_epoch == 75
    assert values["model"] == {"size": "s"}, "the request itself is left as it is"


def test_without_weights_in_the_cache_the_start_is_fresh_and_says_how_to_do_better(discs):
    planned = plan(discs, TrainRequest("rtmdet-tiny"))
    assert planned.weights is None and planned.recipe.model.weights == ""
    assert any("weights='rtmdet-tiny'" in reason for reason in planned.reasons)
    planned = plan(discs, TrainRequest("rtmdet-tiny"), COMMANDS)
    assert any("--weights rtmdet-tiny" in reason for reason in planned.reasons)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"model": "rtmdet-tinny"}, ["'rtmdet-tinny'", "'rtmdet-tiny'"]),
        ({"model": "yolo"}, ["'yolo'", "rtmdet-nano, rtmdet-tiny"]),
        ({"preset": "smal"}, ["'smal'", "'small'"]),
        ({"weights": "/nowhere/w.pth"}, ["/nowhere/w.pth"]),
        ({"values": {"optim": {"lrr": 1}}}, ["optim.lrr", "'lr'"]),
        ({"values": {"optim": 3}}, ["'optim'", "table"]),
        ({"values": {"schedule": {"epochs": 0}}}, ["schedule.epochs", "at least 1"]),
        ({"values": {"run": {"device": "tpu"}}}, ["run.device", "'tpu'"]),
    ],
)
def test_a_wrong_request_is_one_sentence_and_leaves_nothing(discs, start, small, tmp_path, arguments, parts):
    values = arguments.pop("values", small)
    with pytest.raises(InputError) as caught:
        start(discs, tmp_path / "run", values, **arguments)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_in_place_of_a_device_that_is_not_there_the_cpu_trains(discs, start, small, tmp_path, caplog):
    caplog.set_level("INFO", "aerostat")
    small["run"] = {"device": "cuda"}
    start(discs, tmp_path / "run", small)
    assert "the device cuda cannot be used here" in caplog.text
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_half_precision_on_the_cpu_is_refused(discs, start, small, tmp_path):
    small["run"] = {"device": "cpu"}
    small["optim"]["precision"] = "16-mixed"
    with pytest.raises(InputError, match="16-mixed needs a GPU"):
        start(discs, tmp_path / "run", small)
    assert not (tmp_path / "run").exists()


def test_the_size_is_that_of_the_weights_unless_a_model_is_named(discs, small, person_weights):
    assert plan(discs, TrainRequest(weights=str(person_weights), values=small)).recipe.model.size == "nano"
    with pytest.raises(InputError, match="Expected rtmdet-tiny weights, found rtmdet-nano"):
        plan(discs, TrainRequest("rtmdet-tiny", str(person_weights), values=small))


def test_a_run_that_exists_is_refused_before_anything_else_and_untouched(discs, start, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        start(discs, tmp_path / "run", small, weights="/nowhere.pth")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("run") and p.name != "run"]


# ------------------------------------------------------------------------------------------ weights


def test_the_class_list_decides_the_head_and_rows_of_the_same_name_are_kept(drawn, tmp_path):
    path = write_weights(tmp_path / "w.safetensors", ("blue", "person", "red"))
    old = load_file(path)
    data = Dataset.read(drawn(train=6, val=3, classes=("red", "blue", "green")))
    planned = plan(data, TrainRequest("rtmdet-nano", str(path)))
    torch.manual_seed(99)
    net, report = start_network(planned, data.classes)
    new = net.state_dict()
    for level in range(3):
        for part in ("weight", "bias"):
            name = f"bbox_head.rtm_cls.{level}.{part}"
            assert new[name].shape[0] == 3
            assert torch.equal(new[name][0], old[name][2])  # red
            assert torch.equal(new[name][1], old[name][0])  # blue
        assert new[f"bbox_head.rtm_cls.{level}.bias"][2] == pytest.approx(-4.59512, abs=1e-5)  # -log 99
    assert torch.equal(new["backbone.stem.0.conv.weight"], old["backbone.stem.0.conv.weight"])
    assert report == f"{path}: head rebuilt for green, rows kept for red, blue"


def test_weights_of_another_size_are_refused_in_one_sentence(discs, start, small, tmp_path):
    path = write_weights(tmp_path / "w.safetensors", ("disc",))
    with pytest.raises(InputError) as caught:
        start(discs, tmp_path / "run", small, model="rtmdet-tiny", weights=str(path))
    message = str(caught.value)
    assert "rtmdet-nano" in message and "rtmdet-tiny" in message and str(path) in message
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


def test_a_run_is_weights_to_start_another_from(finished, discs):
    path, _, _ = finished
    planned = plan(discs, TrainRequest("rtmdet-nano", str(path)))
    net, report = start_network(planned, ("disc",))
    assert "head kept for disc" in report
    best = load_file(path / "best.safetensors")
    assert all(torch.equal(tensor, best[name]) for name, tensor in net.state_dict().items())


# ---------------------------------------------------------------------------------------------- data


def test_validation_takes_val_else_test_else_nothing(drawn):
    root = drawn()
    assert [split.name for split in choose_splits(Dataset.read(root))] == ["train", "val"]
    (root / "val").rename(root / "test")
    assert [split.name for split in choose_splits(Dataset.read(root))] == ["train", "test"]
    shutil.rmtree(root / "test")
    train_split, val_split = choose_splits(Dataset.read(root))
    assert (train_split.name, val_split) == ("train", None)


def test_data_without_a_training_split_are_refused(drawn):
    root = drawn()
    (root / "train").rename(root / "test")
    with pytest.raises(InputError, match="split named train; the data have val, test"):
        choose_splits(Dataset.read(root))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_usable_box_is_refused_in_one_sentence(drawn, start, small, tmp_path, split):
    root = drawn()
    edit_annotations(root / split, annotations=[])
    with pytest.raises(InputError) as caught:
        start(Dataset.read(root), tmp_path / "run", small)
    assert f"usable box in the split {split!r}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# --------------------------------------------------------------------------------------------- going on


@pytest.fixture
def stopped(drawn, start, small, tmp_path, signal_at) -> Run:
    """A run of two epochs that was stopped in its second."""
    root = drawn(train=4, val=2)
    small["schedule"] = {"epochs": 2}
    with pytest.raises(InterruptedRunError):
        start(
            Dataset.read(root),
            tmp_path / "run",
            small,
            loggers=[signal_at(3)],
        )
    return Run(tmp_path / "run")


def test_a_stopped_run_finds_its_data_again_and_ends_with_all_its_epochs(stopped):
    assert load_state(stopped.checkpoint)["position"]["batch"] == 1
    resume(stopped.path)
    records = stopped.read_metrics()
    assert [r["iteration"] for r in records if r["kind"] == "train"] == [1, 2, 3, 4]
    assert [r["epoch"] for r in records if r["kind"] == "val"] == [1, 2]
    assert load_state(stopped.checkpoint)["position"]["epoch"] == 2
    assert (stopped.plots / "ap.png").is_file()
    with pytest.raises(InputError, match="is finished"):
        resume(stopped)


def test_going_on_is_refused_where_the_data_have_changed(stopped, drawn, tmp_path):
    before = {p: p.read_bytes() for p in stopped.path.rglob("*") if p.is_file()}
    for data, words in [
        (drawn(train=6, name="more"), "4 images, but the data have 6"),
        (drawn(classes=("ring",), name="other"), "trained on disc, but the data have ring"),
    ]:
        with pytest.raises(InputError, match=words):
            resume(stopped, Dataset.read(data))
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(InputError, match="data"):
        resume(stopped)
    assert {p: p.read_bytes() for p in stopped.path.rglob("*") if p.is_file()} == before


def test_a_run_whose_data_have_moved_remembers_where_they_are_now(stopped, tmp_path, caplog):
    caplog.set_level("INFO", "aerostat")
    moved = (tmp_path / "data").rename(tmp_path / "moved data")
    before = json.loads(stopped.environment.read_text())
    data = Dataset.read(moved)
    resume_run(stopped, data, RunOptions(commands=COMMANDS))
    now = data.origin.to_dict()
    assert load_state(stopped.checkpoint)["source"] == now
    assert json.loads(stopped.environment.read_text()) == {**before, "data": now}
    assert f"aerostat eval {stopped.path} '{moved}'" in caplog.text


def test_a_run_that_does_not_know_its_data_asks_for_them(stopped):
    state = load_state(stopped.checkpoint)
    save_state(stopped.checkpoint, {**state, "source": {}})
    with pytest.raises(InputError, match=r"does not know where its data are.*give them again as `data`"):
        resume(stopped)


def test_a_run_on_data_made_in_memory_is_resumed_with_the_same_data(discs, start, small, tmp_path, signal_at):
    made = replace(discs, origin=None)
    with pytest.raises(InterruptedRunError):
        start(made, tmp_path / "run", small, loggers=[signal_at(1)])
    with pytest.raises(InputError, match="not read from files"):
        resume(tmp_path / "run")
    run = resume(tmp_path / "run", made)
    assert run.ended and load_state(run.checkpoint)["source"] == {}


def test_nothing_to_go_on_from_is_said(tmp_path, stopped):
    with pytest.raises(InputError, match=r"no last\.ckpt to go on from"):
        resume(tmp_path / "nowhere")
    content = stopped.checkpoint.read_bytes()
    stopped.checkpoint.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"last\.ckpt"):
        resume(stopped)


def test_an_error_in_training_still_leaves_the_curves(discs, start, small, tmp_path, monkeypatch):
    small["schedule"] = {"epochs": 2}
    learn, calls = Learner.learn, [0]

    def failing(self, batch, **place):
        calls[0] += 1
        if calls[0] == 3:
            raise AerostatError("no more")
        return learn(self, batch, **place)

    monkeypatch.setattr(Learner, "learn", failing)
    with pytest.raises(AerostatError, match="no more"):
        start(discs, tmp_path / "run", small)
    assert (tmp_path / "run" / "plots" / "loss.png").is_file()


# ------------------------------------------------------------------------------------------ from a shell


def aerostat(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "aerostat", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_iteration(metrics: Path, process: subprocess.Popen[str], count: int) -> None:
    """Return when so many iterations have been logged."""
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count('"kind": "train"') >= count):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no iteration was logged"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "devices"),
    [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)],
)
def test_a_signal_from_a_shell_saves_and_says_how_to_go_on(drawn, tmp_path, number, code, devices):
    root, run = drawn(train=8, val=2), Run(tmp_path / "runs" / "discs")
    process = aerostat(
        "train", root, "--model", "rtmdet-nano", "--weights", "", "--out", run.path, "--epochs", 12,
        "--input-size", 64, "--batch-size", devices, "--device", "cpu", "--set", "data.threads=0",
        "--set", f"run.devices={devices}",
    )  # fmt: skip
    wait_for_iteration(run.metrics, process, 11)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    assert "the state will be saved" in said
    assert f"aerostat train --resume {run.path}" in said
    assert "Traceback" not in said
    position = load_state(run.checkpoint)["position"]
    assert 1 <= position["epoch"] < 12
    again = aerostat("train", "--resume", run.path)
    _, said = again.communicate(timeout=240)
    assert again.returncode == 0, said
    records = run.read_metrics()
    assert [r["iteration"] for r in records if r["kind"] == "train"] == list(range(1, 12 * 8 // devices + 1))
    assert [r["epoch"] for r in records if r["kind"] == "val"] == list(range(1, 13))
    assert [r["epoch"] for r in records if r["kind"] == "stage"] == [10]
    assert "finished 12 epochs" in said


def test_a_run_that_cannot_give_advice_is_whole_all_the_same(
    discs, start, small, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "aerostat")

    def none(*_args, **_options):
        raise InputError("Nothing can be read any more.")

    monkeypatch.setattr("aerostat.training.finish.advise", none)
    run = start(discs, tmp_path / "run", small)
    assert run.last.is_file() and not run.advice.exists()
    assert "gives no advice: nothing can be read any more" in caplog.text.lower()
