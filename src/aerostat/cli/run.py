"""How a verb is run, and the two options that every verb has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from aerostat.cli import console
from aerostat.cli.app import QUIET, VERBOSE, app
from aerostat.cli.names import as_typed
from aerostat.errors import AerostatError, InputError
from aerostat.progress import progress_shown

STANDARD = "./-"
"""What `-` becomes, which would be taken for an option: the same path, in other words."""

_log = logging.getLogger(__name__)


def run(words: Sequence[str]) -> Any:
    """Run the verb that the words call, print log records on stderr meanwhile, and return its exit code.

    --verbose and --quiet stand anywhere among the words. No option takes such a word as its value, so they
    are taken out before the others are understood.

    Raises:
        AerostatError: the request was wrong, or the work failed.
        CycloptsError: the words are no command.
    """
    options = words[: words.index("--")] if "--" in words else words
    rest = [STANDARD if word == "-" else word for word in options if word not in (*VERBOSE, *QUIET)]
    verbose, quiet = (any(name in options for name in names) for names in (VERBOSE, QUIET))
    if verbose and quiet:
        raise InputError("The options --verbose and --quiet exclude each other; leave one of them out.")
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    wording = partial(as_typed, words=words)
    with console.log_on_stderr(level, wording), progress_shown(not quiet):
        try:
            return app(
                [*rest, *words[len(options) :]],
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        except AerostatError:
            _log.debug("traceback of the error below", exc_info=True)
            raise
