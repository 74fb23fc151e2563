"""A backbone that is frozen for a share of the run, and one that learns more slowly."""

import copy
import shutil

import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.model import build
from aerostat.training.recipe import Recipe

FROZEN = {"model": {"freeze": "backbone"}, "schedule": {"epochs": 4, "freeze_share": 0.5}}


@pytest.fixture
def data(drawn) -> Dataset:
    return Dataset.read(drawn(train=4, val=0))


def backbone_of(trainer) -> dict[str, torch.Tensor]:
    return {
        name: t.clone()
        for name, t in trainer.learner.net.state_dict().items()
        if name.startswith("backbone.")
    }


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_backbone_begins_to_learn_where_the_recipe_says(data, trainer_for):
    torch.manual_seed(0)
    trainer = trainer_for(data, build("nano", 1), **FROZEN)
    start, seen = backbone_of(trainer), []
    save = trainer.save

    def saving():
        save()
        seen.append(equal(start, backbone_of(trainer)))

    trainer.save = saving
    trainer.fit()
    assert seen == [True, True, False, False]
    averaged = {n: t for n, t in trainer.learner.ema.net.state_dict().items() if n.startswith("backbone.")}
    assert not equal(start, averaged)  # the average follows once there is something to follow


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stop_before_at_and_after_the_thaw_changes_nothing(data, trainer_for, stop):
    torch.manual_seed(0)
    net = build("nano", 1)
    whole = trainer_for(data, copy.deepcopy(net), "whole", **FROZEN)
    whole.fit()
    first = trainer_for(data, copy.deepcopy(net), "cut", **FROZEN)
    learn = first.learner.learn

    def stopping(batch, **place):
        if first.position.epoch == stop:
            raise KeyboardInterrupt
        return learn(batch, **place)

    first.learner.learn = stopping
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = trainer_for(data, build("nano", 1), "gone-on", **FROZEN)
    shutil.copy(first.job.run.checkpoint, second.job.run.checkpoint)
    second.restore()
    assert second.position.epoch == stop
    second.fit()
    for ours, theirs in (
        (second.learner.net, whole.learner.net),
        (second.learner.ema.net, whole.learner.ema.net),
    ):
        assert equal(dict(ours.state_dict()), dict(theirs.state_dict()))


def test_a_slower_backbone_moves_less(data, trainer_for):
    moved = {}
    for factor in (1.0, 0.01):
        torch.manual_seed(0)
        trainer = trainer_for(data, build("nano", 1), f"f{factor}", optim={"backbone_lr_factor": factor})
        before = backbone_of(trainer)
        trainer.fit()
        weights = [name for name in before if name.endswith("conv.weight")]
        after = backbone_of(trainer)
        moved[factor] = sum(float((after[name] - before[name]).abs().sum()) for name in weights)
    assert 0 < moved[0.01] < 0.1 * moved[1.0]


def test_shares_that_are_none_are_refused():
    with pytest.raises(Exception, match=r"schedule.freeze_share must be between 0 and 1"):
        Recipe().override({"schedule": {"freeze_share": 1.5}})
    with pytest.raises(Exception, match=r"optim.backbone_lr_factor must be 0 or more"):
        Recipe().override({"optim": {"backbone_lr_factor": -1.0}})
