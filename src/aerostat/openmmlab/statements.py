"""Statements of a config: assignments, loops, conditions and imports, run over their syntax tree.

The history of assignments is kept, so that a variable that nothing uses can be told from one that counts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aerostat.openmmlab.expressions import (
    BASE,
    Scope,
    Variable,
    bind,
    evaluate,
    items_of,
)
from aerostat.openmmlab.values import ClassName, Place

OF_OPENMMLAB = frozenset(
    [
        "mmengine",
        "mmcv",
        "mmdet",
        "mmyolo",
        "mmpretrain",
        "mmcls",
        "mmrotate",
        "mmpose",
        "mmrazor",
        "torch",
        "torchvision",
        "copy",
        "typing",
        "__future__",
    ]
)
"""Packages whose names may be imported: a name stands for itself, and nothing is loaded."""


@dataclass
class Assignment:
    """One assignment to a variable of a config.

    Args:
        name: of the variable.
        line: where it stands.
        value: what was assigned.
        reads: the assignments that its value was made from.
        imported: whether it only brings in a variable of a base.
    """

    name: str
    line: int
    value: Any
    reads: set[int] = field(default_factory=set)
    imported: bool = False


@dataclass
class Module:
    """One file while its statements are run.

    Args:
        scope: its variables.
        read_base: returns the variables of the file that a ``from ... import`` in `read_base()` names.
        assignments: in order; a variable points into this list.
        imported: names that came from a base in the pure Python style.
        mutated_base: keys of the base that an assignment changes, with the line.
    """

    scope: Scope
    read_base: Callable[[ast.ImportFrom, Place], dict[str, Any]]
    assignments: list[Assignment] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)
    mutated_base: dict[str, int] = field(default_factory=dict)

    def place(self, node: ast.stmt | ast.expr) -> Place:
        """Return where a statement stands."""
        return Place(self.scope.place.file, node.lineno)


def run(statements: Iterable[ast.stmt], module: Module) -> None:
    """Run the statements of a config.

    Raises:
        InputError: a statement is not one that a config is evaluated from; the message names its line.
    """
    for statement in statements:
        module.scope.steps[0] += 1
        _run(statement, module)


def _run(node: ast.stmt, module: Module) -> None:
    scope, place = module.scope, module.place(node)
    match node:
        case ast.Assign(targets=targets, value=value):
            scope.reads.clear()
            found = evaluate(value, scope)
            for target in targets:
                _assign(target, found, module, place)
        case ast.AnnAssign(target=target, value=value):
            if value is not None:
                scope.reads.clear()
                _assign(target, evaluate(value, scope), module, place)
        case ast.AugAssign(target=target, op=op, value=value):
            scope.reads.clear()
            joined = ast.copy_location(ast.BinOp(_loaded(target), op, value), node)
            _assign(target, evaluate(ast.fix_missing_locations(joined), scope), module, place)
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            pass
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=holder)) as call):
            scope.reads.clear()
            evaluate(call, scope)
            _note_change(holder, module, place)
        case ast.Expr(value=value):
            evaluate(value, scope)
        case ast.If(test=test, body=body, orelse=other):
            run(body if evaluate(test, scope) else other, module)
        case ast.For(target=target, iter=items, body=body, orelse=[]):
            for item in items_of(evaluate(items, scope), place):
                bind(target, item, scope, place)
                run(body, module)
        case ast.Delete(targets=targets):
            for target in targets:
                _delete(target, module, place)
        case ast.Import() | ast.ImportFrom():
            _import(node, module, place)
        case ast.With(items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))], body=body):
            _read_bases(body, module)
        case _:
            raise place.refusal(
                f"the statement {type(node).__name__.lower()} is not executed; write down the values"
            )


def _loaded(target: ast.expr) -> ast.expr:
    """Return a target of an assignment as an expression that is read."""
    text = ast.parse(ast.unparse(target), mode="eval").body
    return ast.copy_location(text, target)


# --- assignments


def _assign(target: ast.expr, value: Any, module: Module, place: Place) -> None:
    scope = module.scope
    match target:
        case ast.Name(id=name) if name != BASE:
            number = len(module.assignments)
            module.assignments.append(Assignment(name, place.line, value, set(scope.reads)))
            scope.variables[name] = Variable(value, number)
        case ast.Name():
            pass  # `_base_` was read before anything else
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            items = items_of(value, place)
            if len(items) != len(targets):
                raise place.refusal(f"{len(targets)} variables do not fit {len(items)} values")
            for inner, item in zip(targets, items, strict=True):
                _assign(inner, item, module, place)
        case ast.Subscript(value=holder, slice=index) if not isinstance(index, ast.Slice):
            _put(evaluate(holder, scope), evaluate(index, scope), value, place)
            _note_change(holder, module, place)
        case ast.Attribute(value=holder, attr=name):
            _put(evaluate(holder, scope), name, value, place)
            _note_change(holder, module, place)
        case _:
            raise place.refusal("this assignment is not executed; write down the value")


def _put(holder: Any, key: Any, value: Any, place: Place) -> None:
    if isinstance(holder, dict) and isinstance(key, str | int):
        holder[key] = value
        return
    if isinstance(holder, list) and isinstance(key, int) and -len(holder) <= key < len(holder):
        holder[key] = value
        return
    raise place.refusal("only items of lists and dictionaries are assigned to here")


def _note_change(holder: ast.expr, module: Module, place: Place) -> None:
    """Note that the variable at the root of an expression now depends on what was read."""
    keys: list[str] = []
    while isinstance(holder, ast.Attribute | ast.Subscript):
        keys.append(holder.attr if isinstance(holder, ast.Attribute) else "")
        holder = holder.value
    if not isinstance(holder, ast.Name):
        return
    if holder.id == BASE:
        if keys:
            module.mutated_base[keys[-1]] = place.line
            number = len(module.assignments)
            module.assignments.append(Assignment(keys[-1], place.line, None, set(module.scope.reads)))
            module.scope.variables.setdefault(f"{BASE}.{keys[-1]}.{number}", Variable(None, number))
        return
    found = module.scope.variables.get(holder.id)
    if found is not None and 0 <= found.assignment < len(module.assignments):
        module.assignments[found.assignment].reads |= module.scope.reads - {found.assignment}


def _delete(target: ast.expr, module: Module, place: Place) -> None:
    scope = module.scope
    match target:
        case ast.Name(id=name) if name in scope.variables:
            del scope.variables[name]
        case ast.Subscript(value=holder, slice=index) if not isinstance(index, ast.Slice):
            container, key = evaluate(holder, scope), evaluate(index, scope)
            inside = key in container if isinstance(container, dict) else isinstance(key, int)
            if not isinstance(container, dict | list) or not inside:
                raise place.refusal("there is nothing to delete")
            try:
                del container[key]
            except IndexError:
                raise place.refusal("there is nothing to delete") from None
        case ast.Attribute(value=holder, attr=name) if isinstance(evaluate(holder, scope), dict):
            evaluate(holder, scope).pop(name, None)
        case _:
            raise place.refusal("there is nothing to delete")


# --- imports


def _import(node: ast.Import | ast.ImportFrom, module: Module, place: Place) -> None:
    """Record imported names; of the packages of OpenMMLab a name stands for itself."""
    if isinstance(node, ast.Import):
        sources = [alias.name for alias in node.names]
        names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    else:
        if node.level:  # `if '_base_': from .x import *` is a `read_base()` of the first versions
            _read_bases([node], module)
            return
        sources = [node.module or ""]
        names = [alias.asname or alias.name for alias in node.names]
    for source in sources:
        if source.partition(".")[0] not in OF_OPENMMLAB:
            raise place.refusal(
                f"the import of {source[:60]!r} is not executed; write down the values that it gives"
            )
    for name in names:
        if name != "read_base":
            module.scope.variables[name] = Variable(ClassName(name))


def _read_bases(statements: Iterable[ast.stmt], module: Module) -> None:
    for statement in statements:
        place = module.place(statement)
        if not isinstance(statement, ast.ImportFrom):
            raise place.refusal("in read_base() only `from ... import` is read")
        values = module.read_base(statement, place)
        for alias in statement.names:
            if alias.name != "*" and alias.name not in values:
                raise place.refusal(f"the base has no {alias.name[:60]!r}")
            chosen = values if alias.name == "*" else {alias.asname or alias.name: values[alias.name]}
            for name, value in chosen.items():
                number = len(module.assignments)
                module.assignments.append(Assignment(name, place.line, value, imported=True))
                module.scope.variables[name] = Variable(value, number)
                module.imported.add(name)
