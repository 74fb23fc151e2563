"""The machine: its packages, processors and GPUs, and how much of them a run takes."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

from aerostat.processes.facts import PACKAGES, installed_version
from aerostat.processes.placement import ALONE, Placement, is_first
from aerostat.processors import usable_processors
from aerostat.text import counted
from aerostat.training.recipe import Recipe

MAX_THREADS = 8
"""Maximum number of decoding threads. More of them wait for each other."""


def thread_count(recipe: Recipe, processes: int = 1) -> int:
    """Return how many threads decode and augment: as the recipe asks, else one per usable processor.

    Args:
        recipe: resolved.
        processes: of this machine, which share the threads.
    """
    threads = recipe.data.threads if recipe.data.threads >= 0 else min(MAX_THREADS, usable_processors())
    return max(1, threads // processes) if threads else 0


def is_main_process(placement: Placement = ALONE) -> bool:
    """Return whether this is the process of a run that logs and writes; a single process is it.

    Args:
        placement: what is asked for. Fabric knows of other machines only once it has launched.
    """
    return getattr(rank_zero_only, "rank", None) in (None, 0) and is_first(placement)


def memory_mb(device: torch.device) -> float:
    """Return the peak memory of the GPU, else of this process, in MiB; 0 on systems that do not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def describe_environment() -> dict[str, Any]:
    """Return versions and machine, as a bug report needs them."""
    packages = (*PACKAGES, "onnx", "onnxruntime", "openvino")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed_version(name) for name in packages},
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": sys.argv,
    }


def environment_line(environment: dict[str, Any], device: torch.device) -> str:
    """Return the environment in one line for the console."""
    packages = environment["packages"]
    threads, gpus = environment["threads"], environment["gpus"]
    where = gpus[device.index or 0] if device.type == "cuda" else counted(threads, "CPU thread")
    return (
        f"aerostat {packages['aerostat']}  torch {packages['torch']}  python {environment['python']}  "
        f"on {device.type} ({where})"
    )
