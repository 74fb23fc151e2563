"""``python -m scripts.fuzz [PARSER ...] [--inputs 5000 | --for SECONDS] [--seed 0] [--bombs]``."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path

from scripts.fuzz.bombs import BOMBS
from scripts.fuzz.parsers import PARSERS
from scripts.fuzz.watch import GOOD, Verdict, Watch


def main() -> int:
    """Try inputs on parsers, print a line for each parser, and return 1 if any input did what none may."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", default=[], help=f"of {', '.join(PARSERS)}; by default all")
    parser.add_argument("--inputs", type=int, default=5000, help="for each parser")
    parser.add_argument("--for", dest="seconds", type=float, help="in all, in place of a number of inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bombs", action="store_true", help="the files made to cost, and no others")
    parser.add_argument("--keep", type=Path, help="folder for inputs that went wrong")
    asked = parser.parse_args()
    names = asked.parsers or list(PARSERS)
    if unknown := [name for name in names if name not in PARSERS]:
        parser.error(f"unknown parser {unknown[0]}; known are {', '.join(PARSERS)}")
    wrong, total = 0, 0
    started = time.monotonic()
    with Watch() as watch:
        if asked.bombs:
            return _explode(watch, [name for name in BOMBS if name.partition("/")[0] in names])
        for name in names:
            last = asked.first + asked.inputs if asked.seconds is None else sys.maxsize
            end = time.monotonic() + (asked.seconds or math.inf) / len(names)
            verdicts = {asked.first: watch.verdict(name, asked.first, asked.seed)}
            for number in range(asked.first + 1, last):
                if time.monotonic() > end:
                    break
                verdicts[number] = watch.verdict(name, number, asked.seed)
            total += len(verdicts)
            wrong += _tell(name, verdicts, asked.seed, asked.keep)
    print(f"{total} inputs in {time.monotonic() - started:.0f} s, {wrong} went wrong")
    return 1 if wrong else 0


def _tell(name: str, verdicts: dict[int, Verdict], seed: int, keep: Path | None) -> int:
    """Print what became of a parser's inputs; return how many went wrong."""
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    slowest = max(verdict.seconds for verdict in verdicts.values())
    largest = max(verdict.peak for verdict in verdicts.values())
    good = ", ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in GOOD)
    print(
        f"{name:<8} {len(verdicts)} inputs: {good}; at most {slowest:.2f} s and {largest / 2**20:.0f} MB",
        flush=True,
    )
    told: Counter[str] = Counter()
    for number, verdict in verdicts.items():
        if verdict.good:
            continue
        kind = f"{verdict.outcome}: {verdict.said[:300]}"
        told[_alike(kind)] += 1
        if told[_alike(kind)] <= 2:
            figures = f"{verdict.size} bytes, {verdict.seconds:.2f} s, {verdict.peak / 2**20:.0f} MB"
            print(f"    number {number}: {kind} ({figures})")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{name}-{seed}-{number}").write_bytes(PARSERS[name].input(number, seed))
    return sum(told.values())


def _explode(watch: Watch, names: list[str]) -> int:
    """Try the files made to cost and print a line for each; return 1 if any cost too much."""
    wrong = 0
    for name in names:
        verdict = watch.verdict(name, 0)
        wrong += not verdict.good
        figures = f"{verdict.seconds:6.2f} s {verdict.peak / 2**20:6.0f} MB of {verdict.size / 2**20:6.2f} MB"
        print(f"{figures}  {name}: {verdict.outcome} {verdict.said[:150]}", flush=True)
    print(f"{len(names)} bombs, {wrong} went off")
    return 1 if wrong else 0


def _alike(text: str) -> str:
    """Return what two accounts of the same fault share: the place in the code, or the first words."""
    head, _, place = text.rpartition(" at ")
    return head.partition(":")[2][:20] + place if head else text[:40]


if __name__ == "__main__":
    sys.exit(main())
