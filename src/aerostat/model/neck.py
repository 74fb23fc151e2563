"""CSPNeXtPAFPN, the neck of RTMDet (arXiv:2212.07784, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerostat.model.layers import ConvModule, CSPLayer, conv_module


class CSPNeXtPAFPN(nn.Module):
    """Mix three levels of the backbone top-down, then bottom-up (PAFPN, arXiv:1803.01534).

    Each level meets its neighbour by concatenation and a `CSPLayer`. A last convolution gives every level the
    same number of channels.

    Args:
        in_channels: of the levels of stride 8, 16 and 32.
        out_channels: of every level.
        blocks: of each `CSPLayer`.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    def __init__(
        self, in_channels: tuple[int, int, int], out_channels: int, blocks: int, *, depthwise: bool
    ) -> None:
        super().__init__()

        def mix(in_channels: int, out_channels: int) -> CSPLayer:
            return CSPLayer(
                in_channels, out_channels, blocks, shortcut=False, attention=False, depthwise=depthwise
            )

        low, middle, high = in_channels
        self.reduce_layers = nn.ModuleList([ConvModule(high, middle, 1), ConvModule(middle, low, 1)])
        self.top_down_blocks = nn.ModuleList([mix(2 * middle, middle), mix(2 * low, low)])
        self.downsamples = nn.ModuleList(
            conv_module(c, c, 3, stride=2, depthwise=depthwise) for c in (low, middle)
        )
        self.bottom_up_blocks = nn.ModuleList(mix(2 * c, 2 * c) for c in (low, middle))
        self.out_convs = nn.ModuleList(
            conv_module(c, out_channels, 3, depthwise=depthwise) for c in in_channels
        )

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Map levels (N, C_i, H/s, W/s) to (N, C, H/s, W/s), s = 8, 16, 32."""
        low, middle, high = levels
        high = self.reduce_layers[0](high)
        middle = self.top_down_blocks[0](torch.cat([_upsample(high), middle], dim=1))
        middle = self.reduce_layers[1](middle)
        low = self.top_down_blocks[1](torch.cat([_upsample(middle), low], dim=1))
        middle = self.bottom_up_blocks[0](torch.cat([self.downsamples[0](low), middle], dim=1))
        high = self.bottom_up_blocks[1](torch.cat([self.downsamples[1](middle), high], dim=1))
        return tuple(conv(x) for conv, x in zip(self.out_convs, (low, middle, high), strict=True))


def _upsample(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
