"""`python -m benchmarks`: what it makes of cases, broken ones too; no test measures the project's own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def project_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def counting(*figures: float) -> Any:
    """A variant that gives these figures in turn."""
    rows: Iterator[float] = iter(figures)
    return lambda: next(rows)


def test_medians_quartiles_and_ratios_are_those_of_the_rounds_after_the_first() -> None:
    from benchmarks.case import Case, Spread, measure

    new, old = counting(99, 1, 2, 4), counting(99, 2, 8, 4)
    found = measure(Case("x", "ms", {"new": new, "old": old}, baseline="old", rounds=3))
    assert found.figures["new"].rounds == [1, 2, 4]
    assert found.figures["new"].spread == Spread(2, 1.5, 3)
    # round by round 2/1, 8/2, 4/4: not the ratio of the medians
    assert found.figures["new"].times_better == Spread(2, 1.5, 3)
    assert found.figures["old"].times_better is None


def test_a_higher_figure_may_be_the_better_one() -> None:
    from benchmarks.case import Case, measure

    case = Case("x", "images/s", {"new": lambda: 6, "old": lambda: 2}, baseline="old", higher_is_better=True)
    better = measure(case).figures["new"].times_better
    assert better is not None
    assert better.median == 3


def test_variants_change_their_order_from_round_to_round() -> None:
    from benchmarks.case import Case, measure

    calls: list[str] = []

    def variant(name: str) -> Any:
        return lambda: calls.append(name) or 1.0

    measure(Case("x", "ms", {name: variant(name) for name in "ab"}, rounds=2))
    assert "".join(calls) == "baabba"


def test_a_variant_that_fails_takes_no_other_with_it() -> None:
    from benchmarks.case import Case, Unavailable, measure

    def gone() -> float:
        raise Unavailable("onnxruntime is not installed")

    def sometimes() -> float:
        return 1.0 / next(divisors)

    divisors = iter([1, 1, 0])
    variants = {"gone": gone, "breaks": sometimes, "nan": lambda: float("nan"), "fine": lambda: 1.0}
    case = Case("x", "ms", variants, baseline="breaks", rounds=3, unavailable={"gpu": "there is none"})
    found = measure(case)
    assert list(found.figures) == ["fine"]
    assert found.figures["fine"].times_better is None  # of its baseline there is no figure
    assert found.missing["gpu"] == "there is none"
    assert found.missing["gone"] == "onnxruntime is not installed"
    assert "ZeroDivisionError" in found.missing["breaks"]
    assert "nan" in found.missing["nan"]


def test_no_round_is_begun_when_the_time_is_over_but_one_counts() -> None:
    from benchmarks.case import Case, measure

    def slow() -> float:
        time.sleep(0.02)
        return 1.0

    assert len(measure(Case("x", "s", {"slow": slow}, rounds=100), seconds=0.0).figures["slow"].rounds) == 1


def test_a_result_is_the_same_after_json() -> None:
    from benchmarks.case import Case, Result, measure

    found = measure(Case("x", "ms", {"a": lambda: 1.0, "b": lambda: 2.0}, baseline="a", goal="fast"))
    assert Result.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1234.4, "1234"), (123.4, "123"), (12.34, "12.3"), (9.999, "10.00"), (0.01234, "0.0123")],
)
def test_figures_have_three_digits_that_count(value: float, text: str) -> None:
    from benchmarks.table import number

    assert number(value) == text


MODULE = """
import time
from benchmarks.case import Case, Unavailable
def cases(quick):
    yield Case("first", "ms", {"a": lambda: 1.0, "b": lambda: 2.0}, baseline="b", goal="a | b", rounds=2)
    THEN
    yield Case("never", "ms", {"a": lambda: 1.0})
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner with a copy of its package of which the module `scale` is ours."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__", "__main__", "baseline", "case", "machine", "table"):
        (package / f"{name}.py").write_bytes((ROOT / "benchmarks" / f"{name}.py").read_bytes())
    (package / "README.md").write_bytes((ROOT / "benchmarks" / "README.md").read_bytes())
    (package / "results").mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    import benchmarks.__main__ as runner

    assert Path(runner.__file__).is_relative_to(tmp_path)
    yield runner
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def write_module(runner: ModuleType, then: str) -> None:
    (runner.HERE / "scale.py").write_text(MODULE.replace("THEN", then))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("raise ValueError('no data')", "failed: ValueError: no data"),
        ("raise Unavailable('no GPU')", "no GPU"),
        ("import os; os._exit(7)", "the process ended with 7"),
        pytest.param("time.sleep(60)", "stopped after 3 s in the set-up of a case", marks=pytest.mark.slow),
        pytest.param(
            "yield Case('slow', 'ms', {'a': lambda: time.sleep(60)})",
            "stopped after 3 s in slow",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_a_part_had_finished_is_kept_however_it_ends(runner: ModuleType, then: str, said: str) -> None:
    write_module(runner, then)
    part = runner.run_part("scale", quick=True, seconds=3.0)
    assert [result["name"] for result in part["results"]] == ["first"]
    assert part["problem"] == said


def test_a_run_is_recorded_and_its_table_written_beside_the_text_of_people(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(runner, "return")
    readme = runner.HERE / "README.md"
    before = readme.read_text("utf-8")
    machine = {
        **{"processor": "Test(R) CPU", "cores": 2, "quota": None, "flags": [], "caches": [], "gpus": []},
        **{"memory_bytes": 8e9, "system": "Linux", "load": 0.1, "threads": 1, "environment": {}},
        **{"python": "3.11", "packages": {"torch": "2"}, "commit": "abc"},
        "peak": {"cpu": {"macs_per_second": 1e11, "bytes_per_second": 2e10, "arithmetic": "float32"}},
    }
    monkeypatch.setattr(runner, "describe_machine", lambda seconds: machine)
    assert runner.main(["--only", "scale"]) == 0
    (path,) = (runner.HERE / "results").glob("*.json")
    assert path.stem.endswith("-test-cpu-2-cores")
    text = readme.read_text("utf-8")
    assert text.split("<!-- results")[0] == before.split("<!-- results")[0]
    assert text.split("end of results")[1] == before.split("end of results")[1]
    assert "| first | a | 1.00 (1.00-1.00) ms | 2.00 (2.00-2.00) | goal: a \\| b |" in text
    assert "|  | b | 2.00 (2.00-2.00) ms | baseline |  |" in text

    record = json.loads(path.read_text("utf-8"))
    record["parts"]["training"] = {**record["parts"]["scale"], "name": "training"}
    path.write_text(json.dumps(record))
    assert runner.main(["--only", "scale"]) == 0  # what else was measured today stays
    assert list(json.loads(path.read_text("utf-8"))["parts"]) == ["training", "scale"]

    written = path.read_bytes(), readme.read_bytes()
    assert runner.main(["--only", "scale", "--quick"]) == 0
    assert runner.main(["--only", "scale", "--json", str(runner.HERE / "own.json")]) == 0
    assert (path.read_bytes(), readme.read_bytes()) == written
    assert json.loads((runner.HERE / "own.json").read_text())["parts"]["scale"]["results"]


def test_a_part_that_is_not_there_or_unknown_is_said(
    runner: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["--only", "training"]) == 1
    assert "benchmarks/training.py" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        runner.main(["--only", "trainig"])
    assert ended.value.code == 2
    assert "trainig" in capsys.readouterr().err


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another checkout's `src` whose package answers 41."""
    package = tmp_path / "older" / "src" / "aerostat"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 41\n")
    monkeypatch.setenv("AEROSTAT_BASELINE", str(package.parent))
    return package.parent


def test_older_code_runs_in_a_process_of_its_own(older: Path) -> None:
    from benchmarks.baseline import older_source, rounds_with, run_with

    assert older_source() == older
    assert run_with(older, "import aerostat; print(aerostat.ANSWER)") == 41
    with rounds_with(older, "import aerostat\nprint('hello')\nn = []", "n.append(1) or sum(n)") as one:
        assert [one(), one(), one()] == [1, 2, 3]  # set up once


def test_older_code_that_fails_says_why(older: Path) -> None:
    from benchmarks.baseline import rounds_with, run_with

    with pytest.raises(RuntimeError, match="no such thing"):
        run_with(older, "raise SystemExit('no such thing')")
    with rounds_with(older, "", "1 / 0") as one, pytest.raises(RuntimeError, match="ended with 1"):
        one()


def test_a_baseline_without_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.baseline import older_source

    monkeypatch.setenv("AEROSTAT_BASELINE", str(tmp_path))
    with pytest.raises(ValueError, match="AEROSTAT_BASELINE"):
        older_source()
    monkeypatch.delenv("AEROSTAT_BASELINE")
    assert older_source() is None


def test_the_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout


def test_the_effect_of_a_choice_has_the_error_of_a_comparison_of_means() -> None:
    from benchmarks.effects import fit

    # means 0.2 and 0.5; the pooled deviation is 0.1 * sqrt(2), and so is that of the difference
    table = fit([1, 1, 1, 1], {"longer": [0, 0, 1, 1]}, [0.1, 0.3, 0.4, 0.6])
    assert table.splitlines()[2:] == ["| longer | +0.300 | 0.141 |"]


def test_folds_are_taken_out_before_choices_are_compared() -> None:
    from benchmarks.effects import coded, fit

    folds, sizes, epochs = (
        [1, 1, 2, 2, 2],
        ["640", "800", "800", "640", "640"],
        ["30", "30", "60", "60", "120"],
    )
    choices = dict((coded(sizes, "input"), coded(epochs, "epochs")))
    assert list(choices) == ["input, 640 to 800", "epochs, twice as many"]
    ap = [0.5, 0.52, 0.9, 0.88, 0.91]  # 0.02 by size, 0.03 by a doubling, the rest by folds
    assert fit(folds, choices, ap).splitlines()[2:] == [
        "| input, 640 to 800 | +0.020 | 0.000 |",
        "| epochs, twice as many | +0.030 | 0.000 |",
    ]


def test_ends_are_compared_on_the_same_runs() -> None:
    from benchmarks.branches import table

    runs = [
        {"input": 800, "fold": 1, "epochs": 60, "ap": {"0.0": {"60": 0.6}, "0.25": {"55": 0.9, "60": 0.7}}},
        {"input": 800, "fold": 2, "epochs": 60, "ap": {"0.0": {"60": 0.5}, "0.25": {"60": 0.5}}},
        {"input": 640, "fold": 2, "epochs": 60, "ap": {"0.0": {"60": 0.1}}},
    ]
    assert table(runs).splitlines()[2:] == [
        "| 640 | 60 | 0.0 | 0.100 | 0.100 | +0.000 |",
        "| 800 | 60 | 0.0 | 0.600, 0.500 | 0.550 | +0.000 |",
        "| 800 | 60 | 0.25 | 0.700, 0.500 | 0.600 | +0.050 |",
    ]


def test_ends_that_cannot_part_are_refused_before_anything_is_trained() -> None:
    from benchmarks.branches import begins_of

    assert begins_of(60, [0.083, 0.25]) == {0.083: 55, 0.25: 45}
    for shares in ([0.08, 0.083], [1.0]):
        with pytest.raises(SystemExit, match="an epoch of its own"):
            begins_of(60, shares)


@pytest.mark.slow
def test_every_benchmark_finds_what_it_imports() -> None:
    code = (
        "import importlib, pkgutil, benchmarks\n"
        "for module in pkgutil.iter_modules(benchmarks.__path__):\n"
        "    if module.name != '__main__':\n"
        "        importlib.import_module(f'benchmarks.{module.name}')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_any_device() -> None:
    from benchmarks.case import measure
    from benchmarks.gpu import cases_on

    results = [measure(case, 1) for case in cases_on("cpu", ("nano",), side=64, batches=(1, 2), steps=1)]
    assert [list(result.figures) for result in results] == [["torch"], ["torch"], ["32-true", "bf16-mixed"]]
    assert not any(result.missing for result in results)
    assert all("floor" in result.note or "no more than" in result.note for result in results)


@pytest.mark.parametrize("engine", ["torch", "onnx", "onnx with suppression inside"])
def test_the_photograph_of_the_masks_has_the_same_number_of_objects_with_masks_and_without(
    engine: str,
) -> None:
    from benchmarks.case import measure
    from benchmarks.masks import photograph_case

    if engine != "torch":
        pytest.importorskip("onnxruntime")
    found = measure(photograph_case("nano", 320, engine), most_rounds=1)  # each round counts the objects
    assert not found.missing
    assert list(found.figures) == ["boxes alone", "with masks"]
