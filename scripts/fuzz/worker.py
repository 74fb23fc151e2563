"""The process that reads the inputs: one request a line on stdin, one verdict a line on the first stdout.

Run by `watch.Watch`. It measures processor time and the largest resident memory of each input, and an audit
hook (PEP 578) writes down whatever an input makes it open, run, import or connect to.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from scripts.fuzz import limits
from scripts.fuzz.bombs import BOMBS
from scripts.fuzz.faults import FAULTS
from scripts.fuzz.parsers import PARSERS, Parser, put_images

_FENCE = 1 << 30
"""More address space than the limit: who takes that much is stopped, who takes less is measured."""
_FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile"),
    *(
        "os.putenv",
        "os.kill",
        "subprocess.Popen",
        "pty.spawn",
        "socket.",
        "urllib.Request",
        "ftplib.",
        "http.",
    ),
    *("webbrowser.open", "ctypes.dlopen", "pickle.find_class"),
)
_PATHS = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.chmod",
)


class Trace:
    """What an input made the process do beside reading its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve()) + os.sep
        self.allowed = tuple(
            {self.folder, sys.prefix, sys.base_prefix, sys.exec_prefix, "/proc/", "/sys/", "/dev/null"}
        )
        self.watching = False
        self.found: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event.startswith(_FORBIDDEN):
            self._refuse(f"{event} {arguments!r:.200}")
        elif event == "import":
            top = str(arguments[0]).partition(".")[0]
            if top not in sys.modules and top not in ("encodings", "unicodedata", "stringprep"):
                self._refuse(f"import {arguments[0]}")
        elif event in _PATHS and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - of what may be no path at all
            writes = event not in ("open", "os.listdir", "os.scandir") or (
                event == "open"
                and isinstance(arguments[2], int)
                and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            allowed = (self.folder,) if writes else self.allowed
            if not (path + os.sep).startswith(allowed):
                self._refuse(f"{event} {path[:200]}")

    def _refuse(self, what: str) -> None:
        self.found.append(what)
        raise PermissionError(f"the watch forbids {what}")


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=_fastest_folder()) as above:
        folder = Path(above) / "data"
        put_images(folder)
        trace = Trace(folder)
        warm: set[str] = set()
        for line in sys.stdin:
            name, number, seed, seconds = json.loads(line)
            parser = (PARSERS | FAULTS | BOMBS)[name]
            if (of := parser.name.partition("/")[0]) not in warm:
                warm.add(of)
                _warm_up((PARSERS | FAULTS)[of], folder)
            verdict = _try(parser, parser.input(number, seed), seconds, folder, trace)
            answers.write(json.dumps(verdict) + "\n")
            answers.flush()


def _fastest_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _warm_up(parser: Parser, folder: Path) -> None:
    """Read the good files, so that what is imported late is here and memory is what it stays at."""
    if parser.name in FAULTS:
        return
    importlib.import_module("rich.progress")  # what is shown where reading takes long
    for content in parser.seeds():
        (folder / parser.file_name).write_bytes(content)
        try:
            parser.read(folder / parser.file_name)
        except Exception:
            continue


def _try(parser: Parser, content: bytes, longest: float, folder: Path, trace: Trace) -> dict[str, Any]:
    """Return the outcome of one input, which may take a number of seconds."""
    from aerostat.errors import AerostatError

    path = folder / parser.file_name
    path.write_bytes(content)
    size = len(content)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # from here on VmHWM is this input's
    is_image = parser.name.startswith("image")
    allowed = limits.memory(size, is_image)
    longest *= limits.IMAGE_READS if is_image else 1
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + allowed + _FENCE, unlimited[1]))
    trace.found.clear()
    trace.watching = True
    started = time.process_time()
    sentence = ""
    try:
        parser.read(path)
        outcome = "result"
    except AerostatError as error:
        outcome, sentence = "refused", str(error)
    except MemoryError as error:
        outcome, sentence = "out of memory", str(error)
    except BaseException as error:
        outcome, sentence = "escaped", f"{type(error).__name__}: {error} at {_where(error)}"
    seconds = time.process_time() - started
    trace.watching = False
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    peak = _memory("VmHWM") - before
    if trace.found:
        outcome, sentence = "reached out", trace.found[0]
    elif outcome in ("result", "refused") and seconds > longest:
        outcome = "too slow"
    elif outcome in ("result", "refused") and peak > allowed:
        outcome = "too much memory"
    elif outcome == "refused" and not _is_a_sentence(sentence):
        outcome = "no sentence"
    if peak > 64 << 20:
        ctypes.CDLL(None).malloc_trim(0)  # or the next input would live on what this one left
    return {"outcome": outcome, "said": sentence[:500], "seconds": seconds, "peak": peak, "size": size}


def _is_a_sentence(text: str) -> bool:
    return bool(text) and "\n" not in text and "\x1b" not in text and len(text) < 2000


def _where(error: BaseException) -> str:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(frames[-6:])


def _memory(key: str) -> int:
    """Return one of the process's figures in bytes (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    raise KeyError(key)


if __name__ == "__main__":
    main()
