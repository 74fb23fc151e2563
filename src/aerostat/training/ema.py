"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class ExponentialMovingAverage(Generic[Net]):
    """A second network whose weights average the trained ones; this network is validated and saved.

    The momentum falls from 1 to its final value (published: ExpMomentumEMA of MMDetection 3)::

        momentum_t = momentum + (1 - momentum) * exp(-(t + 1) / gamma)
        average <- average + momentum_t * (weights - average)

    Floating-point buffers (BatchNorm statistics) are averaged too, integer ones copied. Parameters that need
    no gradient cannot change and are skipped, and so are the statistics of layers in evaluation mode.

    Args:
        net: in the weights that the average starts from, and in training mode.
        momentum, gamma: of the formula.
    """

    def __init__(self, net: Net, *, momentum: float, gamma: float) -> None:
        self.net: Net = copy.deepcopy(net).eval().requires_grad_(False)
        self.momentum = momentum
        self.gamma = gamma
        self.updates = 0
        self._of: nn.Module | None = None

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average towards the weights of `net`, which has the same structure."""
        momentum = self.momentum + (1 - self.momentum) * math.exp(-(self.updates + 1) / self.gamma)
        if self.updates == 0:  # as published: the first average is the weights themselves
            momentum = 1.0
        self.updates += 1
        if self._of is not net:
            self._pair(net)
        if self._floating:
            torch._foreach_lerp_(self._averages, self._floating, momentum)
        if self._integers:
            torch._foreach_copy_(self._copies, self._integers)

    def forget_pairs(self) -> None:
        """Forget which tensors change, because others learn from now on. The next update looks again."""
        self._of = None

    def _pair(self, net: nn.Module) -> None:
        """Remember the pairs of tensors, because walking through the modules takes longer than averaging."""
        ours, theirs = _tensors(self.net), _changing(net)
        pairs = [(ours[name], tensor) for name, tensor in theirs.items()]
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        integers = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._averages, self._floating = [mine for mine, _ in floating], [other for _, other in floating]
        self._copies, self._integers = [mine for mine, _ in integers], [other for _, other in integers]
        self._of = net


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once even where layers share them."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def _changing(net: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {name: p for name, p in net.named_parameters() if p.requires_grad}
    seen = {id(p) for p in found.values()}
    for prefix, module in net.named_modules():
        if module.training:
            for name, buffer in module.named_buffers(prefix, recurse=False):
                if id(buffer) not in seen:
                    seen.add(id(buffer))
                    found[name] = buffer
    return found
