"""RTMDetInsSepBNHead, the head of RTMDet-Ins: boxes, and a small network per point that draws its mask.

The mask of a point is made of feature maps that all points share (`MaskFeatures`, stride 8), and of the
point's coordinates relative to each cell. Three 1x1 convolutions turn both into a logit per cell; the head
predicts their weights for each point (arXiv:2212.07784, section 3.4; CondInst, arXiv:2003.05664).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerostat.geometry.mask_kernels import KERNEL_PARAMETERS, PROTOTYPES
from aerostat.geometry.postprocess import STRIDES
from aerostat.model.head import BoxOutputs, initialise, share_convolutions, towers
from aerostat.model.layers import conv_module

MASK_CONVS = 4
"""Convolutions of the branch that makes the mask features (published RTMDet-Ins configs)."""
FRESH_DISTANCE = 1.0
"""Bias of a fresh distance layer, in strides: behind a ReLU, a bias of 0 would let half of them never learn
(MMDetection 3, `RTMDetInsSepBNHead`)."""


class InstanceOutputs(NamedTuple):
    """Raw outputs of an instance network, by level of stride 8, 16 and 32.

    Args:
        cls: (N, K, h, w) class logits.
        reg: (N, 4, h, w) distances in input pixels, at least 0; see `BoxOutputs`.
        kernels: (N, 169, h, w) weights of the small network of each point; see `geometry.mask_kernels`.
        mask_features: (N, 8, h, w) of stride 8, shared by all points.
    """

    cls: list[Tensor]
    reg: list[Tensor]
    kernels: list[Tensor]
    mask_features: Tensor


class MaskFeatures(nn.Module):
    """Join three levels at stride 8 and map them to the features that masks are made of.

    Args:
        channels: of the levels.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    def __init__(self, channels: int, *, depthwise: bool) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(len(STRIDES) * channels, channels, 1)
        self.stacked_convs = nn.Sequential(
            *(conv_module(channels, channels, 3, depthwise=depthwise) for _ in range(MASK_CONVS))
        )
        self.projection = nn.Conv2d(channels, PROTOTYPES, 1)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Map three levels (N, C, h, w) to (N, 8, h, w) of the first level's size."""
        size = levels[0].shape[2:]
        upsampled = [functional.interpolate(level, size=size, mode="bilinear") for level in levels[1:]]
        fused = self.fusion_conv(torch.cat([levels[0], *upsampled], dim=1))
        features: Tensor = self.projection(self.stacked_convs(fused))
        return features


class RTMDetInsSepBNHead(nn.Module):
    """Predict class logits, box distances and mask kernels at every point, and mask features.

    As in the published networks, classes and distances share one tower: `reg_convs` are the modules of
    `cls_convs`, and the state dict lists them under both names. The levels share the convolutions of that
    tower (`share_conv`), but not those of the kernels' tower.

    Args:
        num_classes: K.
        channels: of the neck's levels and of the towers.
        share_conv: whether the levels share the convolutions of the class tower.
        depthwise: whether spatial convolutions are depthwise-separable.
    """

    def __init__(self, num_classes: int, channels: int, *, share_conv: bool, depthwise: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.cls_convs = towers(channels, depthwise=depthwise)
        self.reg_convs = nn.ModuleList(self.cls_convs)
        self.kernel_convs = towers(channels, depthwise=depthwise)
        self.rtm_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in STRIDES)
        self.rtm_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in STRIDES)
        self.rtm_kernel = nn.ModuleList(nn.Conv2d(channels, KERNEL_PARAMETERS, 1) for _ in STRIDES)
        self.mask_head = MaskFeatures(channels, depthwise=depthwise)
        initialise(self, self.rtm_cls)
        for module in self.rtm_reg:
            assert isinstance(module, nn.Conv2d) and module.bias is not None
            nn.init.constant_(module.bias, FRESH_DISTANCE)
        if share_conv:
            share_convolutions(self.cls_convs)

    def forward(self, levels: tuple[Tensor, ...]) -> InstanceOutputs:
        """Map three levels (N, C, h, w) to the outputs of each.

        Distances and mask features are float32 under autocast, too.
        """
        cls, reg, kernels = [], [], []
        for i, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            logits, distances = self.boxes_of_level(i, level, stride)
            cls.append(logits)
            reg.append(distances)
            kernels.append(self.rtm_kernel[i](self.kernel_convs[i](level)))  # (N, 169, h, w)
        return InstanceOutputs(cls, reg, kernels, self.mask_head(levels).float())

    def boxes_of_level(self, index: int, level: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Map one level (N, C, h, w) to its logits (N, K, h, w) and distances (N, 4, h, w)."""
        features = self.cls_convs[index](level)
        return self.rtm_cls[index](features), functional.relu(self.rtm_reg[index](features).float()) * stride


class BoxesOfInstanceHead(nn.Module):
    """The part of a head with masks that predicts boxes; kernels and mask features are not computed.

    Args:
        head: with masks; its layers are shared.
    """

    def __init__(self, head: RTMDetInsSepBNHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, levels: tuple[Tensor, ...]) -> BoxOutputs:
        """Map three levels (N, C, h, w) to logits and distances of each."""
        pairs = [self.head.boxes_of_level(i, *of) for i, of in enumerate(zip(levels, STRIDES, strict=True))]
        return BoxOutputs([cls for cls, _ in pairs], [reg for _, reg in pairs])
