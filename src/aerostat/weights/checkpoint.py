"""Weights files: safetensors with a JSON document in the header, nothing pickled.

A weights file says what its weights are for (size, classes, input size, ...), so nobody has to type it again.
`load_weights` also takes OpenMMLab's ``.pth`` files, by content and not by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aerostat.errors import InputError
from aerostat.model.rtmdet import ARCHITECTURES, SIZES, build
from aerostat.text import counted, listed, shown
from aerostat.weights import container as safe_file
from aerostat.weights import openmmlab, pth

KEY = "aerostat"
_WHAT = "a weights file of aerostat or OpenMMLab"
MAX_INPUT = 1 << 14
"""Pixels of a side that a header may state; the network needs gigabytes for a tenth of it."""
DEFAULT_LETTERBOX: Mapping[str, Any] = {"pad_value": 114, "align": "top-left"}


@dataclass(frozen=True)
class Header:
    """What a weights file says about its weights.

    Args:
        size: nano, tiny, s, m, l or x.
        classes: class names in the order of the head's rows; empty for a backbone alone.
        input_size: (width, height) in pixels that the weights were trained for.
        letterbox: how images are fitted to it: ``pad_value``, ``align``.
        recipe: the resolved recipe of the run, or None.
        metrics: evaluation figures by name; those that are not finite are stored as null.
        kind: ``detector``, or ``backbone`` for pretrained backbones without neck and head.
        source: ``aerostat`` or ``openmmlab``.
        notes: what a reader of the file should know, a clause each.
        version: the aerostat that wrote the file.
    """

    size: str
    classes: tuple[str, ...]
    input_size: tuple[int, int] = (640, 640)
    letterbox: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_LETTERBOX))
    recipe: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["detector", "backbone"] = "detector"
    source: str = "aerostat"
    notes: tuple[str, ...] = ()
    version: str = field(default_factory=safe_file.version)


@dataclass(frozen=True)
class Weights:
    """Tensors by name (float32 wherever floating, on the CPU) and what the file says about them."""

    state: dict[str, Tensor]
    header: Header


# ---------------------------------------------------------------------------------------------- weights


def save_weights(
    path: str | Path, state: Mapping[str, Tensor], header: Header, dtype: torch.dtype | None = None
) -> None:
    """Write a weights file, whole or not at all.

    Args:
        path: where to; ``.safetensors`` by custom.
        state: a state dict; tensors that share memory are stored apart.
        header: checked before anything is written.
        dtype: store floating tensors so (torch.float16 for small files); one that overflows stays as it is.

    Raises:
        InputError: if the header contradicts itself or the tensors.
    """
    path = Path(path)
    _check_header(header, f"the header for {path}")
    _check_against(header, state, path)
    document = _plain({f.name: getattr(header, f.name) for f in fields(header)})
    safe_file.write(path, {name: _stored(tensor, dtype) for name, tensor in state.items()}, KEY, document)


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a copy of the tensor on the CPU with memory of its own, in `dtype` if it fits."""
    own = tensor.detach().to("cpu", copy=True).contiguous()
    if dtype is None or not own.is_floating_point():
        return own
    small = own.to(dtype)
    return small if torch.equal(small.isfinite(), own.isfinite()) else own


def _plain(value: Any) -> Any:
    """Return the value as JSON can hold it; numbers that are not finite become null."""
    match value:
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case Path():
            return str(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
    if hasattr(value, "item"):  # a number of numpy's or torch's
        return _plain(value.item())
    raise TypeError(f"a header holds plain values only, got {type(value).__name__}")


def read_header(path: str | Path) -> Header:
    """Return what a weights file says about itself; of a native file no tensor is loaded.

    Raises:
        InputError: as `load_weights`.
    """
    path = Path(path)
    if pth.is_pth(safe_file.start(path)):
        return _load_openmmlab(path).header
    return _native_header(path)


def load_weights(path: str | Path) -> Weights:
    """Load a native ``.safetensors`` or an OpenMMLab ``.pth`` of either name layout, recognised by content.

    Nothing in the file is executed. A ``.pth`` says its size by its shapes and its classes in ``meta``; where
    it does not, ``header.notes`` says what was assumed.

    Raises:
        InputError: if the file is missing, cut off, of another kind or a newer format, or contradicts itself.
    """
    path = Path(path)
    if pth.is_pth(safe_file.start(path)):
        return _load_openmmlab(path)
    header = _native_header(path)
    state = {name: _float32(tensor) for name, tensor in safe_file.read_tensors(path).items()}
    _check_against(header, state, path)
    return Weights(state, header)


def _load_openmmlab(path: Path) -> Weights:
    file = pth.read_pth(path)
    state, notes = openmmlab.drop_preprocessor(openmmlab.to_mmdet_names(file.state))
    identity = openmmlab.identify(state, path)
    classes: tuple[str, ...] = ()
    if identity.kind == "backbone":
        state = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    else:
        classes, more = openmmlab.class_names(file.meta, identity.num_classes)
        notes += more
    side = ARCHITECTURES[identity.size].input_size
    match file.meta.get("input_size"):  # what `aerostat export` adds
        case (int() as width, int() as height) if 0 < min(width, height) <= max(width, height) <= MAX_INPUT:
            input_size = (width, height)
        case _:
            input_size = (side, side)
    header = Header(
        size=identity.size,
        classes=classes,
        input_size=input_size,
        kind=identity.kind,
        source="openmmlab",
        notes=notes,
    )
    return Weights({name: _float32(tensor) for name, tensor in state.items()}, header)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _native_header(path: Path) -> Header:
    document = safe_file.read_document(path, KEY, _WHAT)
    known = {f.name for f in fields(Header)}
    values = {key: value for key, value in document.items() if key in known}
    for key in ("classes", "input_size", "notes"):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    where = f"the header of {path}"
    if missing := [key for key in ("size", "classes") if key not in values]:
        raise InputError(f"In {where} {missing[0]!r} is missing; save the weights again.")
    header = Header(**values)
    _check_header(header, where)
    return header


def _check_header(header: Header, where: str) -> None:
    """Refuse a header that no weights can have; the types too, because a file may hold anything."""
    if not isinstance(header.size, str) or header.size not in SIZES:
        raise InputError(
            f"In {where} the size is {shown(header.size, 42)}; expected one of {', '.join(SIZES)}."
        )
    if header.kind not in ("detector", "backbone"):
        raise InputError(f"In {where} the kind is {shown(header.kind, 42)}; expected detector or backbone.")
    classes = header.classes
    if not isinstance(classes, tuple) or not all(isinstance(name, str) and name for name in classes):
        raise InputError(f"In {where} the classes are {shown(classes)}; expected a list of names.")
    if header.kind == "detector" and not classes:
        raise InputError(f"In {where} the list of classes is empty; a detector has at least one.")
    if len(set(classes)) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise InputError(f"In {where} the class {shown(twice)} stands twice; expected every name once.")
    size = header.input_size
    if not (
        isinstance(size, tuple)
        and len(size) == 2
        and all(type(n) is int and 0 < n <= MAX_INPUT for n in size)
    ):
        raise InputError(f"In {where} the input size is {shown(size)}; expected width and height in pixels.")
    if not isinstance(header.notes, tuple) or not all(isinstance(note, str) for note in header.notes):
        raise InputError(f"In {where} the notes are {shown(header.notes)}; expected a list of texts.")
    for name in ("letterbox", "metrics", "recipe"):
        value = getattr(header, name)
        if not isinstance(value, Mapping) and not (name == "recipe" and value is None):
            raise InputError(f"In {where} {name!r} is {shown(value)}; expected a table of values.")


def _check_against(header: Header, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a header that speaks of other weights than the tensors beside it."""
    head = state.get("bbox_head.rtm_cls.0.weight")
    if header.kind == "detector" and head is not None and head.shape[0] != len(header.classes):
        raise InputError(
            f"{path} names {counted(len(header.classes), 'class', 'classes')} but its head has "
            f"{head.shape[0]}; save the weights again."
        )
    if "backbone.stem.2.conv.weight" in state:
        identity = openmmlab.identify(state, path)
        if identity.size != header.size:
            raise InputError(
                f"{path} says that it holds {header.size} weights but they are {identity.size}; "
                f"save them again."
            )


# ----------------------------------------------------------------------------- weights meet a network


def check_size(header: Header, size: str, source: str | Path) -> None:
    """Refuse weights of another size than the network's.

    Raises:
        InputError: naming both sizes.
    """
    if header.size != size:
        raise InputError(
            f"{source} holds rtmdet-{header.size} weights, but the model asked for is rtmdet-{size}; "
            f"take weights of that size or ask for rtmdet-{header.size}."
        )


@dataclass(frozen=True)
class ClassReport:
    """What became of a head's rows: class names kept from the file, rebuilt, and dropped."""

    kept: tuple[str, ...]
    rebuilt: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The report for the console, such as ``head rebuilt for balloon``."""
        if not self.rebuilt:
            return f"head kept for {listed(self.kept)}"
        kept = f", rows kept for {listed(self.kept)}" if self.kept else ""
        return f"head rebuilt for {listed(self.rebuilt)}{kept}"


def adapt_classes(
    state: Mapping[str, Tensor],
    source_classes: Sequence[str],
    target_classes: Sequence[str],
    fresh: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], ClassReport]:
    """Give the head one row per target class: the source's where the name is the same, else a fresh one.

    Args:
        state: state dict of the source, one row of ``bbox_head.rtm_cls`` per source class.
        source_classes, target_classes: class names in the order of the rows.
        fresh: state dict of a newly built network for the target classes, with its focal-prior bias: a head
            without it starts with a loss some 100,000 times too large.

    Raises:
        InputError: if the rows and the names of the source differ in number.
    """
    rows = {name: i for i, name in reversed(list(enumerate(source_classes)))}
    wanted = set(target_classes)
    kept = tuple(name for name in target_classes if name in rows)
    report = ClassReport(
        kept,
        tuple(name for name in target_classes if name not in rows),
        tuple(name for name in source_classes if name not in wanted),
    )
    adapted = dict(state)
    if tuple(source_classes) == tuple(target_classes):
        return adapted, report
    to = [i for i, name in enumerate(target_classes) if name in rows]
    take = [rows[name] for name in kept]
    for key in state:
        if key.startswith("bbox_head.rtm_cls."):
            if state[key].shape[0] != len(source_classes):
                raise InputError(
                    f"The weights name {counted(len(source_classes), 'class', 'classes')} but {key} has "
                    f"{counted(state[key].shape[0], 'row')}; fetch them again."
                )
            adapted[key] = fresh[key].detach().clone()
            adapted[key][to] = state[key][take].to(adapted[key])
    return adapted, report


def fit_to(
    weights: Weights, size: str, classes: Sequence[str], fresh: Mapping[str, Tensor], source: str | Path
) -> tuple[dict[str, Tensor], ClassReport]:
    """Return a state dict that a network of `size` for `classes` loads strictly.

    Args:
        weights: of a detector or of a backbone alone, whose neck and head are then fresh.
        size: of the network.
        classes: its class names.
        fresh: its state dict, newly built.
        source: what to call the weights in a message.

    Raises:
        InputError: if the weights are of another size, or names or shapes are not the network's.
    """
    check_size(weights.header, size, source)
    if weights.header.kind == "backbone":
        state = {**fresh, **weights.state}
        report = ClassReport((), tuple(classes))
    else:
        state, report = adapt_classes(weights.state, weights.header.classes, classes, fresh)
    missing = [name for name in fresh if name not in state]
    unexpected = [name for name in state if name not in fresh]
    if missing or unexpected:
        what = f"lacks {missing[0]}" if missing else f"has an unknown {unexpected[0]}"
        raise InputError(
            f"{source} does not fit rtmdet-{size}: it {what} ({len(missing)} names missing, "
            f"{len(unexpected)} unknown); take another weights file."
        )
    for name, tensor in state.items():
        if tensor.shape != fresh[name].shape:
            raise InputError(
                f"{source} does not fit rtmdet-{size}: {name} has the shape {tuple(tensor.shape)}, "
                f"expected {tuple(fresh[name].shape)}; take another weights file."
            )
    return state, report


def in_published_order(weights: Weights, source: str | Path) -> dict[str, Tensor]:
    """Return a detector's tensors in the order of OpenMMLab's state dict; a weights file sorts them by name.

    Raises:
        InputError: as `fit_to`.
    """
    header = weights.header
    with torch.device("meta"):  # names and shapes alone
        network = build(header.size, len(header.classes)).state_dict()
    state, _ = fit_to(weights, header.size, header.classes, network, source)
    return {name: state[name] for name in network}
