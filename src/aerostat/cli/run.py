"""How a verb is run, and the two options that every verb has."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import MESSAGES, app
from aerostat.cli.names import as_typed
from aerostat.errors import AerostatError, InputError
from aerostat.progress import progress_shown

_log = logging.getLogger(__name__)


@app.meta.default
def run(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    verbose: Annotated[
        bool,
        Parameter(
            name=("--verbose", "-v"),
            negative=(),
            show_default=False,
            group=MESSAGES,
            help="Log details, and the traceback of an error.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        Parameter(
            name=("--quiet", "-q"),
            negative=(),
            show_default=False,
            group=MESSAGES,
            help="Log warnings and errors only; show no progress.",
        ),
    ] = False,
) -> Any:
    """Run the verb that the words name, and print log records on stderr meanwhile."""
    if verbose and quiet:
        raise InputError("The options --verbose and --quiet exclude each other; leave one of them out.")
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    verb, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    with console.log_on_stderr(level, partial(as_typed, words=words)), progress_shown(not quiet):
        try:
            return verb(*bound.args, **bound.kwargs)
        except AerostatError:
            _log.debug("traceback of the error below", exc_info=True)
            raise
