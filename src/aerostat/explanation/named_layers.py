"""Layers of a network by OpenMMLab's names, and their outputs from a private copy."""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from aerostat.errors import InputError
from aerostat.geometry.postprocess import STRIDES
from aerostat.model import RTMDet
from aerostat.model.layers import ConvModule, CSPNeXtBlock, DepthwiseSeparableConvModule
from aerostat.text import listed

M = TypeVar("M", bound=nn.Module)

SUGGESTIONS = 4
"""Maximum number of names that are suggested for an unknown one."""
DRY_RUN_SIDE = 64
"""Side of the input on which `layer_tree` runs the layers, in pixels: two cells at the last stride."""

BLOCKS: Mapping[type[nn.Module], str] = MappingProxyType(
    {
        CSPNeXtBlock: ".conv1 and .conv2",
        DepthwiseSeparableConvModule: ".depthwise_conv and .pointwise_conv, both ConvModules",
        ConvModule: ".conv, .bn and .activate",
    }
)
"""Inner layers of each building block, which `layer_tree` does not repeat."""

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\.\d+|\[\d+\])*", re.ASCII)
_STEP = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Args:
        name: as OpenMMLab's tools write it, such as ``neck.out_convs[2]``.
        path: as torch and the state dict write it, such as ``neck.out_convs.2``.
        module: the layer itself.
    """

    name: str
    path: str
    module: nn.Module


def layer_name(path: str) -> str:
    """Return OpenMMLab's name of a layer at a torch path: ``a.b.2.1`` is ``a.b[2][1]``."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)


def layer_names(net: nn.Module) -> list[str]:
    """Return the names of all layers, outer before inner ones; a shared layer has several names."""
    return [layer_name(path) for path, _ in net.named_modules(remove_duplicate=False) if path]


def find_layer(net: nn.Module, name: str) -> Layer:
    """Return the layer of a name such as ``neck.out_convs[2]`` or ``neck.out_convs.2``.

    The name is parsed as words, dots and numbers in brackets; it is not evaluated.

    Raises:
        InputError: there is no such layer; the sentence lists the nearest names.
    """
    wanted = name.strip()
    if _NAME.fullmatch(wanted):
        steps = [step.lstrip("0") or "0" if step.isdigit() else step for step in _STEP.findall(wanted)]
        path = ".".join(steps)
        modules = dict(net.named_modules(remove_duplicate=False))
        if path in modules:
            return Layer(layer_name(path), path, modules[path])
    raise InputError(
        f"There is no layer {name!r} in this network; the nearest are {', '.join(_nearest(net, wanted))} "
        "(`describe_layers(net)` lists all)."
    )


def _nearest(net: nn.Module, wanted: str) -> list[str]:
    names = layer_names(net)
    found = difflib.get_close_matches(wanted, names, n=SUGGESTIONS, cutoff=0.5)
    return found or [name for name, _ in net.named_children()]


def private_copy(net: M) -> M:
    """Return a copy of a network that shares the memory of its parameters and buffers.

    The copy is in evaluation mode, without hooks and gradients. It does not work in place, so the output of a
    layer stays as it is. Its use changes no hook, mode, gradient or buffer of the caller's network.
    """
    copies: dict[int, Any] = {}
    return _copy_module(net, copies)


def _copy_module(module: M, copies: dict[int, Any]) -> M:
    """Copy a module; `copies` has the earlier copies by id, so that shared modules stay shared."""
    if id(module) in copies:
        found: M = copies[id(module)]
        return found
    twin = copies[id(module)] = module.__class__.__new__(module.__class__)
    state = {
        key: OrderedDict() if "hooks" in key and isinstance(value, dict) else value
        for key, value in module.__dict__.items()
    }
    state["_parameters"] = {k: _copy_tensor(p, copies) for k, p in module._parameters.items()}
    state["_buffers"] = {k: _copy_tensor(b, copies) for k, b in module._buffers.items()}
    state["_modules"] = {
        k: None if child is None else _copy_module(child, copies) for k, child in module._modules.items()
    }
    state["training"] = False
    if "inplace" in state:
        state["inplace"] = False
    twin.__dict__.update(state)
    return twin


def _copy_tensor(tensor: Tensor | None, copies: dict[int, Any]) -> Tensor | None:
    if tensor is None:
        return None
    if id(tensor) not in copies:
        alias = tensor.detach()
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(alias, requires_grad=False) if is_parameter else alias
    found: Tensor = copies[id(tensor)]
    return found


def record(net: RTMDet, layers: Sequence[Layer | str], images: Tensor) -> dict[str, list[Tensor]]:
    """Return the outputs of layers in one forward pass of a private copy of the network.

    Args:
        net: a network; it stays as it is.
        layers: layers of it or their names.
        images: (N, 3, H, W) normalised, on the network's device.

    Returns:
        Outputs (N, C, h, w) of each layer by its name. A layer has several outputs if it gives several levels
        (``backbone``, ``neck``), or classes and distances by level (``bbox_head``: all classes first). So has
        a convolution of the head that the levels share.

    Raises:
        InputError: an unknown layer, or one that gives no map: it is not run itself, its output is not
            (N, C, h, w), or its output is a single cell such as a global mean.
    """
    copy = private_copy(net)
    found = [find_layer(copy, layer if isinstance(layer, str) else layer.path) for layer in layers]
    outputs = _outputs(copy, {layer.path: layer.module for layer in found}, images)
    for layer in found:
        _require_maps(layer, outputs[layer.path], images)
    return {layer.name: outputs[layer.path] for layer in found}


def _outputs(copy: nn.Module, modules: dict[str, nn.Module], images: Tensor) -> dict[str, list[Tensor]]:
    """Run a private copy and return the outputs of its modules by path."""
    outputs: dict[str, list[Tensor]] = {path: [] for path in modules}
    handles = []
    for path, module in modules.items():

        def keep(_: nn.Module, __: Any, output: Any, path: str = path) -> None:
            outputs[path] += _flat(output)

        handles.append(module.register_forward_hook(keep))
    try:
        copy(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _flat(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _flat(part)


def gives_maps(outputs: Sequence[Tensor], images: Tensor) -> bool:
    """Return whether the outputs of a layer are maps (N, C, h, w) over the input and not single cells."""
    many_cells = max(images.shape[2:]) > max(STRIDES)  # even at the last stride
    return bool(outputs) and all(
        output.ndim == 4 and not (many_cells and tuple(output.shape[2:]) == (1, 1)) for output in outputs
    )


def _require_maps(layer: Layer, outputs: Sequence[Tensor], images: Tensor) -> None:
    if gives_maps(outputs, images):
        return
    inner = [f"{layer.name}[{key}]" for key, _ in layer.module.named_children() if key.isdigit()]
    if not outputs and inner:
        raise InputError(
            f"Expected a layer that gives a map, found the list {layer.name}, which is not run itself; "
            f"choose from {listed(inner)}."
        )
    if not outputs:
        raise InputError(
            f"Expected a layer that gives a map, found {layer.name}, which is not run; choose another one."
        )
    shape = " x ".join(map(str, outputs[0].shape[1:]))
    raise InputError(
        f"Expected a layer that gives a map, found {layer.name}, whose output of {shape} has no place in the "
        "image; choose the layer around it."
    )


@dataclass(frozen=True)
class LayerDescription:
    """Type, channels and strides of a layer.

    Args:
        layer: layer of a copy of the network.
        channels, strides: channels and stride of each output; both empty if it gives no map.
    """

    layer: Layer
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def kind(self) -> str:
        """The type of the layer."""
        return type(self.layer.module).__name__

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return {
            "name": self.layer.name,
            "type": self.kind,
            "channels": list(self.channels),
            "strides": list(self.strides),
        }


def describe_layers(net: RTMDet) -> list[LayerDescription]:
    """Return the description of all layers, outer before inner ones, from a pass on a small input."""
    copy = private_copy(net)
    modules = {path: module for path, module in copy.named_modules(remove_duplicate=False) if path}
    example = next(copy.parameters())
    images = torch.zeros(1, 3, DRY_RUN_SIDE, DRY_RUN_SIDE, device=example.device, dtype=example.dtype)
    with torch.inference_mode():
        outputs = _outputs(copy, modules, images)
    described = []
    for path, module in modules.items():
        maps = outputs[path] if gives_maps(outputs[path], images) else []
        channels, strides = [m.shape[1] for m in maps], [DRY_RUN_SIDE // m.shape[2] for m in maps]
        layer = Layer(layer_name(path), path, module)
        described.append(LayerDescription(layer, tuple(channels), tuple(strides)))
    return described


def layer_tree(net: RTMDet) -> str:
    """Return the layers of a network as lines: name, type, channels and strides.

    Inner layers of building blocks are listed once, below the lines.
    """
    described = describe_layers(net)
    folded = tuple(f"{d.layer.path}." for d in described if isinstance(d.layer.module, tuple(BLOCKS)))
    rows = [("LAYER", "TYPE", "CHANNELS", "STRIDE")]
    for d in described:
        if not d.layer.path.startswith(folded):
            channels = ", ".join(map(str, d.channels)) or "no map"
            indent = "  " * d.layer.path.count(".")
            rows.append((indent + d.layer.name, d.kind, channels, ", ".join(map(str, d.strides))))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    used = [kind for kind in BLOCKS if any(isinstance(d.layer.module, kind) for d in described)]
    return "\n".join([*lines, "", *(f"Every {kind.__name__} holds {BLOCKS[kind]}." for kind in used)])
