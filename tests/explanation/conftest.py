from collections.abc import Callable

import pytest
import torch
from torch import nn

from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet, build


def _liven(net: RTMDet) -> RTMDet:
    """Fill a network so that its outputs differ from place to place and its boxes have some size.

    With fresh weights hardly anything of the image reaches the head.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.4 / module.weight[0].numel() ** 0.5)
    for level in range(3):
        nn.init.constant_(net.bbox_head.rtm_cls[level].bias, -2.0)
        nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    return net.eval()


@pytest.fixture(scope="session")
def lively() -> Callable[..., Detector]:
    """Make a detector with random weights that finds things: ``lively(size, classes, input_side)``."""

    def make(size: str = "nano", classes: int = 2, side: int = 128, masks: bool = False) -> Detector:
        torch.manual_seed(1)
        names = tuple(f"thing {number}" for number in range(classes))
        return Detector(TorchEngine(_liven(build(size, classes, masks))), names, (side, side))

    return make
