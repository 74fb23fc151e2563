"""The command line itself, which the verbs add themselves to."""

from __future__ import annotations

from cyclopts import App, Group

MESSAGES = Group("Messages", sort_key=3)
"""Of the options that every verb has."""

app = App(
    name="aerostat",
    help="RTMDet object detection, lighter than air: annotations in, trained detector out.",
    version_flags=["--version"],
    group_commands=Group("Commands", sort_key=0),
    group_arguments=Group("Arguments", sort_key=1),
    group_parameters=Group("Options", sort_key=2),
    suppress_keyboard_interrupt=False,  # it would end without a word
)
app.meta.suppress_keyboard_interrupt = False
