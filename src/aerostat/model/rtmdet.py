"""The whole network: sizes, construction, input normalisation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from aerostat.errors import InputError, nearest
from aerostat.geometry.postprocess import STRIDES
from aerostat.model.backbone import BASE_CHANNELS, CSPNeXt
from aerostat.model.head import BoxOutputs, RTMDetSepBNHead
from aerostat.model.instance_head import BoxesOfInstanceHead, InstanceOutputs, RTMDetInsSepBNHead
from aerostat.model.neck import CSPNeXtPAFPN

Size = Literal["nano", "tiny", "s", "m", "l", "x"]
SIZES: tuple[Size, ...] = get_args(Size)

MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
"""Mean and deviation of the published weights' inputs, on the 0-255 scale, for blue, green and red."""


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one size from another (published configs of MMDetection 3).

    Args:
        depth, width: multiples of the backbone's blocks and channels.
        neck_blocks: blocks of each layer of the neck.
        exp_on_reg: whether the head's distances are exponentials.
        depthwise: whether spatial convolutions are depthwise-separable.
        share_conv: whether the levels of the head share their convolutions.
        input_size: side in pixels of the square input that the published detectors were trained at.
    """

    depth: float
    width: float
    neck_blocks: int
    exp_on_reg: bool
    depthwise: bool = False
    share_conv: bool = True
    input_size: int = 640


ARCHITECTURES: Mapping[Size, Architecture] = MappingProxyType(
    {
        "nano": Architecture(
            0.33, 0.25, 1, exp_on_reg=False, depthwise=True, share_conv=False, input_size=320
        ),
        "tiny": Architecture(0.167, 0.375, 1, exp_on_reg=False),
        "s": Architecture(0.33, 0.5, 1, exp_on_reg=False),
        "m": Architecture(0.67, 0.75, 2, exp_on_reg=True),
        "l": Architecture(1.0, 1.0, 3, exp_on_reg=True),
        "x": Architecture(1.33, 1.25, 4, exp_on_reg=True),
    }
)


Outputs = BoxOutputs | InstanceOutputs
"""Raw outputs of a network, without or with masks."""


class RTMDet(nn.Module):
    """RTMDet, a one-stage detector: backbone, neck and head predict a box at every point of three levels.

    With masks it is RTMDet-Ins, whose head also predicts a mask at every point. Layers have OpenMMLab's
    names, so that published weights load. The paper is arXiv:2212.07784.

    Args:
        architecture: of one size, see `ARCHITECTURES`.
        num_classes: K.
        masks: whether the network predicts masks.
    """

    def __init__(self, architecture: Architecture, num_classes: int, masks: bool = False) -> None:
        super().__init__()
        a = architecture
        low, middle, high = (int(c * a.width) for c in BASE_CHANNELS[2:])
        self.backbone = CSPNeXt(a.depth, a.width, depthwise=a.depthwise)
        self.neck = CSPNeXtPAFPN((low, middle, high), low, a.neck_blocks, depthwise=a.depthwise)
        self.bbox_head: RTMDetSepBNHead | RTMDetInsSepBNHead
        if masks:
            self.bbox_head = RTMDetInsSepBNHead(
                num_classes, low, share_conv=a.share_conv, depthwise=a.depthwise
            )
        else:
            self.bbox_head = RTMDetSepBNHead(
                num_classes, low, exp_on_reg=a.exp_on_reg, share_conv=a.share_conv, depthwise=a.depthwise
            )

    @property
    def has_masks(self) -> bool:
        """Whether the network predicts masks."""
        return isinstance(self.bbox_head, RTMDetInsSepBNHead)

    def forward(self, images: Tensor) -> Outputs:
        """Return the raw outputs per level for normalised BGR images.

        Args:
            images: (N, 3, H, W); H and W are multiples of 32.

        Returns:
            ``(cls, reg)``, for the levels of stride 8, 16 and 32: logits (N, K, h, w), and distances
            (N, 4, h, w) in input pixels from the point to the left, top, right and bottom side of its box.
            With masks ``(cls, reg, kernels, mask_features)``; see `InstanceOutputs`.

        Raises:
            ValueError: the shape is not that of the arguments.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            shape = tuple(images.shape)
            raise ValueError(f"expected images (N, 3, H, W) with H and W multiples of 32, got {shape}")
        outputs: Outputs = self.bbox_head(self.neck(self.backbone(images)))
        return outputs


def boxes_alone(net: RTMDet) -> RTMDet:
    """Return a network that gives the same boxes and computes no masks; it shares all layers.

    Args:
        net: returned itself if it has no masks.

    Example:
        >>> light = boxes_alone(build("nano", num_classes=1, masks=True))
        >>> light.has_masks, len(light(torch.zeros(1, 3, 32, 32)))
        (False, 2)
    """
    head = net.bbox_head
    if not isinstance(head, RTMDetInsSepBNHead):
        return net
    light = copy.copy(net)
    light._modules = {**net._modules, "bbox_head": BoxesOfInstanceHead(head)}
    return light


def build(size: str, num_classes: int, masks: bool = False) -> RTMDet:
    """Return an RTMDet with fresh weights.

    Args:
        size: nano, tiny, s, m, l or x.
        num_classes: at least 1.
        masks: whether the network also predicts instance masks (RTMDet-Ins).

    Raises:
        InputError: the size is unknown, or there are no classes.

    Example:
        >>> net = build("nano", num_classes=3)
        >>> cls, reg = net(normalise(torch.zeros(1, 3, 64, 64)))
        >>> [tuple(level.shape) for level in cls]
        [(1, 3, 8, 8), (1, 3, 4, 4), (1, 3, 2, 2)]
    """
    architecture = {str(name): a for name, a in ARCHITECTURES.items()}.get(size)
    if architecture is None:
        raise InputError(f"Unknown size {size!r}; the sizes are {', '.join(SIZES)}.{nearest(size, SIZES)}")
    if num_classes < 1:
        raise InputError(f"A detector needs at least one class, got {num_classes}.")
    return RTMDet(architecture, num_classes, masks)


def normalise(images_bgr: Tensor) -> Tensor:
    """Return the network's float32 input for BGR images (N, 3, H, W) on the 0-255 scale, of any dtype.

    The memory format stays: channels-last images give a channels-last input.
    """
    if images_bgr.device.type == "cpu" and images_bgr.is_contiguous(memory_format=torch.channels_last):
        return _normalised_rows(images_bgr)
    mean, std = _statistics(images_bgr.device)
    return (images_bgr.float() - mean[:, None, None]) / std[:, None, None]


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (3,) on a device, sent once: sending them again would make a GPU wait."""
    with torch.inference_mode(False):
        return torch.tensor(MEAN_BGR, device=device), torch.tensor(STD_BGR, device=device)


def _normalised_rows(images_bgr: Tensor) -> Tensor:
    """Return what `normalise` does, for channels-last images: whole rows are faster than single pixels."""
    n, channels, height, width = images_bgr.shape
    rows = images_bgr.permute(0, 2, 3, 1).reshape(n * height, width * channels)
    mean, std = (values.repeat(width) for values in _statistics(images_bgr.device))
    out = rows.to(torch.float32, copy=True).sub_(mean).div_(std)
    return out.view(n, height, width, channels).permute(0, 3, 1, 2)


def level_points(sizes: list[tuple[int, int]], device: torch.device | None = None) -> Tensor:
    """Return the points (P, 3) of levels: x and y of each cell's top left corner, and the stride.

    Args:
        sizes: (h, w) in cells of the levels of stride 8, 16 and 32.
        device: of the result.

    Returns:
        Row by row, level after level. RTMDet's points have offset 0: they are corners, not centres.

    Example:
        >>> level_points([(1, 2), (1, 1), (0, 0)]).tolist()
        [[0.0, 0.0, 8.0], [8.0, 0.0, 8.0], [0.0, 0.0, 16.0]]
    """
    levels = []
    for (height, width), stride in zip(sizes, STRIDES, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height, device=device) * stride,
            torch.arange(width, device=device) * stride,
            indexing="ij",
        )
        levels.append(torch.stack([x.flatten(), y.flatten(), torch.full_like(x, stride).flatten()], dim=1))
    return torch.cat(levels).float()


def flatten_levels(levels: list[Tensor]) -> Tensor:
    """Return (N, P, C) float32 for levels (N, C, h, w), in the order of `level_points`."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1).float()


def decode_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Return boxes (..., P, 4) xyxy for points (P, 3) and distances (..., P, 4) left, top, right, bottom.

    Example:
        >>> decode_boxes(torch.tensor([[8.0, 8.0, 8.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist()
        [[7.0, 6.0, 11.0, 12.0]]
    """
    xy = points[:, :2]
    return torch.cat([xy - distances[..., :2], xy + distances[..., 2:]], dim=-1)
