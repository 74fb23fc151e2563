"""The command line itself, which the verbs add themselves to."""

from __future__ import annotations

from cyclopts import App

VERBOSE, QUIET = ("--verbose", "-v"), ("--quiet", "-q")
"""Options of every verb; `aerostat.cli.run` acts on them."""

app = App(
    name="aerostat",
    help="RTMDet object detection, lighter than air: annotations in, trained detector out.",
    help_epilogue="Everywhere: --verbose (-v) logs details, and the traceback of an error; --quiet (-q) logs "
    "warnings and errors only, and shows no progress.",
    version_flags=["--version"],
    group_parameters="Options",
    suppress_keyboard_interrupt=False,  # it would end without a word
)
