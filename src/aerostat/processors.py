"""How many processors this process may use: by its affinity, and by the quotas of its container."""

from __future__ import annotations

import math
import os
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows control groups of version 2; a container sees its own group as their root."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Where Linux shows the group of this process, as a line ``0::/path`` for version 2."""
THREADS = "OMP_NUM_THREADS"
"""The variable by which a user says how many threads compute."""


def usable_processors() -> int:
    """Return how many processors this process may use, at least 1.

    The affinity counts, as `taskset` sets it, and the quota, as Docker and the limits of Kubernetes set it.
    A quota of one and a half is two: the second thread uses the rest.
    """
    granted, allowed = processor_quota(), allowed_processors()
    return allowed if granted is None else max(1, min(allowed, math.ceil(granted)))


def allowed_processors() -> int:
    """Return how many processors the affinity of this process allows, whatever the quota grants."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_threads() -> int:
    """Return how many threads compute: as ``OMP_NUM_THREADS`` says, else one on each usable processor."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else usable_processors()


def threads_within_quota(threads: int) -> int:
    """Return the number of threads, lowered to the quota of the container.

    More threads than processors share the quota: when it is used up, all of them wait for the next period.

    Args:
        threads: that a runtime would use. They stay without a quota, and where ``OMP_NUM_THREADS`` is set.
    """
    granted = processor_quota()
    if granted is None or os.environ.get(THREADS):
        return threads
    return max(1, min(threads, math.ceil(granted)))


def set_threads_by_quota() -> None:
    """Set ``OMP_NUM_THREADS`` if a quota grants fewer processors than the affinity, and the user set none.

    torch and numpy's libraries read it when they are loaded, and the processes of this one inherit it.
    """
    if processor_quota() is not None and not os.environ.get(THREADS):
        os.environ[THREADS] = str(usable_processors())


def processor_quota() -> float | None:
    """Return how many processors control groups of version 2 grant, such as 1.5; None for no limit.

    Each group limits those below it, so the smallest quota from this process's group to the root counts.
    """
    quotas = [quota for folder in _groups() if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _groups() -> list[Path]:
    """Return the folders of this process's group and of those above it."""
    lines = _read(MEMBERSHIP).splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::/")), "/")
    names = [name for name in own.split("/") if name]
    if ".." in names:  # the group lies outside of what this container sees
        names = []
    return [CONTROL_GROUPS.joinpath(*names[:length]) for length in range(len(names), -1, -1)]


def _quota_of(folder: Path) -> float | None:
    """Return the processors that one group grants; None for no limit and where it does not tell."""
    words = _read(folder / "cpu.max").split()
    if len(words) != 2 or not all(word.isascii() and word.isdigit() and int(word) for word in words):
        return None  # "max 100000" is no limit
    return int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
