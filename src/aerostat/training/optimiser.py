"""AdamW with the published parameter groups, and the training mode with a frozen backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def build_optimiser(
    net: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    backbone_lr_factor: float = 1.0,
    head_lr_factor: float = 1.0,
) -> torch.optim.AdamW:
    """Return AdamW over the parameters that need a gradient: no weight decay on norms and biases.

    Args:
        net: parameters whose names begin with ``backbone.`` or ``bbox_head.`` learn at their own rates.
        lr, weight_decay: of AdamW.
        backbone_lr_factor, head_lr_factor: learning rates of backbone and head, as factors of `lr`. Each
            group has its factor under ``lr_factor``.
    """
    factors = {"backbone": backbone_lr_factor, "bbox_head": head_lr_factor}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    norms = {id(p) for m in net.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if id(parameter) in norms or name.endswith("bias") else weight_decay
            factor = factors.get(name.partition(".")[0], 1.0)
            groups.setdefault((decay, factor), []).append(parameter)
    # The fused step passes over each parameter once instead of a dozen times; other devices lack it.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups.values() for p in group)
    return torch.optim.AdamW(
        [
            {"params": group, "weight_decay": decay, "lr_factor": factor}
            for (decay, factor), group in groups.items()
        ],
        lr=lr,
        fused=fused,
    )


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimiser.

    The moments get the memory layout of their parameters, because the fused step reads both by their place
    in memory. Files do not store the layout.
    """
    optimiser.load_state_dict(state)
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def set_training_mode(net: nn.Module, *, freeze_backbone: bool) -> None:
    """Put the network in training mode; a frozen backbone gets no gradients and keeps its batch statistics.

    The mode is not stored with the weights.
    """
    net.train()
    backbone = net.get_submodule("backbone")
    backbone.train(not freeze_backbone)
    backbone.requires_grad_(not freeze_backbone)
