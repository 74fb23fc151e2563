"""What version 0.1.0 left behind, unpacked, and the command line of today.

`scripts/record_compatibility.py` made the data and says how. These tests use the command line and the public
names of `aerostat` only, so that they hold whatever happens to its modules.
"""

import json
import lzma
import math
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

DATA = Path(__file__).with_name("data")
ROOT = "/recorded-by-aerostat-0.1.0"
"""Stands in recorded files for the folder in which they were made."""


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scenes, runs, exports and the study that version 0.1.0 wrote."""
    folder = tmp_path_factory.mktemp("recorded")
    with lzma.open(DATA / "recorded.tar.xz") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def here(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in the folder of the recorded files, as the recorded commands did: one thread, an empty cache."""
    monkeypatch.chdir(unpacked)
    monkeypatch.setenv("AEROSTAT_HOME", str(unpacked / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield unpacked
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Any]:
    """Return the recorded JSON document of a name."""
    return lambda name: json.loads((DATA / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def arrays() -> Callable[[str], dict[str, Any]]:
    """Return the recorded arrays of a name."""

    def load(name: str) -> dict[str, Any]:
        with np.load(DATA / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture
def old_run(here: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a recorded run, as if it had been made where the recorded scenes lie now."""

    def copy(name: str) -> Path:
        run = tmp_path / name
        shutil.copytree(here / name, run)
        environment = run / "environment.json"
        environment.write_text(environment.read_text().replace(ROOT, here.as_posix()))
        if (run / "last.ckpt").is_file():
            _replace_in_header(run / "last.ckpt", ROOT, here.as_posix())
        return run

    return copy


def _replace_in_header(path: Path, old: str, new: str) -> None:
    """Replace a text in the header of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip(b" ")
    assert old.encode() in header
    header = header.replace(old.encode(), new.encode())
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


@pytest.fixture
def assert_as_recorded(here: Path) -> Callable[..., None]:
    """Compare a JSON value with a recorded one: each recorded key is there with its value; keys may be added.

    ``<text>``, ``<number>`` and ``<list>`` stand for any value of that kind, ``<any>`` for any value.
    """

    def compare(before: Any, now: Any, where: str = "") -> None:
        match before:
            case dict():
                assert isinstance(now, dict), where
                for key, value in before.items():
                    assert key in now, f"{where} has lost {key!r}; it has {list(now)}"
                    compare(value, now[key], f"{where}.{key}")
            case list():
                assert isinstance(now, list), where
                assert len(now) == len(before), where
                for i, value in enumerate(before):
                    compare(value, now[i], f"{where}[{i}]")
            case "<any>":
                pass
            case "<text>":
                assert isinstance(now, str) and now, where
            case "<list>":
                assert isinstance(now, list), where
            case "<number>":
                assert isinstance(now, int | float) and not isinstance(now, bool), where
            case str():
                assert isinstance(now, str), where
                _compare_texts(before, now.replace(str(here), ROOT), where)
            case bool() | None:
                assert now is before, where
            case _:
                assert math.isclose(before, now, rel_tol=1e-5, abs_tol=1e-6), f"{where}: {before}, now {now}"

    return compare


def _compare_texts(before: str, now: str, where: str) -> None:
    """Compare two texts; the numbers of a table with commas may differ by rounding."""
    theirs, ours = (text.replace("\r\n", "\n").split("\n") for text in (before, now))
    assert len(theirs) == len(ours), where
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True), 1):
        cells = list(zip(their.split(","), our.split(","), strict=True))
        assert all(a == b or _close(a, b) for a, b in cells), (
            f"{where}, line {number}: {their!r}, now {our!r}"
        )


def _close(before: str, now: str) -> bool:
    try:
        return math.isclose(float(before), float(now), rel_tol=1e-5, abs_tol=1e-6)
    except ValueError:
        return False


@pytest.fixture(scope="session")
def one_thread_environment() -> dict[str, str]:
    """The environment of a process that computes as the recording did."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
