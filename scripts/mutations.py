"""Small mistakes that somebody could make in a Python file, each as a changed syntax tree.

What cannot matter by rule is left alone: docstrings, type hints, decorators, imports, texts for people
(strings with a space, f-strings, what is raised), arguments of `track` (a progress bar), `strict=` of
`zip` (a check of its own), `copy=` of `astype` (memory), what an array of no elements is filled with.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
"""The border moved, and the opposite."""

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}

OPPOSITES = {
    **{"min": "max", "minimum": "maximum", "argmin": "argmax", "amin": "amax", "floor": "ceil", "any": "all"},
    **{"zeros": "ones", "zeros_like": "ones_like", "new_zeros": "new_ones"},
}
OPPOSITES |= {there: here for here, there in OPPOSITES.items()}

OTHER_CHOICES = {"left": "right", "right": "left", "stable": "quicksort"}
"""Words that functions take as an argument, and another that they take, too."""

WRAPPERS = frozenset(
    {"abs", "round", "sorted", "reversed", "clip", "clamp", "clamp_", "float", "int", "list"}
)
"""Calls in whose place their argument is put, or the object whose method they are."""

SYMMETRIC = frozenset({"min", "max", "minimum", "maximum", "clip"})
"""Functions whose first two arguments may change places; numpy's clip is the minimum of a maximum."""

CONTEXT = 50
"""So many letters on both sides of a change are told with it."""

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

PROGRESS = frozenset({"track", "note"})

Path = tuple[tuple[str, int | None], ...]
"""From the module down to a node: names of fields, and places in those that are lists."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Args:
        module: dotted name of the module.
        where: the outermost function around it, such as ``Letterbox.fit``; ``<module>`` outside of functions.
        before, after: the statement (or its head) as it is and as it becomes; together with the first two
            they say which mutant it is, whatever the line numbers are.
        lines: first and last line of the statement.
        default: whether it is the default of an argument.
        stamp: changes when the function around it does.
        path, replacement: what is put where in the syntax tree.
    """

    module: str
    where: str
    before: str
    after: str
    lines: tuple[int, int]
    default: bool
    stamp: str
    path: Path = field(repr=False)
    replacement: ast.AST = field(repr=False)

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.place}: {self.change}"

    @property
    def place(self) -> str:
        """Module and function."""
        return f"{self.module}:{self.where}"

    @property
    def change(self) -> str:
        """The statement before and after."""
        return f"{self.before} -> {self.after}"

    @property
    def in_function(self) -> bool:
        """Whether it can be put into a module that is imported already."""
        return self.where != "<module>"

    def tree(self, source: str) -> ast.Module:
        """Return the changed syntax tree of the file."""
        tree = ast.parse(source)
        *way, (name, place) = self.path
        parent = _follow(tree, tuple(way))
        replacement = copy.deepcopy(self.replacement)
        if place is None:
            setattr(parent, name, replacement)
        else:
            getattr(parent, name)[place] = replacement
        return ast.fix_missing_locations(tree)


def mutants(module: str, source: str, names: frozenset[str] | None = None) -> list[Mutant]:
    """Return all mutants of a file, in its order.

    Args:
        module: dotted name.
        source: its text.
        names: the classes, functions and constants at its top to which they are confined; None for all.
    """
    tree = ast.parse(source)
    found: list[Mutant] = []
    for place, statement in enumerate(tree.body):
        if names is None or names & _names(statement):
            found += _inside(module, tree, statement, (("body", place),), "")
    seen: Counter[str] = Counter()
    unique = []
    for mutant in found:
        seen[mutant.key] += 1
        if seen[mutant.key] > 1:  # the same statement stands twice in one function
            mutant = Mutant(**{**vars(mutant), "after": f"{mutant.after}  # {seen[mutant.key]}"})
        unique.append(mutant)
    return unique


def function_code(module_code: CodeType, where: str) -> CodeType:
    """Return the code of a function in the code of its module."""
    inside = list(module_code.co_consts)
    while inside:
        constant = inside.pop()
        if isinstance(constant, CodeType):
            if constant.co_qualname == where:
                return constant
            inside += constant.co_consts
    raise LookupError(f"no function {where}")


def function_tree(tree: ast.Module, where: str) -> ast.FunctionDef:
    """Return the syntax tree of a function in that of its module."""
    body: list[Any] = tree.body
    for name in where.split("."):
        node = next(n for n in body if getattr(n, "name", None) == name)
        body = node.body
    assert isinstance(node, ast.FunctionDef)
    return node


def _names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return {getattr(statement, "name", "")}


def _inside(module: str, tree: ast.Module, statement: ast.stmt, path: Path, outer: str) -> Iterator[Mutant]:
    """Yield the mutants of a statement outside of functions."""
    if isinstance(statement, ast.ClassDef):
        for place, inner in enumerate(statement.body):
            way = (*path, ("body", place))
            yield from _inside(module, tree, inner, way, f"{outer}{statement.name}.")
        return
    is_function = isinstance(statement, ast.FunctionDef)
    where = f"{outer}{statement.name}" if isinstance(statement, ast.FunctionDef) else "<module>"
    stamp = hashlib.sha256(ast.dump(statement).encode()).hexdigest()[:12]
    for way, node in _nodes(statement, path):
        default = is_function and len(way) > len(path) and way[len(path)][0] == "args"
        for replacement in (*_statement_replacements(node), *_expression_replacements(node)):
            home, *texts = _texts(tree, way, replacement)
            before, after = _shortened(*texts)
            lines = (home.lineno, _last_line(home))
            yield Mutant(module, where, before, after, lines, default, stamp, way, replacement)


def _last_line(statement: ast.stmt) -> int:
    """Return the last line of a statement, or of its head if it has a body."""
    body = getattr(statement, "body", None)
    if isinstance(statement, ast.FunctionDef) or not body:
        return statement.end_lineno or statement.lineno
    return max(statement.lineno, int(body[0].lineno) - 1)


def _nodes(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Yield a node and what is below it, leaving out what is left alone."""
    yield path, node
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom) or _is_idle(node):
        return
    hidden = {"annotation", "returns", "decorator_list", "names"}
    if isinstance(node, ast.Call) and _called(node) in PROGRESS:
        hidden |= {"keywords"}
    for name, value in ast.iter_fields(node):
        if name in hidden:
            continue
        if isinstance(value, ast.AST):
            yield from _nodes(value, (*path, (name, None)))
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                idle = isinstance(inner, ast.keyword) and inner.arg in ("strict", "copy")
                if isinstance(inner, ast.AST) and not idle:
                    yield from _nodes(inner, (*path, (name, place)))


def _is_idle(node: ast.AST) -> bool:
    """Say whether a statement is a docstring or makes a type variable."""
    value = getattr(node, "value", None)
    text = isinstance(node, ast.Expr) and isinstance(value, ast.Constant)
    return text or (isinstance(value, ast.Call) and _called(value) == "TypeVar")


def _follow(node: Any, path: Path) -> Any:
    for name, place in path:
        node = getattr(node, name) if place is None else getattr(node, name)[place]
    return node


def _texts(tree: ast.Module, path: Path, replacement: ast.AST) -> tuple[ast.stmt, str, str]:
    """Return the innermost statement around a place, its head, and what becomes of the head."""
    depth = max(
        n
        for n in range(1, len(path) + 1)
        if isinstance(_follow(tree, path[:n]), ast.stmt | ast.ExceptHandler)
    )
    statement = _follow(tree, path[:depth])
    if depth == len(path):
        return statement, _head(statement), _head(replacement)
    changed = copy.deepcopy(statement)
    *way, (name, place) = path[depth:]
    parent = _follow(changed, tuple(way))
    if place is None:
        setattr(parent, name, replacement)
    else:
        getattr(parent, name)[place] = replacement
    return statement, _head(statement), _head(changed)


def _head(node: ast.AST) -> str:
    """Return the text of a statement; of one with a body only the head."""
    if isinstance(node, ast.Pass):
        return "nothing"
    if getattr(node, "body", None) and isinstance(node, ast.stmt | ast.ExceptHandler):
        short: Any = copy.copy(node)
        short.body = [ast.Pass()]
        for name in ("orelse", "finalbody", "handlers", "decorator_list"):
            if hasattr(short, name):
                setattr(short, name, [])
        return ast.unparse(ast.fix_missing_locations(short)).removesuffix("pass").rstrip().rstrip(":")
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Return two texts without most of what they begin and end with in common."""
    first = _common(before, after)
    last = _common(before[first:][::-1], after[first:][::-1])
    start = first - CONTEXT if first > CONTEXT + 1 else 0
    end = last - CONTEXT if last > CONTEXT + 1 else 0
    left, right = ELLIPSIS * (start > 0), ELLIPSIS * (end > 0)
    shown, becomes = (f"{left}{text[start : len(text) - end]}{right}" for text in (before, after))
    return shown, becomes


def _common(one: str, other: str) -> int:
    """Return how many letters two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _with(node: ast.AST, **fields: Any) -> Any:
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _statement_replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.AugAssign():
            yield _with(node, op=ARITHMETIC[type(node.op)]())
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Continue() | ast.Break() | ast.Raise():
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.While() | ast.IfExp():
            yield from (_with(node, test=test) for test in _negated(node.test))
        case ast.comprehension():
            for place, test in enumerate(node.ifs):
                for changed in _negated(test):
                    yield _with(node, ifs=[*node.ifs[:place], changed, *node.ifs[place + 1 :]])


def _negated(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the opposite of a condition, unless another mistake is the same."""
    if not isinstance(test, ast.Compare | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), copy.deepcopy(test))


def _expression_replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                for other in COMPARISONS[type(op)]:
                    yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            yield _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant():
            yield from (_with(node, value=value) for value in _other_values(node.value))
        case ast.Slice():
            if node.lower is not None:
                yield _with(node, lower=None)
            if node.upper is not None:
                yield _with(node, upper=None)
        case ast.Call():
            yield from _other_calls(node)


def _other_values(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value * 2 if value else 1.0
    elif isinstance(value, str) and value in OTHER_CHOICES:
        yield OTHER_CHOICES[value]
    elif isinstance(value, str) and value and not any(map(str.isspace, value)):
        yield f"{value}?"


def _called(call: ast.Call) -> str:
    """Return the last name of what is called."""
    return str(getattr(call.func, "attr", None) or getattr(call.func, "id", ""))


def _other_calls(call: ast.Call) -> Iterator[ast.AST]:
    name = _called(call)
    if name in OPPOSITES and not (call.args and ast.unparse(call.args[0]).lstrip("(").startswith("0")):
        func: Any = copy.deepcopy(call.func)
        setattr(func, "attr" if isinstance(func, ast.Attribute) else "id", OPPOSITES[name])
        yield _with(call, func=func)
    if name in WRAPPERS:
        module = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in (
            "np",
            "torch",
        )
        if isinstance(call.func, ast.Attribute) and not module:
            yield call.func.value
        elif call.args and not isinstance(call.args[0], ast.Starred):
            yield call.args[0]
    if len(call.args) > 1 and name not in SYMMETRIC | PROGRESS:
        first, second, *rest = call.args
        if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
            yield _with(call, args=[second, first, *rest])
