"""`python -m benchmarks.guard`: the interval of recorded runs, and runs that leave it."""

import json
import subprocess
from pathlib import Path

import pytest

from aerostat.scenes.balloons import write_balloons

ROOT = Path(__file__).resolve().parents[1]

ENTRY = """
[[dataset]]
name = "{name}"
path = "data"
classes = ["balloon"]
seeds = {seeds}
model = "rtmdet-nano"
weights = ""
recipe = {{ schedule = {{ epochs = 1 }}, data = {{ input_size = 64 }} }}
"""


@pytest.fixture(autouse=True)
def project_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "guard.toml"
    path.write_text(ENTRY.format(name="record", seeds=[4, 5, 6]) + ENTRY.format(name="check", seeds=[0, 1]))
    return path


def guard(config: Path, what: str) -> int:
    from benchmarks.guard import main

    folder = config.parent
    words = ["--work", str(folder / "work"), "--config", str(config), "--interval", str(folder / "kept.json")]
    return main([what, *words])


def test_the_interval_is_that_of_the_mean_of_new_runs() -> None:
    from benchmarks.guard import interval_of

    # t of 2 degrees of freedom at 99.5 %: 9.925; deviation 0.1; sqrt(1/2 + 1/3) = 0.9129
    assert interval_of([0.4, 0.5, 0.6]) == pytest.approx((0.5 - 0.9060, 0.5 + 0.9060), abs=1e-3)
    low, high = interval_of([0.5, 0.5, 0.5])
    assert low == high == 0.5


@pytest.mark.parametrize(("ap", "fine"), [(0.55, True), (0.42, True), (0.39, False), (0.72, False)])
def test_a_mean_that_leaves_the_interval_fails_on_either_side(ap: float, fine: bool) -> None:
    from benchmarks.guard import judge

    rows = [{"ap": str(ap - 0.1), "tta_ap": "0.6"}, {"ap": str(ap + 0.1), "tta_ap": "0.6"}]
    lines, found = judge(rows, {"interval": {"ap": [0.4, 0.7], "tta_ap": [0.5, 0.7]}})
    assert found is fine
    assert ("OUTSIDE" in lines[0]) is not fine
    assert lines[1] == "tta_ap: 0.600 of 2 seeds, within 0.500 to 0.700"


@pytest.mark.slow
def test_what_is_recorded_is_checked_by_new_runs(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.datasets import __main__ as program
    from benchmarks.datasets.one_run import make

    monkeypatch.setattr(program, "run_apart", make)  # in this process, which is faster
    write_balloons(config.parent / "data", train=4, val=3, size=(96, 64), seed=1)
    assert guard(config, "record") == 0
    kept = config.parent / "kept.json"
    record = json.loads(kept.read_text())
    assert record["seeds"] == [4, 5, 6] and len(record["runs"]["ap"]) == 3
    assert guard(config, "check") == 0  # untrained networks find nothing: AP is 0 in all of them
    record["interval"]["ap"] = [0.9, 1.0]
    kept.write_text(json.dumps(record))
    run = config.parent / "work/check/check/seed-0/run/last.safetensors"
    before = run.stat().st_mtime_ns
    capsys.readouterr()
    assert guard(config, "check") == 1
    assert "OUTSIDE OF 0.900 to 1.000" in capsys.readouterr().out
    assert run.stat().st_mtime_ns != before  # the code may be another than of the last check


def test_bad_input_is_one_sentence(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(config, "check") == 2
    assert "There is no kept.json" in capsys.readouterr().err
    kept = config.parent / "kept.json"
    for text, said in (("[]", "no interval that can be read"), ("{", "no interval that can be read")):
        kept.write_text(text)
        assert guard(config, "check") == 2
        assert said in capsys.readouterr().err
    kept.write_text(json.dumps({"request": "another", "interval": {"ap": [0, 1], "tta_ap": [0, 1]}}))
    assert guard(config, "check") == 2
    assert "another request" in capsys.readouterr().err
    config.write_text(ENTRY.format(name="check", seeds=1))
    assert guard(config, "check") == 2
    assert "named record and check" in capsys.readouterr().err


def test_the_shipped_guard_checks_what_it_records_at_320_pixels() -> None:
    from dataclasses import replace

    from benchmarks.datasets.config import read_config

    record, check = read_config(ROOT / "benchmarks" / "guard.toml")
    assert replace(record, name="").key == replace(check, name="").key
    assert check.recipe["data"]["input_size"] == 320
    assert len(check.seeds) == 2 and not set(check.seeds) & set(record.seeds)


def test_nightly_knows_the_guard() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "nightly"), "accurate"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "accuracy" in done.stderr
