"""Memory that does not suffice for a batch: how it shows, and the batch in parts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from aerostat.training.device import DeviceBatch

_TOLD = ("out of memory", "can't allocate memory")
"""What torch says of a GPU that is no CUDA device, and of the CPU."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _TOLD)


def in_parts(batch: DeviceBatch, parts: int) -> Iterator[DeviceBatch]:
    """Yield a batch in up to so many parts, of as many images each as possible."""
    size = math.ceil(len(batch.boxes) / parts)
    if size >= len(batch.boxes):
        yield batch
        return
    for first in range(0, len(batch.boxes), size):
        part = slice(first, first + size)
        yield DeviceBatch(batch.batch, batch.images[part], batch.boxes[part], batch.labels[part])
