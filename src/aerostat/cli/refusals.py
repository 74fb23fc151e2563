"""Requests that are refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.files import nearest_existing


def require_free(path: Path, force: bool, option: str) -> None:
    """Refuse a file to write that exists, or that can never be written.

    Raises:
        InputError: naming the option that asked for it.
    """
    above = nearest_existing(path.absolute().parent)
    if path.is_dir() or not above.is_dir():
        found = "is a folder" if path.is_dir() else f"cannot be written: {above} is a file"
        raise InputError(f"{path} {found}; {option} names a file to write.")
    if path.exists() and not force:
        raise InputError(f"{path} exists already; choose another {option} or allow it with --force.")


def refuse(options: dict[str, Any], why: str) -> None:
    """Refuse options that would be ignored.

    Raises:
        InputError: naming those that were given, which are neither None nor False.
    """
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise InputError(f"{', '.join(given)} {why}; leave {'it' if len(given) == 1 else 'them'} out.")
