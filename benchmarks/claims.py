"""Runs of a comparison that several processes may share: a folder each, taken by whoever makes it first.

A run that was stopped leaves its folder without a result; remove it, and the run is made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_RESULT = "result.json"


def arguments(description: str | None, out: str) -> argparse.ArgumentParser:
    """Return a parser of what each comparison is told: data, weights, classes and where its runs are."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--classes", nargs="+", default=["balloon"])
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def claimed(place: Path) -> bool:
    """Take a run by making its folder; False if somebody has it already."""
    try:
        place.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def record(place: Path, found: dict[str, Any]) -> None:
    """Keep what a run gave."""
    (place / _RESULT).write_text(json.dumps(found))


def results(out: Path) -> list[dict[str, Any]]:
    """Return what the finished runs gave, in the order of their folders."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{_RESULT}"))]
