"""Errors of the library, each with the exit code that a shell sees.

A message is one sentence: what was expected, what was found, where, and what to do. It names parameters in
backquotes, such as `` `images` ``. The command line shows the options in their place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AerostatError(Exception):
    """The work failed."""

    exit_code = 1


class InputError(AerostatError):
    """The request, or a file that it names, was wrong; nothing was written."""

    exit_code = 2


def clause(error: AerostatError) -> str:
    """Return an error's message as a part of another sentence.

    >>> clause(InputError("Expected an image, found nothing: a.png."))
    'expected an image, found nothing: a.png'
    """
    sentence = str(error).removesuffix(".")
    return (
        sentence[0].lower() + sentence[1:] if sentence.startswith(("Expected ", "The", "This ")) else sentence
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question about the known name nearest to `name`, or an empty text.

    >>> nearest("rtmdet-tini", ["rtmdet-tiny", "rtmdet-s"])
    " Did you mean 'rtmdet-tiny'?"
    """
    by_folded = {other.casefold(): other for other in known}  # names often differ in case only
    matches = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.5)
    return f" Did you mean {by_folded[matches[0]]!r}?" if matches else ""
