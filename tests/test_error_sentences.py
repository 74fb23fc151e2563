"""An error is one whole sentence: it starts with a capital, a path or a name, and ends with a full stop."""

import ast
import re
from pathlib import Path

import pytest

from aerostat.errors import InputError, clause

SOURCE = Path(__file__).resolve().parents[1] / "src" / "aerostat"

ERRORS = {"AerostatError", "InputError", "InterruptedRunError", "OtherClassesError"}

HELD = "\0"
"""Stands for a value that is filled in when the error is raised."""

ENDS_ITSELF = ("nearest(", "close")
"""What may follow the full stop: a question or a list of what is known, a sentence of its own."""

WRITTEN_ELSEWHERE = {"_damaged", "_syntax_error"}
"""Functions whose result is the whole sentence; what they return is held to the same."""


def text_of(node: ast.expr) -> str:
    """Return the text that an expression makes, `HELD` where a value is filled in."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case ast.FormattedValue(value=value) if ast.unparse(value).startswith(ENDS_ITSELF):
            return ""
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + ("" if "nearest(" in ast.unparse(right) else text_of(right))
    return HELD


def sentences(tree: ast.AST) -> list[tuple[int, str]]:
    """Return the line and the text of every error that is made, and of every function that writes one."""
    made = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            argument = node.args[0]
            elsewhere = isinstance(argument, ast.Call) and ast.unparse(argument.func) in WRITTEN_ELSEWHERE
            if not elsewhere:
                made.append((node.lineno, text_of(argument)))
        if isinstance(node, ast.FunctionDef) and node.name in WRITTEN_ELSEWHERE:
            returned = [inner for inner in ast.walk(node) if isinstance(inner, ast.Return)]
            made += [(inner.lineno, text_of(inner.value)) for inner in returned if inner.value is not None]
    return made


def is_sentence(text: str) -> bool:
    # To be copied, so without a stop.
    ends_with_command = re.search(rf"(go on with: {HELD}|install it with: pip install \S+)$", text)
    return (text[0].isupper() or text.startswith(HELD)) and (text.endswith(".") or bool(ends_with_command))


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SOURCE)) for file in FILES])
def test_every_error_is_a_sentence(file):
    found = sentences(ast.parse(file.read_text("utf-8")))
    assert [place for place in found if not is_sentence(place[1])] == []


def test_errors_are_found_and_told_apart():
    code = """
raise InputError(f"{path} is empty.")
raise InputError(f"Unknown size {size!r}.{nearest(size, SIZES)}")
raise InputError(f"expected one of {names}.")
raise AerostatError("The end is missing" + (f" in {path}" if path else ""))
raise InputError(f"Expected a file, found {path}")
raise InputError(_damaged(path, error))
def _damaged(path, error):
    return f"{path} is damaged"
"""
    assert [is_sentence(text) for _, text in sorted(sentences(ast.parse(code)))] == [
        *(True, True),
        *(False, False, False),
        False,
    ]


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("Expected an image, found nothing: a.png.", "expected an image, found nothing: a.png"),
        ("Expected.png is empty.", "Expected.png is empty"),
        ("/photos/A.png cannot be read.", "/photos/A.png cannot be read"),
    ],
)
def test_within_another_sentence_an_error_is_a_clause(sentence, part):
    assert clause(InputError(sentence)) == part
