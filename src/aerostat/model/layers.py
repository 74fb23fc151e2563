"""Building blocks of CSPNeXt (RTMDet paper, arXiv:2212.07784, section 3.2), under OpenMMLab's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvModule(nn.Module):
    """Convolution without bias, batch normalisation, SiLU: (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-5, momentum=0.1)
        # Not in place: autograd would first copy the input, which the backward pass needs.
        self.activate = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        y: Tensor = self.activate(self.bn(self.conv(x)))
        return y


class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise ConvModule, then a 1x1 ConvModule."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.pointwise_conv = ConvModule(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


def conv_module(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, depthwise: bool
) -> nn.Module:
    """Return a spatial convolution, plain or depthwise-separable."""
    if depthwise:
        return DepthwiseSeparableConvModule(in_channels, out_channels, kernel, stride)
    return ConvModule(in_channels, out_channels, kernel, stride)


class CSPNeXtBlock(nn.Module):
    """A 3x3 convolution, then a 5x5 depthwise-separable convolution, with an optional identity shortcut.

    The large depthwise kernel widens the receptive field at little cost (section 3.2 of the paper).
    """

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
        # The mean over a large half-precision map loses digits, so it is computed in float32.
        mean = x.mean((2, 3), keepdim=True, dtype=torch.float32).to(x.dtype)  # (N, C, 1, 1)
        y: Tensor = x * self.act(self.fc(mean))
        return y


class CSPLayer(nn.Module):
    """Cross-stage partial layer: one half of the channels passes through blocks, the other bypasses them.

    A 1x1 convolution mixes the two halves again (CSPNet, arXiv:1911.11929).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: int,
        *,
        shortcut: bool,
        attention: bool,
        depthwise: bool,
    ) -> None:
        super().__init__()
        middle = out_channels // 2
        self.main_conv = ConvModule(in_channels, middle, 1)
        self.short_conv = ConvModule(in_channels, middle, 1)
        self.final_conv = ConvModule(2 * middle, out_channels, 1)
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
    """Spatial pyramid pooling: max-pools of 5, 9 and 13 cells beside the input, between 1x1 convolutions.

    The pools see the whole of a large object (SPPNet, arXiv:1406.4729).
    """

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
