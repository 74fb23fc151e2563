"""Ablation: the objective without single channels of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aerostat.explanation.activations import Objective, forward_from, run_number
from aerostat.explanation.named_layers import Layer
from aerostat.model import RTMDet, boxes_alone
from aerostat.progress import track

BATCH = 16
"""Number of channels in one pass; each is removed from its own copy."""


def ablated_values(
    net: RTMDet, layer: Layer, images: Tensor, objectives: Sequence[Objective], *, batch: int = BATCH
) -> Tensor:
    """Return (n, C): the value of each objective without each channel of a layer.

    Only modules that depend on the layer are run again. The outputs of all others come from one pass.

    Args:
        net: network from `private_copy`.
        layer: layer of that copy; it gives one map.
        images: (1, 3, H, W) normalised.
        objectives: n objectives.
        batch: number of channels in one pass.
    """
    plain = _plain_pass(net, layer, images)
    channels = torch.arange(plain.activation.shape[1], device=images.device)
    light = boxes_alone(net)
    values = []
    with torch.no_grad():
        for without in track(torch.split(channels, batch), f"ablating channels of {layer.name}"):
            with _replaced(net, layer, plain, without):
                cls, reg = light(images.expand(len(without), -1, -1, -1))
            values.append(torch.stack([objective(cls, reg) for objective in objectives]))
    return torch.cat(values, dim=1)


@dataclass(frozen=True, eq=False)
class _PlainPass:
    """Outputs of a pass with all channels.

    Args:
        activation: (1, C, h, w), the layer's output.
        elsewhere: outputs of the outermost modules that do not depend on it, by path.
    """

    activation: Tensor
    elsewhere: dict[str, Any]


def _plain_pass(net: RTMDet, layer: Layer, images: Tensor) -> _PlainPass:
    depends: dict[nn.Module, list[bool]] = {module: [] for module in net.modules()}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        depends[module].append(any(x.requires_grad for x in _tensors(output)))

    with _hooks(dict.fromkeys(depends, note)):
        activation = forward_from(net, [layer], images).activations[layer.path].detach()
    wanted = dict(_outermost(net, "", layer, depends))
    outputs: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        outputs[module] = output

    with torch.no_grad(), _hooks(dict.fromkeys(wanted.values(), keep)):
        net(images)
    return _PlainPass(activation, {path: outputs[module] for path, module in wanted.items()})


def _outermost(
    module: nn.Module, path: str, layer: Layer, depends: dict[nn.Module, list[bool]]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield path and module of the outermost modules that are run once and do not depend on the layer."""
    for name, child in module.named_children():
        here = f"{path}.{name}".lstrip(".")
        if child is layer.module:
            continue
        if depends[child] == [False] and not layer.path.startswith(f"{here}."):
            yield here, child
        else:
            yield from _outermost(child, here, layer, depends)


@contextmanager
def _replaced(net: RTMDet, layer: Layer, plain: _PlainPass, without: Tensor) -> Iterator[None]:
    """Let the layer give a copy of its output for each missing channel, and other modules their outputs."""
    count, number = len(without), run_number(net, layer)
    ablated = plain.activation.expand(count, -1, -1, -1).clone()
    ablated[torch.arange(count, device=without.device), without] = 0
    runs = iter(range(len(list(net.modules()))))

    def ablate(_: nn.Module, __: Any, output: Any) -> Any:
        return ablated if next(runs) == number else output

    recalled = {net.get_submodule(path): output for path, output in plain.elsewhere.items()}
    for module, output in recalled.items():
        module.__dict__["forward"] = lambda *_, output=output: _repeated(output, count)
    try:
        with _hooks({layer.module: ablate}):
            yield
    finally:
        for module in recalled:
            del module.__dict__["forward"]


@contextmanager
def _hooks(hooks: dict[nn.Module, Callable[[nn.Module, Any, Any], Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, hook in hooks.items():
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    else:
        for part in output:
            yield from _tensors(part)


def _repeated(output: Any, count: int) -> Any:
    if isinstance(output, Tensor):
        return output.expand(count, -1, -1, -1)
    return tuple(_repeated(part, count) for part in output)
