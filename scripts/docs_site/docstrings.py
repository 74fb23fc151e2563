"""Docstrings in Google's form as Markdown."""

from __future__ import annotations

import inspect
import re

from docstring_parser import Docstring, DocstringStyle, parse

_DOCTEST = re.compile(r"(?:^>>>.*(?:\n|\Z)(?:^(?!\s*$).*(?:\n|\Z))*)+", re.MULTILINE)
_SKIP = re.compile(r"\s*#\s*doctest:.*$", re.MULTILINE)


def parsed(thing: object) -> Docstring:
    """Return the docstring of an object in parts."""
    return parse(inspect.getdoc(thing) or "", style=DocstringStyle.GOOGLE)


def markdown(thing: object) -> str:
    """Return the docstring of an object as Markdown: sentences, a table of arguments, errors, examples."""
    parts = parsed(thing)
    texts = [parts.short_description, parts.long_description]
    lines = [_prose(text) for text in texts if text]
    if parts.params:
        lines.append("| argument | meaning |\n|---|---|")
        lines[-1] += "".join(f"\n| `{p.arg_name}` | {_cell(p.description)} |" for p in parts.params)
    if parts.returns and parts.returns.description:
        lines.append(f"Returns: {_prose(parts.returns.description)}")
    if parts.raises:
        lines.append("| error | when |\n|---|---|")
        lines[-1] += "".join(f"\n| `{e.type_name}` | {_cell(e.description)} |" for e in parts.raises)
    lines += [_prose(example.description or "") for example in parts.examples]
    return "\n\n".join(lines)


def _prose(text: str) -> str:
    """Return text with its doctests in fences."""
    fenced = _DOCTEST.sub(lambda found: f"\n```python\n{_SKIP.sub('', found[0]).strip()}\n```\n", text)
    return re.sub(r"\n{3,}", "\n\n", fenced).strip()


def _cell(text: str | None) -> str:
    """Return text that fits into a cell of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")
