"""Result of a benchmark: measured figures, derived figures, and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aerostat.benchmarking.computer import Computer
from aerostat.benchmarking.latency import Latency
from aerostat.benchmarking.macs import Work
from aerostat.benchmarking.peak import Peak
from aerostat.text import counted, html_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


MAX_OTHERS_CORES = 0.1
"""Cores that other programs may use before the result warns of them."""


@dataclass(frozen=True)
class Model:
    """The measured model.

    Args:
        source: name or path of the weights.
        name: such as rtmdet-tiny.
        classes: number of classes.
        input_size: (width, height) of the network's input.
        precision: float32 or int8.
        masks: whether it gives masks; the photograph's time includes them.
    """

    source: str
    name: str
    classes: int
    input_size: tuple[int, int]
    precision: str
    masks: bool = False


@dataclass(frozen=True)
class Network:
    """Latency of the network with an engine, from letterboxed images to candidate boxes.

    Args:
        engine: torch, onnx or openvino.
        device: cpu, cuda, ...
        batch: number of images in a call.
        latency: latency of a call.
    """

    engine: str
    device: str
    batch: int
    latency: Latency

    @property
    def images_per_second(self) -> float:
        """Images per second."""
        return self.batch / self.latency.median


@dataclass(frozen=True)
class Photograph:
    """Latency of a photograph with an engine, from the file to detections.

    Args:
        engine, device: see `Network`.
        whole: latency of one photograph.
        reading: latency of decoding and letterboxing.
        network: latency of the network with one image.
        folder_images_per_second: rate of a folder after its start, with several photographs at once.
    """

    engine: str
    device: str
    whole: Latency
    reading: Latency
    network: Latency
    folder_images_per_second: float

    @property
    def rest(self) -> float:
        """Seconds of the rest: suppression, and boxes back on the photograph."""
        return max(0.0, self.whole.median - self.reading.median - self.network.median)


@dataclass(frozen=True)
class BenchmarkResult:
    """Result of a benchmark.

    Args:
        model: the measured model.
        work: work of one image; None if it is unknown.
        uncounted: reason why `work` is unknown.
        computer: the machine.
        threads: number of threads of the engines.
        others_cores: mean number of cores that other programs used meanwhile; None if unknown.
        peaks: limits of each device.
        networks, photographs: measured latencies.
        photograph_size: (width, height) of the photograph in pixels.
        photograph: path of the photograph; empty for a drawn scene.
        missing: reason for each engine that was not measured.
        peak_memory_bytes: peak memory of this process; 0 if unknown.
        gpu_memory_bytes: peak memory of tensors on the GPU; None without a GPU.
    """

    model: Model
    work: Work | None
    uncounted: str
    computer: Computer
    threads: int
    others_cores: float | None
    peaks: Mapping[str, Peak]
    networks: Sequence[Network]
    photographs: Sequence[Photograph]
    photograph_size: tuple[int, int]
    photograph: str
    missing: Mapping[str, str]
    peak_memory_bytes: int
    gpu_memory_bytes: int | None

    def floor_seconds(self, network: Network) -> float | None:
        """Return the minimum seconds of a call on this machine, None if the work is unknown."""
        if self.work is None:
            return None
        work, batch = self.work, network.batch
        return self.peaks[network.device].floor_seconds(batch * work.macs, work.moved_bytes(batch))

    def share(self, network: Network) -> float | None:
        """Return the multiply-adds per second of a call as a share of the device's limit."""
        if self.work is None:
            return None
        rate = network.images_per_second * self.work.macs
        return rate / self.peaks[network.device].macs_per_second

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values; times are seconds."""
        return {
            "model": {name: value for name, value in asdict(self.model).items() if name != "masks" or value},
            "work": None if self.work is None else self.work.to_dict(),
            "machine": self.computer.to_dict() | {"threads": self.threads, "others_cores": self.others_cores},
            "peak": {name: peak.to_dict() for name, peak in self.peaks.items()},
            "network": [
                {
                    "engine": network.engine,
                    "device": network.device,
                    "batch": network.batch,
                    "latency": network.latency.to_dict(),
                    "images_per_second": network.images_per_second,
                    "floor": self.floor_seconds(network),
                    "share_of_peak": self.share(network),
                }
                for network in self.networks
            ],
            "photograph": {
                "path": self.photograph or None,
                "size": self.photograph_size,
                "engines": [
                    {
                        "engine": one.engine,
                        "device": one.device,
                        "latency": one.whole.to_dict(),
                        "reading": one.reading.median,
                        "network": one.network.median,
                        "rest": one.rest,
                        "folder_images_per_second": one.folder_images_per_second,
                    }
                    for one in self.photographs
                ],
            },
            "memory": {
                "weight_bytes": None if self.work is None else self.work.weight_bytes,
                "peak_bytes": self.peak_memory_bytes,
                "gpu_bytes": self.gpu_memory_bytes,
            },
            "not_measured": dict(self.missing),
        }

    def __repr__(self) -> str:
        """Return the result in one line."""
        fastest = max(self.networks, key=lambda network: network.images_per_second)
        return (
            f"BenchmarkResult({self.model.name} at {self.model.input_size[0]} px: "
            f"{fastest.images_per_second:.1f} images/s with {fastest.engine}, batch {fastest.batch})"
        )

    def _repr_html_(self) -> str:
        """Return the tables for a notebook."""
        networks, photographs = self._network_cells(), self._photograph_cells()
        return html_table(networks[0], networks[1:], self._heading()[0]) + html_table(
            photographs[0], photographs[1:], self._photograph_title()
        )

    def lines(self) -> list[str]:
        """Return the result as plain lines of at most 80 characters, if names are short."""
        return [
            *self._heading(),
            "",
            *_aligned(self._network_cells()),
            "",
            self._photograph_title(),
            *_aligned(self._photograph_cells()),
            "",
            *self._ending(),
        ]

    def render(self) -> Group:
        """Return the result for a terminal."""
        from rich.console import Group
        from rich.text import Text

        name, *heading = self._heading()
        return Group(
            Text(name, style="bold"),
            *map(Text, heading),
            _table("The network, letterboxed images to candidates", self._network_cells()),
            _table(self._photograph_title(), self._photograph_cells()),
            *map(Text, self._ending()),
        )

    def _heading(self) -> list[str]:
        width, height = self.model.input_size
        masks = ", with masks" if self.model.masks else ""
        lines = [
            f"{self.model.name}, {counted(self.model.classes, 'class', 'classes')}, "
            f"{width} x {height} px, {self.model.precision}{masks}: {self.model.source}"
        ]
        if self.work is not None:
            lines.append(
                f"{self.work.parameters:,} parameters, {self.work.macs / 1e9:.2f} G multiply-adds an image"
            )
        else:
            lines.append(self.uncounted)
        computer = self.computer
        lines.append(
            f"{computer.processor}, {counted(computer.cores, 'core')}, {counted(self.threads, 'thread')}"
        )
        for name, peak in self.peaks.items():
            lines.append(
                f"at most ({name}): {peak.macs_per_second / 1e9:.0f} G multiply-adds/s ({peak.arithmetic}), "
                f"{peak.bytes_per_second / 1e9:.0f} GB/s (copy)"
            )
            if self.work is not None:
                macs = self.work.macs / peak.macs_per_second
                moved = self.work.moved_bytes(1) / peak.bytes_per_second
                lines.append(
                    f"floor of one image: {_ms(max(macs, moved))} ms ({_ms(macs)} for the multiply-adds, "
                    f"{_ms(moved)} for {self.work.moved_bytes(1) / 1e6:.0f} MB)"
                )
        return lines

    def _network_cells(self) -> list[list[str]]:
        rows = [["engine", "batch", "ms", "quartiles", "images/s", "of the peak"]]
        for network in self.networks:
            share = self.share(network)
            rows.append(
                [
                    _engine(network),
                    str(network.batch),
                    _ms(network.latency.median),
                    f"{_ms(network.latency.low)}-{_ms(network.latency.high)}",
                    f"{network.images_per_second:.1f}",
                    "?" if share is None else f"{share:.0%}",
                ]
            )
        return rows

    def _photograph_title(self) -> str:
        width, height = self.photograph_size
        name = self.photograph or "a drawn scene"
        return f"A photograph of {width} x {height} px, file to detections ({name})"

    def _photograph_cells(self) -> list[list[str]]:
        rows = [["engine", "ms", "quartiles", "reading", "network", "rest", "folder images/s"]]
        for one in self.photographs:
            rows.append(
                [
                    _engine(one),
                    _ms(one.whole.median),
                    f"{_ms(one.whole.low)}-{_ms(one.whole.high)}",
                    _ms(one.reading.median),
                    _ms(one.network.median),
                    _ms(one.rest),
                    f"{one.folder_images_per_second:.1f}",
                ]
            )
        return rows

    def _ending(self) -> list[str]:
        memory = [] if self.work is None else [f"weights {_mb(self.work.weight_bytes)}"]
        if self.peak_memory_bytes:
            memory.append(f"this process, all measured, at most {_mb(self.peak_memory_bytes)}")
        if self.gpu_memory_bytes is not None:
            memory.append(f"tensors on the GPU at most {_mb(self.gpu_memory_bytes)}")
        lines = [f"memory: {'; '.join(memory)}"] if memory else []
        if self.others_cores is not None and self.others_cores > MAX_OTHERS_CORES:
            lines.append(
                f"other programs kept {self.others_cores:.1f} cores busy meanwhile: figures are too slow"
            )
        return lines + [f"{name}: not measured. {reason}" for name, reason in self.missing.items()]


def _engine(one: Network | Photograph) -> str:
    return one.engine if one.device == "cpu" else f"{one.engine} ({one.device})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    for i, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if i else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _ms(seconds: float) -> str:
    """Return milliseconds with at most three significant digits."""
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.{2 if milliseconds < 9.995 else 1 if milliseconds < 99.95 else 0}f}"


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"
