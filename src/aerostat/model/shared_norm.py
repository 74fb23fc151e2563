"""Batch normalisation over the images of all processes, so that a batch is the same however it is divided.

torch has this for GPUs alone. On a CPU, mean and variance of the parts are merged here (parallel variance;
Chan, Golub and LeVeque 1979).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its statistics from the maps of all processes of the process group."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape; N may differ between the processes."""
        if not self.training:
            return super().forward(x)
        return cast(Tensor, _SharedNorm.apply(x, self.weight, self.bias, self))  # type: ignore[no-untyped-call]


class SharedBatchNormOfGpu(nn.SyncBatchNorm, nn.BatchNorm2d):
    """torch's own form, which still counts as a `BatchNorm2d`."""

    process_group = None


def use_shared_norm(net: nn.Module) -> None:
    """Let every batch normalisation of a network share its statistics between processes, in place.

    Only the class of the modules changes, as in `aerostat.model.cpu_training`.

    Args:
        net: on its device; the process group of torch must be there before the first training step.
    """
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            on_gpu = module.weight.device.type != "cpu"
            module.__class__ = SharedBatchNormOfGpu if on_gpu else SharedBatchNorm


class _SharedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, bn: nn.BatchNorm2d) -> Tensor:
        mean, variance, count = _merged(x)
        out = functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, bn.eps)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = bn.eps
        if bn.running_mean is not None and bn.running_var is not None and bn.num_batches_tracked is not None:
            bn.num_batches_tracked.add_(1)
            share = 1 / float(bn.num_batches_tracked) if bn.momentum is None else bn.momentum
            bn.running_mean.lerp_(mean, share)
            bn.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), share)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        # In evaluation mode the statistics are constants; what they contribute is subtracted below.
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([by_weight, by_bias])
        distributed.all_reduce(sums)
        inverse = (variance + ctx.eps).rsqrt()
        by_scaled, by_shifted = sums * (weight * inverse / count)
        slope = by_scaled * inverse
        constant = by_shifted - slope * mean
        slope, constant = (each.to(x.dtype).view(1, -1, 1, 1) for each in (slope, constant))
        return torch.addcmul(by_x - constant, x, slope, value=-1), by_weight, by_bias, None


def _merged(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance (C,) over the maps of all processes, and the number of values."""
    kind = torch.promote_types(x.dtype, torch.float32)
    own = torch.tensor(x.numel() // x.shape[1], dtype=kind)
    mean, variance = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
    said = torch.stack([own.expand_as(mean), mean.to(kind), variance.to(kind)])
    every = [torch.empty_like(said) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, said)
    counts, means, variances = torch.stack(every).double().unbind(1)  # (W, C) each
    count = counts.sum(0)
    merged = (counts * means).sum(0) / count
    spread = (counts * (variances + (means - merged).square())).sum(0) / count
    return merged.to(kind), spread.to(kind), count[0].to(kind)
