"""What is measured of each tool: its help, photographs, a training, and the memory of all its processes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.case import Unavailable

DRIVERS = Path(__file__).resolve().parent / "drivers"
MEMORY_INTERVAL_S = 0.25


@contextlib.contextmanager
def photographs(python: Path, tool: str, engine: str, photograph: Path, folder: Path) -> Iterator[Rounds]:
    """Yield rounds of one tool with one engine, in a process of its own that is set up once.

    Raises:
        Unavailable: with the last line of what the tool said, if it cannot be set up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [
        str(python),
        str(DRIVERS / f"drive_{tool}.py"),
        "photograph",
        engine,
        str(photograph),
        str(folder),
    ]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
    assert process.stdin and process.stdout
    try:
        first = process.stdout.readline()
        if not first:
            process.wait()
            raise Unavailable(last_line(folder / "log.txt"))
        yield Rounds(process, json.loads(first)["macs"], folder / "log.txt")
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Rounds:
    """A tool that waits for its next round.

    Args:
        process: its driver.
        macs: multiply-adds of its network for an image.
        log: what it prints.
    """

    process: subprocess.Popen[str]
    macs: float
    log: Path

    def __call__(self) -> float:
        """Return the milliseconds of one round.

        Raises:
            Unavailable: the tool has ended.
        """
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Unavailable(last_line(self.log))
        return float(line)


def help_ms(python: Path, words: tuple[str, ...]) -> Callable[[], float]:
    """Return a variant: the milliseconds until the help of a tool stands there."""

    def one() -> float:
        began = time.perf_counter()
        done = subprocess.run([str(python), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable((done.stderr.strip() or "it failed").splitlines()[-1])
        return 1e3 * (time.perf_counter() - began)

    return one


@dataclass(frozen=True)
class Trained:
    """A training, the whole command.

    Args:
        seconds: that it took.
        images_per_second: training images by the time of the whole command.
        megabytes: peak memory of all its processes together.
    """

    seconds: float
    images_per_second: float
    megabytes: float


def training(python: Path, tool: str, data: Path, folder: Path, *, images: int, epochs: int) -> Trained:
    """Train with one tool and return what it took.

    Raises:
        Unavailable: with the last line of what the tool said, if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(python), str(DRIVERS / f"drive_{tool}.py"), "train", str(data), str(folder), str(epochs)]
    began = time.perf_counter()
    with (folder / "train.txt").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        peak = peak_megabytes(process)
    finally:
        process.kill()
        code = process.wait()
    seconds = time.perf_counter() - began
    if code:
        raise Unavailable(last_line(folder / "train.txt"))
    return Trained(seconds, images * epochs / seconds, peak)


def peak_megabytes(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the peak memory of it and its children together, in MB; 0 if unknown.

    Memory that processes share counts once (`Pss` of Linux). It is looked at four times a second.
    """
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(MEMORY_INTERVAL_S):
            peak = max(peak, sum(map(_shared_out_bytes, _tree(process.pid))) / 1e6)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    process.wait()
    ended.set()
    watcher.join()
    return peak


def _tree(root: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for name in [path.name for path in Path("/proc").glob("[0-9]*")]:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                after_name = Path("/proc", name, "stat").read_text("utf-8", "replace").rpartition(")")[2]
                children.setdefault(int(after_name.split()[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _shared_out_bytes(pid: int) -> int:
    """Return the memory of a process, what it shares divided by its users; 0 if it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, at most 200 characters."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it ended without a word"
