"""From the shell to the first line: how long a person waits for what needs no network.

Each round is a process of its own, its files in the system's cache. What is compared with is `import torch`,
which every training and prediction pays on top.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.baseline import older_source
from benchmarks.case import Case, Unavailable

HERE = Path(__file__).resolve().parents[1] / "src"
TORCH = "import torch"


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of start-up."""
    torch = {} if quick else {TORCH: started("-c", "import torch")}
    baseline = "" if quick else TORCH
    yield Case(
        "import aerostat",
        "ms",
        {"this": started("-c", "import aerostat"), **_older("-c", "import aerostat"), **torch}
        | {"python alone": started("-c", "pass")},
        baseline=baseline,
        goal="at most 150 ms",
        predicted="within 20 ms of Python alone, as names are resolved when they are used",
        reference="MMDetection: import mmdet.apis takes 2.7 times import torch",
    )
    for words, goal in (
        (("--help",), "at most 300 ms"),
        (("train", "--help"), ""),
        (("trian",), ""),
    ):
        module = ("-m", "aerostat", *words)
        yield Case(
            f"aerostat {' '.join(words)}",
            "ms",
            {"this": started(*module), **_older(*module), **(torch if words == ("--help",) else {})},
            baseline=baseline if words == ("--help",) else "",
            goal=goal,
            predicted="150 ms, most of it cyclopts and rich" if goal else "",
            reference="LibreYOLO 1.6: --help takes 2.2 times import torch" if goal else "",
            note="" if goal or "--help" in words else "a mistyped verb, which is refused",
        )


def started(*words: str, source: Path = HERE) -> Callable[[], float]:
    """Return a variant: the milliseconds that a process of Python takes with such words."""

    def one() -> float:
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words], env=_environment(source), capture_output=True, check=False
        )
        milliseconds = 1000 * (time.perf_counter() - begun)
        if done.returncode not in (0, 2) or b"Traceback" in done.stderr:
            raise Unavailable(f"it ended with {done.returncode}: {done.stderr.decode()[-80:].strip()}")
        return milliseconds

    return one


def _older(*words: str) -> dict[str, Callable[[], float]]:
    source = older_source()
    return {} if source is None else {"older": started(*words, source=source)}


def _environment(source: Path) -> dict[str, str]:
    paths: Sequence[str] = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
