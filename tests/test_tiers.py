"""What `pytest` runs: the fast tier, on two workers, and any test that is asked for by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

TESTS = """
import os
import pytest

def test_fast():
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["GOMP_SPINCOUNT"] == "1000"

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.nightly
def test_nightly():
    pass

def test_worker():
    assert os.environ.get("PYTEST_XDIST_WORKER", "none").startswith(os.environ["EXPECTED_WORKER"])
"""


@pytest.fixture
def run_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Run pytest in a folder with the project's settings and four tests; return the outcome of each."""
    for variable in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_bytes((PROJECT / "tests" / "conftest.py").read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((PROJECT / "pyproject.toml").read_bytes())
    (tmp_path / "tests" / "test_four.py").write_text(TESTS, "utf-8")

    def run(*words: str, worker: str = "none") -> dict[str, str]:
        monkeypatch.setenv("EXPECTED_WORKER", worker)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        rows = [line.split() for line in done.stdout.splitlines()]
        return {row[1].rpartition("::")[2]: row[0] for row in rows if len(row) > 1 and "::" in row[1]}

    return run


FAST = {"test_fast": "PASSED", "test_worker": "PASSED"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "worker", "expected"),
    [
        ((), "gw", FAST),
        (("tests",), "gw", FAST),
        (("-p", "no:xdist"), "none", FAST),
        (("-n0",), "none", FAST),
        (("tests/test_four.py",), "none", FAST),
        (("-m", "slow"), "gw", {"test_slow": "PASSED"}),
        (("-m", "", "-n0"), "none", {**FAST, "test_slow": "PASSED", "test_nightly": "PASSED"}),
        (("tests/test_four.py::test_nightly",), "none", {"test_nightly": "PASSED"}),
    ],
)
def test_a_request_runs_its_tier(
    run_pytest: Callable[..., dict[str, str]], words: tuple[str, ...], worker: str, expected: dict[str, str]
) -> None:
    assert run_pytest(*words, worker=worker) == expected
