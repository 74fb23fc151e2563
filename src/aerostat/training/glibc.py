"""Freed memory stays with the process, so that the next step of a long work does not have to ask for it.

glibc returns large blocks to the kernel as soon as they are freed. When a block is asked for again, the
kernel fills each of its pages with zeros. A training step allocates some hundred megabytes of activations,
which are tens of thousands of page faults each time. There are none while the process keeps its memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
"""Names of parameters of `mallopt` (malloc.h of the GNU C library)."""
_LARGEST = 2**31 - 1
_NEVER = -1
_USUAL_MMAP = 32 << 20
_USUAL_TRIM = 64 << 20
"""Values that glibc itself comes to on 64-bit systems, after large blocks have been freed."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory while the block runs, and return it at the end.

    The process holds its peak memory for the whole block, not more. Without glibc nothing happens.
    """
    library = glibc()
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
def glibc() -> Any:
    """Return the C library of this process; None if it is not glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        return None
