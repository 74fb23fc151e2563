"""What the machine can do at most, measured: multiply-adds of matrices, and bytes copied."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

MATRIX_SIDES = (512, 1024, 2048)
"""Of the square float32 matrices; the best counts, since which fits the caches differs between machines."""
GPU_MATRIX_SIDES = (4096, 8192)
COPY_BYTES = 256 * 2**20
"""Several times the largest caches of today's desktop processors, so that memory is measured and not they."""


@dataclass(frozen=True)
class Peak:
    """The highest rates that were seen.

    Args:
        macs_per_second: multiply-adds of a float32 matrix product.
        bytes_per_second: of a large copy; a byte that is read and one that is written are two.
        arithmetic: what the matrix product was done in: float32, or TF32 where convolutions take that too.
        measured_with: torch or numpy.
    """

    macs_per_second: float
    bytes_per_second: float
    arithmetic: str
    measured_with: str

    def floor_seconds(self, macs: float, moved: float) -> float:
        """Return the least time for so many multiply-adds and bytes, if both could be done at once.

        This is the roofline (Williams, Waterman and Patterson 2009) of the whole network.
        """
        return max(macs / self.macs_per_second, moved / self.bytes_per_second)

    def to_dict(self) -> dict[str, Any]:
        """Return the peak for JSON."""
        return asdict(self)


def measure_peak(device: torch.device | str = "cpu", seconds: float = 2.0) -> Peak:
    """Return the machine's highest rates, with as many threads as torch is set to use.

    Args:
        device: whose rates; without torch installed only the CPU's, by numpy and its own threads.
        seconds: for everything, about.
    """
    try:
        import torch
    except ImportError:
        return _peak_by_numpy(seconds)
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    sides = GPU_MATRIX_SIDES if device.type == "cuda" else MATRIX_SIDES
    rate = 0.0
    with _convolutions_precision(device) as arithmetic:
        for side in sides:
            left, right = torch.randn(2, side, side, device=device)
            product = torch.empty_like(left)

            def multiply(
                left: torch.Tensor = left, right: torch.Tensor = right, product: torch.Tensor = product
            ) -> None:
                torch.mm(left, right, out=product)
                wait()

            rate = max(rate, side**3 / _shortest(multiply, seconds / 2 / len(sides)))
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        wait()

    return Peak(rate, 2 * COPY_BYTES / _shortest(copy, seconds / 2), arithmetic, "torch")


def _peak_by_numpy(seconds: float) -> Peak:
    rate = 0.0
    for side in MATRIX_SIDES:
        left, right = np.random.default_rng(0).random((2, side, side), np.float32)
        product = np.empty_like(left)
        shortest = _shortest(
            lambda a=left, b=right, out=product: np.matmul(a, b, out=out),  # type: ignore[misc]
            seconds / 2 / len(MATRIX_SIDES),
        )
        rate = max(rate, side**3 / shortest)
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.ones_like(source)
    shortest = _shortest(lambda: np.copyto(target, source), seconds / 2)
    return Peak(rate, 2 * COPY_BYTES / shortest, "float32", "numpy")


@contextmanager
def _convolutions_precision(device: torch.device) -> Iterator[str]:
    """Let matrix products round as convolutions do: on newer GPUs they take TF32 unless told otherwise."""
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


def _shortest(work: Callable[[], object], seconds: float) -> float:
    """Return the shortest time of one call, of at least three after one that warms up."""
    work()
    shortest, end, calls = float("inf"), time.perf_counter() + seconds, 0
    while calls < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
        calls += 1
    return shortest
