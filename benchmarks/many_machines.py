"""How training scales over GPUs and machines, as far as arithmetic tells: python -m benchmarks.many_machines

Nothing is measured here. A step computes for a time that follows from the network's multiply-adds and from
what a GPU is assumed to sustain. Meanwhile the gradients are exchanged in a ring. Batch normalisation
waits for all processes twice a layer, and each wait costs a latency.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from aerostat.benchmarking.macs import count_work
from aerostat.model import build

SIZES = ("tiny", "m", "x")
IMAGES = 16
"""Images of a process and step, at `INPUT` px."""
INPUT = 640
SUSTAINED = 60e12
"""Operations a second of a GPU in mixed precision: a fifth of an A100's 312 TFLOP/s (assumed)."""
OPERATIONS = 6
"""For each multiply-add of a forward pass: two operations there, four in the backward pass."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Link:
    """What connects processes.

    Args:
        name: of the kind.
        bytes_per_second: in one direction.
        latency: seconds of a small exchange between all processes (assumed).
    """

    name: str
    bytes_per_second: float
    latency: float


LINKS = (
    Link("10 Gbit/s", 10e9 / 8, 100e-6),
    Link("100 Gbit/s", 100e9 / 8, 50e-6),
    Link("NVLink, 300 GB/s", 300e9, 20e-6),
)


def efficiency(seconds: float, gradient_bytes: float, layers: int, link: Link, count: int) -> float:
    """Return the speed of `count` processes, as a share of `count` times that of one.

    Args:
        seconds: of a step of one process, a third of it forward.
        gradient_bytes: that are exchanged in a ring, during the backward pass.
        layers: of batch normalisation.
        link: between the processes; the slowest counts.
        count: processes.
    """
    exchange = 2 * (count - 1) / count * gradient_bytes / link.bytes_per_second
    waits = 2 * layers * link.latency
    return seconds / (seconds / 3 + max(seconds * 2 / 3, exchange) + waits)


def main() -> None:
    """Print the table."""
    names = " | ".join(link.name for link in LINKS)
    print(f"| model | gradients | step of {IMAGES} images | {names} |")
    print("|---|---|---|" + "---|" * len(LINKS))
    for size in SIZES:
        net = build(size, 80)
        work = count_work(net, (INPUT, INPUT))
        layers = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        gradient_bytes = FLOAT_BYTES * sum(p.numel() for p in net.parameters())
        seconds = OPERATIONS * work.macs * IMAGES / SUSTAINED
        cells = [f"{efficiency(seconds, gradient_bytes, layers, link, 8):.0%}" for link in LINKS]
        print(f"| {size} | {gradient_bytes / 1e6:.0f} MB | {seconds * 1e3:.0f} ms | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
