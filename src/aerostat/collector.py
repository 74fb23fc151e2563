"""Python's garbage collector, switched off while millions of objects are made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_disabled() -> Iterator[None]:
    """Switch off the collector, which would walk all new objects again and again and find no cycle.

    If it was off before, it stays off afterwards.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # no other code has frozen objects
                gc.freeze()  # with unfreeze: moves all objects to the oldest generation without a walk
                gc.unfreeze()
            gc.enable()
