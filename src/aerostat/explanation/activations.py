"""Forward passes and gradients of objectives by the outputs of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from aerostat.explanation.named_layers import Layer
from aerostat.model import RTMDet
from aerostat.model.head import STACKED_CONVS

Objective = Callable[[list[Tensor], list[Tensor]], Tensor]
"""Class logits and distances per level (N, K or 4, h, w) in, one number per image (N,) out."""

LAST_LAYERS = tuple(f"neck.out_convs.{level}" for level in range(3))
"""Paths of the head's inputs by level. A detection depends only on cells of its level near its point."""

_FIRST_NAME, _SECOND_NAME = "bbox_head.cls_convs.", "bbox_head.reg_convs."


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One forward pass on one image, with the graph behind the layers' outputs.

    Args:
        cls, reg: outputs of the head by level, (1, K, h, w) and (1, 4, h, w).
        activations: outputs (1, C, h, w) of the layers by path.
    """

    cls: list[Tensor]
    reg: list[Tensor]
    activations: dict[str, Tensor]


def forward_from(net: RTMDet, layers: Sequence[Layer], images: Tensor) -> ForwardPass:
    """Run a private copy of a network so that gradients reach the outputs of some layers, and nothing before.

    The output of each layer becomes a leaf of the graph, so it does not matter which parameters require
    gradients. A layer behind another one stays connected to it.

    Args:
        net: network from `private_copy`.
        layers: layers of that copy; each gives one map.
        images: (1, 3, H, W) normalised.
    """
    given: dict[str, list[Any]] = {layer.path: [] for layer in layers}
    handles = []
    for layer in layers:

        def take(_: Any, __: Any, output: Any, path: str = layer.path) -> Any:
            if isinstance(output, Tensor) and not output.requires_grad:
                output = output.detach().requires_grad_()
            given[path].append(output)
            return output

        handles.append(layer.module.register_forward_hook(take))
    try:
        with torch.inference_mode(False), torch.enable_grad():
            outputs = net(images.clone())  # the clone is not an inference tensor
    finally:
        for handle in handles:
            handle.remove()
    activations = {layer.path: given[layer.path][run_number(net, layer)] for layer in layers}
    return ForwardPass(outputs.cls, outputs.reg, activations)


def run_number(net: RTMDet, layer: Layer) -> int:
    """Return the number of the run that a layer's name means; a shared module is run once for each name."""
    names = [path for path, module in net.named_modules(remove_duplicate=False) if module is layer.module]
    wanted = layer.path
    if net.has_masks:  # classes and distances share the runs of one tower, which has two names
        names = [path for path in names if not path.startswith(_SECOND_NAME)]
        wanted = wanted.replace(_SECOND_NAME, _FIRST_NAME)
    return names.index(wanted)


def gradients(
    done: ForwardPass, objectives: Sequence[Objective], paths: Sequence[str]
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield for each objective its index and its gradients (C, h, w) by the layers' outputs, by path.

    For the head's inputs (`LAST_LAYERS`) one backward pass serves all objectives whose cells do not overlap:
    an output at a point depends on the 5 x 5 cells around it, so the gradient of the sum separates. Other
    layers take a backward pass for each objective.
    """
    local = [path for path in paths if path in LAST_LAYERS]
    wide = [path for path in paths if path not in LAST_LAYERS]
    values, outputs = _at_outputs(done, objectives)
    reaches = [_reach(torch.autograd.grad(v, outputs, retain_graph=True, allow_unused=True)) for v in values]
    for group in _apart(reaches) if local else [[i] for i in range(len(objectives))]:
        cotangents = torch.autograd.grad(
            [values[i] for i in group], outputs, retain_graph=True, allow_unused=True
        )
        together = _backward(done, cotangents, local)
        for i in group:
            found = {p: together[p] * reaches[i][LAST_LAYERS.index(p)] for p in local}
            if wide:
                alone = torch.autograd.grad(values[i], outputs, retain_graph=True, allow_unused=True)
                found |= _backward(done, alone, wide)
            yield i, found


def _at_outputs(done: ForwardPass, objectives: Sequence[Objective]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the objectives' values, and the detached outputs of the head that they depend on."""
    with torch.inference_mode(False), torch.enable_grad():
        cls = [x.detach().requires_grad_() for x in done.cls]
        reg = [x.detach().requires_grad_() for x in done.reg]
        return [objective(cls, reg)[0] for objective in objectives], [*cls, *reg]


def _reach(cotangents: Sequence[Tensor | None]) -> list[Tensor]:
    """Return per level (h, w) bool: the cells of the head's input that an objective depends on.

    Args:
        cotangents: gradients by the head's outputs, classes of all levels first; None without a gradient.
    """
    side = 2 * STACKED_CONVS + 1  # convolutions of 3 x 3 cells, then of one cell
    levels = []
    for level in range(len(LAST_LAYERS)):
        cls, reg = cotangents[level], cotangents[level + len(LAST_LAYERS)]
        touched = sum((x != 0).any(1).float() for x in (cls, reg) if x is not None)  # (1, h, w)
        if isinstance(touched, Tensor):
            touched = functional.max_pool2d(touched, side, stride=1, padding=side // 2)[0] > 0
        else:
            touched = torch.zeros((), dtype=torch.bool)
        levels.append(touched)
    return levels


def _apart(reaches: Sequence[Sequence[Tensor]]) -> list[list[int]]:
    """Return groups of objectives whose cells do not overlap; each joins the first group that fits."""
    groups: list[tuple[list[int], list[NDArray[np.bool_]]]] = []
    for index, reach in enumerate(reaches):
        own = [level.cpu().numpy() for level in reach]
        for members, taken in groups:
            if not any((mine & theirs).any() for mine, theirs in zip(own, taken, strict=True)):
                members.append(index)
                taken[:] = [mine | theirs for mine, theirs in zip(own, taken, strict=True)]
                break
        else:
            groups.append(([index], own))
    return [members for members, _ in groups]


def _backward(
    done: ForwardPass, cotangents: Sequence[Tensor | None], paths: Sequence[str]
) -> dict[str, Tensor]:
    """Return the gradients (C, h, w) by path, from those by the head's outputs; zeros without a gradient."""
    pairs = [
        (output, cotangent)
        for output, cotangent in zip([*done.cls, *done.reg], cotangents, strict=True)
        if cotangent is not None and output.requires_grad and bool(cotangent.any())
    ]
    inputs = [done.activations[path] for path in paths]
    if not pairs or not inputs:
        return {path: torch.zeros_like(x[0]) for path, x in zip(paths, inputs, strict=True)}
    found = torch.autograd.grad(
        [output for output, _ in pairs],
        inputs,
        [cotangent for _, cotangent in pairs],
        retain_graph=True,
        allow_unused=True,
    )
    return {
        path: torch.zeros_like(x[0]) if gradient is None else gradient[0]
        for path, x, gradient in zip(paths, inputs, found, strict=True)
    }
