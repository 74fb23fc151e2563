"""Limits of the machine, measured: multiply-adds of dense arithmetic, and bytes copied."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

MATRIX_SIDES = (512, 1024, 2048)
"""Sides of square float32 matrices; the fastest one counts, which differs between machines."""
GPU_MATRIX_SIDES = (4096, 8192)
"""Sides of square matrices on a GPU."""
CONVOLUTIONS = ((128, 40), (256, 40), (512, 20))
"""Channels and side of the map of dense 3 x 3 convolutions. A matrix product is not the fastest everywhere:
MKL's, which torch brings, uses half of an AMD processor with AVX-512 (57 of 141 G multiply-adds/s on one core
of a Zen 5; oneDNN's convolutions reach 141)."""
COPY_BYTES = 256 * 2**20
"""Several times the largest caches of desktop processors, so that the copy measures the memory."""


@dataclass(frozen=True)
class Peak:
    """The highest measured rates of a device.

    Args:
        macs_per_second: multiply-adds of the fastest dense arithmetic.
        bytes_per_second: bytes of a large copy; reading and writing a byte counts twice.
        arithmetic: the fastest arithmetic: matrix product or convolution, in float32, or in TF32 where
            convolutions use it by default.
    """

    macs_per_second: float
    bytes_per_second: float
    arithmetic: str

    def floor_seconds(self, macs: float, moved: float) -> float:
        """Return the minimum seconds for multiply-adds and bytes that are done at the same time.

        This is the roofline (Williams, Waterman and Patterson 2009) of the whole network. The part of the
        bytes is not a strict bound: maps that stay in a cache move faster than memory.
        """
        return max(macs / self.macs_per_second, moved / self.bytes_per_second)

    def to_dict(self) -> dict[str, Any]:
        """Return the rates as JSON values."""
        return asdict(self)


class _Try(NamedTuple):
    """Arithmetic that may be the fastest: name, multiply-adds, and one call."""

    name: str
    macs: int
    call: Callable[[], object]


def measure_peak(device: torch.device | str = "cpu", seconds: float = 2.0) -> Peak:
    """Return the highest rates of a device, with the number of threads that torch is set to use.

    Args:
        device: a device of torch. Without torch it is the CPU, measured by numpy with its own threads.
        seconds: approximate time of measuring.
    """
    try:
        import torch
    except ImportError:
        return _peak_by_numpy(seconds)
    device = torch.device(device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    with torch.inference_mode():
        with _convolutions_precision(device) as precision:
            tries = [*_matrix_products(device), *_convolutions(device)]
            rate, name = _fastest(tries, wait, seconds / 2)
        source = torch.ones(COPY_BYTES // 4, device=device)
        target = torch.empty_like(source)
        shortest = _shortest(partial(target.copy_, source), wait, seconds / 2)
    return Peak(rate, 2 * COPY_BYTES / shortest, f"{precision} {name}")


def _matrix_products(device: torch.device) -> Iterator[_Try]:
    import torch

    for side in GPU_MATRIX_SIDES if device.type == "cuda" else MATRIX_SIDES:
        left, right = torch.randn(2, side, side, device=device)
        yield _Try("matrix product", side**3, partial(torch.mm, left, right, out=torch.empty_like(left)))


def _convolutions(device: torch.device) -> Iterator[_Try]:
    import torch
    from torch.nn.functional import conv2d

    for channels, side in CONVOLUTIONS:
        batch = 32 if device.type == "cuda" else 1
        maps = torch.randn(batch, channels, side, side, device=device)
        weight = torch.randn(channels, channels, 3, 3, device=device)
        maps, weight = (x.contiguous(memory_format=torch.channels_last) for x in (maps, weight))
        macs = batch * channels * channels * 9 * side * side
        yield _Try("convolution", macs, partial(conv2d, maps, weight, padding=1))


def _fastest(tries: Sequence[_Try], wait: Callable[[], object], seconds: float) -> tuple[float, str]:
    """Return the highest rate of multiply-adds per second, and the name of its arithmetic."""
    rates = []
    for one in tries:
        rates.append((one.macs / _shortest(one.call, wait, seconds / len(tries)), one.name))
    return max(rates)


def _peak_by_numpy(seconds: float) -> Peak:
    tries = []
    for side in MATRIX_SIDES:
        left, right = np.random.default_rng(0).random((2, side, side), np.float32)
        tries.append(
            _Try("matrix product", side**3, partial(np.matmul, left, right, out=np.empty_like(left)))
        )
    rate, name = _fastest(tries, _no_wait, seconds / 2)
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.ones_like(source)
    shortest = _shortest(partial(np.copyto, target, source), _no_wait, seconds / 2)
    return Peak(rate, 2 * COPY_BYTES / shortest, f"float32 {name} by numpy")


@contextmanager
def _convolutions_precision(device: torch.device) -> Iterator[str]:
    """Let matrix products round as convolutions do, which use TF32 on newer GPUs by default."""
    import torch

    if device.type != "cuda":
        yield "float32"
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    ampere = torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        yield "TF32" if torch.backends.cudnn.allow_tf32 and ampere else "float32"
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _no_wait() -> None:
    """Wait for nothing: the CPU is done when the call returns."""


def _shortest(work: Callable[[], object], wait: Callable[[], object], seconds: float) -> float:
    """Return the shortest time of a call and its wait, of at least three calls after the warm-up."""
    work()
    wait()
    shortest, end, calls = float("inf"), time.perf_counter() + seconds, 0
    while calls < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        wait()
        shortest = min(shortest, time.perf_counter() - start)
        calls += 1
    return shortest
