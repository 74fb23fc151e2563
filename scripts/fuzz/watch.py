"""A process that reads inputs, and one beside it that ends it when it hangs and knows when it dies."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from scripts.fuzz import limits

ROOT = Path(__file__).resolve().parents[2]

GOOD = ("result", "refused")
"""What may become of an input."""


@dataclass(frozen=True)
class Verdict:
    """What became of one input.

    Args:
        outcome: one of `GOOD`, or what went wrong.
        said: the error's sentence, or what there is to say.
        seconds: of processor time.
        peak: bytes of memory beyond those held before.
        size: of the input in bytes.
    """

    outcome: str
    said: str = ""
    seconds: float = 0.0
    peak: int = 0
    size: int = 0

    @property
    def good(self) -> bool:
        """Whether that may become of an input."""
        return self.outcome in GOOD


class Watch:
    """Hands inputs to a worker, one at a time; begins a new worker where one was lost.

    Args:
        seconds: of processor time that an input may take.
        hangs_after: seconds without an answer after which a worker is ended.
    """

    def __init__(self, seconds: float = limits.SECONDS, hangs_after: float = limits.HANGS_AFTER) -> None:
        self._seconds = seconds
        self._hangs_after = hangs_after
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Watch:
        """Return the watch itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker."""
        self._end()

    def verdict(self, parser: str, number: int, seed: int = 0) -> Verdict:
        """Return what became of an input of a parser."""
        worker = self._worker or self._begin()
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps([parser, number, seed, self._seconds]) + "\n")
        worker.stdin.flush()
        ready, _, _ = select.select([worker.stdout], [], [], self._hangs_after)
        if not ready:
            self._end()
            return Verdict("hung", f"no answer after {self._hangs_after:g} s")
        line = worker.stdout.readline()
        if not line:
            code = worker.wait()
            self._worker = None
            return Verdict("crashed", f"the process ended with {code}")
        return Verdict(**json.loads(line))

    def _begin(self) -> subprocess.Popen[str]:
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "scripts.fuzz.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
                "PYTHONHASHSEED": "0",
            },
        )
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None
