"""What to type next: the commands that pages, warnings and the end of a run name."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aerostat.cli.names import options_of
from aerostat.runs.commands import Commands


def command(verb: str, *words: object) -> str:
    """Return a command, quoted for a shell.

    >>> command("train", "--resume", "runs/my run")
    "aerostat train --resume 'runs/my run'"
    """
    return shlex.join(["aerostat", verb, *map(str, words)])


def _of_data(verb: str, words: list[object], origin: Mapping[str, Any]) -> str:
    """Return a command about data; without a path it says DATA in their place."""
    words = [*words, origin.get("path") or "DATA"]
    for name in (
        "class_attribute",
        "images",
        "from_format",
        "crowd",
        "only_classes",
        "splits",
        "merge_classes",
    ):
        if origin.get(name):
            words += [options_of(verb)[name][0], *_typed(origin[name])]
    return command(verb, *words)


def _typed(value: Any) -> list[str]:
    """Return the words that give an option its value."""
    if isinstance(value, Mapping):
        return [f"{key}={old if isinstance(old, str) else ','.join(old)}" for key, old in value.items()]
    return [value] if isinstance(value, str) else list(map(str, value))


def _evaluate(run: Path, origin: Mapping[str, Any], tta: bool) -> str:
    return _of_data("eval", [run], origin) + " --tta" * tta


def _argument(name: str, value: object) -> str:
    return f"{_parameter(name)} {shlex.quote(str(value))}"


def _parameter(name: str) -> str:
    return options_of("train")[name][0]


COMMANDS = Commands(
    resume=lambda run: command("train", "--resume", run),
    report=lambda run: command("report", run),
    evaluate=_evaluate,
    predict=lambda run, photograph: command("predict", run, photograph),
    explain=lambda run, photograph, measured: command(
        "explain", run, photograph, *["--faithfulness"] * measured
    ),
    features=lambda run, photograph: command("features", run, photograph),
    inspect=lambda origin: _of_data("inspect", [], origin),
    inspect_any="aerostat inspect DATA",
    lint="aerostat lint --json names all",
    repair="aerostat split DATA --repair proposes moves",
    repeat="the same command again",
    argument=_argument,
    parameter=_parameter,
)
"""What somebody types who uses the command line."""
