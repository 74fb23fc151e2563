"""The loop: what is learned from, how steps are made, what stops it, and that it can be gone on with."""

import copy
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.inference.detector import Detector
from aerostat.model import build, detection_loss, normalise
from aerostat.training.job import Job
from aerostat.training.loop import Trainer
from aerostat.training.recipe import Recipe
from aerostat.training.signals import InterruptedRunError
from aerostat.training.step import batch_losses
from aerostat.weights.checkpoint import read_header
from aerostat.weights.training_state import load_state


def log_of(trainer: Trainer, kind: str) -> list[dict]:
    return [record for record in trainer.job.run.read_metrics() if record["kind"] == kind]


def gradients(net: nn.Module, batch) -> dict[str, torch.Tensor]:
    """Gradients of the loss of one batch at the weights of `net`, which stays as it is."""
    other = copy.deepcopy(net).train()
    losses = detection_loss(*other(normalise(batch.images)), batch.boxes, batch.labels)
    (losses["loss_cls"] + losses["loss_bbox"]).backward()
    return {name: p.grad.clone() for name, p in other.named_parameters() if p.grad is not None}


def record_steps(trainer: Trainer, monkeypatch) -> list[dict[str, torch.Tensor]]:
    """Record the gradients with which the optimiser steps."""
    recorded: list[dict[str, torch.Tensor]] = []
    step = trainer.learner.optimiser.optimizer.step

    def recording(*args, **kwargs):
        named = trainer.learner.net.named_parameters()
        recorded.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        return step(*args, **kwargs)

    monkeypatch.setattr(trainer.learner.optimiser.optimizer, "step", recording)
    return recorded


def with_scores(trainer: Trainer, monkeypatch, *aps: float) -> None:
    """Let validations find these figures, one after the other."""
    record, results = trainer.record, iter(aps)
    monkeypatch.setattr(
        trainer,
        "record",
        lambda found: record(replace(found, result=replace(found.result, ap=next(results)))),
    )


# ---------------------------------------------------------------------------------------- data and log


@pytest.mark.parametrize(("images", "batch", "iterations"), [(1, 2, 1), (5, 2, 3), (5, 4, 2), (4, 16, 1)])
def test_every_image_of_a_small_set_is_seen_in_every_epoch(
    drawn, trainer_for, monkeypatch, images, batch, iterations
):
    data = Dataset.read(drawn(train=images, val=0))
    trainer = trainer_for(data, optim={"batch_size": batch}, schedule={"epochs": 2})
    seen: dict[int, list[str]] = {0: [], 1: []}
    learn = trainer.learner.learn

    def learning(batch, **place):
        seen[trainer.position.epoch].extend(batch.batch.file_names)
        return learn(batch, **place)

    monkeypatch.setattr(trainer.learner, "learn", learning)
    trainer.fit()
    for names in seen.values():
        assert set(names) == {f"{i}.jpg" for i in range(images)}
        assert len(names) == iterations * batch
    assert len(log_of(trainer, "train")) == 2 * iterations


def test_metrics_have_every_iteration_and_validation_with_all_figures(discs, trainer_for):
    trainer = trainer_for(
        discs, schedule={"epochs": 4, "stage2_share": 0.5, "warmup_iterations": 2}, optim={"lr": 0.001}
    )
    trainer.fit()
    train = log_of(trainer, "train")
    assert [(r["epoch"], r["batch"], r["iteration"]) for r in train] == [
        (epoch, batch, 2 * (epoch - 1) + batch) for epoch in (1, 2, 3, 4) for batch in (1, 2)
    ]
    for record in train:
        assert record["loss"] == pytest.approx(record["loss_cls"] + record["loss_bbox"], rel=1e-6)
        assert record["images_per_second"] > 0
        assert record["memory_mb"] > 0
    # two iterations of warm-up, flat up to the fourth of eight, cosine down to 5 % at the last
    cosine = [0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * i / 3)) for i in range(4)]
    factors = [1e-5, 1e-5 + (1 - 1e-5) / 2, 1, 1, *cosine]
    assert [r["lr"] for r in train] == pytest.approx([0.001 * factor for factor in factors])
    assert log_of(trainer, "stage") == [{"kind": "stage", "epoch": 3, "stage": 2}]
    val = log_of(trainer, "val")
    assert [r["epoch"] for r in val] == [1, 2, 3, 4]
    assert all(r["images"] == 2 and r["instances"] == 2 for r in val)
    assert all(set(r["per_class"]) == {"disc"} and 0 <= r["ap"] <= 1 and "ap50" in r for r in val)


def test_a_long_run_may_log_less_often_but_always_an_epochs_last_iteration(drawn, trainer_for):
    data = Dataset.read(drawn(train=5, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1}, run={"log_interval": 2})
    trainer.fit()
    assert [r["batch"] for r in log_of(trainer, "train")] == [2, 4, 5]


def test_stage_2_has_no_mosaic_and_no_mixup(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 4, "stage2_share": 0.25})
    stages: list[int] = []
    epoch = trainer.loader.epoch
    monkeypatch.setattr(
        trainer.loader, "epoch", lambda e, stage, **k: (stages.append(stage), epoch(e, stage, **k))[1]
    )
    trainer.fit()
    assert stages == [1, 1, 1, 2]


def test_a_run_without_a_validation_split_keeps_its_last_weights(drawn, trainer_for):
    trainer = trainer_for(Dataset.read(drawn(val=0)))
    trainer.fit()
    assert not log_of(trainer, "val")
    assert {p.name for p in trainer.job.run.path.iterdir()} == {
        "metrics.jsonl",
        "last.ckpt",
        "last.safetensors",
    }


def test_photographs_without_objects_are_learned_from(drawn, trainer_for):
    root = drawn(train=4, val=0)
    path = root / "train" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    document["annotations"] = document["annotations"][:1]
    path.write_text(json.dumps(document))
    trainer = trainer_for(
        Dataset.read(root), optim={"batch_size": 1}, schedule={"stage2_share": 1.0}, augment={"mixup": 0.0}
    )
    trainer.fit()
    losses = log_of(trainer, "train")
    assert len(losses) == 4
    assert sum(r["loss_bbox"] == 0 for r in losses) >= 3  # nothing but background on three of them
    assert all(r["loss_cls"] > 0 for r in losses)


# ---------------------------------------------------------------------------------------------- steps


def test_accumulated_gradients_are_averaged_and_step_half_as_often(drawn, trainer_for, monkeypatch):
    """Five iterations by twos are three steps, the last of one iteration; the rate is next to none."""
    data = Dataset.read(drawn(train=5, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1, "accumulate": 2, "lr": 1e-12})
    batches = list(trainer.loader.epoch(0, 1))
    single = [gradients(trainer.learner.net, batch) for batch in batches]
    steps = record_steps(trainer, monkeypatch)
    trainer.fit()
    assert len(steps) == trainer.learner.ema.updates == 3
    for step, group in zip(steps, [(0, 1), (2, 3), (4,)], strict=True):
        assert set(step) == set(single[0])
        for name, gradient in step.items():
            expected = sum(single[i][name] for i in group) / len(group)
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7, msg=name)


def test_without_accumulation_every_iteration_steps(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs)
    steps = record_steps(trainer, monkeypatch)
    trainer.fit()
    assert len(steps) == trainer.learner.ema.updates == 2


@pytest.mark.slow
def test_gradients_are_clipped_to_the_norm_that_is_asked_for(discs, trainer_for, monkeypatch):
    def norms(limit: float, name: str) -> list[float]:
        trainer = trainer_for(discs, name=name, optim={"clip_grad_norm": limit, "lr": 1e-12})
        steps = record_steps(trainer, monkeypatch)
        trainer.fit()
        return [math.sqrt(sum(g.double().square().sum().item() for g in step.values())) for step in steps]

    free = norms(0.0, "free")
    limit = min(free) / 2
    assert norms(limit, "clipped") == pytest.approx([limit] * len(free), rel=1e-3)
    assert norms(max(free) * 2, "wide") == pytest.approx(free, rel=1e-4)


def test_the_saved_weights_are_the_average_of_those_after_each_step(discs, trainer_for, monkeypatch):
    trainer = trainer_for(
        discs, optim={"lr": 0.01}, schedule={"epochs": 2, "ema_momentum": 0.2, "ema_gamma": 1.5}
    )
    after: list[dict[str, torch.Tensor]] = []
    learn = trainer.learner.learn

    def learning(batch, **place):
        done = learn(batch, **place)
        after.append(copy.deepcopy(trainer.learner.net.state_dict()))
        return done

    monkeypatch.setattr(trainer.learner, "learn", learning)
    trainer.fit()
    average = after[0]
    for count, state in enumerate(after[1:], start=1):
        momentum = 0.2 + 0.8 * math.exp(-(1 + count) / 1.5)
        for name, tensor in state.items():
            floating = tensor.is_floating_point()
            average[name] = (1 - momentum) * average[name] + momentum * tensor if floating else tensor
    saved = load_file(trainer.job.run.last)
    assert set(saved) == set(average)
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, average[name], rtol=1e-4, atol=1e-6, msg=name)
    assert any(not torch.equal(saved[name], after[-1][name]) for name in saved)


def test_in_bfloat16_the_network_is_narrow_and_the_losses_are_float32(discs, trainer_for):
    inside, losses = set(), []

    def recording(*args, **kwargs):
        losses.append(batch_losses(*args, **kwargs))
        return losses[-1]

    trainer = trainer_for(discs, optim={"precision": "bf16-mixed"}, options={"losses": recording})
    trainer.learner.net.backbone.stem[0].conv.register_forward_hook(lambda *a: inside.add(a[2].dtype))
    trainer.fit()
    assert inside == {torch.bfloat16}
    assert {loss.dtype for both in losses for loss in both.values()} == {torch.float32}
    assert all(tensor.dtype != torch.bfloat16 for tensor in load_file(trainer.job.run.last).values())
    assert all(math.isfinite(r["loss"]) for r in log_of(trainer, "train"))


def test_a_frozen_backbone_stays_as_it_was_to_the_bit_and_nothing_of_it_is_saved(discs, trainer_for):
    net = build("nano", 1)
    before = copy.deepcopy(net.state_dict())
    trainer = trainer_for(
        discs, net, model={"freeze": "backbone"}, optim={"lr": 0.01}, schedule={"epochs": 2}
    )
    trainer.fit()
    saved = load_file(trainer.job.run.last)
    assert set(saved) == set(before)
    moved = {name for name in saved if not torch.equal(saved[name], before[name])}
    assert not [name for name in moved if name.startswith("backbone.")]
    assert [name for name in moved if name.startswith("neck.")]
    optimised = sum(len(group["params"]) for group in trainer.learner.optimiser.param_groups)
    assert optimised == sum(not name.startswith("backbone.") for name, _ in net.named_parameters())


# -------------------------------------------------------------------------------- validation and files


def test_the_header_says_what_the_weights_are_for(drawn, trainer_for):
    data = Dataset.read(drawn(train=6, val=3, classes=("red", "blue", "green")))
    trainer = trainer_for(data, schedule={"epochs": 2})
    trainer.fit()
    for path in (trainer.job.run.best, trainer.job.run.last):
        header = read_header(path)
        assert (header.size, header.input_size) == ("nano", (64, 64))
        assert header.classes == ("red", "blue", "green")
        assert Recipe().override(header.recipe) == trainer.job.recipe
        assert 0 <= header.metrics["ap"] <= 1
    assert read_header(trainer.job.run.last).metrics["epoch"] == 2
    assert load_file(trainer.job.run.last)["bbox_head.rtm_cls.0.weight"].shape[0] == 3
    assert set(log_of(trainer, "val")[0]["per_class"]) == {"red", "blue", "green"}


def test_the_best_weights_are_those_of_the_first_best_validation(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 4})
    with_scores(trainer, monkeypatch, 0.1, 0.3, 0.3, 0.2)
    position = trainer.fit()
    assert (position.best_ap, position.best_epoch, position.stale) == (0.3, 2, 2)
    best, last = read_header(trainer.job.run.best).metrics, read_header(trainer.job.run.last).metrics
    assert (best["epoch"], best["ap"]) == (2, 0.3)
    assert (last["epoch"], last["ap"]) == (4, 0.2)
    ours, theirs = load_file(trainer.job.run.best), load_file(trainer.job.run.last)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_patience_stops_a_run_that_gets_no_better(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 9, "patience": 2})
    with_scores(trainer, monkeypatch, 0.1, 0.3, 0.2, 0.3)
    position = trainer.fit()
    assert (position.epoch, position.best_epoch, position.stopped_early) == (4, 2, True)
    assert load_state(trainer.job.run.checkpoint)["position"]["stopped_early"]


@pytest.mark.slow
def test_without_patience_a_run_goes_to_its_end(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 4, "patience": 0})
    with_scores(trainer, monkeypatch, 0.3, 0.2, 0.1, 0.0)
    assert trainer.fit().epoch == 4


def test_validation_keeps_its_interval_and_always_sees_the_last_epoch(discs, trainer_for):
    trainer = trainer_for(discs, schedule={"epochs": 3}, eval={"interval": 2})
    trainer.fit()
    assert [r["epoch"] for r in log_of(trainer, "val")] == [2, 3]


def test_weights_never_carry_the_figures_of_another_epoch(discs, trainer_for, signal_at):
    at_end_of_epoch_3 = {"loggers": [signal_at(6)]}  # which is not validated
    trainer = trainer_for(discs, options=at_end_of_epoch_3, schedule={"epochs": 4}, eval={"interval": 2})
    with pytest.raises(InterruptedRunError):
        trainer.fit()
    assert "ap" not in read_header(trainer.job.run.last).metrics
    assert read_header(trainer.job.run.best).metrics["epoch"] == 2


def test_validation_uses_the_averaged_weights_in_evaluation_mode(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs)
    used = []
    predict = Detector.predict_images

    def looking(detector, images, **thresholds):
        used.append((detector.net, detector.input_size, len(images), thresholds))
        assert not detector.net.training
        yield from predict(detector, images, **thresholds)

    monkeypatch.setattr(Detector, "predict_images", looking)
    trainer.fit()
    (net, size, images, thresholds), = used  # fmt: skip
    assert net is trainer.learner.ema.net and net is not trainer.learner.net
    assert (size, images) == ((64, 64), 2)
    assert (thresholds["score"], thresholds["nms_iou"]) == (0.001, 0.65)
    assert trainer.learner.net.training


# ------------------------------------------------------------------------------------ frozen backbones


def test_a_frozen_backbone_gives_what_it_gave_and_is_left_alone(discs, trainer_for):
    trainer = trainer_for(discs, model={"freeze": "backbone"}, optim={"lr": 0.01})
    before = copy.deepcopy(trainer.learner.net.state_dict())
    batch = next(iter(trainer.loader.epoch(0, 1)))
    folded = trainer.learner.network(batch.images)
    plain = copy.deepcopy(trainer.learner.net)(normalise(batch.images))
    for ours, theirs in zip((*folded[0], *folded[1]), (*plain[0], *plain[1]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    trainer.fit()
    for name, tensor in trainer.learner.net.backbone.state_dict().items():
        assert torch.equal(tensor, before[f"backbone.{name}"]), name
        assert torch.equal(trainer.learner.ema.net.backbone.state_dict()[name], tensor), name
    moments = sum(len(group["params"]) for group in trainer.learner.optimiser.param_groups)
    assert moments == len(list(trainer.learner.net.neck.parameters())) + len(
        list(trainer.learner.net.bbox_head.parameters())
    )
    state = load_state(trainer.job.run.checkpoint)
    assert list(state["net"]) == list(before)


def test_a_frozen_backbone_is_that_of_the_checkpoint_when_a_run_is_resumed(drawn, trainer_for, signal_at):
    data = Dataset.read(drawn(train=5, val=0))
    values = {"model": {"freeze": "backbone"}, "optim": {"lr": 0.01}, "schedule": {"epochs": 2}}
    whole = undisturbed(data, trainer_for, **values)
    stopped = trainer_for(data, options={"loggers": [signal_at(2)]}, **values)
    with pytest.raises(InterruptedRunError):
        stopped.fit()
    torch.manual_seed(99)
    job = Job(stopped.job.run, stopped.job.recipe, data.split("train"), None)
    again = Trainer(stopped.fabric, build("nano", 1), job)
    # The network folds its backbone before the checkpoint is loaded.
    again.learner.network(next(iter(again.loader.epoch(0, 1))).images)
    again.restore()
    again.fit()
    assert_the_same_run(whole, again)


def test_a_frozen_backbone_is_folded_in_bfloat16_too(discs, trainer_for):
    trainer = trainer_for(discs, model={"freeze": "backbone"}, optim={"precision": "bf16-mixed"})
    assert trainer.fit().epoch == 1


# ------------------------------------------------------------------------------------------- memory

GROWTH = """
import resource
from pathlib import Path
import torch
from lightning_fabric import Fabric
from aerostat.datasets.dataset import Dataset
from aerostat.model import build
from aerostat.training.recipe import Recipe
from aerostat.runs.directory import Run
from aerostat.training.job import Job
from aerostat.training.loop import Trainer

torch.set_num_threads(1)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

data = Dataset.read({data!r})
recipe = Recipe().override({values!r})
run = Run(Path({out!r}))
run.create()
job = Job(run, recipe, data.split("train"), data.split("val"))
trainer = Trainer(Fabric(accelerator="cpu", devices=1), build("nano", 1), job)
sizes = []
save = trainer.save
trainer.save = lambda: (save(), sizes.append(resident()))
trainer.fit()
print(*sizes)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the system does not tell it this way")
def test_memory_does_not_grow_with_the_epochs(drawn, tmp_path, small_values):
    values = {
        **small_values,
        "model": {"size": "nano"},
        "schedule": {"epochs": 24},
        "eval": {"interval": 8},
    }
    code = GROWTH.format(values=values, data=str(drawn(train=8)), out=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sizes = [int(size) for size in done.stdout.split()]
    assert len(sizes) == 24
    assert sizes[-1] - sizes[8] < 24 << 20  # from the first validation on; an epoch's tensors are more


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_photograph_that_turns_out_unreadable_is_told_once_and_ends_nothing(
    drawn, trainer_for, caplog, split
):
    caplog.set_level("INFO", "aerostat")
    root = drawn(train=4, val=2)
    data = Dataset.read(root)
    path = root / split / "1.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    trainer = trainer_for(data, schedule={"epochs": 2})
    assert trainer.fit().epoch == 2
    assert caplog.text.count("1.jpg: ") == 1
    assert [r["images"] for r in log_of(trainer, "val")] == ([1, 1] if split == "val" else [2, 2])


@pytest.mark.parametrize("part", ["bbox_head.rtm_cls.1.bias", "backbone.stage4.0.depthwise_conv.conv.weight"])
def test_a_loss_that_is_no_number_stops_with_the_batch_saved_and_named(discs, trainer_for, part):
    net = build("nano", 1)
    with torch.no_grad():
        net.get_parameter(part).fill_(math.nan)
    trainer = trainer_for(discs, net)
    with pytest.raises(AerostatError) as caught:
        trainer.fit()
    message = str(caught.value)
    path = trainer.job.run.path / "nonfinite_batch_rank0.safetensors"
    assert caught.value.exit_code == 1
    assert "\n" not in message
    for words in ("not finite", "epoch 1, iteration 1", str(path), "learning rate"):
        assert words in message
    with safe_open(path, "pt") as file:
        names = file.metadata()["file_names"].split("\n")
        assert file.get_tensor("images").shape == (2, 3, 64, 64)
        assert file.get_tensor("boxes.1").shape[1] == 4
        assert file.get_tensor("labels.0").dtype == torch.int64
    assert len(names) == 2 and all(name in message for name in names)
    assert {p.name for p in trainer.job.run.path.iterdir()} == {path.name}, (
        "nothing was saved of these weights"
    )


def test_a_loss_that_is_no_number_later_on_leaves_the_last_state(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 3})
    learn = trainer.learner.learn

    def poisoning(batch, **place):
        if trainer.position.epoch == 1:
            with torch.no_grad():
                trainer.learner.net.neck.out_convs[0].depthwise_conv.conv.weight.fill_(math.inf)
        return learn(batch, **place)

    monkeypatch.setattr(trainer.learner, "learn", poisoning)
    with pytest.raises(AerostatError, match="epoch 2, iteration 1"):
        trainer.fit()
    assert load_state(trainer.job.run.checkpoint)["position"]["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in load_file(trainer.job.run.last).values())


def test_weights_that_are_no_numbers_never_replace_the_last_state(discs, trainer_for, monkeypatch):
    """The very last step of an epoch breaks them: no loss has shown it yet."""
    trainer = trainer_for(discs, schedule={"epochs": 3})
    learn = trainer.learner.learn

    def poisoning(batch, **place):
        done = learn(batch, **place)
        if trainer.position.epoch == 1 and trainer.position.batch == len(trainer.loader) - 1:
            with torch.no_grad():
                trainer.learner.net.bbox_head.rtm_cls[0].bias.fill_(math.nan)
        return done

    monkeypatch.setattr(trainer.learner, "learn", poisoning)
    with pytest.raises(AerostatError, match=r"weights are not finite after epoch 2.*last\.ckpt"):
        trainer.fit()
    state = load_state(trainer.job.run.checkpoint)
    assert state["position"]["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in state["net"].values())


# -------------------------------------------------------------------------------- stopping and going on


def undisturbed(data, trainer_for, name="whole", **values) -> Trainer:
    trainer = trainer_for(data, name=name, **values)
    trainer.fit()
    return trainer


def assert_the_same_run(ours: Trainer, theirs: Trainer) -> None:
    """Same weights to the bit, same optimiser, same log."""
    a, b = load_state(ours.job.run.checkpoint), load_state(theirs.job.run.checkpoint)
    for part in ("net", "ema"):
        for name, tensor in a[part].items():
            assert torch.equal(tensor, b[part][name]), (part, name)
    for key, moments in a["optimiser"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, b["optimiser"]["state"][key][name]), (key, name)
    a["position"].pop("seconds"), b["position"].pop("seconds")
    assert a["position"] == b["position"]
    unlike = ("images_per_second", "memory_mb")
    logs = [
        [{k: v for k, v in r.items() if k not in unlike} for r in t.job.run.read_metrics()]
        for t in (ours, theirs)
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    "iteration",
    [
        pytest.param(1, marks=pytest.mark.slow),
        3,  # the last of epoch 1: before its validation
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(7, marks=pytest.mark.slow),  # in the second stage
        pytest.param(9, marks=pytest.mark.slow),  # the very last of the run
    ],
)
def test_a_run_that_was_stopped_and_resumed_is_the_undisturbed_one(
    drawn, trainer_for, restored, signal_at, iteration
):
    data = Dataset.read(drawn(train=5, val=2))
    values = {
        "schedule": {"epochs": 3, "stage2_share": 1 / 3, "warmup_iterations": 2, "ema_gamma": 2.0},
        "optim": {"lr": 0.01, "clip_grad_norm": 1.0},
    }
    whole = undisturbed(data, trainer_for, **values)
    stopped = trainer_for(data, options={"loggers": [signal_at(iteration)]}, **values)
    with pytest.raises(InterruptedRunError) as caught:
        stopped.fit()
    assert caught.value.exit_code == 143
    epoch, batch = divmod(iteration - 1, 3)
    assert f"SIGTERM in epoch {epoch + 1}, after iteration {batch + 1} of 3" in str(caught.value)
    assert f"go on with: ae.resume('{stopped.job.run.path}')" in str(caught.value)
    assert load_file(stopped.job.run.last), "the averaged weights are there to be used"
    again = restored(stopped, data)
    again.fit()
    assert_the_same_run(whole, again)


def test_accumulated_gradients_are_not_lost_when_a_run_is_stopped(drawn, trainer_for, restored, signal_at):
    data = Dataset.read(drawn(train=5, val=0))
    values = {"optim": {"batch_size": 1, "accumulate": 2, "lr": 0.01}, "schedule": {"epochs": 2}}
    whole = undisturbed(data, trainer_for, **values)
    stopped = trainer_for(data, options={"loggers": [signal_at(3)]}, **values)
    with pytest.raises(InterruptedRunError, match="after iteration 4 of 5"):  # the step is finished first
        stopped.fit()
    again = restored(stopped, data)
    again.fit()
    assert_the_same_run(whole, again)


@pytest.mark.slow
def test_after_a_crash_no_iteration_is_logged_twice(drawn, trainer_for, restored, monkeypatch):
    data = Dataset.read(drawn(train=5, val=2))
    values = {"schedule": {"epochs": 3, "stage2_share": 0.7}, "optim": {"lr": 0.01}}
    whole = undisturbed(data, trainer_for, **values)
    crashed = trainer_for(data, **values)
    learn = crashed.learner.learn

    def crashing(batch, **place):
        if crashed.position.place == (1, 2):
            raise MemoryError
        return learn(batch, **place)

    monkeypatch.setattr(crashed.learner, "learn", crashing)
    with pytest.raises(MemoryError):
        crashed.fit()
    assert len(log_of(crashed, "train")) == 5 and len(log_of(crashed, "stage")) == 1
    again = restored(crashed, data)
    again.fit()
    assert_the_same_run(whole, again)


def signal_during_validation(monkeypatch, number: int, before_image: int = 0) -> None:
    """Send a signal to this process while a validation looks at an image, once."""
    predict = Detector.predict_images

    def interrupted(self, images, **options):
        for i, pair in enumerate(predict(self, images, **options)):
            if i == before_image:
                os.kill(os.getpid(), number)
            yield pair

    monkeypatch.setattr(Detector, "predict_images", interrupted)


@pytest.mark.parametrize("epochs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_signal_during_a_validation_leaves_at_once_with_the_epoch_and_the_validation_is_made_up_for(
    discs, trainer_for, restored, monkeypatch, epochs
):
    values = {"schedule": {"epochs": epochs}, "optim": {"lr": 0.01}}
    whole = undisturbed(discs, trainer_for, **values)
    stopped = trainer_for(discs, **values)
    with monkeypatch.context() as patch:
        signal_during_validation(patch, signal.SIGINT)
        with pytest.raises(
            InterruptedRunError, match="SIGINT after epoch 1, before its validation;"
        ) as caught:
            stopped.fit()
    assert caught.value.exit_code == 130
    position = load_state(stopped.job.run.checkpoint)["position"]
    assert (position["epoch"], position["batch"], position["unvalidated"]) == (1, 0, True)
    assert not stopped.job.run.best.exists()
    again = restored(stopped, discs)
    again.fit()
    assert_the_same_run(whole, again)


def test_a_signal_after_the_last_validation_stops_nothing(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 9, "patience": 1})
    with_scores(trainer, monkeypatch, 0.3, 0.2)
    record = trainer.record

    def interrupted(found):
        if trainer.position.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)
        record(found)

    monkeypatch.setattr(trainer, "record", interrupted)
    assert trainer.fit().stopped_early


def test_a_signal_after_a_validation_leaves_with_what_it_found(discs, trainer_for, monkeypatch):
    trainer = trainer_for(discs, schedule={"epochs": 3})
    record = trainer.record

    def interrupted(found):
        os.kill(os.getpid(), signal.SIGINT)
        record(found)

    monkeypatch.setattr(trainer, "record", interrupted)
    with pytest.raises(InterruptedRunError, match="SIGINT after epoch 1;"):
        trainer.fit()
    assert load_state(trainer.job.run.checkpoint)["position"]["best_epoch"] == 1


def test_one_process_alone_cuts_the_log_of_a_run_that_goes_on(trainer_for, discs, monkeypatch):
    """Another one that did so later would drop what the first has logged since."""
    trainer = trainer_for(discs)
    trainer.fit()
    trainer.job.run.log({"kind": "val", "epoch": 2, "ap": 0.5})
    assert [record["epoch"] for record in log_of(trainer, "val")] == [1, 2]
    with monkeypatch.context() as patch:
        patch.setattr(type(trainer.fabric), "is_global_zero", property(lambda _: False))
        trainer.restore()
    assert [record["epoch"] for record in log_of(trainer, "val")] == [1, 2]
    trainer.restore()
    assert [record["epoch"] for record in log_of(trainer, "val")] == [1]
