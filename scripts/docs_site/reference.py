"""Pages that are generated from the code: command line, recipe fields, Python."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import aerostat
from aerostat.cli import app
from aerostat.training.recipe import Recipe
from docs_site.docstrings import markdown, parsed

VERBS_FIRST = (
    *("demo", "convert", "inspect", "lint", "split", "train", "study"),
    *("eval", "predict", "features", "explain", "export"),
)
"""The order of the overview; the other verbs follow."""


def reference_pages() -> dict[str, str]:
    """Return path -> text of all generated pages, an overview before the pages that it lists."""
    return {**command_pages(), "reference/recipe.md": recipe_page(), **python_pages()}


def command_pages() -> dict[str, str]:
    """Return a page for each verb of the command line, from its signature and docstring."""
    text = app.generate_docs(output_format="markdown")
    verbs = {}
    for part in re.split(r"^## (?=aerostat )", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        verb = heading.split()[1]
        body = body.replace(f"aerostat {verb} {verb}", f"aerostat {verb}")
        verbs[verb] = f"# aerostat {verb}\n{re.sub(r'^#+', '##', body, flags=re.MULTILINE)}"
    order = sorted(verbs, key=lambda verb: VERBS_FIRST.index(verb) if verb in VERBS_FIRST else 99)
    rows = [f"| [`aerostat {v}`]({v}.md) | {_first_sentence(verbs[v])} |" for v in order]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    note = "Generated from the code. Every verb also takes `-v` (more lines) and `-q` (fewer)."
    pages = {"reference/commands/README.md": f"# Command line\n\n{table}\n\n{note}\n"}
    return pages | {f"reference/commands/{verb}.md": verbs[verb] for verb in order}


def _first_sentence(page: str) -> str:
    return page.split("```")[2].strip().partition("\n\n")[0].replace("\n", " ")


def recipe_page() -> str:
    """Return the page about the fields of a recipe."""
    lines = [
        "# Recipe fields",
        "A recipe decides what a run computes, apart from its data. It is one TOML file. "
        "`--set section.field=value` changes a field, and `aerostat train DATA --dry-run` prints the recipe. "
        "The defaults below are those of `Recipe()`; presets change them by the size of the data.",
    ]
    for field in dataclasses.fields(Recipe):
        section: Any = get_type_hints(Recipe)[field.name]
        parts = parsed(section)
        lines += [f"## {field.name}", str(parts.short_description)]
        about = {n: p.description for p in parts.params for n in re.split(r",\s*", p.arg_name)}
        rows = ["| field | meaning | default | type |", "|---|---|---|---|"]
        for entry in dataclasses.fields(section):
            kind = _kind(get_type_hints(section)[entry.name])
            default = f"`{entry.default!r}`"
            meaning = " ".join((about.get(entry.name) or "").split())
            rows.append(f"| `{field.name}.{entry.name}` | {meaning} | {default} | {kind} |")
        lines.append("\n".join(rows))
    return "\n\n".join(lines) + "\n"


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    return f"`{hint.__name__}`" if isinstance(hint, type) and not get_args(hint) else f"`{hint}`"


def python_pages() -> dict[str, str]:
    """Return a page for each public name of `aerostat`, and an overview."""
    names = [*sorted(aerostat.__all__, key=lambda name: (name[0].isupper(), name.lower()))]
    things = {name: getattr(aerostat, name) for name in names if not name.startswith("_")}
    rows = [f"| [`{n}`]({n}.md) | {parsed(thing).short_description} |" for n, thing in things.items()]
    table = "\n".join(["| name | what it is |", "|---|---|", *rows])
    intro = "`import aerostat as ae` loads neither torch nor OpenCV; names are imported when they are used."
    pages = {"reference/python/README.md": f"# Python\n\n{intro}\n\n{table}\n"}
    return pages | {f"reference/python/{name}.md": _page(name, thing) for name, thing in things.items()}


def _page(name: str, thing: Any) -> str:
    parts = [f"# {name}", _signature(f"aerostat.{name}", thing), markdown(thing)]
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if member.startswith("_") and member != "__call__":
                continue
            target = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if isinstance(value, property):
                parts += [f"## {member}", markdown(value)]
            elif inspect.isfunction(target) and target.__doc__:
                called = getattr(thing, member) if target is not value else target
                shown = f"{name}{'' if member == '__call__' else f'.{member}'}"
                parts += [f"## {member}", _signature(shown, called), markdown(target)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _signature(name: str, thing: Any) -> str:
    """Return the signature in a fence, one argument a line if it is long."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    lines: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(line.startswith("*") for line in lines):
            lines.append("*")
        lines.append(_argument(parameter))
    returned = signature.return_annotation
    end = "" if returned in (signature.empty, "None", None) else f" -> {_annotation(returned)}"
    one = f"{name}({', '.join(lines)}){end}"
    if len(one) > 88:
        one = f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f"){end}"
    return f"```python\n{one}\n```"


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    default = repr(parameter.default)
    return f"{text} = {'...' if default.startswith('<') else default}"


def _annotation(annotation: Any) -> str:
    """Return a type as it is written in the code, which keeps its types as text."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
