"""RTMDetSepBNHead, the head of RTMDet (arXiv:2212.07784, section 3.2)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from aerostat.geometry.postprocess import STRIDES
from aerostat.model.layers import ConvModule, conv_module

PRIOR_PROBABILITY = 0.01
"""Class score that a fresh head gives everywhere (focal prior; arXiv:1708.02002, section 4.1)."""
STACKED_CONVS = 2
"""Convolutions of each tower (published RTMDet configs)."""


class BoxOutputs(NamedTuple):
    """Raw outputs of a detector, by level of stride 8, 16 and 32.

    Args:
        cls: (N, K, h, w) class logits.
        reg: (N, 4, h, w) distances in input pixels from the point to the left, top, right and bottom side of
            its box.
    """

    cls: list[Tensor]
    reg: list[Tensor]


class RTMDetSepBNHead(nn.Module):
    """Predict class logits and four box distances at every point of three levels, each by its own tower.

    The levels share the convolutions of the towers (`share_conv`) but not their batch normalisation. The
    state dict lists the shared weights under every level.

    Args:
        num_classes: K.
        channels: of the neck's levels and of the towers.
        exp_on_reg: whether distances are exponentials of the last convolution's output.
        share_conv: whether the levels share the convolutions of the towers.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    def __init__(
        self, num_classes: int, channels: int, *, exp_on_reg: bool, share_conv: bool, depthwise: bool
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.exp_on_reg = exp_on_reg

        self.cls_convs = towers(channels, depthwise=depthwise)
        self.reg_convs = towers(channels, depthwise=depthwise)
        self.rtm_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in STRIDES)
        self.rtm_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in STRIDES)
        initialise(self, self.rtm_cls)
        if share_conv:
            share_convolutions(self.cls_convs)
            share_convolutions(self.reg_convs)

    def forward(self, levels: tuple[Tensor, ...]) -> BoxOutputs:
        """Map three levels (N, C, h, w) to logits (N, K, h, w) and distances in pixels (N, 4, h, w) each.

        Distances run from the point to the left, top, right and bottom side of its box. They are float32
        under autocast, too: half precision cannot tell neighbouring pixels of a large box apart.
        """
        cls, reg = [], []
        for level, stride in enumerate(STRIDES):
            cls.append(self.rtm_cls[level](self.cls_convs[level](levels[level])))  # (N, K, h, w)
            distance = self.rtm_reg[level](self.reg_convs[level](levels[level])).float()  # (N, 4, h, w)
            reg.append((distance.exp() if self.exp_on_reg else distance) * stride)
        return BoxOutputs(cls, reg)


def towers(channels: int, *, depthwise: bool) -> nn.ModuleList:
    """Return for each level a tower of convolutions that keep the number of channels."""
    return nn.ModuleList(
        nn.Sequential(
            *(conv_module(channels, channels, 3, depthwise=depthwise) for _ in range(STACKED_CONVS))
        )
        for _ in STRIDES
    )


def share_convolutions(towers: nn.ModuleList) -> None:
    """Let the towers of all levels use the convolutions of the first; batch normalisation stays their own."""
    for tower in towers[1:]:
        for name, module in towers[0].named_modules():
            if isinstance(module, ConvModule):
                tower.get_submodule(name).conv = module.conv


def initialise(head: nn.Module, rtm_cls: nn.ModuleList) -> None:
    """Give a head its fresh weights: N(0, 0.01), no bias, and the focal prior as bias of the classes."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in rtm_cls:
        assert isinstance(module, nn.Conv2d) and module.bias is not None
        nn.init.constant_(module.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
