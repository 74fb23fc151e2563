"""Commands that the library names are commands of this command line."""

import shlex
from pathlib import Path

import pytest

from aerostat.cli import app
from aerostat.cli.commands import COMMANDS

RUN = Path("runs/my run")
ORIGIN = {"path": "/data/v1 set", "class_attribute": "kind", "images": "/photographs", "strict": False}


def understood(command):
    program, *words = shlex.split(command)
    assert program == "aerostat"
    verb, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    return verb.__name__, bound.arguments


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        (COMMANDS.resume(RUN), "train"),
        (COMMANDS.report(RUN), "report"),
        (COMMANDS.evaluate(RUN, ORIGIN, True), "evaluate"),
        (COMMANDS.evaluate(RUN, {}, False), "evaluate"),
        (COMMANDS.predict(RUN, "a b.jpg"), "predict"),
        (COMMANDS.explain(RUN, "a b.jpg", False), "explain"),
        (COMMANDS.explain(RUN, "b c.jpg", True), "explain"),
        (COMMANDS.features(RUN, "a b.jpg"), "features"),
        (COMMANDS.inspect(ORIGIN), "inspect"),
        (COMMANDS.inspect({}), "inspect"),
        (COMMANDS.inspect_any, "inspect"),
    ],
)
def test_every_command_is_understood(command, verb):
    assert understood(command)[0] == verb


def test_data_are_named_with_what_reading_them_needs():
    _, arguments = understood(COMMANDS.evaluate(RUN, ORIGIN, True))
    assert (arguments["weights"], arguments["data"]) == (str(RUN), Path("/data/v1 set"))
    reading = arguments["reading"]
    assert (reading.class_attribute, reading.images) == ("kind", Path("/photographs"))
    assert arguments["views"].tta
    assert COMMANDS.evaluate(RUN, {}, False) == "aerostat eval 'runs/my run' DATA"


def test_parameters_of_training_are_options_of_train():
    assert COMMANDS.argument("epochs", 60) == "--epochs 60"
    assert COMMANDS.argument("weights", Path("my run")) == "--weights 'my run'"
    assert [COMMANDS.parameter(name) for name in ("input_size", "out", "set")] == [
        "--input-size",
        "--out",
        "--set",
    ]
