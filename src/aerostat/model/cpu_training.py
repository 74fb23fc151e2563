"""Faster training steps on a CPU: two forms of a ConvModule that differ from torch's by rounding only.

`use_fast_training` puts them into a network from outside, as `aerostat.model.folding` does for inference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerostat.model.depthwise import KERNEL, depthwise_conv2d
from aerostat.model.layers import ConvModule
from aerostat.model.normalisation import batch_norm_silu

FEW_CHANNELS = 32
"""Below this number of channels, torch's batch normalisation leaves part of each vector register empty."""
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
"""Whether this build of torch has oneDNN."""
LARGE_MAP = 200_000
"""Values of a map from which `batch_norm_silu` is faster than torch's two operators (measured)."""


class FastConvModule(ConvModule):
    """A ConvModule that computes a training step on a CPU with the operators of this package.

    Everything else takes the plain way: evaluation, other devices, autocast, and maps that are not channels
    last in memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        if not self._can_be_fast(x):
            return super().forward(x)
        conv = self.conv
        if conv.groups > 1 and conv.kernel_size[0] == KERNEL and conv.stride[0] == 1:
            y = depthwise_conv2d(x, conv.weight)
        elif conv.kernel_size == (1, 1) and x.dtype == torch.float32 and HAS_ONEDNN:
            # A dilated kernel of one pixel is the same kernel. With one thread torch would otherwise not call
            # oneDNN, and take twice as long or more (`use_mkldnn` in its Convolution.cpp).
            y = functional.conv2d(x, conv.weight, stride=conv.stride, groups=conv.groups, dilation=2)
        else:
            y = conv(x)
        own = type(self.bn) is nn.BatchNorm2d  # another class may share its statistics between processes
        if own and self.bn.num_features < FEW_CHANNELS and y.numel() >= LARGE_MAP:
            return batch_norm_silu(y, self.bn)
        return functional.silu(self.bn(y))

    def _can_be_fast(self, x: Tensor) -> bool:
        """Return whether this call is a training step on channels-last float maps of a CPU."""
        return (
            self.training
            and self.bn.training
            and torch.is_grad_enabled()
            and x.device.type == "cpu"
            and x.dtype == self.conv.weight.dtype
            and not torch.is_autocast_enabled("cpu")
            and x.is_contiguous(memory_format=torch.channels_last)
        )


def use_fast_training(net: nn.Module) -> None:
    """Let every ConvModule of a network train with the fast forms, in place.

    Only the class of the modules changes. Parameters, buffers, hooks, names in the state dict and
    convolutions that levels share stay what they are, and so do copies made with `copy.deepcopy`.

    Args:
        net: to be trained on a CPU; on another device nothing changes but a check per call.

    Example:
        >>> from aerostat.model import build
        >>> net = build("nano", num_classes=1)
        >>> use_fast_training(net)
        >>> isinstance(net.backbone.stem[0], FastConvModule)
        True
    """
    for module in net.modules():
        if type(module) is ConvModule:
            # FSDP of torch swaps classes in the same way: another module would lose hooks and identity.
            module.__class__ = FastConvModule
