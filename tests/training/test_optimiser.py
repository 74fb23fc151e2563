"""Parameter groups, and a frozen backbone that is frozen in training alone."""

import copy

import pytest
import torch
from torch import nn

from aerostat.model import build, detection_loss
from aerostat.training.optimiser import build_optimiser, load_optimiser_state, set_training_mode


def group_of(optimiser: torch.optim.Optimizer) -> dict[int, float]:
    """Weight decay by the id of the parameter; fails if one is in twice."""
    pairs = [(id(p), group["weight_decay"]) for group in optimiser.param_groups for p in group["params"]]
    assert len(dict(pairs)) == len(pairs), "a parameter is in the optimiser twice"
    return dict(pairs)


@pytest.mark.parametrize("size", ["nano", "tiny", "m"])
def test_convolution_weights_decay_and_norms_and_biases_do_not(size):
    net = build(size, 2)
    decay = group_of(build_optimiser(net, lr=0.1, weight_decay=0.05))
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            kernel = isinstance(module, nn.Conv2d) and name == "weight"
            assert decay.pop(id(parameter), 0.05 if kernel else 0.0) == (0.05 if kernel else 0.0)
    assert not decay, "every parameter of the network was found in the optimiser"


def test_every_parameter_is_optimised_once_although_the_head_lists_shared_ones_thrice():
    net = build("tiny", 1)
    optimiser = build_optimiser(net, lr=0.1, weight_decay=0.05)
    listed = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    optimised = sum(len(group["params"]) for group in optimiser.param_groups)
    assert optimised == len(list(net.parameters())) == len(listed) - 8  # 2 towers x 2 layers x 2 more levels
    assert len(group_of(optimiser)) == optimised


def steps(net: nn.Module, optimiser: torch.optim.Optimizer, count: int = 3) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randn(2, 3, 64, 64, generator=generator)
        boxes = [torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.zeros(0, 4)]
        labels = [torch.tensor([0]), torch.zeros(0, dtype=torch.int64)]
        losses = detection_loss(*net(images), boxes, labels)
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()


def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_weights_and_statistics():
    net = build("nano", 1)
    set_training_mode(net, freeze_backbone=True)
    before = copy.deepcopy(net.state_dict())
    optimiser = build_optimiser(net, lr=0.01, weight_decay=0.05)
    backbone = {id(p) for p in net.backbone.parameters()}
    assert not backbone & set(group_of(optimiser))
    steps(net, optimiser)
    after = net.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if name.startswith("backbone.")]
    assert all(p.grad is None for p in net.backbone.parameters())
    assert {"neck.out_convs.0.depthwise_conv.bn.running_mean", "bbox_head.rtm_cls.0.bias"} <= moved


def test_a_backbone_that_is_not_frozen_learns_and_counts_statistics():
    net = build("nano", 1)
    set_training_mode(net, freeze_backbone=False)
    before = copy.deepcopy(net.state_dict())
    steps(net, build_optimiser(net, lr=0.01, weight_decay=0.05), count=1)
    after = net.state_dict()
    for name in ("backbone.stem.0.conv.weight", "backbone.stem.0.bn.running_mean"):
        assert not torch.equal(before[name], after[name]), name


def test_freezing_is_no_part_of_the_saved_weights():
    frozen, free = build("nano", 1), build("nano", 1)
    set_training_mode(frozen, freeze_backbone=True)
    set_training_mode(free, freeze_backbone=False)
    assert list(frozen.state_dict()) == list(free.state_dict())
    other = build("nano", 1)
    other.load_state_dict(frozen.state_dict())
    set_training_mode(other, freeze_backbone=False)
    assert all(p.requires_grad for p in other.parameters())
    assert all(module.training for module in other.modules())


@pytest.mark.parametrize("fused", [True, None])
def test_moments_from_a_file_get_the_layout_of_their_weights(fused):
    """Files keep values in the order of the indices; the fused step goes by the order in memory."""
    conv = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    other = copy.deepcopy(conv)
    optimisers = [build_optimiser(net, lr=0.01, weight_decay=0.05) for net in (conv, other)]
    x = torch.randn(2, 4, 5, 5).contiguous(memory_format=torch.channels_last)

    def step(which: int) -> None:
        net = (conv, other)[which]
        net(x).square().sum().backward()
        optimisers[which].step()
        optimisers[which].zero_grad()

    step(0)
    other.load_state_dict(conv.state_dict())
    state = optimisers[0].state_dict()
    state["state"] = {
        key: {name: value.clone(memory_format=torch.contiguous_format) for name, value in moments.items()}
        for key, moments in state["state"].items()
    }
    for group in state["param_groups"]:
        group["fused"] = fused  # runs of earlier versions say None
    load_optimiser_state(optimisers[1], state)
    step(0), step(1)
    for ours, theirs in zip(other.parameters(), conv.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_backbone_and_head_have_their_own_rates_and_every_parameter_is_still_there_once():
    net = build("nano", 1)
    optimiser = build_optimiser(net, lr=0.1, weight_decay=0.05, backbone_lr_factor=0.25, head_lr_factor=3)
    backbone = {id(p) for p in net.backbone.parameters()}
    head = {id(p) for p in net.bbox_head.parameters()}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            expected = 0.25 if id(parameter) in backbone else 3 if id(parameter) in head else 1
            assert group["lr_factor"] == expected
    assert len(group_of(optimiser)) == len(list(net.parameters()))
