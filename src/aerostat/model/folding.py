"""A network for inference alone: batch normalisation folded into convolutions, activations fused to them."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerostat.model.layers import ConvModule


class FoldedConv(nn.Module):
    """A ConvModule in evaluation mode as one convolution with bias and SiLU.

    On the CPU in float32 the two are one oneDNN primitive with prepacked weights, which saves a pass over
    memory per layer. Elsewhere, or if this build of torch lacks the primitive, they are two operators.

    Args:
        module: gives the weights and the running statistics of its batch normalisation.
    """

    def __init__(self, module: ConvModule) -> None:
        super().__init__()
        plain, bn = module.conv, module.bn
        assert bn.running_var is not None and bn.running_mean is not None
        with torch.no_grad():
            scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
            weight = (plain.weight * scale[:, None, None, None]).contiguous()
            bias = bn.bias - bn.running_mean * scale
        self.conv = nn.Conv2d(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,  # type: ignore[arg-type]
            plain.stride,  # type: ignore[arg-type]
            plain.padding,  # type: ignore[arg-type]
            groups=plain.groups,
            device=weight.device,
        )
        self.conv.weight = nn.Parameter(weight, requires_grad=False)
        self.conv.bias = nn.Parameter(bias, requires_grad=False)
        # By number of threads: oneDNN packs weights for one number and would repack them for another.
        self._packed: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H/stride, W/stride)."""
        conv = self.conv
        if x.device.type == "cpu" and x.dtype == torch.float32 and has_fused_convolution():
            geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
            threads = torch.get_num_threads()
            if threads not in self._packed:
                self._packed[threads] = torch.ops.mkldnn._reorder_convolution_weight(
                    conv.weight, *geometry, list(x.shape)
                )
            y: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self._packed[threads], conv.bias, *geometry, "swish", [], ""
            )
            return y
        return functional.silu(conv(x), inplace=True)


@cache
def has_fused_convolution() -> bool:
    """Return whether this build of torch has oneDNN's convolution with SiLU, and it computes correctly.

    torch's own compiler emits this operator for the CPU, but it is not public: the check finds a change.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    rng = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=rng) for s in ((1, 8, 9, 9), (8, 8, 3, 3), (8,)))
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    try:
        with torch.inference_mode():
            packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(x.shape))
            fused = torch.ops.mkldnn._convolution_pointwise(x, packed, bias, *geometry, "swish", [], "")
            plain = functional.silu(functional.conv2d(x, weight, bias, padding=1))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(fused, plain, atol=1e-4))


def folded(net: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode with every ConvModule folded.

    Args:
        net: left as it is; returned itself if it has no ConvModule.

    Example:
        >>> from aerostat.model import build
        >>> net = folded(build("nano", num_classes=1))
        >>> type(net.backbone.stem[0]).__name__
        'FoldedConv'
    """
    if not any(isinstance(module, ConvModule) for module in net.modules()):
        return net
    result = copy.deepcopy(net).eval().requires_grad_(False)
    for parent in list(result.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvModule):
                setattr(parent, name, FoldedConv(child))
    if next(result.parameters()).device.type in ("cpu", "cuda"):
        result = result.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return result
