"""Stub, replaced below."""

from __future__ import annotations

from typing import Any


def open_tiled(location: Any) -> Any:
    """Return None."""
    return None
