"""Mutation check of the core: is there a test that fails when a line of it is wrong?

    python scripts/mutate.py                     # all of it, or what is left of it
    python scripts/mutate.py --for 280           # so many seconds of it; the next call goes on from there
    python scripts/mutate.py --module aerostat.geometry.boxes --function nms

Each mutant (`mutations.py`) is one small mistake in one of the files of `CORE`. The tests that reach its
line are run against it, one after the other until one fails: then it is killed, as it is when it takes
several times as long as the right code. Those that survive are listed in `tests/mutants.toml` with the
reason why they do not matter. The check fails if one is not listed, or if fewer than 90 % are killed.
Results are kept in a file (`--results`) and stay valid while the function around the mutant, and for
survivors the tests, stay as they are.

A process that has imported and collected everything is forked for each mutant, whose function gets other
code; what is not in a function is worked off by processes that import the changed file anew. Needs `fork`
and /proc. Tests write many small files: `TMPDIR=/dev/shm`, in memory, helps where disks are slow.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

import pytest
from hypothesis import Phase, settings
from mutations import Mutant, function_code, function_tree, mutants

PROJECT = Path(__file__).resolve().parents[1]
EXPLAINED = PROJECT / "tests" / "mutants.toml"
LEAST = 0.9
"""Share of the mutants that must be killed."""

MODEL_TESTS = (
    "model/test_assigner.py",
    "model/test_overlap.py",
    "model/test_loss.py",
    "model/test_decode.py",
    "model/test_parity.py",
)
MASK_TESTS = ("model/test_mask_loss.py", "model/test_instance_parity.py")
COCO_TESTS = (
    "datasets/formats/test_coco_decode.py",
    "datasets/formats/test_coco_records.py",
    "datasets/formats/test_coco_format.py",
    "datasets/formats/test_exact_box.py",
    "datasets/test_round_trip.py",
)
EVALUATION_TESTS = (
    "evaluation/test_coco_protocol.py",
    "evaluation/test_object_masks.py",
    "evaluation/test_coco_evaluation.py",
    "evaluation/test_evaluate.py",
)


@dataclass(frozen=True)
class Target:
    """A file whose mutants are tried, and the tests that are asked about them.

    Args:
        module: its dotted name.
        tests: paths of test files.
        names: what stands at its top and is meant; None for all of it.
    """

    module: str
    tests: tuple[Path, ...]
    names: frozenset[str] | None = None

    @property
    def file(self) -> Path:
        """Where the source is, without importing it."""
        parts = self.module.split(".")
        for folder in map(Path, sys.path):
            path = folder.joinpath(*parts).with_suffix(".py")
            if path.is_file():
                return path
        raise SystemExit(f"Expected a module, found no file of {self.module}.")


def _target(module: str, *tests: str, names: frozenset[str] | None = None) -> Target:
    return Target(f"aerostat.{module}", tuple(PROJECT / "tests" / test for test in tests), names)


CORE = (
    _target("geometry.boxes", "geometry/test_boxes.py", "geometry/test_postprocess.py"),
    _target("geometry.nms", "geometry/test_boxes.py", "geometry/test_postprocess.py"),
    _target("geometry.postprocess", "geometry/test_postprocess.py", "model/test_decode.py"),
    _target("geometry.fusion", "geometry/test_fusion.py"),
    _target("model.assigner", *MODEL_TESTS),
    _target("model.overlap", *MODEL_TESTS),
    _target("model.loss", *MODEL_TESTS, *MASK_TESTS),
    _target("model.decode", *MODEL_TESTS),
    _target("images.letterbox", "images/test_letterbox.py"),
    _target("images.resize", "images/test_resize.py", "images/test_letterbox.py", "images/test_read.py"),
    _target("datasets.formats.coco", *COCO_TESTS),
    _target("datasets.formats.coco_decode", *COCO_TESTS),
    _target("datasets.formats.coco_ids", *COCO_TESTS),
    _target("datasets.formats.coco_records", *COCO_TESTS),
    _target("datasets.formats.coco_shapes", *COCO_TESTS),
    _target("datasets.formats.exact_box", *COCO_TESTS),
    _target("evaluation.coco", *EVALUATION_TESTS),
    _target("evaluation.coco_columns", *EVALUATION_TESTS),
    _target("evaluation.object_masks", "evaluation/test_object_masks.py"),
    _target("evaluation.coco_protocol", *EVALUATION_TESTS),
)


# What a run knows


class Results:
    """What became of each mutant, in a JSON file that is written after each piece of work.

    Args:
        path: of the file; what it holds already is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.rows = json.loads(path.read_text("utf-8"))

    def known(self, mutant: Mutant, tests: str) -> bool:
        """Say whether a mutant needs not be tried again; `tests` is the mark of its tests' text."""
        row = self.rows.get(mutant.key)
        return row is not None and row["stamp"] == mutant.stamp and (_is_killed(row) or row["tests"] == tests)

    def add(self, mutant: Mutant, tests: str, outcome: str, killer: str, seconds: float) -> None:
        """Keep what became of a mutant."""
        row = {"stamp": mutant.stamp, "tests": tests, "outcome": outcome}
        self.rows[mutant.key] = row | {"killer": killer, "seconds": round(seconds, 3)}

    def save(self) -> None:
        """Write the file, whole."""
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.rows, indent=0), "utf-8")
        beside.replace(self.path)


def _is_killed(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("killed", "timeout")


def _mark(target: Target) -> str:
    """Return what changes when the text of a target's tests does."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _there(target.tests))).hexdigest()[:12]


# Children


@dataclass(frozen=True)
class Work:
    """What a child does for a mutant.

    Args:
        run: puts the mutant in place and runs tests; returns the name of the test that failed, or "".
        cpu_seconds: processor time after which it is stopped.
    """

    run: Callable[[Path], str]
    cpu_seconds: float


def work_off(
    todo: Iterable[Mutant],
    work: Callable[[Mutant], Work],
    report: Callable[[Mutant, str, str, float], None],
    *,
    jobs: int,
    deadline: float,
) -> None:
    """Fork a child for each mutant, `jobs` at a time, until the time is up."""
    running: dict[int, tuple[Mutant, float, float, Path]] = {}
    waiting = iter(todo)
    scratch = Path(tempfile.mkdtemp(prefix="mutate-"))
    try:
        while True:
            while len(running) < jobs and time.monotonic() < deadline:
                mutant = next(waiting, None)
                if mutant is None:
                    break
                task, now = work(mutant), time.monotonic()
                folder = Path(tempfile.mkdtemp(dir=scratch))
                running[_fork(task, folder)] = (mutant, now, now + 10 * task.cpu_seconds + 30, folder)
            if not running:
                return
            _collect(running, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fork(task: Work, folder: Path) -> int:
    """Start a child; it exits with 0 if no test failed and with 1 otherwise."""
    pid = os.fork()
    if pid:
        return pid
    status = 3
    try:
        with Path(os.devnull).open("r+b") as nowhere:
            for stream in (0, 1, 2):
                os.dup2(nowhere.fileno(), stream)
        limit = int(task.cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + (3 << 30), resource.RLIM_INFINITY))
        killer = task.run(folder)
        (folder / "killer").write_text(killer)
        status = int(bool(killer))
    except BaseException as error:  # the mutant cannot even be put in place: whatever imports it would fail
        (folder / "killer").write_text(f"import: {error!r}")
        status = 1
    finally:
        os._exit(status)


def _collect(
    running: dict[int, tuple[Mutant, float, float, Path]],
    report: Callable[[Mutant, str, str, float], None],
) -> None:
    """Take what has ended, stop what takes too long, wait a moment if there is neither."""
    pid, status = os.waitpid(-1, os.WNOHANG)
    if not pid:
        for other, (_, _, latest, _) in running.items():
            if time.monotonic() > latest:
                os.kill(other, signal.SIGKILL)
        time.sleep(0.003)
        return
    mutant, started, _, folder = running.pop(pid)
    killer = (folder / "killer").read_text() if (folder / "killer").is_file() else ""
    outcome = "killed" if killer else "survived"
    if os.WIFSIGNALED(status):
        outcome = "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "killed"
    report(mutant, outcome, killer, time.monotonic() - started)
    shutil.rmtree(folder, ignore_errors=True)


# Mutants in functions: one process imports and collects, its children change the function


def put_in_place(mutant: Mutant, source: str) -> None:
    """Give the function of an imported module the code of the mutant."""
    function = _live_function(sys.modules[mutant.module], mutant.where)
    tree = mutant.tree(source)
    if mutant.default:
        arguments = function_tree(tree, mutant.where).args
        space = vars(sys.modules[mutant.module])
        function.__defaults__ = tuple(_value(node, space) for node in arguments.defaults) or None
        names = [argument.arg for argument in arguments.kwonlyargs]
        given = zip(names, arguments.kw_defaults, strict=True)
        function.__kwdefaults__ = {name: _value(node, space) for name, node in given if node} or None
        return
    code = compile(tree, function.__code__.co_filename, "exec")
    function.__code__ = function_code(code, mutant.where)


def _value(node: ast.expr, space: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<default>", "eval"), space)


def _live_function(module: Any, where: str) -> Any:
    found = module
    for name in where.split("."):
        found = vars(found)[name]
    while inner := [
        getattr(found, name) for name in ("fget", "__func__", "__wrapped__") if hasattr(found, name)
    ]:
        found = inner[0]  # below a property, a class method, a decorator
    return found


class Reached:
    """Which tests reach which lines of the files, and how long they take; learned from the right code."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.seconds: dict[str, float] = {}

    def read(self, path: Path) -> None:
        """Add what is known of the tests of a file."""
        for test, row in json.loads(path.read_text("utf-8")).items():
            self.seconds[test] = row["seconds"]
            for file, lines in row["lines"].items():
                for line in lines:
                    self.tests[file][line].append(test)

    def of(self, mutant: Mutant, file: str) -> list[str]:
        """Return the tests that run a mutant's lines."""
        lines = self.tests.get(file, {})
        first, last = mutant.lines
        return list(dict.fromkeys(t for line in range(first, last + 1) for t in lines.get(line, ())))


class Tracer:
    """Notes the lines of some files that are run.

    Args:
        files: their names.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = frozenset(files)
        self.lines: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        """Look into frames of these files only."""
        if frame.f_code.co_filename not in self.files:
            return None
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


class Hot:
    """A plugin of pytest: instead of running all tests once, forks for each mutant and runs some of them.

    Args:
        targets: whose mutants are tried.
        results: to which is added.
        jobs: children at a time.
        deadline: when no further one is started, in `time.monotonic`'s seconds.
        function: the only one whose mutants are tried; "" for all.
    """

    def __init__(
        self, targets: Sequence[Target], results: Results, jobs: int, deadline: float, function: str
    ) -> None:
        self.targets, self.results, self.jobs = targets, results, jobs
        self.deadline, self.function = deadline, function
        self.first = FirstFailure()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        if session.testsfailed:
            raise SystemExit("The tests cannot be collected: run pytest first.")
        self.items = {item.nodeid: item for item in session.items}
        self.order = {name: place for place, name in enumerate(self.items)}
        self.reached = self._baseline()
        self.killers: dict[str, Counter[str]] = defaultdict(Counter)
        for key, row in self.results.rows.items():
            self.killers[key.partition(": ")[0]][row["killer"]] += 1
        self.sources = {target.module: target.file.read_text("utf-8") for target in self.targets}
        self.files = {target.module: str(target.file) for target in self.targets}
        self.tests = {target.module: frozenset(target.tests) for target in self.targets}
        self.marks = {target.module: _mark(target) for target in self.targets}
        self._require_any_order()
        todo = [m for m in _to_do(self.targets, self.results, self.function) if m.in_function]
        print(f"{len(todo)} mutants in functions to try, {len(self.items)} tests", flush=True)
        work_off(todo, self._work, self._report, jobs=self.jobs, deadline=self.deadline)
        self.results.save()
        return True

    def _work(self, mutant: Mutant) -> Work:
        tests = self._ordered(mutant)
        usual = sum(self.reached.seconds[test] for test in tests)
        return Work(lambda folder: self._try(mutant, tests, folder), min(3 + 5 * usual, 90))

    def _ordered(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant: first those that killed its neighbours, then quick ones."""
        asked = self.tests[mutant.module]
        reaching = self.reached.of(mutant, self.files[mutant.module])
        tests = [test for test in reaching if test in self.items and self.items[test].path in asked]
        before = [test for test, _ in self.killers[mutant.place].most_common(4) if test in tests]
        return list(dict.fromkeys(before + self._quick_first(tests)))

    def _quick_first(self, tests: Iterable[str]) -> list[str]:
        seconds = self.reached.seconds
        return sorted(
            tests, key=lambda test: (sum(seconds[test] > s for s in (0.02, 0.1, 0.5)), self.order[test])
        )

    def _require_any_order(self) -> None:
        """Run the tests of each file once without any mutant, as they are run against one: all must pass."""
        for target in self.targets:
            done = self.results.path.with_suffix(f".{self.marks[target.module]}.control")
            if done.is_file():
                continue
            names = [name for name, item in self.items.items() if item.path in target.tests]
            folder = Path(tempfile.mkdtemp(prefix="mutate-"))
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    failed = self._run([self.items[name] for name in self._quick_first(names)], folder)
                    print(failed, end="", flush=True)
                    status = int(bool(failed))
                finally:
                    os._exit(status)
            status = os.waitpid(pid, 0)[1]
            shutil.rmtree(folder, ignore_errors=True)
            if status:
                raise SystemExit(
                    f" fails without any mutant, in another order of the tests of {target.module}"
                )
            done.touch()

    def _try(self, mutant: Mutant, tests: Sequence[str], folder: Path) -> str:
        put_in_place(mutant, self.sources[mutant.module])
        return self._run([self.items[test] for test in tests], folder)

    def _run(self, items: Sequence[pytest.Item], folder: Path) -> str:
        """Run tests up to the first failure, and return its name or nothing."""
        if not items:
            return ""
        factory: Any = items[0].config._tmp_path_factory  # type: ignore[attr-defined]
        factory._given_basetemp, factory._basetemp = folder / "tmp", None
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.first.name:
                return self.first.name
        return ""

    def _report(self, mutant: Mutant, outcome: str, killer: str, seconds: float) -> None:
        if killer:
            self.killers[mutant.place][killer] += 1
        self.results.add(mutant, self.marks[mutant.module], outcome, killer, seconds)
        if outcome == "survived":
            print(f"{seconds:6.1f} s  survived  {mutant.key}", flush=True)
        if len(self.results.rows) % 50 == 0:
            self.results.save()

    def _baseline(self) -> Reached:
        """Learn which lines each test reaches, by running it once, in a child, without any mutant."""
        files = list(dict.fromkeys(str(target.file) for target in (*CORE, *self.targets)))
        sources = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files))
        by_file: dict[Path, list[pytest.Item]] = defaultdict(list)
        for item in self.items.values():
            by_file[item.path].append(item)
        reached = Reached()
        for path, items in by_file.items():
            mark = sources.copy()
            mark.update(path.read_bytes())
            kept = self.results.path.with_suffix(f".{path.stem}.{mark.hexdigest()[:12]}.lines")
            if not kept.is_file():
                pid = os.fork()
                if not pid:
                    self._trace(items, files, kept)
                if os.waitpid(pid, 0)[1]:
                    raise SystemExit(f"Tests of {path} fail without any mutant: run pytest first.")
            reached.read(kept)
        return reached

    def _trace(self, items: Sequence[pytest.Item], files: Sequence[str], path: Path) -> NoReturn:
        """Run tests and write which lines they reach; the process ends here."""
        status = 1
        try:
            rows: dict[str, Any] = {}
            for item, following in zip(items, [*items[1:], None], strict=True):
                tracer, started = Tracer(files), time.process_time()
                sys.settrace(tracer)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                sys.settrace(None)
                lines: dict[str, list[int]] = defaultdict(list)
                for file, line in sorted(tracer.lines):
                    lines[file].append(line)
                rows[item.nodeid] = {"seconds": round(time.process_time() - started, 4), "lines": lines}
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(rows), "utf-8")
            beside.replace(path)
            status = int(bool(self.first.name))
        finally:
            os._exit(status)


# Mutants outside of functions: the changed file is imported anew


class ChangedFile(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from other code than its file holds.

    Args:
        module: its name.
        code: what is run in its place.
        file: where it would be.
    """

    def __init__(self, module: str, code: CodeType, file: Path) -> None:
        self.module, self.code, self.file = module, code, file

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        """Find the one module."""
        if name != self.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self.file))

    def exec_module(self, module: Any) -> None:
        """Run the changed code."""
        module.__file__ = str(self.file)
        exec(self.code, vars(module))


def try_anew(mutant: Mutant, target: Target, folder: Path) -> str:
    """Run the target's tests in this process, which has not imported the module yet."""
    code = compile(mutant.tree(target.file.read_text("utf-8")), str(target.file), "exec")
    sys.meta_path.insert(0, ChangedFile(target.module, code, target.file))
    first = FirstFailure()
    arguments = [*PYTEST, "-x", f"--basetemp={folder / 'tmp'}", *map(str, _there(target.tests))]
    status = pytest.main(arguments, plugins=[first])
    return first.name or ("" if status == 0 else f"pytest ended with {int(status)}")


class FirstFailure:
    """A plugin of pytest that keeps the name of the first test that failed."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure."""
        if report.failed and not self.name:
            self.name = report.nodeid


PYTEST = (
    *("-m", "not slow and not nightly", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:xdist"),
    *("-c", str(PROJECT / "pyproject.toml"), "-o", "addopts=--strict-markers --import-mode=importlib"),
)


def _there(tests: Iterable[Path]) -> list[Path]:
    """Return the test files, each once; without one of them mutants would seem to survive."""
    files = list(dict.fromkeys(tests))
    if missing := [path for path in files if not path.is_file()]:
        raise SystemExit(f"Expected a test file, found nothing at {missing[0]}.")
    return files


def _to_do(targets: Sequence[Target], results: Results, function: str) -> Iterator[Mutant]:
    for target in targets:
        mark = _mark(target)
        yield from (m for m in _chosen(target, function) if not results.known(m, mark))


# The command


def explained(path: Path = EXPLAINED) -> dict[str, str]:
    """Return the reason why each listed mutant may survive, by its key."""
    if not path.is_file():
        return {}
    listed = tomllib.loads(path.read_text("utf-8"))["survivors"]
    return {f"{row['where']}: {change}": row["reason"] for row in listed for change in row["changes"]}


def summary(targets: Sequence[Target], results: Results, reasons: dict[str, str], function: str) -> int:
    """Print a line for each file and what survives without a reason; return the exit code."""
    print(
        f"\n{'file':<32}{'mutants':>8}{'killed':>8}{'of them stopped':>17}{'survived':>10}{'not tried':>11}"
    )
    total: Counter[str] = Counter()
    unexplained, stale = [], set(reasons)
    for target in targets:
        count: Counter[str] = Counter()
        mark = _mark(target)
        for mutant in _chosen(target, function):
            stale.discard(mutant.key)
            tried = results.known(mutant, mark)
            outcome = results.rows[mutant.key]["outcome"] if tried else "not tried"
            count.update(["mutants", outcome])
            if outcome == "survived" and mutant.key not in reasons:
                unexplained.append(mutant.key)
        total += count
        print(_line(target.module.removeprefix("aerostat."), count))
    print(_line("all", total))
    killed, tried_at_all = total["killed"] + total["timeout"], total["mutants"] - total["not tried"]
    share = killed / max(1, tried_at_all)
    print(f"\n{killed} of {tried_at_all} killed ({share:.1%}), {total['survived']} survive, "
          f"{len(unexplained)} of them without a reason in {EXPLAINED.name}")  # fmt: skip
    for key in unexplained:
        print(f"  {key}")
    if not function and len(targets) == len(CORE):
        for key in sorted(stale):
            print(f"  listed, but no such mutant: {key}")
    if total["not tried"]:
        print("Not all were tried: call again to go on.")
    return int(bool(unexplained or share < LEAST or total["not tried"]))


def _line(name: str, count: Counter[str]) -> str:
    killed = count["killed"] + count["timeout"]
    rest = f"{count['timeout']:>17}{count['survived']:>10}{count['not tried']:>11}"
    return f"{name:<32}{count['mutants']:>8}{killed:>8}{rest}"


def _chosen(target: Target, function: str) -> list[Mutant]:
    every = mutants(target.module, target.file.read_text("utf-8"), target.names)
    return [mutant for mutant in every if not function or mutant.where == function]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--for", dest="seconds", type=float, default=1e9, help="stop starting mutants after")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    default = Path(tempfile.gettempdir()) / "aerostat-mutants.json"
    parser.add_argument("--results", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--module", action="append", default=[], help="only this file, by its dotted name")
    parser.add_argument("--tests", nargs="+", type=Path, help="tests of a --module that is not of the core")
    parser.add_argument("--function", default="", help="only this function, such as Letterbox.fit")
    parser.add_argument("--report", action="store_true", help="try none, only sum up")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if enough mutants are killed and all others explained."""
    options = _options(arguments)
    sys.path.insert(0, str(PROJECT / "src"))
    targets = [target for target in CORE if not options.module or target.module in options.module]
    if options.tests:
        targets = [Target(module, tuple(options.tests)) for module in options.module]
    if not targets:
        raise SystemExit(f"Expected a file of the core, found {options.module}.")
    results = Results(options.results)
    if not options.report:
        _try_all(targets, results, options)
    return summary(targets, results, explained(), options.function)


def _try_all(targets: Sequence[Target], results: Results, options: argparse.Namespace) -> None:
    deadline = time.monotonic() + options.seconds
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy are there
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    heavy = ("torch", "cv2", "PIL.Image", "msgspec", "faster_coco_eval", "pycocotools.cocoeval")
    for name in () if options.tests else heavy:  # imported once, for all children
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    settings.register_profile(
        "mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None, deadline=None
    )
    settings.load_profile("mutants")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            plugin = Hot(targets, results, options.jobs, deadline, options.function)
            tests = _there(path for target in targets for path in target.tests)
            status = int(pytest.main([*PYTEST, "-s", *map(str, tests)], plugins=[plugin, plugin.first]))
        finally:
            sys.stdout.flush()
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit(1)
    results.rows = Results(results.path).rows
    _try_others(targets, results, options, deadline)
    results.save()


def _try_others(
    targets: Sequence[Target], results: Results, options: argparse.Namespace, deadline: float
) -> None:
    """Work off the mutants outside of functions."""
    by_module = {target.module: target for target in targets}
    marks = {target.module: _mark(target) for target in targets}
    todo = [m for m in _to_do(targets, results, options.function) if not m.in_function]

    def report(mutant: Mutant, outcome: str, killer: str, seconds: float) -> None:
        results.add(mutant, marks[mutant.module], outcome, killer, seconds)
        if outcome == "survived":
            print(f"{seconds:6.1f} s  survived  {mutant.key}", flush=True)

    def work(mutant: Mutant) -> Work:
        return Work(lambda folder: try_anew(mutant, by_module[mutant.module], folder), 120)

    work_off(todo, work, report, jobs=options.jobs, deadline=deadline)


if __name__ == "__main__":
    sys.exit(main())
