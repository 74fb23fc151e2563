"""AdamW with the published parameter groups, and what freezing a backbone means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def build_optimiser(net: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the parameters that need a gradient: no weight decay on norms and biases."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    norms = {id(p) for m in net.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            (plain if id(parameter) in norms or name.endswith("bias") else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    # One pass over each parameter instead of a dozen; other devices lack it.
    fused = all(p.device.type in ("cpu", "cuda") for p in (*decayed, *plain))
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=fused)


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser the state that it, or one of an earlier run, had.

    The moments get the memory layout of their parameters, which files do not keep: the fused step goes
    through all of them by their place in memory.
    """
    optimiser.load_state_dict(state)
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def set_training_mode(net: nn.Module, *, freeze_backbone: bool) -> None:
    """Put the network in training mode; a frozen backbone gets no gradients and keeps its batch statistics.

    Nothing of this is stored with the weights.
    """
    net.train()
    if freeze_backbone:
        backbone = net.get_submodule("backbone")
        backbone.eval()
        backbone.requires_grad_(False)
