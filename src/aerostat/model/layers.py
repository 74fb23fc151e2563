"""The building blocks of CSPNeXt (RTMDet paper, arXiv:2212.07784, section 3), under OpenMMLab's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerostat.model.depthwise import KERNEL, depthwise_conv2d
from aerostat.model.normalisation import batch_norm_silu

NARROW = 32
"""Channels below which torch's batch normalisation leaves a part of each vector register empty."""
LARGE = 200_000
"""Values of a map from which that costs more than a function of ours does."""


class ConvModule(nn.Module):
    """Convolution without bias, batch normalisation, SiLU: (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=1e-5, momentum=0.1)
        self.activate = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        if self.training and torch.is_grad_enabled() and self.bn.training:
            return self._learning(x)
        y: Tensor = self.activate(self.bn(self.conv(x)))
        return y

    def _learning(self, x: Tensor) -> Tensor:
        """Compute the same for a backward pass: nothing in place of what that needs, and fast on the CPU."""
        conv = self.conv
        plain = x.device.type == "cpu" and x.dtype == conv.weight.dtype
        plain = plain and not torch.is_autocast_enabled("cpu")
        ours = plain and x.is_contiguous(memory_format=torch.channels_last)
        if ours and conv.groups > 1 and conv.kernel_size[0] == KERNEL and conv.stride[0] == 1:
            y = depthwise_conv2d(x, conv.weight)
        else:
            y = conv(x)
        if ours and self.bn.num_features < NARROW and y.numel() >= LARGE:
            return batch_norm_silu(y, self.bn)
        return functional.silu(self.bn(y))


class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise ConvModule, then a 1x1 one."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(inside, inside, kernel, stride, groups=inside)
        self.pointwise_conv = ConvModule(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


def conv_module(inside: int, outside: int, kernel: int, stride: int = 1, *, depthwise: bool) -> nn.Module:
    """Build the plain or the depthwise-separable form of a spatial convolution."""
    if depthwise:
        return DepthwiseSeparableConvModule(inside, outside, kernel, stride)
    return ConvModule(inside, outside, kernel, stride)


class CSPNeXtBlock(nn.Module):
    """3x3 convolution, then a 5x5 depthwise-separable one, with an optional identity shortcut."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = conv_module(channels, channels, 3, depthwise=depthwise)
        self.conv2 = DepthwiseSeparableConvModule(channels, channels, 5)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return y + x if self.shortcut else y


class ChannelAttention(nn.Module):
    """Scale each channel by the hard sigmoid of a 1x1 convolution of the global means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        # The mean over a large half-precision map loses digits; it is taken in float32.
        mean = x.mean((2, 3), keepdim=True, dtype=torch.float32).to(x.dtype)
        y: Tensor = x * self.act(self.fc(mean))
        return y


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half of the channels pass through blocks, both halves meet again."""

    def __init__(
        self, inside: int, outside: int, blocks: int, *, shortcut: bool, attention: bool, depthwise: bool
    ) -> None:
        super().__init__()
        middle = outside // 2
        self.main_conv = ConvModule(inside, middle, 1)
        self.short_conv = ConvModule(inside, middle, 1)
        self.final_conv = ConvModule(2 * middle, outside, 1)
        self.blocks = nn.Sequential(
            *(CSPNeXtBlock(middle, shortcut=shortcut, depthwise=depthwise) for _ in range(blocks))
        )
        self.attention = ChannelAttention(2 * middle) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W)."""
        y = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        if self.attention is not None:
            y = self.attention(y)
        out: Tensor = self.final_conv(y)
        return out


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling: max-pools of 5, 9 and 13 cells beside the input, between 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // 2, 1)
        self.poolings = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in (5, 9, 13))
        self.conv2 = ConvModule(channels // 2 * 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = self.conv1(x)
        y: Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.poolings)], dim=1))
        return y
