"""Results as text: lines for the one who waits, and the table of README.md."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from aerostat.files import write_text
from aerostat.text import counted
from benchmarks.case import Result, Spread

BEGIN = "<!-- results: written by python -m benchmarks -->"
END = "<!-- end of results -->"


def lines_of(result: Result) -> list[str]:
    """Return a result as lines for a terminal, the variant with its figure, spread and ratio."""
    width = max((len(name) for name in [*result.figures, *result.missing]), default=0)
    lines = [result.name]
    for name, figures in result.figures.items():
        words = f"  {name:<{width}}  {_figure(figures.spread)} {result.unit}"
        if figures.times_better:
            words += f"  {_figure(figures.times_better)} times better than {result.baseline}"
        lines.append(words)
    lines += [f"  {name:<{width}}  {reason}" for name, reason in result.missing.items()]
    return lines + ([f"  goal: {result.goal}"] if result.goal else [])


def markdown_of(record: dict[str, Any]) -> str:
    """Return the section of one machine: what it is, and a table for each part."""
    machine = record["machine"]
    sections = [f"### {_title(machine)}", "", _machine_text(record), ""]
    for part in record["parts"].values():
        sections += [
            f"#### {part['name'].capitalize()}",
            "",
            f"Commit {part['commit'] or 'unknown'}, {part['seconds']:.0f} s{_others(part)}.",
            "",
        ]
        results = [Result.from_dict(content) for content in part["results"]]
        if results:
            sections += [
                "| what | variant | measured | times better | goal, prediction, reference |",
                "|---|---|---|---|---|",
            ]
            sections += [row for result in results for row in _rows(result)]
            sections.append("")
        if part["problem"]:
            sections += [f"Not complete: {_cell(part['problem'])}.", ""]
    return "\n".join(sections)


def write_readme(readme: Path, results: Path) -> None:
    """Write the newest results of each machine between the markers of README.md; the rest stays as it is.

    Raises:
        ValueError: if the markers are not there.
    """
    text = readme.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{readme} needs the lines {BEGIN} and {END}, once each and in this order")
    newest: dict[str, Path] = {}
    for path in sorted(results.glob("*.json")):  # names begin with the date
        newest[re.sub(r"^\d{4}-\d\d-\d\d-", "", path.stem)] = path
    sections = [markdown_of(json.loads(path.read_text("utf-8"))) for path in newest.values()]
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_text(readme, "\n".join([before + BEGIN, "", *sections, END + after]))


def _rows(result: Result) -> list[str]:
    told = [
        f"{word}: {said}"
        for word, said in (
            ("goal", result.goal),
            ("predicted", result.predicted),
            ("reference", result.reference),
            ("note", result.note),
        )
        if said
    ]
    rows = []
    for name, figures in result.figures.items():
        better = _figure(figures.times_better) if figures.times_better else ""
        if name == result.baseline and len(result.figures) > 1:
            better = "baseline"
        rows.append([name, f"{_figure(figures.spread)} {result.unit}", better])
    rows += [[name, f"- ({reason})", ""] for name, reason in result.missing.items()]
    firsts = [(result.name, "<br>".join(_cell(words) for words in told)), *[("", "")] * (len(rows) - 1)]
    return [
        f"| {_cell(what)} | {' | '.join(map(_cell, row))} | {said} |"
        for (what, said), row in zip(firsts, rows, strict=False)
    ]


def _machine_text(record: dict[str, Any]) -> str:
    machine = record["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    gpus = "".join(f"{name}; " for name in machine["gpus"])
    peak = "; ".join(
        f"{name}: {p['macs_per_second'] / 1e9:.0f} G multiply-adds/s ({p['arithmetic']}), "
        f"{p['bytes_per_second'] / 1e9:.0f} GB/s (copy)"
        for name, p in machine["peak"].items()
    )
    said = [
        f"{record['date']}. {gpus}{machine['processor']}, "
        f"{machine['cores']} cores, {', '.join(machine['caches'])}, {' '.join(machine['flags'])}, "
        f"{machine['memory_bytes'] / 1e9:.0f} GB, {machine['system']}; "
        f"{counted(machine['threads'], 'thread')}.",
        f"Python {machine['python']}, {packages}.",
        f"Measured peak: {peak}.",
    ]
    if machine["environment"]:
        said.append("Set: " + ", ".join(f"`{k}={v}`" for k, v in machine["environment"].items()) + ".")
    return "\n".join(said)


def _others(part: dict[str, Any]) -> str:
    cores = part["others_cores"]
    return "" if cores is None else f"; other programs kept {cores:.2f} cores busy meanwhile"


def _title(machine: dict[str, Any]) -> str:
    gpu = f"{machine['gpus'][0]}, " if machine["gpus"] else ""
    return f"{gpu}{machine['processor']}, {machine['cores']} cores"


def _figure(spread: Spread) -> str:
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def number(value: float) -> str:
    """Return a figure with three digits that count, and no exponent."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")
