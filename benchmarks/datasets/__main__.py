"""Train on each data set of a file as `train` does by itself, over seeds, and print a table with intervals.

python -m benchmarks.datasets benchmarks/datasets.toml

Runs, logs and results.csv are in the folder --work. Type the same command again after a kill: finished runs
are not repeated, and an unfinished one goes on. A data set of your own is one table [[dataset]] in a file:

    [[dataset]]
    path = "my-data"        # relative to the file; also: name, classes, images, format
    seeds = 5               # or a list
    weights = "rtmdet-tiny" # also: model, masks, val, score_on, recipe = { schedule = { epochs = 50 } }
"""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

from aerostat.errors import AerostatError, InputError
from aerostat.text import listed
from benchmarks.datasets.config import Entry, checked, read_config
from benchmarks.datasets.one_run import Job, finished
from benchmarks.datasets.table import add_row, read_rows, table, write_page
from benchmarks.machine import ROOT

WORK = Path("runs/datasets")


class FailedRunError(AerostatError):
    """A run did not end well; its exit code is passed on."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


def main(words: list[str] | None = None) -> int:
    """Make the runs that are missing and print the table; 2 for bad input, else the code of a run."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="TOML file that lists data sets")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the runs, by default {WORK}")
    parser.add_argument(
        "--csv", type=Path, help="file of runs, by default results.csv in the folder of the runs"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these data sets alone")
    parser.add_argument(
        "--table", action="store_true", help="print the table of finished runs, train nothing"
    )
    parser.add_argument("--page", type=Path, help="also write the table into this page, between its markers")
    asked = parser.parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        entries = _chosen(read_config(asked.config), asked.only)
        rows = asked.csv or asked.work / "results.csv"
        read_rows(rows)  # a file of something else is refused before hours of training
        if not asked.table:
            _make_all(entries, asked.config, asked.work, rows)
        names = [entry.name for entry in entries]
        found = [row for row in read_rows(rows) if row["dataset"] in names]
        print(table(found))
        if asked.page:
            write_page(asked.page, found)
    except AerostatError as error:
        print(f"benchmarks.datasets: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("benchmarks.datasets: Interrupted; type the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def _chosen(entries: list[Entry], only: list[str]) -> list[Entry]:
    names = [entry.name for entry in entries]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise InputError(f"There is no data set {unknown[0]!r}; there are {listed(names)}.")
    return [entry for entry in entries if not only or entry.name in only]


def _make_all(entries: list[Entry], config: Path, work: Path, rows: Path) -> None:
    """Make the runs that are missing, after checking that all of them can be made."""
    for entry in entries:
        for seed in entry.seeds:
            _require_same(Job(config, entry.name, seed).folder(work), entry)
        checked(entry, config.parent, work / entry.name / "scenes")
    jobs = [(entry, Job(config, entry.name, seed)) for entry in entries for seed in entry.seeds]
    for number, (entry, job) in enumerate(jobs, 1):
        folder = job.folder(work)
        row = finished(folder)
        if row is None:
            _say(f"run {number} of {len(jobs)}: {entry.name}, seed {job.seed}; log: {folder / 'log.txt'}")
            folder.mkdir(parents=True, exist_ok=True)
            job.write(folder)
            run_apart(folder)
            row = finished(folder)
            assert row is not None
            _say(f"{entry.name}, seed {job.seed}: AP {row['ap']:.3f}, with TTA {row['tta_ap']:.3f}")
        add_row(rows, row)


def run_apart(folder: Path) -> None:
    """Make the run of a folder in a process of its own, which ends with this one."""
    command = [sys.executable, "-m", "benchmarks.datasets.one_run", str(folder.resolve())]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # it saves its state
        process.wait()
        raise
    if code:
        raise FailedRunError(f"The run in {folder} ended with {code}; see above and its log.txt.", abs(code))


def _require_same(folder: Path, entry: Entry) -> None:
    """Refuse a folder whose run was asked for otherwise."""
    path = folder / "request.json"
    if path.is_file() and f'"request": "{entry.key}"' not in path.read_text("utf-8"):
        raise InputError(
            f"{folder} has a run of another request for {entry.name}; choose another name or `--work`."
        )


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the run that is going on saves its state
    sys.exit(main())
