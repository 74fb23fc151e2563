"""Readers that do what none may: with them the watch itself is tested."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.fuzz.parsers import Parser


def _escape(path: Path) -> object:
    raise KeyError("nobody caught this")


def _spin(path: Path) -> object:
    end = time.process_time() + 60
    while time.process_time() < end:
        pass
    return None


def _burn(path: Path) -> object:
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    return None


def _sleep(path: Path) -> object:
    time.sleep(60)
    return None


def _hog(path: Path) -> object:
    return len(bytearray(b"x") * (400 << 20))


def _devour(path: Path) -> object:
    return [bytearray(b"x") * (100 << 20) for _ in range(100)]


def _crash(path: Path) -> object:
    os.abort()


def _run(path: Path) -> object:
    return os.system("true")


def _swallow(path: Path) -> object:
    with contextlib.suppress(Exception):
        subprocess.run([sys.executable, "--version"])
    return None


def _peep(path: Path) -> object:
    return (path.parent.parent / "secret.png").read_bytes()


def _spill(path: Path) -> object:
    return (path.parent.parent / "spilt").write_bytes(b"x")


def _fault(name: str, read: Callable[[Path], object]) -> Parser:
    return Parser(f"fault-{name}", "file", lambda: (b"good",), (lambda content, others, dice: content,), read)


FAULTS = {
    parser.name: parser
    for parser in (
        _fault("none", lambda path: None),
        _fault("escape", _escape),
        _fault("spin", _spin),
        _fault("burn", _burn),
        _fault("sleep", _sleep),
        _fault("hog", _hog),
        _fault("devour", _devour),
        _fault("crash", _crash),
        _fault("run", _run),
        _fault("swallow", _swallow),
        _fault("peep", _peep),
        _fault("spill", _spill),
    )
}
"""By name."""
