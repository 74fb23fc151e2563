"""The mutation check itself: it kills what a test covers, and tells what no test would notice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

PLANTED = """
LIMIT = 10
UNSEEN = 5


def smaller(a, b, limit=7):
    if a < b and a <= limit:
        return a
    return b


def untested(a, b):
    return a + b


class Box:
    def __init__(self, side):
        self.side = side

    @property
    def area(self):
        total = 0
        while total < 9:
            total += self.side
        return total
"""

TESTS = """
import planted


def test_smaller():
    assert [planted.smaller(*pair) for pair in ((1, 2), (2, 1), (7, 9), (8, 9))] == [1, 1, 7, 9]
    assert planted.smaller(5, 6, 4) == 6


def test_area_and_limit():
    assert planted.Box(3).area == 9
    assert planted.LIMIT == 10
"""


def run(*options: object, path: Path | None = None) -> tuple[int, str]:
    command = [sys.executable, str(PROJECT / "scripts" / "mutate.py"), *map(str, options)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment["PYTHONPATH"] = str(path or "")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self").is_dir(), reason="needs fork and /proc")
def test_a_planted_mistake_is_killed_and_one_that_no_test_reaches_survives(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    (tmp_path / "test_planted.py").write_text(TESTS)
    results = tmp_path / "results.json"
    code, said = run(
        "--module", "planted", "--tests", tmp_path / "test_planted.py", "--results", results, path=tmp_path
    )
    outcome = {
        key.removeprefix("planted:"): row["outcome"] for key, row in json.loads(results.read_text()).items()
    }
    survived = {key for key, value in outcome.items() if value == "survived"}
    assert survived == {
        "<module>: UNSEEN = 5 -> UNSEEN = 6",
        "smaller: if a < b and a <= limit -> if a <= b and a <= limit",  # the same, whichever of equals it is
        "untested: return a + b -> return None",
        "untested: return a + b -> return a - b",
    }
    assert outcome["smaller: def smaller(a, b, limit=7) -> def smaller(a, b, limit=8)"] == "killed"
    assert outcome["<module>: LIMIT = 10 -> LIMIT = 11"] == "killed"
    assert outcome["Box.area: total += self.side -> nothing"] == "timeout"  # it would go on for ever
    assert code == 1 and "4 of them without a reason" in said


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self").is_dir(), reason="needs fork and /proc")
def test_mistakes_in_clipping_boxes_are_killed(tmp_path: Path) -> None:
    code, said = run(
        *("--module", "aerostat.geometry.boxes", "--function", "clip_boxes"),
        *(
            "--tests",
            PROJECT / "tests" / "geometry" / "test_boxes.py",
            "--results",
            tmp_path / "results.json",
        ),
    )
    assert code == 0, said
    assert "4 of 4 killed" in said
