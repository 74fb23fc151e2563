"""What goes wrong without an error is noticed, said once, and taken down."""

import math
from dataclasses import replace

import pytest
import torch

from aerostat.cli.commands import COMMANDS
from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.results.detections import Detections
from aerostat.training.checkpoints import MONITOR_KEY
from aerostat.training.loop import Trainer
from aerostat.training.monitor import MAX_SKIPPED, MIN_LOSSES, WINDOW, Monitor
from aerostat.training.validation import Validation, have_same_scores
from aerostat.weights.training_state import load_state

NAMES = ["a.jpg", "b.jpg"]


def warnings_of(trainer: Trainer) -> list[dict]:
    return [record for record in trainer.job.run.read_metrics() if record["kind"] == "warning"]


# ------------------------------------------------------------------------------------------------ losses


def test_a_loss_far_above_the_median_is_told_once_with_its_images():
    monitor = Monitor()
    assert all(monitor.see_loss(2.0 + 0.5 * math.sin(i), NAMES) == "" for i in range(MIN_LOSSES))
    text = monitor.see_loss(20.0, NAMES)
    assert (
        "jumped to 20" in text and "10 times" in text and "a.jpg, b.jpg" in text and "learning rate" in text
    )
    assert monitor.see_loss(40.0, NAMES) == ""


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([], id="none"),
        pytest.param([1.0] * (MIN_LOSSES - 1) + [100.0], id="too few to compare with"),
        pytest.param([50.0] * 10 + [9.0, 2.0, 1.5, 1.2] * 30, id="falling"),
        pytest.param([1.0, 4.0] * 100, id="noisy"),
        pytest.param([0.0] * 100 + [5.0], id="of nothing but background"),
    ],
)
def test_a_sound_course_of_losses_is_not_talked_about(losses):
    monitor = Monitor()
    assert [monitor.see_loss(loss, NAMES) for loss in losses] == [""] * len(losses)
    assert len(monitor.recent) <= WINDOW


@pytest.mark.slow
def test_a_spike_is_in_the_log_and_once_even_where_a_run_is_gone_on_with(drawn, trainer_for, monkeypatch):
    data = Dataset.read(drawn(train=4, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1}, schedule={"epochs": 8})
    learn = trainer.learner.learn

    def spiking(batch, **place):
        done = learn(batch, **place)
        if trainer.position.batch == 3 and trainer.position.epoch >= 6:
            return replace(done, values=done.values * torch.tensor([1000.0, 1000, 1000, 0]))
        return done

    monkeypatch.setattr(trainer.learner, "learn", spiking)
    trainer.fit()
    (warning,) = warnings_of(trainer)
    assert (warning["epoch"], warning["batch"]) == (7, 4)
    assert "the loss jumped" in warning["text"]
    state = load_state(trainer.job.run.checkpoint)[MONITOR_KEY]
    assert Monitor.of(state).given == ["loss spike"]


# --------------------------------------------------------------------------------------------- gradients


def poison(trainer: Trainer, monkeypatch, *iterations: int, with_: float = math.nan) -> None:
    """Let the gradient of one weight be no number in the n-th iterations, counted from 1, of finite loss."""
    weight, count = trainer.learner.net.get_parameter("neck.out_convs.0.depthwise_conv.conv.weight"), [0]
    add = trainer.learner.add_gradients

    def adding(batch, number, in_group):
        losses = add(batch, number, in_group)
        count[0] += 1
        if count[0] in iterations:
            weight.grad.view(-1)[0] = with_
        return losses

    monkeypatch.setattr(trainer.learner, "add_gradients", adding)


@pytest.mark.parametrize("with_", [math.nan, math.inf])
def test_a_step_whose_gradients_are_not_finite_is_left_out_and_said(
    drawn, trainer_for, monkeypatch, caplog, with_
):
    caplog.set_level("INFO", "aerostat")
    data = Dataset.read(drawn(train=4, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1, "lr": 0.01})
    poison(trainer, monkeypatch, 2, with_=with_)
    before, learn = [], trainer.learner.learn

    def learning(batch, **place):
        before.append([p.detach().clone() for p in trainer.learner.net.parameters()])
        return learn(batch, **place)

    monkeypatch.setattr(trainer.learner, "learn", learning)
    trainer.fit()
    assert all(torch.equal(a, b) for a, b in zip(before[1], before[2], strict=True)), "left out"
    assert not all(torch.equal(a, b) for a, b in zip(before[2], before[3], strict=True)), "and gone on"
    assert trainer.learner.ema.updates == 3
    (warning,) = warnings_of(trainer)
    assert (warning["epoch"], warning["batch"]) == (1, 2)
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "epoch 1, iteration 2: a gradient is not finite" in said and ".jpg" in said
    assert load_state(trainer.job.run.checkpoint)[MONITOR_KEY]["all_skipped"] == 1


@pytest.mark.slow
def test_steps_in_a_row_without_finite_gradients_stop_the_run_with_the_batch_saved(
    drawn, trainer_for, monkeypatch
):
    data = Dataset.read(drawn(train=6, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1})
    poison(trainer, monkeypatch, 2, 4, 5, 6)  # the third good one begins the count anew
    with pytest.raises(AerostatError, match=f"not finite for {MAX_SKIPPED} steps in a row.*iteration 6"):
        trainer.fit()
    assert len(warnings_of(trainer)) == 4
    assert (trainer.job.run.path / "nonfinite_batch_rank0.safetensors").is_file()


def test_gradients_are_looked_at_once_a_step_not_once_an_iteration(drawn, trainer_for, monkeypatch):
    """In a group of two the second iteration adds to what the first has spoilt."""
    data = Dataset.read(drawn(train=4, val=0))
    trainer = trainer_for(data, optim={"batch_size": 1, "accumulate": 2, "lr": 0.01})
    poison(trainer, monkeypatch, 1)
    trainer.fit()
    assert [(w["batch"]) for w in warnings_of(trainer)] == [2]
    assert trainer.learner.ema.updates == 1
    assert all(p.isfinite().all() for p in trainer.learner.net.parameters())


# -------------------------------------------------------------------------------------------- validation


def told(monitor: Monitor, **found) -> list[str]:
    values = {
        "best_ap": 0.5,
        "same_scores": False,
        "share": 0.5,
        "fresh": False,
        "origin": {"path": "D"},
    }
    return monitor.see_validation(**{**values, **found})


def test_nothing_found_after_a_tenth_of_the_run_is_told_once_with_what_to_do():
    monitor = Monitor(commands=COMMANDS)
    assert told(monitor, best_ap=0.0, share=0.09) == []
    (text,) = told(monitor, best_ap=0.0, share=0.1)
    assert "after 10% of the run AP is still 0" in text and "aerostat inspect D" in text
    assert "--weights" not in text
    assert told(monitor, best_ap=0.0, share=0.5) == []


def test_fresh_weights_are_named_as_a_reason():
    (text,) = told(Monitor(), best_ap=0.0, fresh=True)
    assert "`weights`" in text
    (text,) = told(Monitor(commands=COMMANDS), best_ap=0.0, fresh=True)
    assert "--weights" in text


@pytest.mark.parametrize("ap", [0.02, 1.0, -1.0])
def test_a_run_that_finds_something_or_has_nothing_to_find_is_not_talked_about(ap):
    assert told(Monitor(), best_ap=ap) == []


def test_equal_scores_are_told_once():
    monitor = Monitor()
    (text,) = told(monitor, same_scores=True)
    assert "same score" in text and "learning rate" in text
    assert told(monitor, same_scores=True) == []


def detections(*scores: float) -> Detections:
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(len(scores), 1).numpy()
    return Detections(
        boxes,
        torch.tensor(scores).numpy(),
        torch.zeros(len(scores)).long().numpy(),
        ("disc",),
        image_size=(64, 64),
    )


@pytest.mark.parametrize(
    ("scores", "same"),
    [
        ([], False),
        ([0.01] * 9, False),
        ([0.01] * 10, True),
        ([0.01] * 99 + [0.0100001], True),
        ([0.01] * 99 + [0.02], False),
    ],
)
def test_scores_are_the_same_where_many_span_next_to_nothing(scores, same):
    assert have_same_scores([detections(*scores[:4]), detections(), detections(*scores[4:])]) == same


@pytest.mark.slow
def test_a_network_that_has_collapsed_is_noticed_in_a_run(discs, trainer_for, monkeypatch, caplog):
    """Whatever the image, logits are the bias of the last layer."""
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, schedule={"epochs": 2}, optim={"lr": 1e-9})
    with torch.no_grad():
        for net in (trainer.learner.net, trainer.learner.ema.net):
            for cls, reg in zip(net.bbox_head.rtm_cls, net.bbox_head.rtm_reg, strict=True):
                cls.weight.zero_()
                reg.bias.fill_(0.5)
    trainer.fit()
    assert caplog.text.count("all detections have the same score") == 1
    assert len(warnings_of(trainer)) == 1


def test_a_run_that_finds_nothing_says_so_once(discs, trainer_for, caplog):
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, schedule={"epochs": 2}, optim={"lr": 1e-9})
    trainer.fit()
    assert caplog.text.count("epoch 1: after 50% of the run AP is still 0") == 1
    assert [(w["epoch"], "batch" in w) for w in warnings_of(trainer)] == [(1, False)]


def test_masks_that_are_not_learned_yet_are_no_sign_of_wrong_labels(discs, trainer_for, caplog):
    caplog.set_level("INFO", "aerostat")
    trainer = trainer_for(discs, schedule={"epochs": 2}, optim={"lr": 1e-9})
    trainer.fit()
    caplog.clear()
    trainer.monitor.given.clear()
    nothing = trainer.result
    trainer.record(Validation(replace(nothing, ap=0.3, masks=nothing), same_scores=False))
    assert "AP 0.300" in caplog.text and "AP is still 0" not in caplog.text
    trainer.record(Validation(replace(nothing, masks=nothing), same_scores=False))
    assert "AP is still 0" in caplog.text


def test_the_fused_step_leaves_all_as_it_is_where_it_is_told_that_gradients_are_not_finite():
    """On a GPU that is how a step is left out without the host waiting to hear of it."""
    weight = torch.nn.Parameter(torch.ones(4))
    optimiser = torch.optim.AdamW([weight], lr=0.1, fused=True)
    weight.grad = torch.ones(4)
    optimiser.step()
    before = [weight.detach().clone(), *(value.clone() for value in optimiser.state[weight].values())]
    weight.grad = torch.full((4,), math.nan)
    optimiser.found_inf = torch.tensor(1.0)
    optimiser.step()
    after = [weight, *optimiser.state[weight].values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
