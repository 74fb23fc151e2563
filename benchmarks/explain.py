"""What explanations cost beside predictions, interleaved in one process: the table in benchmarks/explain.md.

python benchmarks/explain.py WEIGHTS PHOTOGRAPH... --input-size 640 --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.explanation.boxam import explain
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load

MANY = 20
"""Detections that are compared with one."""
Times = dict[str, tuple[float, float]]


def measure(works: dict[str, Callable[[], object]], rounds: int) -> Times:
    """Return by name the medians of wall and processor time in milliseconds, one call of each a round."""
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


def explained(
    detector: Detector,
    image: NDArray[np.uint8],
    score: float,
    layer: str | None,
    top: int,
    heat: bool = False,
) -> None:
    """Explain the best `top` detections by GradCAM and, if asked, bring each map to the photograph's size."""
    for item in explain(detector, image, layer=layer, method="gradcam", score=score, top=top):
        if heat:
            item.heat  # noqa: B018 - the property does the work


def works_on(
    detector: Detector, photograph: Path, layers: list[str | None]
) -> dict[str, Callable[[], object]] | None:
    """Return what is measured on a photograph, or None if it has too few detections at any score."""
    image = read_image(photograph)
    scores = detector.predict(image, score=0.001).scores
    if len(scores) <= MANY:
        return None
    score = float(scores[MANY])
    works: dict[str, Callable[[], object]] = {"predict": partial(detector.predict, image, score=score)}
    for layer in layers:
        for top in (1, MANY):
            for heat in (False, True):
                name = f"{layer}/{top}/{heat}"
                works[name] = partial(explained, detector, image, score, layer, top, heat)
    return works


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
    layers = [None, *arguments.layers]
    print("| photograph | layer | heat | predict | explain 1 | explain 20 | 1 / predict | 20 / 1 |")
    print("|---|---|---|---|---|---|---|---|")
    for photograph in arguments.photographs:
        works = works_on(detector, photograph, layers)
        times = measure(works, arguments.rounds) if works else {}
        for layer in layers if works else []:
            for heat in (False, True):
                rows = [times[name] for name in ("predict", f"{layer}/1/{heat}", f"{layer}/{MANY}/{heat}")]
                plain, one, many = rows
                cells = [photograph.stem[:12], layer or "default", "on the photograph" if heat else "maps"]
                cells += [f"{wall:.0f} ({cpu:.0f})" for wall, cpu in rows]
                cells += [f"{one[0] / plain[0]:.1f} ({one[1] / plain[1]:.1f})"]
                cells += [f"{many[0] / one[0]:.1f} ({many[1] / one[1]:.1f})"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
