"""The machine of a measurement: processor, memory, system, and the load of other programs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aerostat.processors import allowed_processors, compute_threads, processor_quota

FLAGS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
"""Instruction sets for convolutions and matrix products, as Linux names them."""


@dataclass(frozen=True)
class Computer:
    """A machine; unknown fields are empty, None or 0.

    Args:
        processor: name of the processor.
        cores: cores that this process may use, as the scheduler counts them (two threads of a core are two).
        quota: processors that the container grants, if it limits them.
        flags: instruction sets among `FLAGS`.
        caches: sizes of the caches, such as "L2 1024K".
        memory_bytes: total memory.
        system: name and version of the system.
        load: load average of the last minute.
    """

    processor: str
    cores: int
    quota: float | None
    flags: tuple[str, ...]
    caches: tuple[str, ...]
    memory_bytes: int
    system: str
    load: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the machine as JSON values."""
        return asdict(self)


def describe_computer() -> Computer:
    """Return the description of this machine."""
    info = _read("/proc/cpuinfo")
    return Computer(
        processor=_processor(info),
        cores=allowed_processors(),
        quota=processor_quota(),
        flags=tuple(flag for flag in FLAGS if flag in _flags(info)),
        caches=_caches(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}".strip(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


class OthersWatch:
    """Load of other programs from now on; only Linux tells."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self) -> float | None:
        """Return the mean number of cores that other programs used, None if unknown.

        Other programs are all processes but this one and its children that have ended. Time that a virtual
        machine waited for its host counts, too.
        """
        (start, busy, own), (end, busy_now, own_now) = self._start, self._now()
        if busy is None or busy_now is None or end <= start:
            return None
        return round(max(0.0, (busy_now - busy - (own_now - own)) / (end - start)), 2)

    @staticmethod
    def _now() -> tuple[float, float | None, float]:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return time.perf_counter(), _busy_seconds(), own


@contextmanager
def using_threads(threads: int | None) -> Iterator[int]:
    """Set the number of threads while the block runs, and yield it; None leaves it as it is.

    It sets torch, OpenCV and ``OMP_NUM_THREADS``, which the engines of ONNX Runtime and OpenVINO read.
    """
    import cv2

    torch = sys.modules.get("torch")
    variable = os.environ.get("OMP_NUM_THREADS", "")
    before = torch.get_num_threads() if torch else None
    if threads is None:
        yield before or compute_threads()
        return
    of_cv2 = cv2.getNumThreads()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is loaded
    cv2.setNumThreads(threads)
    if torch:
        torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if variable:
            os.environ["OMP_NUM_THREADS"] = variable
        cv2.setNumThreads(of_cv2)
        if torch:
            torch.set_num_threads(before)


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process; 0 if unknown."""
    # On Linux the figure of getrusage begins with the memory of the parent process.
    own = re.search(r"^VmHWM:\s*(\d+) kB$", _read("/proc/self/status"), re.MULTILINE)
    if own:
        return int(own[1]) * 1024
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


if sys.platform == "win32":

    def _windows_peak() -> int:
        """Return PeakWorkingSetSize of GetProcessMemoryInfo."""
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            _fields_ = [("cb", wintypes.DWORD), ("faults", wintypes.DWORD), ("peak", ctypes.c_size_t)] + [
                (f"other{i}", ctypes.c_size_t) for i in range(7)
            ]

        counters = Counters()
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        process = wintypes.HANDLE(kernel.GetCurrentProcess())
        done = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), ctypes.sizeof(counters))
        return int(counters.peak) if done else 0


def _busy_seconds() -> float | None:
    """Return the processor time of all processes since the machine was started."""
    found = re.match(r"cpu +(\d+) (\d+) (\d+) \d+ \d+ (\d+) (\d+) (\d+)", _read("/proc/stat"))
    if not found:
        return None
    ticks = sum(map(int, found.groups()))  # user, nice, system, interrupts of both kinds, stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def _processor(info: str) -> str:
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", info, re.MULTILINE)
    if found:
        return found[1].strip()
    if sys.platform == "darwin":
        name = _output_of("sysctl", "-n", "machdep.cpu.brand_string")
        if name:
            return name
    return platform.processor() or platform.machine() or "unknown"


def _flags(info: str) -> set[str]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _caches() -> tuple[str, ...]:
    """Return the sizes of the first core's data and shared caches, smallest first."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        if level and size and kind != "Instruction":
            found.append(f"L{level} {size}")
    return tuple(found)


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 0


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=5, check=False)
        return done.stdout.decode("utf-8", "replace").strip()
    except (OSError, subprocess.SubprocessError):
        return ""
