"""What one input may cost."""

from __future__ import annotations

from aerostat.images.limits import CAMERA_MEMORY

SECONDS = 5.0
"""Of processor time, for each reading of an input."""
HANGS_AFTER = 20.0
"""Seconds without an answer after which a worker is ended; others may use the machine meanwhile."""

_IMAGE_MEMORY = CAMERA_MEMORY + 200 * 2**20
"""Bytes that any image may take, because a camera's photograph of few bytes may."""

IMAGE_READS = 2
"""Times that the fuzzer decodes an image: smaller, and whole."""


def memory(size: int, is_image: bool = False) -> int:
    """Return how many bytes more than before a process may hold while it reads an input.

    Args:
        size: of the input in bytes.
        is_image: whether it is an image.
    """
    share = 50 * size + 200 * 2**20
    return max(share, _IMAGE_MEMORY) if is_image else share
