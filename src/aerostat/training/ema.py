"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class ExponentialMovingAverage(Generic[Net]):
    """A second network whose weights trail the trained one's; it is what is validated and saved.

    The momentum falls from 1 to its final value (published: ExpMomentumEMA of MMDetection 3)::

        momentum_t = momentum + (1 - momentum) * exp(-(t + 1) / gamma)
        average <- average + momentum_t * (weights - average)

    Floating-point buffers (BatchNorm statistics) are averaged too, integer ones copied.
    """

    def __init__(self, net: Net, *, momentum: float, gamma: float) -> None:
        self.net: Net = copy.deepcopy(net).eval().requires_grad_(False)
        self.momentum = momentum
        self.gamma = gamma
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average towards the weights of `net`, which has the same structure."""
        momentum = self.momentum + (1 - self.momentum) * math.exp(-(self.updates + 1) / self.gamma)
        if self.updates == 0:  # as published: the first average is the weights themselves
            momentum = 1.0
        self.updates += 1
        ours, theirs = _tensors(self.net), _tensors(net)
        floating = [i for i, tensor in enumerate(ours) if tensor.is_floating_point()]
        torch._foreach_lerp_([ours[i] for i in floating], [theirs[i] for i in floating], momentum)
        for mine, other in zip(ours, theirs, strict=True):
            if not mine.is_floating_point():
                mine.copy_(other)


def _tensors(net: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once even where layers share them."""
    return [*net.parameters(), *net.buffers()]
