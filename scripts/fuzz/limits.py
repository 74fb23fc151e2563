"""What one input may cost."""

from __future__ import annotations

SECONDS = 5.0
"""Of processor time."""
HANGS_AFTER = 20.0
"""Seconds without an answer after which a worker is ended; others may use the machine meanwhile."""


def memory(size: int) -> int:
    """Return how many bytes more than before a process may hold while it reads an input of `size` bytes."""
    return 50 * size + 200 * 2**20
