"""Learn from the first batches and look at the validation images, in as many processes as are asked for.

    python tests/processes/together.py DATA OUT DEVICES

Process 0 writes OUT, a state with what came of it. Each process is started with the same words.
"""

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aerostat.datasets.dataset import Dataset
from aerostat.demo import CHECKPOINT
from aerostat.evaluation.evaluate import evaluate
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet
from aerostat.model.shared_norm import use_shared_norm
from aerostat.processes.exchange import Processes
from aerostat.processes.lifeline import connected
from aerostat.processes.placement import Placement
from aerostat.training.device import place
from aerostat.training.loop import build_loader
from aerostat.training.plan import TrainRequest, plan, start_network
from aerostat.training.processes import launch
from aerostat.training.recipe import Recipe
from aerostat.training.step import Learner
from aerostat.training.validation import Validator, score
from aerostat.weights.training_state import save_state

VALUES: dict[str, dict[str, Any]] = {
    "data": {"input_size": 96, "threads": 0},
    "optim": {"batch_size": 3, "accumulate": 2, "lr": 0.001},
    "schedule": {"epochs": 2},
    "eval": {"batch_size": 2},
    "run": {"device": "cpu"},
}


def main(folder: Path, out: Path, devices: int) -> None:
    """Do all of it; see the module."""
    torch.set_num_threads(1)
    data = Dataset.read(folder, classes=("drawn balloon",))
    planned = plan(data, TrainRequest("rtmdet-nano", str(CHECKPOINT), values=VALUES))
    fabric = launch(planned.recipe, Placement(devices))
    processes = Processes(fabric)
    with connected(processes):
        recipe, (net, _) = planned.recipe, start_network(planned, data.classes)
        loader = build_loader(planned.train_split, recipe, processes)
        batches = list(loader.epoch(0, 1))[:2]
        found: dict[str, Any] = {
            "names": [everywhere(processes, batch.file_names) for batch in batches],
            "sums": [everywhere(processes, [int(i.sum()) for i in batch.images]) for batch in batches],
            "norm": normalised(processes),
            "frozen": learned(fabric, copy.deepcopy(net), recipe, batches, frozen=True),
            "training": learned(fabric, copy.deepcopy(net), recipe, batches, frozen=False),
        }
        detector = Detector(TorchEngine(net.eval()), data.classes, (96, 96))
        val = data.split("val")
        share = Validator(detector, val, recipe.eval, threads=1, processes=processes, requested=[]).detect()
        assert share is not None
        found["validation"] = repr(score(share, val).result.to_dict())
        found["evaluation"] = repr(
            evaluate(detector, val, batch_size=2, devices=devices, progress=False).to_dict()
        )
        if processes.rank == 0:
            save_state(out, found)


def everywhere(processes: Processes, items: list[Any]) -> list[Any]:
    """Return the items of all processes in one list."""
    return [item for part in processes.gather(items) for item in part]


def normalised(processes: Processes) -> dict[str, Any]:
    """Return a batch normalisation of five images in float64, its gradients and its statistics."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64) * 3 + 7
    slope = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    bn = nn.BatchNorm2d(3).double()
    if processes.count > 1:
        use_shared_norm(bn)
    part = slice(5 * processes.rank // processes.count, 5 * (processes.rank + 1) // processes.count)
    mine = x[part].requires_grad_()
    y = bn(mine)
    (y.square() * slope[part]).sum().backward()
    assert mine.grad is not None and bn.weight.grad is not None and bn.bias.grad is not None
    return {
        "y": torch.cat(processes.gather(y.detach())),
        "by_x": torch.cat(processes.gather(mine.grad)),
        "by_weight": torch.stack(processes.gather(bn.weight.grad)).sum(0),
        "by_bias": torch.stack(processes.gather(bn.bias.grad)).sum(0),
        **{name: buffer.double() for name, buffer in bn.named_buffers()},
    }


def learned(fabric: Any, net: RTMDet, recipe: Recipe, batches: list[Any], *, frozen: bool) -> dict[str, Any]:
    """Return losses and gradients of a step of two batches, and the weights and statistics after it."""
    learner = Learner(fabric, net, recipe, warn=lambda *_: None)
    if frozen:
        for module in learner.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    gradients: dict[str, torch.Tensor] = {}
    step = learner.optimiser.optimizer.step

    def recording(*args: Any, **kwargs: Any) -> Any:
        gradients.update({name: p.grad.clone() for name, p in learner.net.named_parameters()})
        return step(*args, **kwargs)

    learner.optimiser.optimizer.step = recording
    losses = []
    for number, batch in enumerate(batches):
        placed = place(batch, torch.device("cpu"))
        losses.append(learner.learn(placed, lr=0.001, iteration=number, iterations=2).read())
    return {
        "losses": losses,
        "gradients": gradients,
        "buffers": {name: b.clone() for name, b in learner.net.named_buffers()},
        "average": {name: p.detach().clone() for name, p in learner.ema.net.named_parameters()},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
