"""A summary of a run: as a line, as plain values, and as HTML for notebooks."""

from __future__ import annotations

import base64
import html
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerostat.runs.metrics import best_of, deciding_ap, is_number, lines_of
from aerostat.text import html_table

FIGURES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
MASK_FIGURES = {"mask_ap": "mask AP", "mask_ap50": "mask AP50", "mask_ap75": "mask AP75"}
"""Figures of a validation that a table shows, with their headings."""


@dataclass(frozen=True)
class RunSummary:
    """The recipe, the epochs and the best and last figures of a run.

    Args:
        path: directory of the run.
        recipe: section -> key -> value; empty without a recipe.
        epoch: finished epochs, as far as the metrics tell.
        finished: whether the run has ended.
        best, last: records of the validation with the highest AP, of masks if there are any, and of the last
            one; None without any.
        files: names of the files in the directory.
    """

    path: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0
    finished: bool = False
    best: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()

    @property
    def epochs(self) -> int | None:
        """Epochs of the whole run; None if the recipe does not tell."""
        epochs = _section(self.recipe, "schedule").get("epochs")
        return epochs if isinstance(epochs, int) else None

    @property
    def line(self) -> str:
        """The summary in one line, such as ``rtmdet-nano, 40 of 40 epochs, best AP 0.512 (epoch 31)``."""
        size = _section(self.recipe, "model").get("size")
        parts = [f"rtmdet-{size}"] if size else []
        parts.append(f"{self.epoch} of {self.epochs} epochs" if self.epochs else f"{self.epoch} epochs")
        if self.best is not None:
            what = "mask AP" if "mask_ap" in self.best else "AP"
            parts.append(f"best {what} {deciding_ap(self.best):.3f} (epoch {self.best['epoch']})")
        return ", ".join(parts if self.finished else [*parts, "not finished"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "path": str(self.path),
            "recipe": dict(self.recipe),
            "epoch": self.epoch,
            "epochs": self.epochs,
            "finished": self.finished,
            "best": None if self.best is None else dict(self.best),
            "last": None if self.last is None else dict(self.last),
            "files": list(self.files),
        }

    def to_html(self, pictures: Sequence[tuple[str, bytes]] = ()) -> str:
        """Return the summary as HTML, all texts escaped.

        Args:
            pictures: title and PNG of each, shown inline.
        """
        records = {"best": self.best, "last": self.last}
        shown = {name: record for name, record in records.items() if record is not None}
        masks = any(key in record for record in shown.values() for key in MASK_FIGURES)
        figures = {**FIGURES, **(MASK_FIGURES if masks else {})}
        rows = [
            (name, record["epoch"], *(_three_digits(record.get(key)) for key in figures))
            for name, record in shown.items()
        ]
        parts = [f"<p><b>{html.escape(str(self.path))}</b>: {html.escape(self.line)}</p>"]
        if rows:
            parts.append(html_table(("", "epoch", *figures.values()), rows))
        for title, png in pictures:
            source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
            parts.append(f'<img alt="{html.escape(title)}" src="{source}" style="max-width: 480px">')
        return "".join(parts)


def summarise(
    path: Path, recipe: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, finished: bool
) -> RunSummary:
    """Return the summary of a run.

    Args:
        path: its directory.
        recipe: section -> key -> value.
        records: of its metrics.
        finished: whether it has ended.
    """
    scored = lines_of(records, "val", "ap")
    train = lines_of(records, "train", "epoch")
    ended = lines_of(records, "end", "epoch")
    # An epoch counts once it was validated or has ended, or once the next one has begun.
    epochs = [record["epoch"] for record in (*scored, *ended)] + [record["epoch"] - 1 for record in train]
    files = sorted(file.name for file in path.iterdir()) if path.is_dir() else []
    return RunSummary(
        path,
        recipe,
        int(max(epochs, default=0)),
        finished,
        best_of(scored),
        scored[-1] if scored else None,
        tuple(name for name in files if not name.startswith(".")),
    )


def read_recipe_table(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file; empty if it is missing or unreadable."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _three_digits(value: object) -> str:
    return f"{value:.3f}" if is_number(value) else ""


def _section(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = recipe.get(name)
    return section if isinstance(section, Mapping) else {}
