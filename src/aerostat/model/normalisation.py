"""Batch normalisation and SiLU as one step of training, written for the memory of a CPU.

torch's batch normalisation of channels-last maps reads the channels of one pixel at a time. With the 8 to 24
channels of the first stages it fills a part of each vector register: a tenth of the memory's speed.
Here several neighbouring pixels form a row of some hundred values. Statistics are computed per place in the
row, then the places of one channel are merged (parallel variance; Chan, Golub and LeVeque 1979). The backward
pass computes the input of SiLU again instead of keeping it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

ROW = 512
"""Values of a row, at most: shorter rows were slower, longer rows no faster (8 channels at 160 px)."""


def batch_norm_silu(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """Return ``silu(bn(x))`` in training mode, and update the running statistics of `bn`.

    Args:
        x: (N, C, H, W), channels last in memory; floating point.
        bn: affine, with running statistics and a momentum.
    """
    return cast(Tensor, _BatchNormSiLU.apply(x, bn.weight, bn.bias, bn))  # type: ignore[no-untyped-call]


class _BatchNormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, bn: nn.BatchNorm2d) -> Tensor:
        n, channels, height, width = x.shape
        count = n * height * width
        side = _side_by_side(count, channels)
        rows = x.permute(0, 2, 3, 1).reshape(count // side, side * channels)
        means, variances = torch.ops.aten.batch_norm_update_stats(rows, None, None, 0.0)
        if side > 1:
            means, variances = means.view(side, channels), variances.view(side, channels)
            mean = means.mean(0)
            variance = variances.mean(0).add_((means - mean).square_().mean(0))
        else:
            mean, variance = means, variances
        _update_running(bn, mean, variance, count)
        inverse = variance.add_(bn.eps).rsqrt_()
        scale = weight * inverse
        shift = torch.addcmul(bias, mean, scale, value=-1)
        out = torch.addcmul(shift.repeat(side), rows, scale.repeat(side))
        functional.silu(out, inplace=True)
        ctx.save_for_backward(x, mean, inverse, scale, shift)
        ctx.side = side
        return out.view(n, height, width, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse, scale, shift = ctx.saved_tensors
        n, channels, height, width = x.shape
        side, count = ctx.side, n * height * width
        rows = x.permute(0, 2, 3, 1).reshape(count // side, -1)
        upper = gradient.permute(0, 2, 3, 1).reshape(count // side, -1)
        before = torch.addcmul(shift.repeat(side), rows, scale.repeat(side))  # the input of SiLU
        torch.ops.aten.silu_backward.grad_input(upper, before, grad_input=before)
        # In evaluation mode this operator computes two sums only: the gradients of weight and bias.
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            before,
            rows,
            None,
            mean.repeat(side),
            inverse.pow(-2).repeat(side),
            None,
            None,
            False,
            0.0,
            [False, True, True],
        )
        by_weight, by_bias = by_weight.view(side, channels).sum(0), by_bias.view(side, channels).sum(0)
        slope = by_weight * inverse * scale / -count
        level = torch.addcmul(by_bias * scale / -count, slope, mean, value=-1)
        result = torch.addcmul(level.repeat(side), rows, slope.repeat(side))
        result.addcmul_(before, scale.repeat(side))
        return result.view(n, height, width, channels).permute(0, 3, 1, 2), by_weight, by_bias, None


def _side_by_side(count: int, channels: int) -> int:
    """Return how many pixels form a row: a power of two that divides `count`."""
    side = 1
    while 2 * side * channels <= ROW and count % (2 * side) == 0:
        side *= 2
    return side


def _update_running(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics as torch does, the variance with Bessel's correction."""
    assert bn.running_mean is not None and bn.running_var is not None and bn.momentum is not None
    assert bn.num_batches_tracked is not None
    with torch.no_grad():
        bn.running_mean.lerp_(mean, bn.momentum)
        bn.running_var.lerp_(variance * (count / max(count - 1, 1)), bn.momentum)
        bn.num_batches_tracked.add_(1)
