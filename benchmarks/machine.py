"""What the figures were measured on: machine, packages, threads, and what the machine can do at most."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from aerostat.benchmarking.computer import describe_computer
from aerostat.benchmarking.peak import measure_peak

PACKAGES = (
    "aerostat",
    "torch",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "faster-coco-eval",
    "pycocotools",
)
ROOT = Path(__file__).resolve().parents[1]


def describe_machine(seconds: float = 4.0) -> dict[str, Any]:
    """Return the machine for JSON, its peak measured for so long; how busy it was is looked up first."""
    computer = describe_computer()
    import torch

    gpu = torch.cuda.is_available()
    peaks = {"cpu": measure_peak("cpu", seconds).to_dict()}
    if gpu:
        peaks["cuda"] = measure_peak("cuda", seconds).to_dict()
    return {
        **computer.to_dict(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if gpu else None,
        "threads": torch.get_num_threads(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("OMP_", "MKL_", "ONEDNN_", "OPENBLAS_", "DNNL_", "KMP_", "ATEN_", "TORCH_"))
            or name in ("LD_PRELOAD", "MALLOC_ARENA_MAX", "CUDA_VISIBLE_DEVICES")
        },
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "peak": peaks,
    }


def machine_name(machine: dict[str, Any]) -> str:
    """Return a machine as a part of file names: its GPU's name, or its processor's, and the cores used."""
    name = machine["gpus"][0] if machine["gpus"] else f"{machine['processor']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "").replace("(tm)", "")).strip("-")


def commit() -> str:
    """Return the checkout's commit, marked where files differ from it; "" outside of a repository."""
    return _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if not done.returncode else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
