"""Expressions of a config, evaluated over their syntax tree. No code of the config is run.

Understood are literals, known names, arithmetic, comparisons, indexing, comprehensions over known lists,
texts with values, and calls of a few constructors and methods. Everything else is refused with its line.
"""

from __future__ import annotations

import ast
import operator
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aerostat.openmmlab.values import (
    DELETE,
    MAX_TEXT,
    ClassName,
    Inherited,
    Place,
    copied,
    measure,
    merged,
)
from aerostat.text import shown

MAX_STEPS = 200_000
"""Parts of expressions that are evaluated for one config, its bases included."""
MAX_NESTING = 120
"""Expressions within expressions."""
MAX_ITEMS = 10_000
"""Items of a list that repetition, `range` or concatenation makes."""
MAX_DIGITS = 60
"""Digits of a whole number."""

BASE = "_base_"

_SCALARS = (bool, int, float, str, type(None))
_OPERATORS: Mapping[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.BitOr: ("|", operator.or_),
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "len": len,
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "sum": sum,
    "sorted": sorted,
    "reversed": lambda items: list(reversed(items)),
    "zip": lambda *lists: list(zip(*lists, strict=False)),
    "enumerate": lambda items, start=0: list(enumerate(items, start)),
}
_TEXT_METHODS = frozenset(
    [
        "lower",
        "upper",
        "title",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "startswith",
        "endswith",
        "removeprefix",
        "removesuffix",
        "join",
    ]
)
_LIST_METHODS = frozenset(("append", "extend", "insert", "copy", "index", "count", "pop", "remove"))
_DICT_METHODS = frozenset(("update", "merge", "copy", "get", "pop", "keys", "values", "items", "setdefault"))
_WIDTH = re.compile(r"\d{4}|\*")
"""Widths of thousands in a format would make texts of gigabytes."""
_IN_TEXT = re.compile(r"\{\{\s*(\$?[\w.]+)(?::([^{}]*))?\s*\}\}")
"""MMEngine's own references in a text: ``{{_base_.x}}``, ``{{fileDirname}}``, ``{{$VARIABLE:default}}``."""


@dataclass
class Variable:
    """A variable: its value, and the assignment that it comes from."""

    value: Any
    assignment: int = -1


@dataclass
class Scope:
    """What the expressions of one file may read, and the count of what was evaluated.

    Args:
        place: of the file.
        variables: by name; ``_base_`` is the merged base.
        predefined: texts for ``{{fileDirname}}`` and its like.
        steps: a list with the number of evaluated parts, shared by all files of a config.
        reads: the assignments that were read since the list was last emptied.
        base_reads: the keys of the base that were read.
    """

    place: Place
    variables: dict[str, Variable]
    predefined: Mapping[str, str]
    steps: list[int]
    reads: set[int] = field(default_factory=set)
    base_reads: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def evaluate(node: ast.expr, scope: Scope, depth: int = 0) -> Any:
    """Return the value of an expression.

    Raises:
        InputError: it is nothing that is evaluated, or has no value.
    """
    place = Place(scope.place.file, node.lineno)
    scope.steps[0] += 1
    if scope.steps[0] > MAX_STEPS or depth > MAX_NESTING:
        raise place.refusal("the config computes too much; write down its values")
    try:
        value = _evaluate(node, scope, place, depth + 1)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise place.refusal(f"{_source(node)} has no value ({_why(error)})") from None
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise place.refusal("a text is too long for a config; shorten it")
    if isinstance(value, list | tuple | set | dict) and len(value) > MAX_ITEMS:
        raise place.refusal("a list is too long for a config; shorten it")
    return value


def _why(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text.split("\n", maxsplit=1)[0][:120].rstrip(".")


def _source(node: ast.AST, most: int = 60) -> str:
    """Return an expression as it was written, for a message; the text is short, whatever the expression."""
    try:
        return shown(ast.unparse(node), most)
    except (RecursionError, ValueError):
        return "an expression"


def _evaluate(node: ast.expr, scope: Scope, place: Place, depth: int) -> Any:
    def of(inner: ast.expr) -> Any:
        return evaluate(inner, scope, depth)

    match node:
        case ast.Constant(value=str(text)):
            return _text(text, scope, place)
        case ast.Constant(value=value) if isinstance(value, _SCALARS):
            return _whole(value, place)
        case ast.Name(id=name):
            return _name(name, scope, place)
        case ast.Set(elts=[ast.Set(elts=[reference])]):  # `{{_base_.x}}` outside of a text
            return _reference(ast.unparse(reference), None, scope, place)
        case ast.List(elts=parts):
            return _items(parts, scope, depth)
        case ast.Tuple(elts=parts):
            return tuple(_items(parts, scope, depth))
        case ast.Set(elts=parts):
            return set(_items(parts, scope, depth))
        case ast.Dict(keys=keys, values=values):
            return _dictionary(keys, values, scope, place, depth)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not() as sign, operand=operand):
            value = of(operand)
            return (
                not value if isinstance(sign, ast.Not) else -value if isinstance(sign, ast.USub) else +value
            )
        case ast.BinOp(left=left, op=symbol, right=right):
            return _binary(type(symbol), of(left), of(right), place)
        case ast.BoolOp(op=op, values=parts):
            return _either(parts, isinstance(op, ast.Or), of)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compare(of(left), ops, [of(other) for other in others], place)
        case ast.IfExp(test=test, body=body, orelse=other):
            return of(body if of(test) else other)
        case ast.Subscript(value=container, slice=index):
            return _item(of(container), _index(index, of))
        case ast.Attribute():
            return _attribute(node, scope, place, depth)
        case ast.JoinedStr(values=parts):
            return "".join(_part_of_text(part, scope, place, depth) for part in parts)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return _comprehension(node, scope, place, depth)
        case ast.Call():
            return _call(node, scope, place, depth)
    raise place.refusal(f"{_source(node)} is not evaluated; write down its value")


# --- names and references


def _name(name: str, scope: Scope, place: Place) -> Any:
    found = scope.variables.get(name)
    if found is None:
        base = scope.variables.get(BASE)
        if base is not None and name in base.value:
            raise place.refusal(
                f"{shown(name)} is not known here; that of the base is written {BASE}.{name[:40]}"
            )
        raise place.refusal(f"{shown(name)} is not known here; write down its value")
    scope.reads.add(found.assignment)
    return found.value


def _text(text: str, scope: Scope, place: Place) -> Any:
    """Return a text with MMEngine's references replaced; a text that is one reference has its value."""
    if "{{" not in text:
        return text
    whole = _IN_TEXT.fullmatch(text)
    if whole and whole[1].startswith(BASE):
        return _reference(whole[1], whole[2], scope, place)

    def replaced(match: re.Match[str]) -> str:
        value = _reference(match[1], match[2], scope, place)
        measure(value, place)
        return str(value)

    return _IN_TEXT.sub(replaced, text)


def _reference(name: str, default: str | None, scope: Scope, place: Place) -> Any:
    if name.startswith("$"):  # a config from somebody else may not read the environment
        if default is None:
            raise place.refusal(f"the variable {name} of the environment is not read; write down its value")
        scope.remarks.append(f"{name} of the environment is not read; its default is taken")
        return default
    if name in scope.predefined:
        return scope.predefined[name]
    first, *keys = name.split(".")
    base = scope.variables.get(BASE)
    if first != BASE or base is None or not keys:
        raise place.refusal(f"the reference {shown('{{' + name + '}}')} is not known here")
    value: Any = base.value
    scope.base_reads.add(keys[0])
    for key in keys:
        value = _item(value, int(key) if isinstance(value, list | tuple) else key)
    return copied(value, place)


def _attribute(node: ast.Attribute, scope: Scope, place: Place, depth: int) -> Any:
    """Return ``a.b`` of a dictionary, or the name of something in an imported module."""
    holder = evaluate(node.value, scope, depth)
    if isinstance(holder, ClassName):
        return ClassName(node.attr)
    if isinstance(holder, dict):
        if isinstance(node.value, ast.Name) and node.value.id == BASE:
            scope.base_reads.add(node.attr)
        return _item(holder, node.attr)
    raise place.refusal(f"{_source(node)} is not evaluated; write down its value")


def _item(container: Any, index: Any) -> Any:
    if isinstance(container, dict) and index not in container:
        raise KeyError(f"there is no {shown(index)}")
    return container[index]


def _index(index: ast.expr, of: Callable[[ast.expr], Any]) -> Any:
    if isinstance(index, ast.Slice):
        return slice(*(None if part is None else of(part) for part in (index.lower, index.upper, index.step)))
    return of(index)


# --- containers and operators


def _items(parts: list[ast.expr], scope: Scope, depth: int) -> list[Any]:
    items: list[Any] = []
    for part in parts:
        if isinstance(part, ast.Starred):
            items += list(evaluate(part.value, scope, depth))
        else:
            items.append(evaluate(part, scope, depth))
    return items


def _dictionary(
    keys: list[ast.expr | None], values: list[ast.expr], scope: Scope, place: Place, depth: int
) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if key is None:
            found.update(_as_dictionary(evaluate(value, scope, depth)))
        else:
            found[_key(evaluate(key, scope, depth), place)] = evaluate(value, scope, depth)
    return found


def _key(key: Any, place: Place) -> Any:
    """Return a key; containers are refused, because to hash them may take long."""
    if isinstance(key, _SCALARS):
        return key
    if isinstance(key, tuple) and len(key) < 100 and all(isinstance(part, _SCALARS) for part in key):
        return key
    raise place.refusal("a key of a dictionary is no text and no number")


def _as_dictionary(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a dictionary, found {type(value).__name__}")
    return value


def _whole(value: Any, place: Place) -> Any:
    if type(value) is int and abs(value) >= 10**MAX_DIGITS:
        raise place.refusal("a number is too long for a config")
    return value


def _binary(kind: type[ast.operator], left: Any, right: Any, place: Place) -> Any:
    symbol, compute = _OPERATORS.get(kind, ("", operator.add))
    if not symbol:
        raise place.refusal("this operator is not evaluated; write down the value")
    for value in (left, right):
        _whole(value, place)
        if isinstance(value, set):
            raise TypeError("sets are not computed with")
    if symbol == "%" and isinstance(left, str):
        return _percent(left, right, place)
    if symbol == "|" and not (isinstance(left, dict) and isinstance(right, dict)):
        raise TypeError("| joins dictionaries only")
    if symbol == "**" and not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise TypeError("** takes numbers")
    if symbol == "**" and abs(right) > 64:
        raise place.refusal("the exponent is too large for a config")
    if symbol == "*":
        for sequence, count in ((left, right), (right, left)):
            if isinstance(sequence, str | list | tuple) and (
                not isinstance(count, int) or count * len(sequence) > MAX_ITEMS
            ):
                raise place.refusal("this repetition is too long for a config")
    value = compute(left, right)
    if isinstance(value, complex):
        raise ValueError("it is no real number")
    return _whole(value, place)


def _percent(template: str, values: Any, place: Place) -> str:
    if _WIDTH.search("".join(re.findall(r"%[^a-zA-Z%]*", template))):
        raise place.refusal("a format is wider than a config needs")
    measure(values, place)
    return str(template % values)


def _either(parts: list[ast.expr], any_of: bool, of: Callable[[ast.expr], Any]) -> Any:
    value: Any = None
    for part in parts:
        value = of(part)
        if bool(value) == any_of:
            return value
    return value


def _compare(left: Any, ops: list[ast.cmpop], others: list[Any], place: Place) -> bool:
    for op, right in zip(ops, others, strict=True):
        measure(left, place)  # lists that share their items could be compared for hours
        measure(right, place)
        if not _COMPARISONS[type(op)](left, right):
            return False
        left = right
    return True


def _comprehension(
    node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope, place: Place, depth: int
) -> Any:
    before = dict(scope.variables)
    rows: list[Any] = []

    def loop(level: int) -> None:
        if level == len(node.generators):
            if isinstance(node, ast.DictComp):
                key = _key(evaluate(node.key, scope, depth), place)
                rows.append((key, evaluate(node.value, scope, depth)))
            else:
                rows.append(evaluate(node.elt, scope, depth))
            return
        generator = node.generators[level]
        for item in items_of(evaluate(generator.iter, scope, depth), place):
            bind(generator.target, item, scope, place)
            if all(evaluate(test, scope, depth) for test in generator.ifs):
                loop(level + 1)

    try:
        loop(0)
    finally:
        scope.variables.clear()
        scope.variables.update(before)
    if isinstance(node, ast.DictComp):
        return dict(rows)
    return set(rows) if isinstance(node, ast.SetComp) else rows


def items_of(value: Any, place: Place) -> list[Any]:
    """Return what a loop over a value goes through.

    Raises:
        InputError: it is not a list, tuple, dictionary or text.
    """
    if not isinstance(value, list | tuple | dict | str | set):
        raise place.refusal(f"expected a list to loop over, found {type(value).__name__}")
    return list(value)


def bind(target: ast.expr, value: Any, scope: Scope, place: Place) -> None:
    """Give the variables of a loop their values.

    Raises:
        InputError: there are more or fewer values than variables, or the target is no variable.
    """
    match target:
        case ast.Name(id=name):
            scope.variables[name] = Variable(value)
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            items = items_of(value, place)
            if len(items) != len(targets):
                raise place.refusal(f"{len(targets)} variables do not fit {len(items)} values")
            for inner, item in zip(targets, items, strict=True):
                bind(inner, item, scope, place)
        case _:
            raise place.refusal("only variables are assigned to here")


# --- texts


def _part_of_text(part: ast.expr, scope: Scope, place: Place, depth: int) -> str:
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=inner, conversion=conversion, format_spec=spec):
            value = evaluate(inner, scope, depth)
            layout = "" if spec is None else str(evaluate(spec, scope, depth))
            return _formatted(value, chr(conversion) if conversion > 0 else "", layout, place)
    raise place.refusal("this part of a text is not evaluated; write down its value")


def _formatted(value: Any, conversion: str, layout: str, place: Place) -> str:
    if _WIDTH.search(layout):
        raise place.refusal("a format is wider than a config needs")
    measure(value, place)
    if conversion:
        value = repr(value) if conversion == "r" else ascii(value) if conversion == "a" else str(value)
    return format(value, layout) if layout else str(value)


def _filled(template: str, positional: list[Any], named: dict[str, Any], place: Place) -> str:
    """Return ``template.format(...)``. Attributes are not looked up: they would lead out of the config."""
    texts, count = [], 0
    for literal, name, layout, conversion in string.Formatter().parse(template):
        texts.append(literal)
        if name is None:
            continue
        if name and not name.isidentifier() and not name.isdecimal():
            raise place.refusal(f"the field {shown(name)} of a format is not evaluated")
        if not name:
            name, count = str(count), count + 1
        value = positional[int(name)] if name.isdecimal() else _item(named, name)
        texts.append(_formatted(value, conversion or "", layout or "", place))
    return "".join(texts)


# --- calls


def _call(node: ast.Call, scope: Scope, place: Place, depth: int) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    known = name in (*_FUNCTIONS, "dict", "range") and name not in scope.variables
    holder: Any = None
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method and not _is_module(node.func, scope):
        assert isinstance(node.func, ast.Attribute)
        holder = evaluate(node.func.value, scope, depth)
        if not _has_method(holder, method):
            holder = None
    copies = _is_deepcopy(node.func, scope)
    if not (known or copies or holder is not None):
        raise place.refusal(f"the call {_source(node)} is not executed; write down its value")
    positional = _items(node.args, scope, depth)
    named: dict[str, Any] = {}
    for keyword in node.keywords:
        value = evaluate(keyword.value, scope, depth)
        named.update(_as_dictionary(value) if keyword.arg is None else {keyword.arg: value})
    if copies:
        (value,) = positional
        return copied(value, place)
    if holder is not None:
        return _method(holder, method, positional, named, place)
    if name == "dict":
        return _dict(positional, named, place)
    if name == "range":
        items = range(*positional)
        if len(items) > MAX_ITEMS:
            raise place.refusal("this range is too long for a config")
        return list(items)
    for value in positional:  # texts of lists, and comparisons within `sorted`
        measure(value, place)
    if name in ("set", "sorted", "min", "max", "sum") and any(
        isinstance(item, list | tuple | dict | set) for value in positional if not isinstance(value, _SCALARS)
        for item in value
    ):  # fmt: skip
        raise TypeError("it holds containers")
    return _FUNCTIONS[name](*positional, **named)


def _dict(positional: list[Any], named: dict[str, Any], place: Place) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for value in positional:
        pairs = value.items() if isinstance(value, dict) else [tuple(pair) for pair in items_of(value, place)]
        found.update({_key(key, place): inner for key, inner in pairs})
    return {**found, **named}


def _is_module(function: ast.expr, scope: Scope) -> bool:
    """Return whether a function belongs to something that is imported."""
    while isinstance(function, ast.Attribute):
        function = function.value
    return (
        isinstance(function, ast.Name)
        and function.id in scope.variables
        and isinstance(scope.variables[function.id].value, ClassName)
    )


def _is_deepcopy(function: ast.expr, scope: Scope) -> bool:
    written = ast.unparse(function) if isinstance(function, ast.Name | ast.Attribute) else ""
    return written in ("deepcopy", "copy.deepcopy", "copy.copy") and _is_module(function, scope)


def _has_method(holder: Any, method: str) -> bool:
    if isinstance(holder, ClassName):
        return False
    if isinstance(holder, str):
        return method in _TEXT_METHODS or method in ("format", "replace")
    if isinstance(holder, list):
        return method in _LIST_METHODS
    return isinstance(holder, dict) and method in _DICT_METHODS


def _method(holder: Any, name: str, positional: list[Any], named: dict[str, Any], place: Place) -> Any:
    """Return what a method of a text, list or dictionary returns; it changes lists and dictionaries."""
    if isinstance(holder, str):
        if name == "format":
            return _filled(holder, positional, named, place)
        if name == "replace":
            old, new = positional
            if not old or holder.count(old) * len(new) > MAX_TEXT:
                raise ValueError("the text would be too long")
        return getattr(holder, name)(*positional, **named)
    for value in (holder, *positional, *named.values()):
        measure(value, place)
    if isinstance(holder, dict):
        if name in ("update", "merge"):
            return _update(holder, name, _dict(positional, named, place), place)
        result = getattr(holder, name)(*positional, **named)
        return list(result) if name in ("keys", "values", "items") else result
    result = getattr(holder, name)(*positional, **named)
    if len(holder) > MAX_ITEMS:
        raise place.refusal("a list is too long for a config; shorten it")
    return result


def _update(holder: dict[str, Any], name: str, other: dict[str, Any], place: Place) -> None:
    """Update a dictionary: one of the base key by key through all its levels, another as Python does."""
    if name == "merge" or isinstance(holder, Inherited):
        replaced = {key: value for key, value in other.items() if key != DELETE}
        for key, value in merged(replaced, holder, place).items():
            holder[key] = _copied_inherited(value, place)
    else:
        holder.update(other)


def _copied_inherited(value: Any, place: Place) -> Any:
    return copied(value, place, inherited=True) if isinstance(value, dict) else value
