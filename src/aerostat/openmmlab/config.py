"""A config with its chain of bases, read from files without executing them."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.openmmlab import published
from aerostat.openmmlab.expressions import BASE, Scope, Variable, evaluate
from aerostat.openmmlab.statements import Module, run
from aerostat.openmmlab.values import ClassName, Place, copied, measure, merged
from aerostat.text import shown

MAX_BYTES = 384 << 10
"""Size of one config file. Dumped configs have some 20 KiB; with hundreds of classes, 200."""
MAX_FILES = 40
"""Files of one config. Published chains have seven."""
MAX_CHAIN = 12
"""Bases of bases."""
MAX_BRACKETS = 90
"""Nested brackets. Python's own parser takes long for hundreds."""

RUNNER_KEYS = frozenset(
    [
        "model",
        "work_dir",
        "train_dataloader",
        "val_dataloader",
        "test_dataloader",
        "train_cfg",
        "val_cfg",
        "test_cfg",
        "auto_scale_lr",
        "optim_wrapper",
        "param_scheduler",
        "val_evaluator",
        "test_evaluator",
        "default_hooks",
        "custom_hooks",
        "data_preprocessor",
        "load_from",
        "resume",
        "launcher",
        "env_cfg",
        "log_processor",
        "log_level",
        "visualizer",
        "default_scope",
        "randomness",
        "experiment_name",
        "custom_imports",
        "tta_model",
        "tta_pipeline",
        "cfg",
        "resume_from",
    ]
)
"""Keys of a config that MMEngine's runner and MMDetection's tools read. Other variables only make these."""


@dataclass(frozen=True, slots=True)
class Unused:
    """A variable of a config that nothing uses.

    Args:
        name, value: of the variable.
        place: where it is assigned.
        replaced: whether a later assignment in the same file replaces it.
    """

    name: str
    value: Any
    place: Place
    replaced: bool


@dataclass(frozen=True)
class Config:
    """A config as MMEngine would see it.

    Args:
        path: of the file.
        values: by key, bases merged; all keys, also those that nothing reads.
        own_keys: keys that the user's files state, in place of published ones.
        files: that were read, the config first.
        published: names of bases that are not on disk, whose published values were taken.
        unused: variables of the user's files that nothing uses.
        remarks: on references that could not be followed, a clause each.
    """

    path: Path
    values: dict[str, Any]
    own_keys: frozenset[str] = frozenset()
    files: tuple[Path, ...] = ()
    published: tuple[str, ...] = ()
    unused: tuple[Unused, ...] = ()
    remarks: tuple[str, ...] = ()

    def get(self, *keys: str | int, default: Any = None) -> Any:
        """Return a nested value, `default` if it is not there.

        >>> Config(Path("c.py"), {"a": {"b": [5]}}).get("a", "b", 0)
        5
        """
        value: Any = self.values
        for key in keys:
            inside = isinstance(value, dict) and key in value
            if not inside and not (
                isinstance(value, list | tuple) and isinstance(key, int) and key < len(value)
            ):
                return default
            value = value[key]
        return value


@dataclass
class _Reading:
    """What is known while a chain of files is read."""

    steps: list[int] = field(default_factory=lambda: [0])
    open: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    own_keys: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)


def read_config(path: Path | str) -> Config:
    """Return the config in a Python file. The file is parsed; nothing in it is executed or imported.

    Args:
        path: of a ``.py`` file, with or without bases. Bases that are missing on disk may be published
            RTMDet configs, whose values are known.

    Raises:
        InputError: the file is missing, no Python, or does something else than state values. The sentence
            names file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "my.py"
        >>> _ = path.write_text("_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'\\n"
        ...                     "train_cfg = dict(max_epochs=40)")
        >>> read_config(path).get("train_cfg", "max_epochs")
        40
    """
    path = Path(path)
    reading = _Reading()
    values = _read_file(path, reading)
    measure(values, Place(path, 1))
    return Config(
        path,
        values,
        frozenset(reading.own_keys),
        tuple(reading.files),
        tuple(dict.fromkeys(reading.published)),
        tuple(reading.unused),
        tuple(dict.fromkeys(reading.remarks)),
    )


def _read_file(path: Path, reading: _Reading) -> dict[str, Any]:
    """Return the merged values of one file."""
    real = path.resolve()
    if real in reading.open:
        raise InputError(f"{path} inherits from itself, through {reading.open[-1]}; remove one `_base_`.")
    _require_few(reading, path)
    tree = _parse(path)
    reading.open.append(real)
    reading.files.append(path)
    place = Place(path, 1)
    scope = Scope(place, {}, _predefined(path), reading.steps, remarks=reading.remarks)
    base = _read_bases(tree, scope, reading)
    if base is not None:
        scope.variables[BASE] = Variable(copied(base, place, inherited=True))

    def read_base(node: ast.ImportFrom, where: Place) -> dict[str, Any]:
        values: dict[str, Any] = copied(_imported_base(path, node, where, reading), where, inherited=True)
        return values

    module = Module(scope, read_base)
    run(tree.body, module)
    reading.open.pop()
    own = {
        name: variable.value
        for name, variable in scope.variables.items()
        if name != BASE
        and not name.startswith("__")
        and "." not in name
        and (variable.assignment >= 0 or not isinstance(variable.value, ClassName))  # no import
    }
    for name, value in own.items():
        measure(value, Place(path, _line_of(name, module)))
    reading.own_keys |= _stated(module) | set(module.mutated_base)
    used_here = scope.base_reads | {name for name in module.imported if name not in _unused_names(module)}
    reading.unused = [entry for entry in reading.unused if entry.name not in used_here]
    reading.unused += _unused(module, path)
    inherited = scope.variables[BASE].value if base is not None else {}
    return merged(own, inherited, Place(path, 1))


def _require_few(reading: _Reading, name: Path | str) -> None:
    """Refuse a config with more bases, or a longer chain of them, than anybody needs."""
    if len(reading.files) + len(reading.published) >= MAX_FILES or len(reading.open) >= MAX_CHAIN:
        raise InputError(
            f"{reading.files[0]} has too many bases, at {shown(str(name), 100)}; take a dumped config."
        )


def _stated(module: Module) -> set[str]:
    """Return the variables that a file itself states or changes, not those that it imports from a base."""
    return {a.name for a in module.assignments if not a.imported or a.reads}


def _line_of(name: str, module: Module) -> int:
    number = module.scope.variables[name].assignment
    return module.assignments[number].line if 0 <= number < len(module.assignments) else 1


# --- text


def _parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        InputError: it is missing, too large, no text, or no Python.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"Expected a config file, found nothing at {path}; check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read as a config: {error.strerror or error}.") from None
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{path} is larger than {MAX_BYTES >> 10} KiB, which no config is; name another file."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Place(path, line).refusal(
            "expected a config in UTF-8, found another encoding or no text"
        ) from None
    if "\0" in text:
        raise InputError(f"{path} is no config: it holds binary data; name a Python file.")
    if line := _deep_line(text):
        raise Place(path, line).refusal("the brackets are nested too deeply for a config")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, str(path))  # the parser opens a file of this name to show a line
    except SyntaxError as error:
        why = (error.msg or "invalid syntax").split("\n", maxsplit=1)[0][:100]
        raise Place(path, error.lineno or 1).refusal(f"this is no Python ({why})") from None
    except (ValueError, RecursionError, MemoryError):
        raise InputError(f"{path} is no config: its expressions are too long or too deep.") from None


def _deep_line(text: str) -> int:
    """Return the first line where brackets are nested too deeply, 0 for none; texts count, too."""
    depth, line = 0, 1
    for match in re.finditer(r"[\[({\])}\n]", text):
        letter = match[0]
        if letter == "\n":
            line += 1
        elif letter in "[({":
            depth += 1
            if depth > MAX_BRACKETS:
                return line
        else:
            depth = max(0, depth - 1)
    return 0


def _predefined(path: Path) -> dict[str, str]:
    return {
        "fileDirname": str(path.parent.absolute()),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }


# --- bases


def _read_bases(tree: ast.Module, scope: Scope, reading: _Reading) -> dict[str, Any] | None:
    """Return the merged values of the files that ``_base_`` names; None without ``_base_``."""
    found: dict[str, Any] = {}
    stated = [
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [BASE]
    ]
    if not stated:
        return None
    node = stated[-1]
    place = Place(scope.place.file, node.lineno)
    names = evaluate(node.value, scope)
    for name in names if isinstance(names, list | tuple) else [names]:
        if not isinstance(name, str) or not name:
            raise place.refusal(f"expected the name of a file as {BASE}, found {shown(name)}")
        values = _base_of_name(name, place, reading)
        if twice := sorted(found.keys() & values.keys()):
            raise place.refusal(f"two bases state {twice[0]!r}; MMEngine refuses that")
        found |= values
    return found


def _base_of_name(name: str, place: Place, reading: _Reading) -> dict[str, Any]:
    scope, _, inner = name.rpartition("::")
    path = place.file.parent / inner
    if not scope and inner.endswith(".py") and _is_file(path):
        return _read_file(path, reading)
    values = published.find(inner, scope)
    if values is None:
        raise place.refusal(
            f"the base {shown(name, 100)} is neither a .py file on disk nor a published RTMDet config; "
            "put the file there, or take the dumped config of a work directory"
        )
    _require_few(reading, name)
    reading.published.append(name)
    return values


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        return False


def _imported_base(path: Path, node: ast.ImportFrom, place: Place, reading: _Reading) -> dict[str, Any]:
    """Return the values of a base in the pure Python style, such as ``from .._base_.x import *``."""
    parts = (node.module or "").split(".") if node.module else []
    if len(parts) > 20 or node.level > 20 or not parts:
        raise place.refusal("expected `from .FILE import *` to name a base")
    if node.level:
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder / ".."
        file = folder.joinpath(*parts).with_suffix(".py")
        if _is_file(file):
            return _read_file(file, reading)
    name = "." * node.level + ".".join(parts)
    values = published.find("/".join(parts), parts[0] if not node.level else "")
    if values is None:
        raise place.refusal(
            f"the base {shown(name, 100)} is neither a .py file on disk nor a published RTMDet config; "
            "put it there"
        )
    _require_few(reading, name)
    reading.published.append(name)
    return values


# --- variables without effect


def _used(module: Module) -> set[int]:
    """Return the assignments that reach a key of the runner."""
    last = {variable.assignment for variable in module.scope.variables.values()}
    waiting = [
        number
        for number, a in enumerate(module.assignments)
        if number in last and (a.name in RUNNER_KEYS or a.name in module.mutated_base)
    ]
    used: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number < 0 or number in used:
            continue
        used.add(number)
        waiting += module.assignments[number].reads
    return used


def _unused_names(module: Module) -> set[str]:
    used = _used(module)
    return {a.name for a in module.assignments} - {module.assignments[number].name for number in used}


def _unused(module: Module, path: Path) -> list[Unused]:
    """Return the assignments of a file that reach no key of the runner."""
    used = _used(module)
    last = {variable.assignment for variable in module.scope.variables.values()}
    return [
        Unused(a.name, a.value, Place(path, a.line), number not in last)
        for number, a in enumerate(module.assignments)
        if number not in used and (not a.imported or a.reads)
    ]
