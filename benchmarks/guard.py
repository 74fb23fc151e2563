"""Guard of accuracy: two seeds at 320 px on the balloon photographs, and the interval that AP must keep.

python -m benchmarks.guard record   # six seeds; writes benchmarks/guard.json
python -m benchmarks.guard check    # two seeds; exit code 1 if their mean AP leaves the interval

`scripts/nightly accuracy` runs the check. Runs are in --work; a command that was stopped goes on. The check
begins new runs each time, as the code has changed.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from aerostat.errors import AerostatError, InputError
from aerostat.experiments.statistics import spread, t_quantile
from aerostat.files import write_text
from benchmarks.datasets.__main__ import main as train_datasets
from benchmarks.datasets.config import read_config
from benchmarks.datasets.table import read_rows

HERE = Path(__file__).resolve().parent
CONFIG, INTERVAL = HERE / "guard.toml", HERE / "guard.json"
CONFIDENCE = 0.99
"""Of the interval: one night in a hundred fails without a cause."""
MEASURES = ("ap", "tta_ap")
"""Figures that are guarded."""
CHECKED_SEEDS = 2


def interval_of(values: Sequence[float], runs: int = CHECKED_SEEDS) -> tuple[float, float]:
    """Return the interval in which the mean of some new runs is expected (prediction interval, Student's t).

    Args:
        values: of the recorded runs, at least two.
        runs: number of new runs.

    >>> low, high = interval_of([0.5, 0.6, 0.7])
    >>> round(low, 3), round(high, 3)
    (-0.306, 1.506)
    """
    found = spread(values)
    half = t_quantile((1 + CONFIDENCE) / 2, found.count - 1) * found.deviation
    half *= math.sqrt(1 / runs + 1 / found.count)
    return found.mean - half, found.mean + half


def record_of(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the record of some runs: the interval of each figure, the runs, and where they were made.

    Raises:
        InputError: there are too few runs for an interval.
    """
    if len(rows) < 3:
        raise InputError(f"Expected at least 3 recorded runs for an interval, found {len(rows)}.")
    first = rows[0]
    shared = ("request", "commit", "machine", "threads", "aerostat", "torch")
    return {
        "date": date.today().isoformat(),
        "confidence": CONFIDENCE,
        "runs_checked": CHECKED_SEEDS,
        "interval": {m: [round(x, 4) for x in interval_of([float(r[m]) for r in rows])] for m in MEASURES},
        "runs": {m: [float(row[m]) for row in rows] for m in MEASURES},
        "seeds": [int(row["seed"]) for row in rows],
        **{name: first[name] for name in shared},
    }


def judge(rows: Sequence[Mapping[str, str]], record: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return a line for each guarded figure, and whether all keep their intervals."""
    lines, fine = [], True
    for measure in MEASURES:
        low, high = record["interval"][measure]
        mean = spread([float(row[measure]) for row in rows]).mean
        inside = low <= mean <= high
        fine &= inside
        words = "within" if inside else "OUTSIDE OF"
        lines.append(f"{measure}: {mean:.3f} of {len(rows)} seeds, {words} {low:.3f} to {high:.3f}")
    return lines, fine


def read_record(path: Path, key: str) -> dict[str, Any]:
    """Return the recorded interval.

    Args:
        path: of the record.
        key: of the request that is checked; another one has another interval.

    Raises:
        InputError: the file has no record of this request.
    """
    record = "record it with: python -m benchmarks.guard record"
    try:
        found = json.loads(path.read_text("utf-8"))
        intervals = {m: [float(x) for x in found["interval"][m]] for m in MEASURES}
    except FileNotFoundError:
        raise InputError(f"There is no {path.name} with an interval; {record}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} has no interval that can be read; {record}") from None
    if found.get("request") != key:
        raise InputError(f"{path.name} is about another request than {CONFIG.name}; {record}")
    return {**found, "interval": intervals}


def main(words: list[str] | None = None) -> int:
    """Record the interval or check it; 1 if AP left it, 2 for bad input, else the code of a run."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("--work", type=Path, default=Path("runs/guard"), help="folder of the runs")
    parser.add_argument(
        "--config", type=Path, default=CONFIG, help="as of benchmarks.datasets, two data sets"
    )
    parser.add_argument("--interval", type=Path, default=INTERVAL, help="file of the interval")
    asked = parser.parse_args(words)
    try:
        return _guard(asked.what, asked.work / asked.what, asked.config, asked.interval)
    except AerostatError as error:
        print(f"benchmarks.guard: {error}", file=sys.stderr)
        return error.exit_code


def _guard(what: str, work: Path, config: Path, interval: Path) -> int:
    entries = {entry.name: entry for entry in read_config(config)}
    if not {"record", "check"} <= entries.keys():
        raise InputError(f"{config}: expected two data sets, named record and check.")
    key, recorded = (replace(entries[name], name="").key for name in ("check", "record"))
    if key != recorded:
        raise InputError(f"{config}: record and check may differ in their seeds only.")
    record = read_record(interval, key) if what == "check" else {}
    rows = work / "results.csv"
    if what == "check" and rows.is_file() and len(read_rows(rows)) >= len(entries["check"].seeds):
        shutil.rmtree(work)  # of a check that came to its end: the code may be another
    code = train_datasets([str(config), "--work", str(work), "--only", what])
    if code:
        return code
    found = [row for row in read_rows(rows) if row["dataset"] == what]
    if what == "record":
        content = {**record_of(found), "request": key}
        write_text(interval, json.dumps(content, indent=1) + "\n")
        print(f"{interval}: {content['interval']}")
        return 0
    lines, fine = judge(found, record)
    print("\n".join(lines))
    return 0 if fine else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the run that is going on saves its state
    sys.exit(main())
