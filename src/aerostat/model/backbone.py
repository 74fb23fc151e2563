"""CSPNeXt, the backbone of RTMDet (arXiv:2212.07784, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from aerostat.model.layers import ConvModule, CSPLayer, SPPBottleneck, conv_module

BASE_CHANNELS = (64, 128, 256, 512, 1024)
"""Channels of the stem and of stages 1 to 4 at width 1 (published RTMDet configs, as is the next)."""
BASE_BLOCKS = (3, 6, 6, 3)
"""Blocks of stages 1 to 4 at depth 1."""


class CSPNeXt(nn.Module):
    """A stem and four stages, each of which halves the resolution and mixes channels in a `CSPLayer`.

    The outputs of stages 2, 3 and 4 (strides 8, 16 and 32) are the levels of the feature pyramid.

    Args:
        depth, width: multiples of the blocks and channels of the base network.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        channels = [int(c * width) for c in BASE_CHANNELS]
        half = int(BASE_CHANNELS[0] * width // 2)
        self.stem = nn.Sequential(
            ConvModule(3, half, 3, stride=2), ConvModule(half, half, 3), ConvModule(half, channels[0], 3)
        )

        def stage(number: int) -> nn.Sequential:
            in_channels, out_channels = channels[number - 1], channels[number]
            last = number == len(BASE_BLOCKS)
            blocks = max(round(BASE_BLOCKS[number - 1] * depth), 1)
            down = conv_module(in_channels, out_channels, 3, stride=2, depthwise=depthwise)
            mix = CSPLayer(
                out_channels,
                out_channels,
                blocks,
                shortcut=not last,
                attention=True,
                depthwise=depthwise,
            )
            return nn.Sequential(down, SPPBottleneck(out_channels), mix) if last else nn.Sequential(down, mix)

        self.stage1 = stage(1)
        self.stage2 = stage(2)
        self.stage3 = stage(3)
        self.stage4 = stage(4)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map normalised images (N, 3, H, W) to three maps (N, C, H/s, W/s), s = 8, 16, 32."""
        low = self.stage2(self.stage1(self.stem(images)))  # (N, C2, H/8, W/8)
        middle = self.stage3(low)  # (N, C3, H/16, W/16)
        return low, middle, self.stage4(middle)
