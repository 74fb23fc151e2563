"""OpenMMLab's checkpoints: both layouts of names, size and classes of a file, and a writer."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aerostat import files
from aerostat.errors import InputError
from aerostat.model.backbone import BASE_BLOCKS, BASE_CHANNELS
from aerostat.model.rtmdet import ARCHITECTURES, MEAN_BGR, STD_BGR, Size
from aerostat.weights.coco_classes import COCO_CLASSES


@dataclass(frozen=True)
class Identity:
    """The network that a state dict belongs to.

    Args:
        kind: ``detector``, or ``backbone`` if there is no neck and no head.
        size: nano, tiny, s, m, l or x.
        num_classes: 0 for a backbone.
        masks: whether it predicts instance masks (RTMDet-Ins).
    """

    kind: Literal["detector", "backbone"]
    size: Size
    num_classes: int
    masks: bool = False


_MMYOLO = (
    ("neck.reduce_layers.2.", "neck.reduce_layers.0."),
    ("neck.top_down_layers.0.1.", "neck.reduce_layers.1."),
    ("neck.top_down_layers.0.0.", "neck.top_down_blocks.0."),
    ("neck.top_down_layers.1.", "neck.top_down_blocks.1."),
    ("neck.downsample_layers.", "neck.downsamples."),
    ("neck.bottom_up_layers.", "neck.bottom_up_blocks."),
    ("neck.out_layers.", "neck.out_convs."),
    ("bbox_head.head_module.", "bbox_head."),
)
"""Prefixes of MMYOLO and of MMDetection.

MMYOLO has one reducing layer per level, and only the third has weights. It puts the second reduction after
the first top-down block, in one sequence."""

_WRAPPERS = ("module.", "ema_model.", "model.")
_PARTS = ("backbone.", "neck.", "bbox_head.", "data_preprocessor.")


def to_mmdet_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict under MMDetection's names, which this project uses.

    Prefixes of wrappers (``module.``, ``ema_model.module.``) are removed. MMYOLO's layout, recognised by
    ``neck.out_layers`` or ``bbox_head.head_module``, is renamed.
    """
    state = dict(state)
    while not any(name.startswith(_PARTS) for name in state):
        inner = [p for p in _WRAPPERS if any(name.startswith(p) for name in state)]
        if not inner:
            break
        state = {n.removeprefix(inner[0]): t for n, t in state.items() if n.startswith(inner[0])}
    if not any(n.startswith(("neck.out_layers.", "bbox_head.head_module.")) for n in state):
        return state
    return {_renamed(name): tensor for name, tensor in state.items()}


def _renamed(name: str) -> str:
    for theirs, ours in _MMYOLO:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def drop_preprocessor(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a state dict without ``data_preprocessor.*``, and notes if its mean or deviation differs."""
    notes = []
    for key, published in (("mean", MEAN_BGR), ("std", STD_BGR)):
        found = state.get(f"data_preprocessor.{key}")
        if found is not None and not _close(found, published):
            values = ", ".join(f"{v:g}" for v in found.flatten().tolist()[:4])
            notes.append(
                f"the file was trained with the input {key} {values}, but {published} (BGR) is used here: "
                f"expect poorer detections until it is fine-tuned"
            )
    return {n: t for n, t in state.items() if not n.startswith("data_preprocessor.")}, tuple(notes)


def _close(found: Tensor, published: Sequence[float]) -> bool:
    values = found.flatten().double()
    return values.numel() == 3 and bool(torch.allclose(values, torch.tensor(published).double(), atol=1e-2))


_SHAPES = {
    size: (int(BASE_CHANNELS[0] * a.width), max(round(BASE_BLOCKS[1] * a.depth), 1), a.depthwise)
    for size, a in ARCHITECTURES.items()
}
"""By size: channels after the stem, blocks of the second stage, whether convolutions are depthwise."""


def identify(state: Mapping[str, Tensor], source: str | Path) -> Identity:
    """Return which RTMDet a state dict belongs to, from its names and shapes.

    Args:
        state: tensors under MMDetection's names.
        source: name of the file in a message.

    Raises:
        InputError: the weights are of another network, or of no published size.
    """
    stem = state.get("backbone.stem.2.conv.weight")
    depthwise = "backbone.stage1.0.depthwise_conv.conv.weight" in state
    if stem is None or not (depthwise or "backbone.stage1.0.conv.weight" in state):
        first = next(iter(state), "nothing")
        raise InputError(
            f"{source} does not hold RTMDet weights: expected names such as backbone.stem.2.conv.weight, "
            f"found {first!r}; take a detector of the zoo (aerostat models)."
        )
    blocks = {m[1] for name in state if (m := re.match(r"backbone\.stage2\.1\.blocks\.(\d+)\.", name))}
    found = (int(stem.shape[0]), len(blocks), depthwise)
    sizes = [size for size, shape in _SHAPES.items() if shape == found]
    if not sizes:
        raise InputError(
            f"{source} holds an RTMDet of unknown size (stem of {found[0]} channels, {found[1]} blocks in "
            f"stage 2); expected one of {', '.join(_SHAPES)}."
        )
    if not any(name.startswith(("neck.", "bbox_head.")) for name in state):
        return Identity("backbone", sizes[0], 0)
    head = state.get("bbox_head.rtm_cls.0.weight")
    if head is None or head.ndim != 4 or head.shape[0] < 1:
        raise InputError(f"{source} lacks its classification layer bbox_head.rtm_cls.0; fetch it again.")
    return Identity("detector", sizes[0], int(head.shape[0]), has_masks(state))


def has_masks(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict under MMDetection's names is of a network with masks (RTMDet-Ins)."""
    return any(name.startswith(("bbox_head.kernel_convs.", "bbox_head.mask_head.")) for name in state)


def class_names(meta: Mapping[str, Any], num_classes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names of a file for a head of `num_classes`, and notes on assumptions.

    Without names, 80 classes get COCO's names, others ``class_0``, ``class_1``, ...
    """
    names = meta.get("classes")
    if isinstance(names, tuple) and len(names) == num_classes and len(set(names)) == num_classes:
        return names, ()
    if names is None:
        why = "the file names no classes"
    elif len(names) != num_classes:
        why = f"the file names {len(names)} classes for a head of {num_classes}"
    else:
        why = "the file names one class twice"
    if num_classes == len(COCO_CLASSES):
        return COCO_CLASSES, (f"{why}; its 80 classes are taken for COCO's",)
    return tuple(f"class_{i}" for i in range(num_classes)), (f"{why}; they are called class_0, class_1, ...",)


def write_pth(
    path: str | Path,
    state: Mapping[str, Tensor],
    classes: Sequence[str],
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint of plain types that MMDetection loads (``init_detector``, ``load_from``).

    Args:
        path: of the file.
        state: tensors under MMDetection's names.
        classes: stored as ``meta.dataset_meta.classes``.
        meta: further plain values for ``meta``.
    """
    tensors = OrderedDict((name, _own(tensor)) for name, tensor in state.items())
    content = {"meta": {**(meta or {}), "dataset_meta": {"classes": tuple(classes)}}, "state_dict": tensors}
    with files.replacing(Path(path)) as temporary:
        torch.save(content, temporary)


def _own(tensor: Tensor) -> Tensor:
    """Return the tensor on the CPU; a view is copied, because torch would store all memory behind it."""
    tensor = tensor.detach().cpu().contiguous()
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()
