"""What explanations cost beside predictions, interleaved in one process: the first tables of benchmarks/explain.md.

python benchmarks/explain.py WEIGHTS PHOTOGRAPH... --input-size 640 --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from aerostat.data.image import read_image
from aerostat.explanation.boxam import explain
from aerostat.predict import Detector, load

MANY = 20
"""Detections that are compared with one."""


def measure(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return by name the medians of wall and processor time in milliseconds, one call of each per round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if number:  # the first round warms up
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (1e3 * statistics.median(w for w, _ in rows), 1e3 * statistics.median(c for _, c in rows))
        for name, rows in times.items()
    }


def crowded(detector: Detector, photograph: Path) -> float | None:
    """Return a score above which there are enough detections on a photograph, if there is one."""
    scores = detector.predict(photograph, score=0.001).scores
    return float(scores[MANY]) if len(scores) > MANY else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights")
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--input-size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layers", nargs="+", default=["backbone.stage4"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = load(arguments.weights, device="cpu", input_size=arguments.input_size)
    print("| photograph | layer | predict | explain 1 | explain 20 | 1 / predict | 20 / 1 |")
    print("|---|---|---|---|---|---|---|")
    for photograph in arguments.photographs:
        score = crowded(detector, photograph)
        if score is None:
            continue
        image = read_image(photograph)
        works: dict[str, Callable[[], object]] = {"predict": lambda: detector.predict(image, score=score)}
        for layer in (None, *arguments.layers):
            for top in (1, MANY):
                works[f"{layer}/{top}"] = lambda layer=layer, top=top: explain(
                    detector, image, layer=layer, score=score, top=top
                )
        medians = measure(works, arguments.rounds)
        plain = medians["predict"]
        for layer in (None, *arguments.layers):
            one, many = medians[f"{layer}/1"], medians[f"{layer}/{MANY}"]
            cells = [f"{wall:.0f} ({cpu:.0f})" for wall, cpu in (plain, one, many)]
            print(
                f"| {photograph.stem} | {layer or 'default'} | {' | '.join(cells)} "
                f"| {one[0] / plain[0]:.1f} ({one[1] / plain[1]:.1f}) "
                f"| {many[0] / one[0]:.1f} ({many[1] / one[1]:.1f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
