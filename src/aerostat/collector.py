"""Python's collector of circular garbage, kept still while very many objects are made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_disabled() -> Iterator[None]:
    """Keep the collector from walking millions of new objects again and again, none of which form circles.

    Where the collector was off before it stays off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # nobody else has set objects aside
                gc.freeze()  # both together put all objects among the old ones, without a walk
                gc.unfreeze()
            gc.enable()
