"""The file of runs, one row each, and the Markdown table that is made from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.experiments.statistics import spread
from aerostat.files import write_text
from aerostat.text import counted

COLUMNS = (
    *("date", "dataset", "split", "seed", "request"),
    *("ap", "ap50", "ap75", "mask_ap", "mask_ap50"),
    *("tta_ap", "tta_ap50", "tta_ap75", "tta_mask_ap", "tta_mask_ap50", "val_ap"),
    *("train_seconds", "eval_seconds", "tta_seconds", "peak_mb"),
    *("model", "weights", "input_size", "epochs", "batch_size", "lr", "precision"),
    *("train_images", "scored_images", "scored_objects", "classes", "reasons"),
    *("commit", "machine", "threads", "others_cores"),
    *("python", "aerostat", "torch", "numpy", "opencv"),
)
"""Columns of the file of runs."""
MEASURES = {
    "ap": "AP",
    "ap50": "AP50",
    "tta_ap": "AP, `--tta`",
    "tta_ap50": "AP50, `--tta`",
    "mask_ap": "mask AP",
    "tta_mask_ap": "mask AP, `--tta`",
}
"""Figures of the table with their titles."""

BEGIN, END = "<!-- datasets:", "<!-- /datasets -->"
"""Marks of a page between which the table stands."""

Row = Mapping[str, str]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the runs of a file; empty if there is no file.

    Raises:
        InputError: it is no file of runs.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}).") from None
    for number, row in enumerate(rows, 2):
        if row.keys() != set(COLUMNS) or None in row.values():
            raise InputError(
                f"{path}, line {number}: expected the columns {', '.join(COLUMNS[:4])} and so on."
            )
        for name in (*MEASURES, "train_seconds", "peak_mb"):
            if not _is_number(row[name]):
                raise InputError(f"{path}, line {number}: {name} is no number ({row[name]!r}).")
    return rows


def add_row(path: Path, result: Mapping[str, Any]) -> None:
    """Add a run to a file, unless it is there already; columns that it does not know stay empty."""
    rows = read_rows(path)
    row = {name: _text(result.get(name)) for name in COLUMNS}
    if row not in rows:
        write_rows(path, [*rows, row])


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a file of runs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def table(rows: Sequence[Row]) -> str:
    """Return the runs as Markdown: means with 95 % intervals over seeds, then choices and reasons."""
    if not rows:
        return "There is no finished run."
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["request"]), []).append(row)
    shown = {name: title for name, title in MEASURES.items() if any(row[name] for row in rows)}
    head = ["data", "scored on", "runs", *shown.values(), "training", "peak memory"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (name, _), group in groups.items():
        first = group[0]
        cells = [
            name,
            f"{first['split']}, {counted(int(first['scored_images']), 'image')}",
            str(len(group)),
            *(_interval([row[measure] for row in group]) for measure in shown),
            _mean(group, "train_seconds", 60, " min"),
            _mean(group, "peak_mb", 1, " MB"),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines += ["", "Mean with its 95 % interval over seeds (Student's t), averaged weights of the last epoch."]
    for (name, _), group in groups.items():
        lines += ["", *_choices(name, group)]
    return "\n".join(lines)


def write_page(page: Path, rows: Sequence[Row]) -> None:
    """Write the table, without the choices, between the markers of a page; the rest stays as it is.

    Raises:
        InputError: the markers are not there.
    """
    text = page.read_text("utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    line, _, rest = rest.partition("\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{page} has no lines {BEGIN} --> and {END} to write the table between.")
    short = "\n".join(line for line in table(rows).splitlines() if line.startswith("|"))
    write_text(page, f"{before}{begin}{line}\n{short or table(rows)}\n{end}{after}")


def _choices(name: str, group: Sequence[Row]) -> list[str]:
    """Return what was chosen for a data set and why, and where its runs were made."""
    first = group[0]
    start = first["weights"] or "fresh weights"
    lines = [
        f"**{name}**: {first['model']} from {start}, {first['input_size']} px, "
        f"{counted(int(first['epochs']), 'epoch')}, batch {first['batch_size']}, lr {first['lr']}, "
        f"{counted(int(first['train_images']), 'training image')}, seeds {_values(group, 'seed')}.",
        "",
        *(f"- {reason}" for reason in first["reasons"].split("; ") if reason),
        "",
        f"Commit {_values(group, 'commit')}; {_values(group, 'machine')}; aerostat "
        f"{_values(group, 'aerostat')}, torch {_values(group, 'torch')}; {_values(group, 'date')}; "
        f"other programs kept {_mean(group, 'others_cores', 1, '')} cores busy.",
    ]
    return lines


def _interval(values: Sequence[str]) -> str:
    numbers = [float(value) for value in values if value]
    if not numbers:
        return ""
    found = spread(numbers)
    text = f"{found.mean:.3f}"
    return text if found.count == 1 else f"{text} ({found.low:.3f} to {found.high:.3f})"


def _mean(group: Sequence[Row], name: str, divisor: float, unit: str) -> str:
    numbers = [float(row[name]) / divisor for row in group if row[name]]
    if not numbers:
        return "unknown"
    mean = sum(numbers) / len(numbers)
    return f"{mean:.0f}{unit}" if mean >= 100 else f"{mean:.1f}{unit}"


def _values(group: Sequence[Row], name: str) -> str:
    return ", ".join(dict.fromkeys(row[name] or "unknown" for row in group))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _is_number(text: str) -> bool:
    try:
        return text == "" or abs(float(text)) < float("inf")
    except ValueError:
        return False
