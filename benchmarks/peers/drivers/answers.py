"""What every driver shares: rounds on request, and multiply-adds. It needs torch alone.

A driver runs in the environment of its tool: `python drive_TOOL.py photograph ENGINE PHOTOGRAPH FOLDER` makes
one round for each line on standard input, and `python drive_TOOL.py train DATA FOLDER EPOCHS` trains.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Round = Callable[[], object]


def answer(start: Callable[..., tuple[float, Round]], train: Callable[..., None]) -> None:
    """Do what the command line asks for.

    Args:
        start: takes engine, photograph and folder; returns multiply-adds of an image and one round of work.
        train: takes data, folder and number of epochs.
    """
    words = sys.argv[1:]
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
