from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aerostat.model import RTMDet, build, normalise

NetworkOf = Callable[..., RTMDet]
ImagesOf = Callable[..., NDArray[np.uint8]]


def fit(module: torch.nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
    """Set running statistics to what comes in; no channel may explode on what comes in later."""
    (x,) = inputs
    variance = x.var((0, 2, 3))
    module.running_mean.copy_(x.mean((0, 2, 3)))
    module.running_var.copy_(variance.clamp(min=float(variance.mean()) / 2))


@pytest.fixture(scope="session")
def lively(noise: ImagesOf) -> NetworkOf:
    """Networks of random weights whose maps, scores and boxes spread as those of trained ones do."""
    made: dict[tuple[str, int], RTMDet] = {}

    def network(size: str = "nano", num_classes: int = 3) -> RTMDet:
        if (size, num_classes) not in made:
            torch.manual_seed(len(size) + num_classes)
            net = build(size, num_classes).eval()
            for name, module in net.named_modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.weight.data.uniform_(0.2, 0.4)  # about 1 SiLU is nearly a line: nothing explodes
                    module.bias.data.normal_(1.0, 0.1)
                elif isinstance(module, torch.nn.Conv2d) and ("rtm_" in name or module.bias is None):
                    spread = 6.0 if "rtm_cls" in name else 3.0 if "rtm_reg" in name else 1.0
                    module.weight.data.normal_(0, spread / module.weight[0].numel() ** 0.5)
                    if module.bias is not None:
                        module.weight.data -= module.weight.data.mean(1, keepdim=True)
                        module.bias.data.fill_(-2.0 if "rtm_cls" in name else 1.5)
            images = torch.from_numpy(noise(8, 160, 128, seed=1)).permute(0, 3, 1, 2)
            hooks = [
                m.register_forward_pre_hook(fit) for m in net.modules() if type(m) is torch.nn.BatchNorm2d
            ]
            with torch.no_grad():
                net(normalise(images))
            for hook in hooks:
                hook.remove()
            made[size, num_classes] = net
        return made[size, num_classes]

    return network


@pytest.fixture(scope="session")
def noise() -> ImagesOf:
    """Images (n, h, w, 3) uint8 of blocks and noise."""

    def images(count: int, width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 256, (count, height // 16, width // 16, 3))
        grain = rng.integers(-20, 21, (count, height, width, 3))
        return np.clip(blocks.repeat(16, 1).repeat(16, 2) + grain, 0, 255).astype(np.uint8)

    return images
