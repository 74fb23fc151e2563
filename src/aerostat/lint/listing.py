"""Findings of lint, each with what training does about it, and their report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.problems import SEVERITIES, TYPE_OF_CODE, Severity
from aerostat.datasets.records import Split
from aerostat.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_FINDINGS = 3
"""Findings of each type that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of the data, or a fact worth knowing.

    Args:
        code: see `aerostat.datasets.problems`; it stays the same between versions.
        severity: of its type, unless this one costs less.
        split: name of the split.
        file: the image as the annotations name it, or the annotation file.
        record: the annotation, region or category concerned; empty if it is the file itself.
        wrong: what is wrong, a clause.
        training: what training does about it, a clause.
    """

    code: str
    severity: Severity
    split: str
    file: str
    record: str
    wrong: str
    training: str


def finding(
    code: str, split: str, file: str, wrong: str, *, record: str = "", severity: Severity | None = None
) -> Finding:
    """Return a finding of a type that the table of problems has."""
    row = TYPE_OF_CODE[code]
    return Finding(code, severity or row.severity, split, file, record, wrong, row.consequence)


def of_object(split: Split, at: int, code: str, wrong: str, *, severity: Severity | None = None) -> Finding:
    """Return a finding about the object at a place of a split."""
    offsets = split.images.offsets
    image = int(np.searchsorted(offsets, at, side="right")) - 1
    record = f"object {at - int(offsets[image]) + 1}"
    return finding(code, split.name, split.images.file_names[image], wrong, record=record, severity=severity)


def box_text(box_xyxy: NDArray[np.float64]) -> str:
    """Return the corners of a box (4,) for a finding, to a tenth of a pixel."""
    return f"({', '.join(f'{value:g}' for value in box_xyxy.round(1).tolist())})"


@dataclass(frozen=True, slots=True)
class Leaks:
    """How many held-out images have near-copies in training; figures on them are too good.

    Args:
        split: ``val``, or ``test`` where there is no val.
        images: in that split.
        in_training: how many of them have a near-copy in train, or the same scene.
        scenes: whether the same scenes were looked for, too.
    """

    split: str
    images: int
    in_training: int
    scenes: bool

    @property
    def sentence(self) -> str:
        """The number, and what follows from it.

        >>> Leaks("val", 13, 0, scenes=True).sentence
        '0 of 13 validation images have near-copies in training'
        """
        which = "validation" if self.split == "val" else self.split
        have = "has a near-copy" if self.in_training == 1 else "have near-copies"
        what = f"{self.in_training} of {self.images} {which} images {have}"
        if not self.in_training:
            return f"{what} in training"
        scene = " or the same scene" * self.scenes
        return f"{what}{scene} in training: figures will be too good"


@dataclass(frozen=True, slots=True)
class LintReport:
    """What lint has found.

    Args:
        findings: the most severe first, then by kind, in the order of the data.
        images: in the data.
        headers: how many files' headers were looked at.
        pixels: how many images' pixels were looked at.
        leaks: held-out images with near-copies in training; None where not all pixels were looked at, or
            where there are no two splits.
    """

    findings: tuple[Finding, ...]
    images: int
    headers: int
    pixels: int
    leaks: Leaks | None = None

    @classmethod
    def of(
        cls,
        findings: Sequence[Finding],
        *,
        images: int,
        headers: int,
        pixels: int,
        leaks: Leaks | None = None,
    ) -> LintReport:
        """Return a report with the findings in order."""
        place = {code: number for number, code in enumerate(TYPE_OF_CODE)}
        ordered = sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), place[f.code]))
        return cls(tuple(ordered), images, headers, pixels, leaks)

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(f.severity == severity for f in self.findings)

    def fails(self, strict: bool = False) -> bool:
        """Return whether there is an error, or with `strict` an error or a warning."""
        return bool(self.count("error") or (strict and self.count("warning")))

    def groups(self) -> list[list[Finding]]:
        """Return the findings by kind and severity."""
        groups: dict[tuple[str, Severity], list[Finding]] = {}
        for f in self.findings:
            groups.setdefault((f.code, f.severity), []).append(f)
        return list(groups.values())

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """Return the report for JSON.

        Args:
            most: maximum number of findings of each type; None gives all.
        """
        shown = [asdict(f) for group in self.groups() for f in group[:most]]
        return {
            "images": self.images,
            "headers": self.headers,
            "pixels": self.pixels,
            "leaks": None if self.leaks is None else asdict(self.leaks),
            "counts": {f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "codes": dict(Counter(f.code for f in self.findings)),
            "findings": shown,
        }

    def summary(self) -> str:
        """Return one sentence: what was looked at, and how much was found."""
        looked = f"{counted(self.images, 'image')}, headers of {self.headers}, pixels of {self.pixels}"
        found = ", ".join(counted(n, s) for s in SEVERITIES if (n := self.count(s))) or "nothing found"
        return f"{found} ({looked})"

    def render(
        self,
        see_all: str = "the report names all",
        repair: str = "aerostat.splitting.repair.repair(data) proposes moves",
        wording: Callable[[str], str] = str,
    ) -> RenderableType:
        """Return the findings by kind for a console at least 80 columns wide.

        Args:
            see_all: a clause that says where all findings are.
            repair: a clause that says how to move images between splits.
            wording: what is done to a finding's text before it is shown.
        """
        from rich.text import Text

        styles: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
        text = Text()
        if self.leaks is not None:
            hint = f"; {repair}" * bool(self.leaks.in_training)
            text.append(f"{self.leaks.sentence}{hint}\n", style="bold red" if hint else "")
        text.append("Lint: ", style="bold")
        text.append(self.summary(), style="not bold")
        for group in self.groups():
            first = group[0]
            text.append("\n")
            text.append(f"{first.severity:8}", style=styles[first.severity])
            text.append(f"{first.code} ({len(group)}): {first.training}", style="not bold")
            for f in group[:SHOWN_FINDINGS]:
                where = f"{f.split}/{f.file}" if f.file else f.split
                text.append(f"\n    {where}: {wording(f.wrong)}", style="not bold dim")
            if len(group) > SHOWN_FINDINGS:
                text.append(f"\n    and {len(group) - SHOWN_FINDINGS} more ({see_all})", style="not bold dim")
        return text
