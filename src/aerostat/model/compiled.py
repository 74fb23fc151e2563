"""Batch normalisation and SiLU by kernels that numba compiles; only where numba is installed.

The kernels are in `aerostat.model.kernels`. Here are the step of autograd and the threads.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROW = 256
"""Values of a row, at most, where several pixels form one."""
CHUNKS = 16
"""Parts of a map that have their own sums, at most. They do not depend on the number of threads."""
SPLIT = 300_000
"""Values of a map for each thread, at least: with fewer, waking a thread takes longer than it saves."""

Array = NDArray[np.float32]


@cache
def available() -> bool:
    """Return whether numba is installed and compiles the kernels; imports it on the first call."""
    try:
        _kernels()
    except ImportError:
        return False
    return True


@cache
def _kernels() -> ModuleType:
    return importlib.import_module("aerostat.model.kernels")


def batch_norm_silu(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """Return ``silu(bn(x))`` in training mode, and update the running statistics of `bn`.

    Args:
        x: (N, C, H, W) float32, on the CPU, channels last in memory.
        bn: affine, float32, with running statistics and a momentum.
    """
    return cast(Tensor, _BatchNormSiLU.apply(x, bn.weight, bn.bias, bn))  # type: ignore[no-untyped-call]


class _BatchNormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, bn: nn.BatchNorm2d) -> Tensor:
        assert bn.running_mean is not None and bn.running_var is not None and bn.momentum is not None
        assert bn.num_batches_tracked is not None
        n, channels, height, width = x.shape
        side = _side_by_side(n * height * width, channels)
        rows = _rows(x, side)
        count, values = rows.shape
        means, squares = np.empty((2, _chunks(count), values))
        _in_threads(_kernels().statistics, len(means), rows.size, rows, means, squares)
        small, wide = torch.empty(2, channels), torch.empty(2, values)
        (mean, inverse), (scale, shift) = small.numpy(), wide.numpy()
        _kernels().finish_statistics(
            count,
            means,
            squares,
            (_plain(weight), _plain(bias)),
            (_plain(bn.running_mean), _plain(bn.running_var)),
            (bn.eps, bn.momentum),
            (mean, inverse, scale, shift),
        )
        bn.num_batches_tracked.add_(1)
        out = torch.empty(n, height, width, channels)
        _in_threads(
            _kernels().forward, count, rows.size, rows, (scale, shift), out.numpy().reshape(rows.shape)
        )
        ctx.save_for_backward(x, small, wide)
        ctx.side = side
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, small, wide = ctx.saved_tensors
        n, channels, height, width = x.shape
        rows, upper = _rows(x, ctx.side), _rows(gradient, ctx.side)
        count, values = rows.shape
        (mean, inverse), (scale, shift) = small.numpy(), wide.numpy()
        by_x, by_one = np.empty((2, _chunks(count), values))
        means = np.tile(mean, ctx.side)
        _in_threads(
            _kernels().gradient_sums, len(by_x), rows.size, rows, upper, (scale, shift), means, by_x, by_one
        )
        by_weight, by_bias = torch.empty(channels), torch.empty(channels)
        slope, level = np.empty((2, values), np.float32)
        _kernels().finish_sums(
            count, by_x, by_one, mean, inverse, scale, (by_weight.numpy(), by_bias.numpy(), slope, level)
        )
        out = torch.empty(n, height, width, channels)
        written = out.numpy().reshape(rows.shape)
        _in_threads(
            _kernels().backward, count, rows.size, rows, upper, (scale, shift), (slope, level), written
        )
        return out.permute(0, 3, 1, 2), by_weight, by_bias, None


def _rows(x: Tensor, side: int) -> Array:
    """Return (N, C, H, W) as rows of `side` pixels each; a copy only if it is not channels last."""
    pixels = x.detach().permute(0, 2, 3, 1).contiguous()
    return cast(Array, pixels.view(-1, side * x.shape[1]).numpy())


def _plain(x: Tensor) -> Array:
    return cast(Array, x.detach().numpy())


def _side_by_side(count: int, channels: int) -> int:
    """Return how many pixels form a row: a power of two that divides `count`."""
    side = 1
    while 2 * side * channels <= ROW and count % (2 * side) == 0:
        side *= 2
    return side


def _chunks(rows: int) -> int:
    """Return in how many chunks of equal height rows are worked off; none of them is empty."""
    height = -(-rows // CHUNKS)
    return -(-rows // height)


def _in_threads(kernel: Callable[..., None], count: int, values: int, *arguments: Any) -> None:
    """Run a kernel on the indices 0 to `count`, in the threads that torch has.

    Args:
        kernel: takes the first index, the last one (exclusive) and the arguments; lets go of the GIL.
        count: of indices.
        values: of the map.
        arguments: of the kernel.
    """
    threads = min(torch.get_num_threads(), count, max(1, values // SPLIT))
    if threads == 1:
        kernel(0, count, *arguments)
        return
    ends = [count * (i + 1) // threads for i in range(threads)]
    others = _pool(threads - 1)
    waiting: list[Future[None]] = [
        others.submit(kernel, low, high, *arguments) for low, high in itertools.pairwise(ends)
    ]
    kernel(0, ends[0], *arguments)
    for future in waiting:
        future.result()


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return a pool of threads. A forked process makes its own, because threads do not survive a fork."""
    key = (os.getpid(), threads)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="aerostat-kernels")
    return _pools[key]
