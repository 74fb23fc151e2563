"""Depthwise convolution whose weights' gradient is fast on the CPU.

oneDNN sums the weights' gradient of a depthwise kernel at the speed of memory if the kernel is three columns
wide, and ten times as slowly if it has any other width. A kernel five columns wide is therefore split into
two kernels of three columns, on views of the input that are shifted by one pixel to either side.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

KERNEL = 5
"""Width of the kernels that are split (the depthwise kernels of a `CSPNeXtBlock`)."""


def depthwise_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """Return the depthwise convolution (N, C, H, W) of stride 1 that keeps the size.

    Args:
        x: (N, C, H, W), channels last in memory.
        weight: (C, 1, 5, 5).
    """
    return cast(Tensor, _DepthwiseConvolution.apply(x, weight))  # type: ignore[no-untyped-call]


class _DepthwiseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, padding=KERNEL // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        by_input = None
        if ctx.needs_input_grad[0]:
            by_input = _backward(gradient, x, weight, (KERNEL // 2, KERNEL // 2), [True, False, False])[0]
        return by_input, weight_gradient(x, gradient)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient (C, 1, 5, 5) of the weights.

    Args:
        x: (N, C, H, W), the input.
        gradient: (N, C, H, W), of the output.
    """
    n, channels, height, width = x.shape
    # The two empty columns right of a row are also the padding left of the next row, so a shift by one pixel
    # is another start in the same memory. The pixel at each end makes room for the shifts.
    wide = width + 2
    pixels = x.new_zeros(n * height * wide + 2, channels)
    pixels[1:-1].view(n, height, wide, channels)[:, :, :width] = x.permute(0, 2, 3, 1)
    upper = functional.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, 2)).permute(0, 3, 1, 2)
    half = x.new_empty(channels, 1, KERNEL, 3)  # only its shape is used
    shape, strides = (n, channels, height, wide), (height * wide * channels, 1, wide * channels, channels)
    left, right = (pixels.as_strided(shape, strides, start * channels) for start in (0, 2))
    columns = [
        _backward(upper, shifted, half, (KERNEL // 2, 1), [False, True, False])[1]
        for shifted in (left, right)
    ]
    return torch.cat([columns[0], columns[1][..., 1:]], dim=-1)


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], len(weight), wanted
    )
    return found
