"""Throwaway environments: one for each tool, with the same torch in all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from aerostat.files import write_text
from benchmarks.machine import ROOT


@dataclass(frozen=True)
class Peer:
    """A tool that is measured.

    Args:
        name: in tables, and of its folder.
        packages: that a user installs for it, with their dependencies.
        engines: that its other engines need.
        alone: packages installed without their dependencies, which name older ones that need a compiler.
        help: words after `python` that print its help, for the time until it stands there; empty for none.
    """

    name: str
    packages: tuple[str, ...]
    engines: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    help: tuple[str, ...] = ()


ENGINES = ("onnx", "onnxruntime", "openvino")
PEERS = (
    Peer("aerostat", (str(ROOT),), ENGINES, help=("-m", "aerostat", "--help")),
    Peer(
        "ultralytics",
        ("ultralytics",),
        (*ENGINES, "onnxslim"),
        help=("-c", "from ultralytics.cfg import entrypoint; entrypoint('help')"),
    ),
    Peer(
        "libreyolo",
        ("libreyolo",),
        ENGINES,
        help=(
            "-c",
            "import sys; from libreyolo.cli import entrypoint; sys.argv[1:] = ['--help']; entrypoint()",
        ),
    ),
    Peer("rfdetr", ("rfdetr",)),
    Peer(
        "mmdetection",
        (
            "scipy",
            "pyyaml",
            "platformdirs",
            "six",
            "requests",
            "tqdm",
            "pycocotools",
            "opencv-python-headless",
        ),
        (),
        (
            *("mmengine==0.10.7", "mmcv-lite==2.1.0", "mmdet==3.3.0", "terminaltables"),
            *("shapely", "yapf", "addict", "termcolor", "rich"),
        ),
    ),
)
"""aerostat, and the tools that are compared with it."""


@dataclass(frozen=True)
class Installed:
    """What an installation took.

    Args:
        peer: name of the tool.
        seconds: from an empty environment with torch to the tool, packages of its engines not counted.
        megabytes: on disk, beside torch and torchvision.
        torch_megabytes: of torch and torchvision.
        versions: of the packages.
        problem: why it cannot be measured; "" if it can.
    """

    peer: str
    seconds: float = 0.0
    megabytes: float = 0.0
    torch_megabytes: float = 0.0
    versions: dict[str, str] | None = None
    problem: str = ""


def python_of(environment: Path) -> Path:
    """Return the interpreter of an environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(peer: Peer, folder: Path) -> Installed:
    """Return what the installation of a tool took; one that was made before is not made again.

    torch has the version that runs here, in all environments. pip may not choose another.

    Args:
        peer: the tool.
        folder: of all environments.
    """
    environment, record = folder / peer.name, folder / f"{peer.name}.json"
    if record.is_file():
        return Installed(**json.loads(record.read_text("utf-8")))
    torch = metadata.version("torch").partition("+")[0]
    folder.mkdir(parents=True, exist_ok=True)
    limits = folder / "constraints.txt"
    write_text(limits, f"torch=={torch}\n")
    try:
        _call([sys.executable, "-m", "venv", "--clear", str(environment)])
        _pip(environment, ["-c", str(limits), f"torch=={torch}", "torchvision"])
        before = _megabytes(environment)
        began = time.perf_counter()
        if peer.alone:
            _pip(environment, ["--no-deps", *peer.alone])
        _pip(environment, ["-c", str(limits), *peer.packages])
        seconds, after = time.perf_counter() - began, _megabytes(environment)
        if peer.engines:
            _pip(environment, ["-c", str(limits), *peer.engines])
        found = Installed(
            peer.name, round(seconds, 1), round(after - before, 1), round(before, 1), _versions(environment)
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        why = next((line for line in reversed(said) if line.lower().startswith("error")), "pip failed")
        found = Installed(peer.name, problem=why[:300])
    write_text(record, json.dumps(asdict(found), indent=1))
    return found


def _pip(environment: Path, words: list[str]) -> None:
    _call([str(python_of(environment)), "-m", "pip", "install", "--quiet", "--prefer-binary", *words])


def _call(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _versions(environment: Path) -> dict[str, str]:
    listed = _call([str(python_of(environment)), "-m", "pip", "list", "--format=json"])
    return {row["name"]: row["version"] for row in json.loads(listed)}


def _megabytes(environment: Path) -> float:
    """Return the size of the files of an environment in MB."""
    sizes = (path.lstat().st_size for path in environment.rglob("*") if not path.is_symlink())
    return sum(sizes) / 1e6
