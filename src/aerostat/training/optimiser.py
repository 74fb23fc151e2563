"""AdamW with the published parameter groups, and what freezing a backbone means."""

from __future__ import annotations

import torch
from torch import nn
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
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)


def set_training_mode(net: nn.Module, *, freeze_backbone: bool) -> None:
    """Put the network in training mode; a frozen backbone gets no gradients and keeps its batch statistics.

    Nothing of this is stored with the weights.
    """
    net.train()
    if freeze_backbone:
        backbone = net.get_submodule("backbone")
        backbone.eval()
        backbone.requires_grad_(False)
