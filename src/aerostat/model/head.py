"""RTMDetSepBNHead, the head of RTMDet (arXiv:2212.07784, section 3.2)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from aerostat.geometry.postprocess import STRIDES
from aerostat.model.layers import ConvModule, conv_module

PRIOR_PROBABILITY = 0.01
"""Class score that a fresh head gives everywhere (focal prior; arXiv:1708.02002, section 4.1)."""
STACKED_CONVS = 2
"""Convolutions of each tower (published RTMDet configs)."""


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

        def tower() -> nn.Sequential:
            return nn.Sequential(
                *(conv_module(channels, channels, 3, depthwise=depthwise) for _ in range(STACKED_CONVS))
            )

        self.cls_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.rtm_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in STRIDES)
        self.rtm_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in STRIDES)
        self._initialise()
        if share_conv:
            for towers in (self.cls_convs, self.reg_convs):
                for level in range(1, len(STRIDES)):
                    for layer in range(STACKED_CONVS):
                        _share_convolutions(towers[level], towers[0], layer)

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Map three levels (N, C, h, w) to logits (N, K, h, w) and distances in pixels (N, 4, h, w) each.

        Distances run from the point to the left, top, right and bottom side of its box. They are float32
        under autocast, too: half precision cannot tell neighbouring pixels of a large box apart.
        """
        cls, reg = [], []
        for level, stride in enumerate(STRIDES):
            cls.append(self.rtm_cls[level](self.cls_convs[level](levels[level])))  # (N, K, h, w)
            distance = self.rtm_reg[level](self.reg_convs[level](levels[level])).float()  # (N, 4, h, w)
            reg.append((distance.exp() if self.exp_on_reg else distance) * stride)
        return cls, reg

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.rtm_cls:
            assert isinstance(module, nn.Conv2d) and module.bias is not None
            nn.init.constant_(module.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))


def _share_convolutions(tower: nn.Module, first: nn.Module, layer: int) -> None:
    mine, shared = tower.get_submodule(str(layer)), first.get_submodule(str(layer))
    for name, module in shared.named_modules():
        if isinstance(module, ConvModule):
            mine.get_submodule(name).conv = module.conv
