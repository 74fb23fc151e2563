"""Measure what this project claims about speed and memory, on this machine, in under ten minutes.

Each part runs in a process of its own, compares its variants round by round, and has a time budget; a
part that fails does not take the others' results with it. A whole run is recorded in benchmarks/results/
and in the table of benchmarks/README.md; with --only just these parts of today's record are measured
again. --quick records nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from aerostat.benchmarking.computer import OthersWatch
from aerostat.files import write_text
from benchmarks.case import Unavailable, measure
from benchmarks.machine import ROOT, describe_machine, machine_name
from benchmarks.table import lines_of, write_readme

PARTS = (
    "augmentation",
    "training",
    "inference",
    "neighbour",
    "startup",
    "scale",
    "formats",
    "label_files",
    "lint",
    "masks",
    "video",
    "gpu",
)
"""Modules beside this one with a function ``cases(quick: bool) -> Iterator[Case]``, if they are there."""
HERE = Path(__file__).resolve().parent
QUICK_ROUNDS = 3


class Budget(NamedTuple):
    """Seconds: a part begins nothing after `soft` and is stopped after `hard`; `all` parts take no longer."""

    soft: float
    hard: float
    all: float


FULL = Budget(95.0, 105.0, 590.0)
QUICK = Budget(8.5, 10.5, 59.0)


def main(words: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 if a part failed."""
    asked = _parse(words)
    if asked.part:
        return _measure_part(asked.part, Path(asked.into), asked.quick)
    names = [name for name in asked.only if (HERE / f"{name}.py").is_file()]
    for name in set(asked.only) - set(names):
        _say(f"{name}: there is no benchmarks/{name}.py yet")
    if not names:
        return 1
    started = time.perf_counter()
    budget = QUICK if asked.quick else FULL
    _say("the machine, and what it can do at most")
    machine = describe_machine(1.0 if asked.quick else 4.0)
    parts = {}
    for name in names:
        seconds = min(budget.hard, budget.all - (time.perf_counter() - started))
        _say(f"{name}: at most {seconds:.0f} s")
        others = OthersWatch()
        part = run_part(name, asked.quick, seconds)
        parts[name] = {**part, "commit": machine["commit"], "others_cores": others.cores()}
        if parts[name]["problem"]:
            _say(f"{name}: {parts[name]['problem']}")
    record = {"date": date.today().isoformat(), "quick": asked.quick, "machine": machine, "parts": parts}
    for path in _record(record, asked.json):
        _say(f"wrote {path}")
    return int(any(part["problem"] for part in parts.values()))


def run_part(name: str, quick: bool, seconds: float) -> dict[str, Any]:
    """Return a part's results and what went wrong, measured in a process that has so many seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "results.jsonl"
        command = [sys.executable, "-m", "benchmarks", "--part", name, "--into", str(into)]
        process = subprocess.Popen(command + ["--quick"] * quick, cwd=ROOT)
        try:
            code = process.wait(max(0.0, seconds))
            problem = f"the process ended with {code}" if code not in (0, 3) else ""
        except subprocess.TimeoutExpired:
            problem = f"stopped after {seconds:.0f} s"
        finally:
            process.kill()
            process.wait()
        lines = into.read_text("utf-8").splitlines() if into.exists() else []
    told = [json.loads(line) for line in lines]
    said = next((line["problem"] for line in told if "problem" in line), "")
    if problem.startswith("stopped") and told and "begun" in told[-1]:
        problem += f" in {told[-1]['begun']}"
    return {
        "name": name,
        "results": [line["result"] for line in told if "result" in line],
        "problem": said or problem,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _measure_part(name: str, into: Path, quick: bool) -> int:
    """Measure the cases of one part, writing each down when it is done; 3 if it failed and said why."""
    started = time.perf_counter()
    left = (QUICK if quick else FULL).soft

    def tell(**line: Any) -> None:
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    try:
        cases = importlib.import_module(f"benchmarks.{name}").cases(quick)
        while True:
            tell(begun="the set-up of a case")
            case = next(cases, None)
            seconds = left - (time.perf_counter() - started)
            if case is None:
                return 0
            if seconds <= 0:
                tell(problem=f"the time was over before {case.name}")
                return 3
            tell(begun=case.name)
            _say(f"{name}: {case.name} ({left - seconds:.0f} s)")
            result = measure(case, QUICK_ROUNDS if quick else None, seconds)
            del case  # what it holds may be freed while the next one is set up
            tell(result=result.to_dict())
            print("\n".join(lines_of(result)), flush=True)
    except Unavailable as reason:
        tell(problem=str(reason))
        return 0
    except Exception as error:
        tell(problem=f"failed: {type(error).__name__}: {error}")
        import traceback

        traceback.print_exc()
        return 3


def _record(record: dict[str, Any], asked: Path | None) -> list[Path]:
    """Write the record where it belongs and return the files."""
    if asked is not None:
        write_text(asked, json.dumps(record, indent=1) + "\n")
        return [asked]
    if record["quick"]:
        return []
    path = HERE / "results" / f"{record['date']}-{machine_name(record['machine'])}.json"
    if path.exists():  # other parts of today's record stay
        record["parts"] = {**json.loads(path.read_text("utf-8"))["parts"], **record["parts"]}
    record["parts"] = {name: record["parts"][name] for name in PARTS if name in record["parts"]}
    write_text(path, json.dumps(record, indent=1) + "\n")
    write_readme(HERE / "README.md", path.parent)
    return [path, HERE / "README.md"]


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one minute: fewer and smaller rounds")
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"of {','.join(PARTS)}, with commas")
    parser.add_argument("--json", type=Path, help="write the record here instead of benchmarks/results/")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(PARTS)}, found {text!r}")
    return names


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
