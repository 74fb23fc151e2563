"""The averaged network against an average worked tensor by tensor."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from aerostat.model import build
from aerostat.training.ema import ExponentialMovingAverage


class Toy(nn.Module):
    """A weight, batch statistics with their integer counter, and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.register_buffer("seen", torch.tensor([1, 2], dtype=torch.int64))
        self.register_buffer("flag", torch.tensor(False))

    def move(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator))
                else:
                    tensor.fill_(seed % 7)


def momentum_at(step: int, momentum: float, gamma: float) -> float:
    """MMDetection's ExpMomentumEMA: the first update copies, the k-th (from 0) has this momentum."""
    return 1.0 if step == 0 else momentum + (1 - momentum) * math.exp(-(1 + step) / gamma)


def test_weights_and_batch_statistics_are_averaged_and_integers_copied():
    net = Toy()
    ema = ExponentialMovingAverage(net, momentum=0.1, gamma=3.0)
    expected = {name: tensor.double().numpy().copy() for name, tensor in net.state_dict().items()}
    for step in range(8):
        net.move(seed=step + 1)
        ema.update(net)
        weight = momentum_at(step, 0.1, 3.0)
        for name, tensor in net.state_dict().items():
            new = tensor.double().numpy()
            floating = tensor.is_floating_point()
            expected[name] = (1 - weight) * expected[name] + weight * new if floating else new.copy()
    for name, tensor in ema.net.state_dict().items():
        np.testing.assert_allclose(tensor.double().numpy(), expected[name], rtol=1e-5, err_msg=name)
    assert ema.net.state_dict()["seen"].tolist() == [1, 1]
    assert not torch.equal(ema.net.conv.weight, net.conv.weight)


def test_the_first_update_forgets_the_weights_it_started_from():
    net = Toy()
    ema = ExponentialMovingAverage(net, momentum=0.0002, gamma=2000.0)
    net.move(seed=5)
    ema.update(net)
    for name, tensor in ema.net.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name]), name


def test_updating_leaves_the_trained_network_alone():
    net = Toy()
    ema = ExponentialMovingAverage(net, momentum=0.5, gamma=1.0)
    net.move(seed=3)
    before = copy.deepcopy(net.state_dict())
    ema.update(net)
    ema.net.move(seed=9)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training and all(p.requires_grad for p in net.parameters())


def test_the_average_is_in_evaluation_mode_and_takes_no_gradient():
    ema = ExponentialMovingAverage(Toy().train(), momentum=0.5, gamma=1.0)
    assert not any(module.training for module in ema.net.modules())
    assert not any(p.requires_grad for p in ema.net.parameters())


@pytest.mark.parametrize(
    ("momentum", "gamma", "updates"), [(1.0, 0.5, 6), (1 / 24, 12.0, 240), (2e-4, 2e3, 20_000)]
)
def test_the_average_of_a_rising_weight_lags_by_its_horizon(momentum, gamma, updates):
    """Of a weight that rises by 1 with every step the average lags by (1 - m) / m, m being the momentum."""
    net = nn.Linear(1, 1, bias=False).double()
    ema = ExponentialMovingAverage(net, momentum=momentum, gamma=gamma)
    for step in range(updates):
        with torch.no_grad():
            net.weight.fill_(step)
        ema.update(net)
    lag = (updates - 1) - ema.net.weight.item()
    assert lag <= (1 - momentum) / momentum + 1e-9
    assert lag <= updates / 4


def test_shared_head_convolutions_are_moved_once_and_stay_shared():
    net = build("tiny", 1)
    ema = ExponentialMovingAverage(net, momentum=0.25, gamma=1e-3)  # momentum 0.25 from the second update on
    ema.update(net)
    start = net.bbox_head.cls_convs[0][0].conv.weight.detach().clone()
    with torch.no_grad():
        net.bbox_head.cls_convs[0][0].conv.weight.add_(1.0)
    ema.update(net)
    state = ema.net.state_dict()
    for level in range(3):
        moved = state[f"bbox_head.cls_convs.{level}.0.conv.weight"]
        torch.testing.assert_close(moved, start + 0.25)


def test_what_cannot_change_is_left_alone():
    """Frozen weights and statistics stay as they are to the bit; the others follow."""
    net = nn.Sequential(Toy().eval().requires_grad_(False), Toy())
    ema = ExponentialMovingAverage(net, momentum=0.5, gamma=1e-3)
    before = copy.deepcopy(ema.net.state_dict())
    for seed in (1, 2):
        net[1].move(seed)
        ema.update(net)
    for name, tensor in ema.net.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("0."), name
