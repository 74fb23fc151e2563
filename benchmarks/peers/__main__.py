"""Measure aerostat beside LibreYOLO, Ultralytics, RF-DETR and MMDetection, on the same photographs, in turn.

python -m benchmarks.peers --environment /tmp/peers --data balloon/

--environment is a folder for one virtual environment for each tool; nothing is installed without it. All have
the torch that runs here. Networks have random weights. A tool that cannot be installed or run has a row that
says why. A Markdown table is printed, and written as results.json into the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aerostat.benchmarking.computer import OthersWatch
from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError
from aerostat.files import write_text
from benchmarks.case import Case, Spread, Unavailable, measure
from benchmarks.machine import commit
from benchmarks.peers.environments import PEERS, Installed, Peer, install, python_of
from benchmarks.peers.measure import Trained, help_ms, photographs, training
from benchmarks.table import number

ENGINES = {
    "aerostat": ("torch", "onnx", "openvino", "openvino int8"),
    "ultralytics": ("torch", "onnx", "openvino"),
    "libreyolo": ("torch", "onnx", "openvino"),
    "rfdetr": ("torch",),
    "mmdetection": ("torch",),
}
"""Engines of each tool. The first is the one that a user gets without asking."""


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Args:
        what: was measured.
        tool: with its engine.
        figure: with its unit; empty without a measurement.
        per_work: the figure for 10^9 multiply-adds of an image; empty where it has no meaning.
        reason: why there is no figure.
    """

    what: str
    tool: str
    figure: str = ""
    per_work: str = ""
    reason: str = ""


def main(words: list[str] | None = None) -> int:
    """Measure what the command line asks for; 2 for bad input."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        "python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--environment", type=Path, required=True, help="folder for the environments, 10 GB")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/balloon"), help="balloon photographs"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TOOL")
    parser.add_argument("--rounds", type=int, default=12, help="of photographs; 5 of the help at most")
    parser.add_argument("--epochs", type=int, default=2, help="of the training; 0 leaves it out")
    parser.add_argument("--scored", type=int, default=5000, help="images that are scored; 0 leaves it out")
    asked = parser.parse_args(words)
    try:
        data = Dataset.read(asked.data, classes=["balloon"])
    except AerostatError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 2
    peers = [peer for peer in PEERS if peer.name in asked.only]
    others = OthersWatch()
    installed = {peer.name: _installed(peer, asked.environment) for peer in peers}
    ready = [peer for peer in peers if not installed[peer.name].problem]
    lines = _of_installation(peers, installed)
    lines += _of_help(ready, asked.environment, min(5, asked.rounds))
    photograph = data.split("val").images[0].path
    found, works = _of_photographs(ready, asked.environment, Path(photograph), asked.rounds)
    lines += found
    if asked.epochs:
        images = len(data.split("train"))
        lines += _of_training(ready, asked.environment, asked.data, images, asked.epochs, works)
    if asked.scored:
        lines += _of_scoring(asked.scored)
    text = _table(lines, installed, others.cores())
    content = {
        "lines": [asdict(line) for line in lines],
        "versions": _versions(installed),
        "commit": commit(),
    }
    write_text(asked.environment / "results.json", json.dumps(content, indent=1))
    print(text)
    return 0


def _installed(peer: Peer, folder: Path) -> Installed:
    _say(f"{peer.name}: its environment")
    return install(peer, folder)


def _of_installation(peers: Sequence[Peer], installed: dict[str, Installed]) -> list[Line]:
    """Return rows about size and time, and about tools that cannot be installed."""
    lines = []
    for peer in peers:
        found = installed[peer.name]
        for what, figure in (("size, MB", found.megabytes), ("time, s", found.seconds)):
            title = f"installation beside torch: {what}"
            if found.problem:
                lines.append(Line(title, peer.name, reason=found.problem))
            else:
                lines.append(Line(title, peer.name, number(figure)))
    return lines


def _of_help(ready: Sequence[Peer], folder: Path, rounds: int) -> list[Line]:
    title = "its help, ms"
    variants = {p.name: help_ms(python_of(folder / p.name), p.help) for p in ready if p.help}
    missing = {p.name: "it has no command line" for p in ready if not p.help}
    return _rows(Case(title, "ms", variants, unavailable=missing, rounds=rounds), {})


def _of_photographs(
    ready: Sequence[Peer], folder: Path, photograph: Path, rounds: int
) -> tuple[list[Line], dict[str, float]]:
    """Return rows about a photograph to detections, and the multiply-adds of each tool's network."""
    variants, missing, works = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for peer in ready:
            for engine in ENGINES[peer.name]:
                title = f"{peer.name}, {engine}"
                _say(f"{title}: set up")
                work = folder / "work" / f"{peer.name}-{engine.replace(' ', '-')}"
                try:
                    python = python_of(folder / peer.name)
                    one = stack.enter_context(photographs(python, peer.name, engine, photograph, work))
                except Unavailable as reason:
                    missing[title] = str(reason)
                else:
                    variants[title] = one
                    works[title] = works[peer.name] = one.macs
        _say("photographs, in turn")
        case = Case(
            "photograph to detections, 640 px, ms", "ms", variants, unavailable=missing, rounds=rounds
        )
        return _rows(case, works), works


def _of_training(
    ready: Sequence[Peer], folder: Path, data: Path, images: int, epochs: int, works: dict[str, float]
) -> list[Line]:
    """Return rows about a training: images per second of the whole command, and its memory."""
    rate, memory = f"training, {epochs} epochs, 640 px, images/s end to end", "training, peak memory, MB"
    lines = []
    for peer in ready:
        _say(f"{peer.name}: training")
        work = folder / "work" / f"{peer.name}-training"
        shutil.rmtree(work, ignore_errors=True)
        try:
            source = _data_for(peer.name, data, folder)
            python = python_of(folder / peer.name)
            found = training(python, peer.name, source, work, images=images, epochs=epochs)
        except Unavailable as reason:
            lines += [Line(what, peer.name, reason=str(reason)) for what in (rate, memory)]
        else:
            lines += _training_rows(rate, memory, peer.name, found, works.get(peer.name))
    return lines


def _training_rows(rate: str, memory: str, name: str, found: Trained, macs: float | None) -> list[Line]:
    # For a rate more work counts in favour of a tool: images/s times multiply-adds.
    work = f"{number(found.images_per_second * macs / 1e9)} x 10^9/s" if macs else ""
    rates = Line(rate, name, number(found.images_per_second), work)
    return [rates, Line(memory, name, number(found.megabytes))]


def _data_for(tool: str, data: Path, folder: Path) -> Path:
    """Return the data in the format that a tool reads.

    Raises:
        Unavailable: they cannot be converted.
    """
    form = {"ultralytics": "yolo", "libreyolo": "yolo", "rfdetr": "coco", "mmdetection": "coco"}.get(tool)
    made = folder / "work" / f"data-{form or 'coco'}"
    if not made.is_dir():
        words = [sys.executable, "-m", "aerostat", "convert", str(data), str(made), "--to", form or "coco"]
        words += ["--classes", "balloon", "--with-images", "copy"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable((done.stderr.strip() or "conversion failed").splitlines()[-1])
    return made.resolve()


def _of_scoring(count: int) -> list[Line]:
    """Return rows about COCO's figures by aerostat and by pycocotools, as MMDetection and LibreYOLO call."""
    from benchmarks.scale import scoring

    _say(f"scoring {count} images")
    (case,) = scoring(count)
    names = {"this": "aerostat", "pycocotools": "pycocotools (MMDetection, LibreYOLO)"}
    variants = {names[name]: variant for name, variant in case.variants.items()}
    return _rows(Case(f"scoring {count:,} images, s", "s", variants, rounds=1), {})


def _rows(case: Case, works: dict[str, float]) -> list[Line]:
    """Measure a case and return its rows, with the figure for 10^9 multiply-adds where they are known."""
    result = measure(case)
    lines = []
    for name, figures in result.figures.items():
        macs = works.get(name)
        per_work = number(figures.spread.median / (macs / 1e9)) if macs else ""
        lines.append(Line(case.name, name, _spread(figures.spread), per_work))
    return lines + [Line(case.name, name, reason=why) for name, why in result.missing.items()]


def _spread(spread: Spread) -> str:
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def _table(lines: Sequence[Line], installed: dict[str, Installed], busy: float | None) -> str:
    """Return the rows as Markdown, by what was measured, with versions."""
    rows = ["| what | tool | measured | for 10^9 multiply-adds |", "|---|---|---|---|"]
    for what in dict.fromkeys(line.what for line in lines):
        for i, line in enumerate(line for line in lines if line.what == what):
            figure = line.figure or f"- ({line.reason.replace('|', '/')})"
            rows.append(f"| {what if i == 0 else ''} | {line.tool} | {figure} | {line.per_work} |")
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    others = "unknown" if busy is None else f"{busy:.2f}"
    versions = "; ".join(f"{name}: {text}" for name, text in _versions(installed).items())
    about = (
        f"Commit {commit() or 'unknown'}, {time.strftime('%Y-%m-%d')}. Median and quartiles, in turn. "
        f"OMP_NUM_THREADS: {threads}. Other programs kept {others} cores busy. {versions}."
    )
    return "\n".join([*rows, "", about])


def _versions(installed: dict[str, Installed]) -> dict[str, str]:
    """Return the versions of each tool and of what it computes with."""
    shown = ("ultralytics", "libreyolo", "rfdetr", "mmdet", "aerostat", "torch", "onnxruntime", "openvino")
    return {
        name: ", ".join(f"{k} {found.versions[k]}" for k in shown if k in found.versions)
        for name, found in installed.items()
        if found.versions
    }


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
