"""What every driver shares: rounds on request, and multiply-adds. It needs torch alone.

A driver runs in the environment of its tool: `python drive_TOOL.py photograph ENGINE PHOTOGRAPH FOLDER` makes
one round for each line on standard input, and `python drive_TOOL.py train DATA FOLDER EPOCHS` trains.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Round = Callable[[], object]


def answer(start: Callable[..., tuple[float, Round]], train: Callable[..., None]) -> None:
    """Do what the command line asks for.

    Args:
        start: takes engine, photograph and folder; returns multiply-adds of an image and one round of work.
        train: takes data, folder and number of epochs.
    """
    words = sys.argv[1:]
    let_torchvision_load()
    if words[0] == "train":
        train(words[1], words[2], int(words[3]))
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the tool prints is no answer
    macs, one = start(*words[1:])
    print(json.dumps({"macs": macs}), file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        one()
        print(1e3 * (time.perf_counter() - began), file=answers, flush=True)


def let_torchvision_load() -> None:
    """Stand in for torchvision's suppression where its compiled part does not fit this torch.

    Its wheel of the registry is built for CUDA, and does not load beside torch for CPUs alone. Without this
    `import torchvision` fails, and so does every tool that needs it.
    """
    import importlib.util

    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    for file in Path(found.origin).parent.glob("_C*"):
        with contextlib.suppress(OSError, RuntimeError):
            torch.ops.load_library(str(file))
            return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # newer versions name the second as well
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", suppress, "CPU")
    _KEPT.append(library)  # the operator lives as long as it
    import torchvision

    torchvision.extension._has_ops = lambda: True  # asked before each call
    print("a Python form stands in for torchvision's suppression", file=sys.stderr)


_KEPT: list[Any] = []


def suppress(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Return the indices (K,) of boxes (N, 4) xyxy that no box of a higher score overlaps too much."""
    import torch

    left = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        corner = torch.maximum(boxes[first, :2], boxes[left, :2])
        sides = (torch.minimum(boxes[first, 2:], boxes[left, 2:]) - corner).clamp(min=0)
        shared = sides[:, 0] * sides[:, 1]
        left = left[shared <= iou_threshold * (areas[first] + areas[left] - shared)]
    return torch.stack(kept) if kept else left


def multiply_adds(net: Any, forward: Round) -> float:
    """Return the multiply-adds of convolutions and matrix layers while `forward` runs the network.

    Products of attention are not counted; they have no layer of their own.
    """
    import torch

    total = 0.0

    def count(layer: Any, _inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(layer, torch.nn.ConvTranspose2d):
            total += _inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, torch.nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        else:
            total += output.numel() * layer.in_features

    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        forward()
    for hook in hooks:
        hook.remove()
    return total
