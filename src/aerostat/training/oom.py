"""Out of memory: how torch reports it, and a batch divided into parts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from aerostat.training.device import DeviceBatch

_MESSAGES = ("out of memory", "can't allocate memory")
"""Parts of torch's messages for the CPU and for GPUs other than CUDA."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _MESSAGES)


def in_parts(batch: DeviceBatch, parts: int) -> Iterator[DeviceBatch]:
    """Yield a batch in at most `parts` parts of equal size; the last may be smaller."""
    size = math.ceil(len(batch.boxes) / parts)
    if size >= len(batch.boxes):
        yield batch
        return
    for first in range(0, len(batch.boxes), size):
        part = slice(first, first + size)
        masks = None if batch.masks is None else batch.masks[part]
        yield DeviceBatch(batch.batch, batch.images[part], batch.boxes[part], batch.labels[part], masks)
