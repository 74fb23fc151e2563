"""Parameters of the library, turned into the options of the verb that runs.

The library names its parameters in backquotes. Three forms are understood, each only if the verb has such an
option: `` `images` `` becomes ``--images``, `` `epochs=60` `` becomes ``--epochs 60``, and
`` `export(dynamic=True)` `` becomes ``aerostat export --dynamic``. All other text stays as it is.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Sequence

from aerostat.cli.app import QUIET, VERBOSE, app

VERBS = {"evaluate": "eval", "feature_maps": "features"}
"""Functions of the library whose verb has another name."""
OPTIONS = {
    "box_xyxy": "box",
    "formats": "format",
    "layer": "layers",
    "lines": "line",
    "preset": "recipe",
    "values": "set",
    "zones": "zone",
}
"""Parameters of the library whose option has another name."""

CALLS = {"describe_layers(net)": "aerostat features WEIGHTS --layers list"}
"""Calls of the library that a command of another form stands for."""

MAX_CALL = 500
"""Longest call that is looked at, in characters."""

_MARKED = re.compile(
    r"""(?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)   # a quoted value: it may come from a file, and it stays
    |(?<![^\s(])`([^`\n]+)`(?=[\s.,;:)?]|$)   # a word of its own in backquotes
    """,
    re.VERBOSE,
)


def as_typed(text: str, words: Sequence[str] = ()) -> str:
    """Return a message of the library in the words of the command line.

    Args:
        text: the message, with parameters in backquotes.
        words: what was typed after ``aerostat``. Words with backquotes, such as the names of files, stay.
    """
    if "`" not in text:
        return text
    theirs = [word for word in words if "`" in word]
    parts = re.split(f"({'|'.join(map(re.escape, theirs))})", text) if theirs else [text]
    verb = verb_of(words)
    return "".join(part if part in theirs else _in_options(part, verb) for part in parts)


def verb_of(words: Sequence[str]) -> str:
    """Return the verb that the words call; empty if they call none."""
    typed = [word for word in words if word not in (*VERBOSE, *QUIET)]
    return typed[0] if typed and typed[0] in app and not typed[0].startswith("-") else ""


def options_of(verb: str) -> dict[str, tuple[str, ...]]:
    """Return the options of a verb, and its words such as DATA, by the name of the parameter."""
    if verb not in app:
        return {}
    return {
        argument.field_info.name.rstrip("_"): argument.names
        for argument in app[verb].assemble_argument_collection()
        if argument.show
    }


def _in_options(text: str, verb: str) -> str:
    def option(match: re.Match[str]) -> str:
        marked = match[1]
        return match[0] if marked is None else _option(marked, verb) or match[0]

    return _MARKED.sub(option, text)


def _option(marked: str, verb: str) -> str | None:
    """Return the option or the command that a text in backquotes stands for, or None."""
    if marked in CALLS:
        return CALLS[marked]
    if marked.isidentifier():
        names = options_of(verb).get(OPTIONS.get(marked, marked))
        return names[0] if names else None
    call = _call(marked if re.match(r"\w+\(", marked) else f"_({marked})")
    if call is None or not isinstance(call.func, ast.Name):
        return None
    called = "" if call.func.id == "_" else VERBS.get(call.func.id, call.func.id)
    options = [_given(keyword, called or verb) for keyword in call.keywords]
    arguments = [_word(argument) for argument in call.args]
    if None in options or None in arguments or (not called and (arguments or not options)):
        return None
    if called and not options_of(called):
        return None
    return " ".join(part for part in (f"aerostat {called}" * bool(called), *arguments, *options) if part)


def _call(text: str) -> ast.Call | None:
    """Return the only call in a text, or None. Nothing is evaluated; the text may come from anybody."""
    if len(text) > MAX_CALL:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return call if isinstance(call, ast.Call) else None


def _given(keyword: ast.keyword, verb: str) -> str | None:
    """Return an option with its value as it is typed."""
    names = options_of(verb).get(OPTIONS.get(keyword.arg or "", keyword.arg or ""))
    if names is None or not names[0].startswith("-"):
        return None
    if not isinstance(keyword.value, ast.Constant):
        word = _word(keyword.value)
        return None if word is None else f"{names[0]} {word}"
    if keyword.value.value is True:
        return names[0]
    if keyword.value.value is False:
        return next((name for name in names if name.startswith("--no-")), None)
    return f"{names[0]} {shlex.quote(str(keyword.value.value))}"


def _word(argument: ast.expr) -> str | None:
    """Return a value as it is typed: a name in capitals, several with commas between."""
    match argument:
        case ast.Constant(value=value):
            return shlex.quote(str(value))
        case ast.Name(id=name):
            return name.upper()
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            values = [_word(part) for part in parts]
            if None in values:
                return None
            # A comma in a name leaves only words to tell the names apart.
            return (" " if any("," in str(value) for value in values) else ",").join(map(str, values))
    return None
