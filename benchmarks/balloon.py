"""Fine-tune on the balloon photographs with several seeds and print the table of benchmarks/balloon.md.

python benchmarks/balloon.py balloon/ rtmdet_nano_person.pth --seeds 0 1 --work runs/benchmark
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from aerostat.runs.directory import Run
from aerostat.runs.metrics import lines_of


def train(data: Path, weights: Path, seed: int, out: Path, more: list[str]) -> float:
    """Train as a user would, in a process of its own, and return the wall time in seconds."""
    command = [sys.executable, "-m", "aerostat", "train", str(data), "--classes", "balloon"]
    command += ["--model", "rtmdet-nano", "--weights", str(weights), "--seed", str(seed), "--out", str(out)]
    began = time.monotonic()
    subprocess.run(command + more, check=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"))
    arguments, more = parser.parse_known_args()
    rows = []
    for seed in arguments.seeds:
        run = Run(arguments.work / f"seed{seed}")
        seconds = train(arguments.data, arguments.weights, seed, run.path, more)
        records = run.read_metrics()
        validations = lines_of(records, "val", "ap")
        at = {record["epoch"]: record for record in validations}
        last, best = validations[-1], max(validations, key=lambda record: record["ap"])
        memory = max(record["memory_mb"] for record in records if record["kind"] == "train")
        early = " / ".join(f"{at[epoch]['ap']:.3f}" for epoch in (10, 20, 30) if epoch in at)
        rows.append(
            f"| {seed} | {last['ap']:.3f} | {last['ap50']:.3f} | {last['ap75']:.3f} | {early} "
            f"| {best['ap']:.3f} ({best['epoch']}) | {seconds:.0f} s | {memory:.0f} MB |"
        )
    print(
        "| seed | AP | AP50 | AP75 | AP at 10 / 20 / 30 | best epoch (optimistic) | wall time | peak memory |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
