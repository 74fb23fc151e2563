"""What to type next: calls of the library, and the commands that the command line passes in their place."""

import ast
import shlex
from pathlib import Path

import pytest

from aerostat.cli.commands import COMMANDS
from aerostat.runs.commands import PYTHON
from aerostat.runs.directory import Run

PATH = Path("runs/my run")


def test_commands_can_be_typed_whatever_the_run_and_the_data_are_called():
    assert shlex.split(COMMANDS.resume(PATH)) == ["aerostat", "train", "--resume", "runs/my run"]
    origin = {"path": "/data/a b", "classes": ["x"], "class_attribute": "the kind", "images": "/pics"}
    evaluate, predict, explain = map(shlex.split, COMMANDS.next_steps(PATH, origin))
    read_alike = ["--class-attribute", "the kind", "--images", "/pics"]
    assert evaluate == ["aerostat", "eval", "runs/my run", "/data/a b", *read_alike]
    assert predict == ["aerostat", "predict", "runs/my run", "PHOTOGRAPH.jpg"]
    assert explain == ["aerostat", "explain", "runs/my run", "PHOTOGRAPH.jpg"]
    assert shlex.split(COMMANDS.next_steps(PATH, {})[0]) == ["aerostat", "eval", "runs/my run", "DATA"]
    assert shlex.split(COMMANDS.evaluate(PATH, origin, True))[-1] == "--tta"
    assert shlex.split(COMMANDS.argument("input_size", 640)) == ["--input-size", "640"]


@pytest.mark.parametrize("path", [PATH, Path("it's")])
def test_calls_are_python_whatever_the_run_is_called(path):
    calls = [PYTHON.resume(path), PYTHON.report(path), *PYTHON.next_steps(path, {})]
    calls += [
        PYTHON.evaluate(path, {}, True),
        PYTHON.features(path, "a.jpg"),
        PYTHON.explain(path, "a", True),
    ]
    for call in calls:
        (statement,) = ast.parse(call).body
        names = [node.value for node in ast.walk(statement) if isinstance(node, ast.Constant)]
        assert str(path) in names and call.startswith("ae.")


@pytest.mark.parametrize(
    ("commands", "resume", "report"),
    [
        (COMMANDS, "aerostat train --resume {}", "aerostat report {}"),
        (PYTHON, "ae.resume({})", "ae.report({})"),
    ],
)
def test_what_is_left_of_a_run_says_what_to_type(tmp_path, commands, resume, report):
    run = Run(tmp_path / "my run")
    assert commands.what_is_left(run) == ("nothing had been learned and nothing is kept", "")
    run.create()
    run.checkpoint.write_bytes(b"x")
    assert commands.what_is_left(run) == ("the last whole state is kept", resume.format(f"'{run.path}'"))
    run.log({"kind": "end", "epoch": 1})
    assert commands.what_is_left(run)[1] == report.format(f"'{run.path}'")
