"""The network as it is trained: from images as the loader makes them to raw outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aerostat.model import Outputs, RTMDet, normalise
from aerostat.model.cpu_training import use_fast_training
from aerostat.model.folding import folded


class TrainedNetwork(nn.Module):
    """Normalises images and runs the network on them, with a frozen backbone folded.

    A frozen backbone does not change during a run. Its batch normalisation is folded into its convolutions
    once, and nothing of it is kept for a backward pass.

    Args:
        net: in training mode.
    """

    def __init__(self, net: RTMDet) -> None:
        super().__init__()
        if next(net.parameters()).device.type == "cpu":
            use_fast_training(net)
        self.net = net
        self._frozen: list[nn.Module] = []  # in a list, so that it is not part of this module's state

    def forward(self, images: Tensor) -> Outputs:
        """Return the outputs of `RTMDet.forward` for BGR images (N, 3, H, W), 0-255."""
        inputs = normalise(images).contiguous(memory_format=torch.channels_last)
        outputs: Outputs
        if self.net.backbone.training:
            outputs = self.net(inputs)
        else:
            with torch.no_grad():
                features = self._backbone()(inputs)
            outputs = self.net.bbox_head(self.net.neck(features))
        return outputs

    def forget_folded(self) -> None:
        """Forget the folded backbone, because its weights have changed. The next use folds again."""
        self._frozen.clear()

    def _backbone(self) -> nn.Module:
        if not self._frozen:
            # Folding compares float32 outputs, which autocast would make narrower.
            with torch.autocast(next(self.net.parameters()).device.type, enabled=False):
                self._frozen.append(folded(self.net.backbone))
        return self._frozen[0]
