import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The reference figures were made with oneDNN's AVX2 kernels. With AVX-512 ones the same network differs by
# 2e-6 in its outputs and, through training-mode BatchNorm over a few pixels, by 2e-5 in its losses. oneDNN
# reads this once, before the first convolution.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs, weights and reference figures beside the project, if it is there."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` beside the project (photographs, weights, reference figures)")
    return SHARED


@pytest.fixture(scope="session")
def balloon(shared: Path) -> Path:
    return shared / "data" / "balloon"


@pytest.fixture(scope="session")
def person_weights(shared: Path) -> Path:
    return shared / "weights" / "rtmdet_nano_person.pth"


@pytest.fixture(scope="session")
def random_net() -> Callable[[int, tuple[int, int]], Any]:
    """RTMDet-nano of random weights that finds many things of several sizes in noise of (width, height)."""

    def network(num_classes: int, size: tuple[int, int]) -> Any:
        import numpy as np
        import torch

        from aerostat.model import build, normalise

        torch.manual_seed(0)
        net = build("nano", num_classes)
        noise = np.random.default_rng(1).integers(0, 256, (8, 3, size[1], size[0]), np.uint8)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # statistics of its own, or every map fades to nothing
            net.train()(normalise(torch.from_numpy(noise)))
            for level in range(3):
                net.bbox_head.rtm_cls[level].weight.normal_(std=0.4)
                net.bbox_head.rtm_cls[level].bias.fill_(-3.0)
                net.bbox_head.rtm_reg[level].bias.fill_(1.5)
        return net.eval()

    return network
