"""Losses by name: a new one is learned from, shown and logged without a change elsewhere."""

import pytest
import torch

from aerostat.runs.curves import loss_curve
from aerostat.training.device import place
from aerostat.training.step import batch_losses


def with_a_third(*args, **kwargs):
    """RTMDet's losses and a third one, as a function of the model would return them."""
    losses = batch_losses(*args, **kwargs)
    return {**losses, "loss_size": 0.25 * losses["loss_bbox"]}


def train_records(trainer):
    return [record for record in trainer.job.run.read_metrics() if record["kind"] == "train"]


def test_a_new_loss_is_in_the_metrics_the_progress_and_the_curves_by_its_name(discs, trainer_for, caplog):
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, options={"losses": with_a_third})
    trainer.fit()
    for record in train_records(trainer):
        parts = record["loss_cls"] + record["loss_bbox"] + record["loss_size"]
        assert record["loss"] == pytest.approx(parts, rel=1e-6)
        assert record["loss_size"] == pytest.approx(0.25 * record["loss_bbox"], rel=1e-6)
    assert "loss_size " in caplog.text
    figure = loss_curve(train_records(trainer))
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["loss", "classification", "box", "size"]


def test_a_new_loss_changes_the_gradients(discs, trainer_for, monkeypatch):
    gradients = {}
    for name, losses in (("two", batch_losses), ("three", with_a_third)):
        trainer = trainer_for(discs, name=name, optim={"lr": 1e-12}, options={"losses": losses})
        weight = trainer.learner.net.get_parameter("bbox_head.rtm_reg.0.weight")
        optimiser = trainer.learner.optimiser.optimizer
        step = optimiser.step

        def recording(*args, name=name, weight=weight, step=step):
            gradients[name] = weight.grad.clone()
            return step(*args)

        monkeypatch.setattr(optimiser, "step", recording)
        batch = place(next(iter(trainer.loader.epoch(0, 1))), torch.device("cpu"))
        trainer.learner.learn(batch, lr=1e-12, iteration=0, iterations=1)
    # Only boxes reach this weight, and the third loss is a quarter of theirs.
    torch.testing.assert_close(gradients["three"], 1.25 * gradients["two"])


def test_the_names_of_a_step_are_those_of_the_losses(discs, trainer_for):
    trainer = trainer_for(discs)
    batch = place(next(iter(trainer.loader.epoch(0, 1))), torch.device("cpu"))
    step = trainer.learner.learn(batch, lr=1e-3, iteration=0, iterations=2)
    assert step.names[0] == "loss" and {"loss_cls", "loss_bbox"} <= set(step.names)
    assert list(step.read()) == list(step.names)
    assert step.finite and step.stepped and step.number == 1
