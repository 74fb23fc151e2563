"""The order of the folders and the limits of size: imports point down, and nothing goes in circles."""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

FLOORS = (
    ("errors", "files", "text", "version", "collector", "interrupts", "processors"),
    ("progress",),
    ("openmmlab",),
    ("geometry",),
    ("images",),
    ("draw",),
    ("video",),
    ("model",),
    ("weights",),
    ("datasets",),
    ("results",),
    ("tracking",),
    ("runs",),
    ("lint",),
    ("pipeline",),
    ("inspection",),
    ("scenes",),
    ("splitting",),
    ("inference",),
    ("processes",),
    ("evaluation",),
    ("explanation",),
    ("deploy",),
    ("benchmarking",),
    ("training",),
    ("experiments", "migration"),
    ("reporting",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""Files and folders directly below `src/aerostat/`, from the ground up."""

FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

NOBODYS_NAMES = {"util", "utils", "helper", "helpers", "misc", "common", "manager", "managers", "base"}


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted((SOURCE / "aerostat").rglob("*.py"))}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imported_by(module: str, files: dict[str, Path] = FILES) -> set[str]:
    """Return the modules of the package that a module imports, at its top or inside of functions.

    Imports for type checkers alone are left out: they load nothing.
    """
    tree = tree_of(files[module])
    for_checkers = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_checkers:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively, line {node.lineno}"
            # `from aerostat.model import zoo` imports a module, `from aerostat.model import build` does not
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in files else str(node.module) for name in names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    assert "aerostat" not in found, f"{module} imports by the front door, which hides what it leans on"
    return {name for name in found if name in files and name != module}


def unit(module: str) -> str:
    """Return the file or folder below `aerostat` that a module belongs to."""
    return module.split(".")[1]


MODULES = [module for module in FILES if module != "aerostat"]
UNITS = sorted({unit(module) for module in MODULES})


def check_floors(module: str, files: dict[str, Path] = FILES) -> None:
    """Refuse a module without a floor, and imports from above."""
    assert unit(module) in FLOOR, f"{module} has no floor: give it one here and in docs/architecture.md"
    for other in imported_by(module, files):
        here, there = unit(module), unit(other)
        assert here == there or FLOOR[there] <= FLOOR[here], (
            f"{module} (floor {FLOOR[here]}) imports {other} (floor {FLOOR[there]})"
        )


def order_of_imports(files: dict[str, Path] = FILES) -> list[str]:
    """Return the modules, each after those that it imports; `graphlib.CycleError` names a circle."""
    graph = {module: imported_by(module, files) for module in files if module != "aerostat"}
    return list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", UNITS)
def test_a_folder_stands_on_a_floor_and_imports_only_from_lower_ones(name: str) -> None:
    for module in MODULES:
        if unit(module) == name:
            check_floors(module)


def test_imports_make_no_circle() -> None:
    assert set(order_of_imports()) >= set(MODULES)


def test_no_file_is_a_drawer_for_everything() -> None:
    assert not [module for module in MODULES if set(module.split(".")) & NOBODYS_NAMES]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from aerostat.errors import InputError", {"aerostat.errors"}),
        ("def f():\n    import aerostat.cli", {"aerostat.cli"}),
        ("class A:\n    def f(self):\n        from aerostat.cli.app import app", {"aerostat.cli.app"}),
        ("try:\n    from aerostat import cli\nexcept ImportError:\n    pass", {"aerostat.cli"}),
        ("import numpy, aerostat.cli.app as x", {"aerostat.cli.app"}),
        ("from aerostat import progress", {"aerostat.progress"}),
        ("from aerostat import progress as p, files", {"aerostat.progress", "aerostat.files"}),
        ("from aerostat.model import head, build", {"aerostat.model", "aerostat.model.head"}),
        ("from aerostat.cli import *", {"aerostat.cli"}),
        ("importlib.import_module('aerostat.cli')", {"aerostat.cli"}),
        ("__import__('aerostat.cli.app')", {"aerostat.cli.app"}),
        ("if TYPE_CHECKING:\n    from aerostat.cli import app", set()),
        ("if typing.TYPE_CHECKING:\n    import aerostat.cli", set()),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import aerostat.cli", {"aerostat.cli"}),
        ("import numpy", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(tmp_path: Path, text: str, expected: set[str]) -> None:
    assert imported_by("aerostat.new", with_file(tmp_path, "aerostat.new", text)) == expected


@pytest.mark.parametrize("text", ["from . import cli", "from .cli import app", "from ..model import zoo"])
def test_relative_imports_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match="relatively"):
        imported_by("aerostat.new", with_file(tmp_path, "aerostat.new", text))


@pytest.mark.parametrize("text", ["import aerostat", "import aerostat as ae", "from aerostat import load"])
def test_the_front_door_is_for_others(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match="front door"):
        imported_by("aerostat.new", with_file(tmp_path, "aerostat.new", text))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("aerostat.geometry.boxes", "import aerostat.inference.detector"),
        ("aerostat.errors", "def f():\n    from aerostat import progress"),
        ("aerostat.model.loss", "from aerostat.datasets.records import Split"),
        ("aerostat.datasets.discover", "def f():\n    import aerostat.lint.files"),
        ("aerostat.training.ema", "from aerostat.reporting.page import build"),
        ("aerostat.elsewhere", "import numpy"),
    ],
)
def test_an_import_upwards_or_sideways_breaks_the_order(tmp_path: Path, module: str, text: str) -> None:
    files = with_file(tmp_path, module, text)
    with pytest.raises(AssertionError, match=r"imports|has no floor"):
        check_floors(module, files)


def test_a_circle_within_a_folder_is_found(tmp_path: Path) -> None:
    one = with_file(tmp_path, "aerostat.geometry.boxes", "from aerostat.geometry.fusion import fuse")
    other = with_file(
        tmp_path, "aerostat.geometry.fusion", "def f():\n    from aerostat.geometry import boxes"
    )
    files = {**one, "aerostat.geometry.fusion": other["aerostat.geometry.fusion"]}
    with pytest.raises(graphlib.CycleError):
        order_of_imports(files)


# --- limits of size

MAX_CLASS_LINES = 250
MAX_FUNCTION_LINES = 60
"""Without the docstring."""
MAX_PARAMETERS = 8
"""Without `self` and `cls`."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_verb(node: Function) -> bool:
    """Return whether a function is a verb of the command line: its signature is the interface."""
    return any("app.command" in ast.unparse(decorator) for decorator in node.decorator_list)


def function_lines(node: Function) -> int:
    """Return the lines of a function without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def parameters(node: Function) -> int:
    """Return the number of parameters of a function."""
    listed = node.args
    names = [a.arg for a in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)]
    return sum(name not in ("self", "cls") for name in names) + bool(listed.vararg) + bool(listed.kwarg)


def too_large(text: str) -> Iterator[str]:
    """Yield a line for each class and function of a source text that is over a limit."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_CLASS_LINES:
                yield f"class {node.name} has {lines} lines, at most {MAX_CLASS_LINES} are allowed"
        elif isinstance(node, Function) and not is_verb(node):
            if (lines := function_lines(node)) > MAX_FUNCTION_LINES:
                yield f"{node.name} has {lines} lines, at most {MAX_FUNCTION_LINES} are allowed"
            if (count := parameters(node)) > MAX_PARAMETERS:
                yield f"{node.name} takes {count} parameters, at most {MAX_PARAMETERS} are allowed"


def test_classes_functions_and_signatures_stay_within_the_limits() -> None:
    found = [
        f"{module}: {line}" for module, file in FILES.items() for line in too_large(file.read_text("utf-8"))
    ]
    assert not found, "\n".join(["over the limits:", *found])


LONG_BODY = "    pass\n" * 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class A:\n" + "    x = 1\n" * 249, []),
        ("class A:\n" + "    x = 1\n" * 250, ["class A has 251 lines, at most 250 are allowed"]),
        ("def f():\n" + LONG_BODY, ["f has 61 lines, at most 60 are allowed"]),
        ('def f():\n    """Return\n\n    nothing."""\n' + "    pass\n" * 59, []),
        ("def f(a, b, c, /, d, *, e, f, g, h): ...", []),
        ("def f(a, b, c, /, d, *e, f, g, h, **i): ...", ["f takes 9 parameters, at most 8 are allowed"]),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h): ...", []),
        ("async def f(a, b, c, d, e, f, g, h, i): ...", ["f takes 9 parameters, at most 8 are allowed"]),
        ("@app.command(sort_key=1)\ndef f(a, b, c, d, e, f, g, h, i):\n" + LONG_BODY, []),
    ],
)
def test_what_is_over_a_limit_is_found(text: str, expected: list[str]) -> None:
    assert list(too_large(text)) == expected


def with_file(folder: Path, module: str, text: str) -> dict[str, Path]:
    """Return the package's files with one that holds `text`, in place of what stands there or new."""
    path = folder / f"{module.rpartition('.')[2]}.py"
    path.write_text(text, "utf-8")
    return {**FILES, module: path}
