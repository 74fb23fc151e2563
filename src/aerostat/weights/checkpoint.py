"""Weights files: safetensors with a JSON document in the header, without pickle.

The header states size, classes, input size and more, so that a user need not repeat them. `load_weights` also
loads OpenMMLab's ``.pth`` files, recognised by content.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aerostat.errors import InputError
from aerostat.model.rtmdet import ARCHITECTURES, SIZES, build
from aerostat.text import counted, listed, shown
from aerostat.weights import container as safe_file
from aerostat.weights import openmmlab, pth
from aerostat.weights.tasks import for_task

KEY = "aerostat"
_WHAT = "a weights file of aerostat or OpenMMLab"
MAX_INPUT = 1 << 14
"""Largest side in pixels that a header may state; a tenth of it already needs gigabytes."""
DEFAULT_LETTERBOX: Mapping[str, Any] = {"pad_value": 114, "align": "top-left"}


@dataclass(frozen=True)
class Header:
    """The header of a weights file.

    Args:
        size: nano, tiny, s, m, l or x.
        classes: class names in the order of the head's rows; empty for a backbone alone.
        input_size: (width, height) in pixels that the weights were trained for.
        letterbox: ``pad_value`` and ``align`` of the images' letterbox.
        recipe: the resolved recipe of the run, or None.
        metrics: evaluation figures by name; figures that are not finite are stored as null.
        kind: ``detector``, or ``backbone`` for pretrained backbones without neck and head.
        source: ``aerostat`` or ``openmmlab``.
        notes: remarks on the weights, a clause each.
        version: of aerostat that wrote the file.
        masks: whether the network predicts instance masks (RTMDet-Ins).
        objects: figures of the training objects by name; empty if they are not known. ``side_px`` is the
            median of the square roots of their boxes' areas, in pixels of their photographs.
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
    masks: bool = False
    objects: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """Tensors by name, on the CPU, floating ones as float32, and the header of their file."""

    state: dict[str, Tensor]
    header: Header


# ---------------------------------------------------------------------------------------------- weights


def save_weights(
    path: str | Path, state: Mapping[str, Tensor], header: Header, dtype: torch.dtype | None = None
) -> None:
    """Write a weights file atomically.

    Args:
        path: of the file; usually ``.safetensors``.
        state: a state dict; tensors that share memory are stored separately.
        header: checked before the file is written.
        dtype: of floating tensors in the file, such as torch.float16 for a small file. A tensor that would
            overflow keeps its dtype.

    Raises:
        InputError: the header contradicts itself or the tensors.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "balloon.safetensors"
        >>> net = build("nano", num_classes=1)
        >>> save_weights(path, net.state_dict(), Header("nano", ("balloon",), (320, 320)))
        >>> load_weights(path).header.classes
        ('balloon',)
    """
    path = Path(path)
    _check_header(header, f"the header for {path}")
    _check_against(header, state, path)
    document = _plain({f.name: getattr(header, f.name) for f in fields(header)})
    if not header.masks:  # as files without masks have always been written
        del document["masks"]
    if not header.objects:
        del document["objects"]
    safe_file.write(path, {name: _stored(tensor, dtype) for name, tensor in state.items()}, KEY, document)


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a copy of the tensor on the CPU, in `dtype` unless it overflows."""
    own = tensor.detach().to("cpu", copy=True).contiguous()
    if dtype is None or not own.is_floating_point():
        return own
    small = own.to(dtype)
    return small if torch.equal(small.isfinite(), own.isfinite()) else own


def _plain(value: Any) -> Any:
    """Return the value in types of JSON; numbers that are not finite become None."""
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
    if hasattr(value, "item"):  # a number of numpy or torch
        return _plain(value.item())
    raise TypeError(f"a header holds plain values only, got {type(value).__name__}")


def read_header(path: str | Path) -> Header:
    """Return the header of a weights file; of a native file no tensor is loaded.

    Raises:
        InputError: see `load_weights`.
    """
    path = Path(path)
    if pth.is_pth(safe_file.start(path)):
        return _load_openmmlab(path).header
    return _native_header(path)


def load_weights(path: str | Path) -> Weights:
    """Return the weights of a native ``.safetensors`` or an OpenMMLab ``.pth`` file.

    Nothing in the file is executed. The kind is recognised by content. The size of a ``.pth`` follows from
    its shapes, its classes from ``meta``; ``header.notes`` lists assumptions.

    Raises:
        InputError: the file is missing, cut off, of another kind or a newer format, or contradicts itself.
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
    match file.meta.get("input_size"):  # written by `aerostat export`
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
        masks=identity.masks,
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
    """Refuse an impossible header; types are checked, too, because a file may have any content."""
    if not isinstance(header.size, str) or header.size not in SIZES:
        raise InputError(
            f"In {where} the size is {shown(header.size, 42)}; expected one of {', '.join(SIZES)}."
        )
    if header.kind not in ("detector", "backbone"):
        raise InputError(f"In {where} the kind is {shown(header.kind, 42)}; expected detector or backbone.")
    if not isinstance(header.masks, bool):
        raise InputError(f"In {where} 'masks' is {shown(header.masks, 42)}; expected true or false.")
    classes = header.classes
    if not isinstance(classes, tuple) or not all(isinstance(name, str) and name for name in classes):
        raise InputError(f"In {where} the classes are {shown(classes)}; expected a list of names.")
    if header.kind == "detector" and not classes:
        raise InputError(f"In {where} the list of classes is empty; a detector has at least one.")
    if len(set(classes)) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise InputError(f"In {where} the class {shown(twice)} appears twice; expected every name once.")
    size = header.input_size
    if not (
        isinstance(size, tuple)
        and len(size) == 2
        and all(type(n) is int and 0 < n <= MAX_INPUT for n in size)
    ):
        raise InputError(f"In {where} the input size is {shown(size)}; expected width and height in pixels.")
    if not isinstance(header.notes, tuple) or not all(isinstance(note, str) for note in header.notes):
        raise InputError(f"In {where} the notes are {shown(header.notes)}; expected a list of texts.")
    for name in ("letterbox", "metrics", "recipe", "objects"):
        value = getattr(header, name)
        if not isinstance(value, Mapping) and not (name == "recipe" and value is None):
            raise InputError(f"In {where} {name!r} is {shown(value)}; expected a table of values.")


def _check_against(header: Header, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a header that contradicts the tensors of its file."""
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
                f"The header of {path} states {header.size} weights, but they are {identity.size}; "
                f"save them again."
            )
        if header.kind == "detector" and identity.masks != header.masks:
            states, holds = ("with", "none") if header.masks else ("without", "a mask branch")
            raise InputError(
                f"The header of {path} states a network {states} masks, but its tensors have {holds}; save "
                "them again."
            )


# ----------------------------------------------------------------------------- weights meet a network


def check_size(header: Header, size: str, source: str | Path) -> None:
    """Refuse weights of another size than the network's.

    Raises:
        InputError: the sizes differ; the message names both.
    """
    if header.size != size:
        raise InputError(
            f"Expected rtmdet-{size} weights, found rtmdet-{header.size} in {source}; take weights of that "
            f"size, or choose rtmdet-{header.size} as the model."
        )


@dataclass(frozen=True)
class ClassReport:
    """Class names of a head's rows that were kept from the file, rebuilt, and dropped.

    `task` says what was taken from weights of the other task, without masks or with them.
    """

    kept: tuple[str, ...]
    rebuilt: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    task: str = ""

    @property
    def sentence(self) -> str:
        """The report as a clause, such as ``head rebuilt for balloon``."""
        task = f"; {self.task}" if self.task else ""
        if not self.rebuilt:
            return f"head kept for {listed(self.kept)}{task}"
        kept = f", rows kept for {listed(self.kept)}" if self.kept else ""
        return f"head rebuilt for {listed(self.rebuilt)}{kept}{task}"


def adapt_classes(
    state: Mapping[str, Tensor],
    source_classes: Sequence[str],
    target_classes: Sequence[str],
    fresh: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], ClassReport]:
    """Return a state dict whose head has one row per target class, and which rows it kept.

    A row is the source's if the source has a class of that name, otherwise fresh.

    Args:
        state: state dict of the source, one row of ``bbox_head.rtm_cls`` per source class.
        source_classes, target_classes: class names in the order of the rows.
        fresh: state dict of a newly built network for the target classes. Its rows have the focal-prior bias;
            without it the first loss is about 100,000 times too large.

    Raises:
        InputError: the source has more or fewer rows than names.
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
                    f"The weights name {counted(len(source_classes), 'class', 'classes')}, but {key} has "
                    f"{counted(state[key].shape[0], 'row')}; fetch them again."
                )
            adapted[key] = fresh[key].detach().clone()
            adapted[key][to] = state[key][take].to(adapted[key])
    return adapted, report


def fit_to(
    weights: Weights, size: str, classes: Sequence[str], fresh: Mapping[str, Tensor], source: str | Path
) -> tuple[dict[str, Tensor], ClassReport]:
    """Return a state dict that a network of `size` for `classes` loads strictly, and which rows it kept.

    Args:
        weights: of a detector, or of a backbone; neck and head are then fresh.
        size: of the network.
        classes: of the network.
        fresh: state dict of the newly built network.
        source: name of the weights in a message.

    Raises:
        InputError: the weights have another size, or names or shapes differ from the network's.
    """
    check_size(weights.header, size, source)
    if weights.header.kind == "backbone":
        state = {**fresh, **weights.state}
        report = ClassReport((), tuple(classes))
    else:
        state, report = adapt_classes(weights.state, weights.header.classes, classes, fresh)
        state, taken = for_task(state, fresh, weights.header.size)  # type: ignore[arg-type]
        report = replace(report, task=taken)
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
        InputError: see `fit_to`.
    """
    header = weights.header
    with torch.device("meta"):  # names and shapes alone
        network = build(header.size, len(header.classes), header.masks).state_dict()
    state, _ = fit_to(weights, header.size, header.classes, network, source)
    return {name: state[name] for name in network}
