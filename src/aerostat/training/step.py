"""One training step: what it did, and the network as it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aerostat.model import RTMDet, normalise
from aerostat.model.cpu_training import use_fast_training
from aerostat.model.folding import folded
from aerostat.pipeline.loader import Batch


@dataclass(frozen=True, eq=False)
class Step:
    """What an iteration did; its losses may still be on their way from the device.

    Args:
        batch: what was learned from.
        number: of the iteration in its epoch, from 1.
        lr: learning rate.
        stepped: whether the optimiser stepped.
        values: (4,) float32 in the host's memory, in the order of `LOSSES`, then 1 where a gradient was not
            finite, else 0; complete once `done` is.
        done: None where there is nothing to wait for.
    """

    batch: Batch
    number: int
    lr: float
    stepped: bool
    values: Tensor
    done: torch.cuda.Event | None = None

    def read(self) -> dict[str, float]:
        """Return the losses by name, waiting for them if need be."""
        if self.done is not None:
            self.done.synchronize()
        return dict(zip(LOSSES, self.values[:-1].tolist(), strict=True))

    @property
    def finite(self) -> bool:
        """Whether all gradients were finite; known once the losses have been read."""
        return not self.values[-1]


LOSSES = ("loss", "loss_cls", "loss_bbox")


class TrainedNetwork(nn.Module):
    """The network as it is trained: from images as the loader makes them to the raw outputs.

    A frozen backbone does not change during a run, so that its batch normalisation is folded into its
    convolutions once; nothing of it is kept for a backward pass.

    Args:
        net: in training mode.
    """

    def __init__(self, net: RTMDet) -> None:
        super().__init__()
        if next(net.parameters()).device.type == "cpu":
            use_fast_training(net)
        self.net = net
        self._frozen: list[nn.Module] = []  # in a list, so that it is no part of this module's state

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Map BGR images (N, 3, H, W), 0-255, to the outputs of `RTMDet.forward`."""
        inputs = normalise(images).contiguous(memory_format=torch.channels_last)
        if self.net.backbone.training:
            cls, reg = self.net(inputs)
        else:
            with torch.no_grad():
                features = self._backbone()(inputs)
            cls, reg = self.net.bbox_head(self.net.neck(features))
        return cls, reg

    def forget(self) -> None:
        """Fold anew at the next use: the weights have been loaded."""
        self._frozen.clear()

    def _backbone(self) -> nn.Module:
        if not self._frozen:
            self._frozen.append(folded(self.net.backbone))
        return self._frozen[0]


def on_its_way(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Return values in the host's memory, and what to wait for before they are read."""
    if values.device.type != "cuda":
        return values.cpu(), None
    landing = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    landing.copy_(values, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()
    return landing, done
