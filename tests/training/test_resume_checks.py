"""Going on with a run: the same to the bit, and what differs is said or refused."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.runs.directory import Run
from aerostat.training.api import resume
from aerostat.training.checkpoints import MONITOR_KEY
from aerostat.training.resume_checks import Fingerprint, differences, in_order_of, made_with
from aerostat.training.signals import InterruptedRunError
from aerostat.training.step import Learner
from aerostat.weights.training_state import load_state, save_state

RUN = Path("runs/a")


def record(name: str, *boxes: tuple[float, float, float, float], label: int = 0) -> ImageRecord:
    return ImageRecord(Path("x") / name, name, 64, 48, tuple(Instance(box, label) for box in boxes))


def split(*records: ImageRecord, name: str = "train", classes: tuple[str, ...] = ("disc", "ring")) -> Split:
    return Split(name, classes, tuple(range(len(classes))), records)


A, B, C = record("a.jpg", (1, 2, 3, 4)), record("b.jpg", (5, 6, 7, 8), (1, 1, 9, 9)), record("c.jpg")


def state_of(train: Split, val: Split | None = None, **more: object) -> dict:
    prints = {"train": Fingerprint.of(train).state(), "val": Fingerprint.of(val).state() if val else None}
    return {"train_images": len(train), "fingerprint": prints, "classes": list(train.classes), **more}


def found(state: dict, train: Split, val: Split | None, tmp_path: Path, **more) -> list[str]:
    from aerostat.training.recipe import Recipe

    now = more.pop("now", state.get("made_with", {}))
    return differences(
        state,
        now=now,
        train_split=train,
        val_split=val,
        recipe=Recipe(),
        recipe_file=tmp_path / "recipe.toml",
    )


# ------------------------------------------------------------------------------------------ fingerprints


def test_a_fingerprint_comes_back_from_a_checkpoint(tmp_path):
    before = Fingerprint.of(split(A, B, C))
    save_state(tmp_path / "s", {"print": before.state()})
    after = Fingerprint.read(load_state(tmp_path / "s")["print"])
    assert after.names == ("a.jpg", "b.jpg", "c.jpg")
    assert after.objects.tolist() == [1, 2, 0]
    assert np.array_equal(after.checks, before.checks)


@pytest.mark.parametrize(
    "other",
    [
        record("a.jpg", (1, 2, 3, 4.5)),
        record("a.jpg"),
        record("a.jpg", (1, 2, 3, 4), (1, 2, 3, 4)),
        record("a.jpg", (1, 2, 3, 4), label=1),
        replace(A, width=65),
        replace(A, instances=(replace(A.instances[0], crowd=True),)),
    ],
)
def test_every_change_of_what_is_learned_changes_it(other):
    assert Fingerprint.of(split(A)).checks != Fingerprint.of(split(other)).checks


def test_where_the_images_lie_does_not_change_it():
    moved = replace(A, location=Path("elsewhere") / "a.jpg", id=7)
    assert Fingerprint.of(split(A)).checks == Fingerprint.of(split(moved)).checks


def test_as_many_images_as_coco_has_take_seconds_and_a_few_megabytes():
    records = [record(f"{i:012}.jpg", *[(1.0, 2.0, 3.0 + i, 4.0)] * 7) for i in range(20_000)]
    began = time.process_time()
    state = Fingerprint.of(split(*records)).state()
    assert time.process_time() - began < 20
    assert len(state["names"]) + state["objects"].nbytes + state["checks"].nbytes < 20 * len(records)


# ------------------------------------------------------------------------------ what must be the same


def test_the_same_images_in_another_order_are_put_into_that_of_the_run():
    mended = in_order_of(state_of(split(A, B, C)), split(C, A, B), RUN, "--weights runs/a")
    assert [image.file_name for image in mended.images] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (split(A, B), ["trained on 3 images", "the data have 2"]),
        (split(A, B, record("d.jpg")), ["3 images", "lack 1 of them (c.jpg)", "have 1 others (d.jpg)"]),
    ],
)
def test_other_images_are_refused_with_both_values(now, words):
    with pytest.raises(InputError) as caught:
        in_order_of(state_of(split(A, B, C)), now, RUN, "--weights runs/a")
    for word in (*words, "--weights runs/a"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_state_from_before_fingerprints_is_gone_on_with():
    now = split(A, B, C)
    assert in_order_of({"train_images": 3, "classes": []}, now, RUN, "") is now


@pytest.mark.slow
def test_a_state_of_a_newer_form_is_refused(discs, start, small, tmp_path):
    run = start(discs, tmp_path / "run", small)
    state = load_state(run.checkpoint)
    state["position"]["mood"] = "sunny"
    state["made_with"]["aerostat"] = "9.9.9"
    save_state(run.checkpoint, state)
    with pytest.raises(InputError, match=r"saved by aerostat 9\.9\.9.*go on with that version"):
        resume(run, discs)


# ------------------------------------------------------------------------------------ what may differ


def test_nothing_differs_where_nothing_does(tmp_path):
    train, val = split(A, B), split(C, name="val")
    state = state_of(train, val, made_with={"torch": "2.13.0"})
    assert found(state, train, val, tmp_path) == []
    assert found({"train_images": 2}, train, val, tmp_path) == [], "of an older state nothing is known"


def test_mended_labels_are_named_with_both_counts(tmp_path):
    mended = split(record("a.jpg", (1, 2, 3, 4), (2, 2, 3, 3)), B)
    (text,) = found(state_of(split(A, B)), mended, None, tmp_path)
    assert text == "other labels on 1 training image: a.jpg (1 object before, 2 now)"


def test_other_validation_images_are_named_with_both_counts(tmp_path):
    train, val = split(A), split(B, C, name="val")
    (text,) = found(state_of(train, val), train, split(B, name="val"), tmp_path)
    assert "validation images: 2 before, 1 now, 1 gone (c.jpg) and 0 new, so AP compares less well" in text
    assert found(state_of(train, val), train, None, tmp_path) == [
        "validation images: 2 images before, none now"
    ]
    assert found(state_of(train), train, val, tmp_path) == ["validation images: none before, 2 images now"]
    assert found(state_of(train, val), train, split(C, B, name="val"), tmp_path) == []
    (text,) = found(
        state_of(train, val), train, split(B, record("c.jpg", (1, 1, 2, 2)), name="val"), tmp_path
    )
    assert text == "other labels on 1 validation image: c.jpg (0 objects before, 1 now)"


def test_versions_and_the_device_are_named_with_both_values(tmp_path):
    before = made_with(torch.device("cpu"))
    assert before["torch"] == metadata.version("torch")
    now = {**before, "torch": "9.9", "device": "cuda"}
    state = state_of(split(A), made_with=before)
    assert found(state, split(A), None, tmp_path, now=now) == [
        f"torch: {metadata.version('torch')} before, 9.9 now",
        "device: cpu before, cuda now",
    ]


def test_a_recipe_that_was_changed_by_hand_is_named_and_not_followed(tmp_path):
    (tmp_path / "recipe.toml").write_text("[optim]\nlr = 0.5\n")
    (text,) = found(state_of(split(A)), split(A), None, tmp_path)
    assert text == "optim.lr: 0.004 in the run, which goes on with it, 0.5 in recipe.toml"
    (tmp_path / "recipe.toml").write_text("lr = [")
    (text,) = found(state_of(split(A)), split(A), None, tmp_path)
    assert text.startswith("recipe.toml is not looked at: ")


# ------------------------------------------------------------------------------------------ whole runs


@pytest.fixture
def stopped(start, signal_at) -> Callable[..., Run]:
    """Return a function that trains until a signal comes in an iteration, counted from 1."""

    def until(run: Path, data: Path, values: dict, iteration: int) -> Run:
        with pytest.raises(InterruptedRunError):
            start(Dataset.read(data), run, values, loggers=[signal_at(iteration)])
        return Run(run)

    return until


def test_what_differs_is_logged_and_recorded_and_the_run_is_resumed(drawn, stopped, small, tmp_path, caplog):
    caplog.set_level("INFO", "aerostat")
    data = drawn()
    run = stopped(tmp_path / "run", data, small, 1)
    path = data / "train" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"][2] += 1
    path.write_text(json.dumps(document))
    resume(run)
    text = "other labels on 1 training image: 0.jpg (1 object before, 1 now)"
    assert f"differs: {text}" in caplog.text
    (line,) = [line for line in run.read_metrics() if line["kind"] == "resume"]
    assert (line["epoch"], line["batch"], line["differences"]) == (1, 2, [text])
    assert run.ended


@pytest.mark.slow
def test_a_run_can_be_resumed_before_its_first_iteration_is_over(drawn, start, small, tmp_path, monkeypatch):
    data = drawn()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "learn", killed)
        start(Dataset.read(data), tmp_path / "run", small)
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"last.ckpt", "recipe.toml", "environment.json"}
    whole = start(Dataset.read(data), tmp_path / "whole", small)
    assert_same_state(resume(tmp_path / "run"), whole)


def assert_same_state(ours: Run, theirs: Run) -> None:
    a, b = load_state(ours.checkpoint), load_state(theirs.checkpoint)
    for part in ("net", "ema"):
        assert all(torch.equal(tensor, b[part][name]) for name, tensor in a[part].items()), part
    for key, moments in a["optimiser"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, b["optimiser"]["state"][key][name]), (key, name)
    assert torch.equal(a["torch_random_state"], b["torch_random_state"])
    a["position"].pop("seconds"), b["position"].pop("seconds")
    for part in ("position", "figures", MONITOR_KEY, "parts"):
        assert a[part] == b[part], part


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "values"),
    [
        (1, {"schedule": {"patience": 2}}),
        (3, {"optim": {"batch_size": 2, "accumulate": 2, "precision": "bf16-mixed"}}),
    ],
    ids=["one thread, patience", "three threads, accumulated, in bfloat16"],
)
def test_four_epochs_are_two_and_two_and_stops_within_to_the_bit(
    drawn, tmp_path, start, stopped, signal_at, small, threads, values
):
    """Stopped in the middle of an epoch and twice more."""
    data = drawn(train=5, val=2)
    merged = {key: {**small.get(key, {}), **values.get(key, {})} for key in {*small, *values}}
    merged["schedule"] = {
        "epochs": 4,
        "stage2_share": 0.25,
        "warmup_iterations": 2,
        **values.get("schedule", {}),
    }
    merged["optim"]["lr"] = 0.01
    merged["data"]["threads"] = threads
    whole = start(Dataset.read(data), tmp_path / "whole", merged)
    run = stopped(tmp_path / "run", data, merged, 2)
    for iteration in (3, 3):
        torch.manual_seed(99)
        with pytest.raises(InterruptedRunError):
            resume(run, loggers=[signal_at(iteration)])
    resume(run)
    assert_same_state(run, whole)
