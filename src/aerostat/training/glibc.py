"""Freed memory that the process keeps, so that the next step of a long work finds it warm.

glibc hands large blocks back to the kernel as soon as they are freed, and the kernel fills each page with
zeros when it is asked for again: a training step that allocates some hundred megabytes of activations meets
tens of thousands of page faults, each time anew. While memory is kept they cost nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
"""Names of parameters (malloc.h of the GNU C library)."""
_LARGEST = 2**31 - 1
_NEVER = -1
_USUAL_MMAP = 32 << 20
_USUAL_TRIM = 64 << 20
"""Where glibc's own thresholds end on 64-bit systems once large blocks have been freed."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the process keep what is freed while the block runs; what is kept goes back at its end.

    The process takes no more than at its peak, but as long. Does nothing where the C library is not glibc.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library of this process, None if it is another one than glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        return None
