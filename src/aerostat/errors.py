"""The two ways in which a request ends badly, each with the exit code that a shell sees."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AerostatError(Exception):
    """The work failed. The message is one sentence: what was expected, what was found, where, what to do."""

    exit_code = 1


class InputError(AerostatError):
    """The request, or a file that it names, was wrong; nothing was written."""

    exit_code = 2


def clause(error: AerostatError) -> str:
    """Return an error's sentence as a part of another one: without its full stop and a first capital E."""
    sentence = str(error).removesuffix(".")
    return f"e{sentence[1:]}" if sentence.startswith("Expected ") else sentence


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
