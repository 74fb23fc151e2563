"""The library logs and returns; only the command line and the demo print and name options."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "aerostat"
OPTION = re.compile(r"(?<![\w-])--[a-z]")


def library() -> list[str]:
    files = [file.relative_to(SOURCE).as_posix() for file in sorted(SOURCE.rglob("*.py"))]
    return [file for file in files if not re.match(r"cli/|demo\.py|__main__\.py", file)]


def named_options(tree: ast.AST) -> list[str]:
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and OPTION.search(text)]


def prints(tree: ast.AST) -> list[int]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("file", library())
def test_no_text_of_the_library_names_an_option_and_nothing_is_printed(file):
    tree = ast.parse((SOURCE / file).read_text("utf-8"))
    assert named_options(tree) == []
    assert prints(tree) == []


def test_options_and_prints_are_found_and_told_from_other_text():
    assert named_options(ast.parse('raise InputError(f"{path}: choose another --out.")'))
    assert named_options(ast.parse('def f():\n    """Return what `--engine` takes."""'))
    assert not named_options(ast.parse('x = "a -- b", "a--b", "---", f"{a}--{b}", 3'))
    assert prints(ast.parse("def f():\n    print(1)")) == [2]
    assert not prints(ast.parse("console.print(table)"))
