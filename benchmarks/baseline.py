"""Older code, measured beside the code that is here: another checkout's `src` in a process of its own.

``AEROSTAT_BASELINE=/path/to/an/older/checkout/src python -m benchmarks`` adds its variants.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

VARIABLE = "AEROSTAT_BASELINE"

_SERVER = """
import os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever the code prints is no answer
names = {}
exec(compile(sys.argv[1], "<setup>", "exec"), names)
one_round = compile(sys.argv[2], "<round>", "eval")
for _ in sys.stdin:
    print(repr(float(eval(one_round, names))), file=answers, flush=True)
"""


def older_source() -> Path | None:
    """Return the older checkout's `src` that the environment names, or None.

    Raises:
        ValueError: if there is no package in it.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    source = Path(named).absolute()
    if not (source / "aerostat" / "__init__.py").is_file():
        raise ValueError(f"{VARIABLE} names {source}, expected a folder with aerostat/__init__.py in it")
    return source


def run_with(source: Path, code: str, timeout: float = 60.0) -> float:
    """Run code with the package of another checkout and return the one number that it prints.

    Raises:
        RuntimeError: with the last line of what it said, if it fails or prints anything else.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(source),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    try:
        if done.returncode:
            raise ValueError
        return float(done.stdout)
    except ValueError:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(f"the older code ended with {done.returncode} and said: {said}") from None


@contextlib.contextmanager
def rounds_with(source: Path, setup: str, one_round: str) -> Iterator[Callable[[], float]]:
    """Yield a variant that runs in one process of the older code, set up once.

    Args:
        source: the other checkout's `src`.
        setup: statements, run once; what they define is there for the rounds.
        one_round: an expression that does one round of work and is its figure, such as ``work()``.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, setup, one_round],
        env=_environment(source),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    questions, answers = process.stdin, process.stdout

    def one() -> float:
        with contextlib.suppress(BrokenPipeError):
            questions.write("\n")
            questions.flush()
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"the older code ended with {process.wait()}; what it said stands above")
        return float(answer)

    try:
        yield one
    finally:
        with contextlib.suppress(BrokenPipeError):
            questions.close()
        process.kill()
        process.wait()
        answers.close()


def _environment(source: Path) -> dict[str, str]:
    paths = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
