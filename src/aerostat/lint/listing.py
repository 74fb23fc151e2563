"""What lint says: findings of known kinds, each with what training does about it, and their sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from aerostat.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

SHOWN_FINDINGS = 3
"""So many findings of each kind are named; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Args:
        severity: `error`: an image or object is lost, or figures or boxes are wrong; `warning`: it is kept
            but probably not what was meant; `note`: worth knowing.
        training: what training does about it.
    """

    severity: Severity
    training: str


KINDS: dict[str, Kind] = {
    # files of images
    "image-missing": Kind("error", "the image is left out with its objects"),
    "image-empty": Kind("error", "the image is left out with its objects"),
    "image-unreadable": Kind("error", "the image is left out with its objects"),
    "image-truncated": Kind(
        "error", "another image is shown in its place; evaluation leaves it out with its objects"
    ),
    "image-boxes-other-orientation": Kind(
        "error", "the image is turned upright and the boxes are taken as they stand, so they may be wrong"
    ),
    "image-size": Kind("warning", "the size in the image file counts, not the stated one"),
    "image-misnamed": Kind("warning", "the image is read as what it is"),
    "image-unreferenced": Kind("warning", "the image is not used"),
    "image-rotated": Kind("note", "the image is turned upright, as in evaluation and prediction"),
    # images that are alike
    "duplicate-across-splits": Kind("error", "it is learned and then asked for, so the figures flatter"),
    "duplicate-in-split": Kind("warning", "it counts as often as it is there"),
    "near-duplicate-across-splits": Kind("warning", "what is learned is nearly what is asked for"),
    "near-duplicate-in-split": Kind("note", "both are used"),
    "same-scene-across-splits": Kind("warning", "what is learned may be what is asked for"),
    # objects
    "object-unreadable": Kind("error", "the record is left out, the image and its other objects stay"),
    "object-without-class": Kind("error", "the object is dropped, the image and its other objects stay"),
    "image-unknown": Kind("error", "the object is dropped"),
    "category-unknown": Kind("error", "the object is dropped, the image and its other objects stay"),
    "number-not-finite": Kind("error", "the object is dropped, the image and its other objects stay"),
    "number-too-large": Kind("error", "the box is cut at the border, or dropped where it lies beyond"),
    "number-as-text": Kind("warning", "it is read as the number that it says"),
    "box-outside": Kind("error", "the object is dropped, the image and its other objects stay"),
    "box-empty": Kind("error", "the object is dropped, the image and its other objects stay"),
    "box-swapped-corners": Kind("error", "the object is dropped, the image and its other objects stay"),
    "box-clipped": Kind("warning", "the box is cut at the border of the image"),
    "box-duplicate": Kind("warning", "both are learned"),
    "box-covers-image": Kind("warning", "it is learned like any other"),
    "polygon-self-crossing": Kind("warning", "the object is kept with its box"),
    "polygon-degenerate": Kind("warning", "the object is kept by its box, without this outline"),
    "mask-unusable": Kind("warning", "the object is kept by its box"),
    # classes and whole files
    "annotations-refused": Kind("error", "training refuses the data"),
    "category-repeated": Kind("warning", "it is counted once"),
    "category-placeholder": Kind("note", "it is left out of the classes"),
    "category-ids-with-holes": Kind("note", "labels count from 0 without holes; the ids are kept on output"),
    "category-id-too-large": Kind("note", "it is kept; tools with 32-bit ids cannot hold it"),
    "class-without-objects": Kind("warning", "nothing of it can be learned or measured"),
    "class-in-one-split": Kind("warning", "it is learned and never measured, or measured and never learned"),
    "not-looked-at": Kind("note", "what is wrong there is found where it is met, and skipped with a word"),
}
"""All kinds by their code, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Args:
        code: a key of `KINDS`, which stays the same between versions.
        severity: of its kind, unless this one costs less.
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
    """Return a finding of a known kind."""
    kind = KINDS[code]
    return Finding(code, severity or kind.severity, split, file, record, wrong, kind.training)


@dataclass(frozen=True, slots=True)
class LintReport:
    """What lint has found.

    Args:
        findings: the most severe first, then by kind, in the order of the data.
        images: in the data.
        headers: how many files' headers were looked at.
        pixels: how many images' pixels were looked at.
    """

    findings: tuple[Finding, ...]
    images: int
    headers: int
    pixels: int

    @classmethod
    def of(cls, findings: Sequence[Finding], *, images: int, headers: int, pixels: int) -> LintReport:
        """Return a report with the findings in order."""
        place = {code: number for number, code in enumerate(KINDS)}
        ordered = sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), place[f.code]))
        return cls(tuple(ordered), images, headers, pixels)

    def count(self, severity: Severity) -> int:
        """Return how many findings are so severe."""
        return sum(f.severity == severity for f in self.findings)

    def fails(self, strict: bool = False) -> bool:
        """Say whether there is an error, or with `strict` an error or a warning."""
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
            most: at most so many findings of each kind; None gives all.
        """
        shown = [asdict(f) for group in self.groups() for f in group[:most]]
        return {
            "images": self.images,
            "headers": self.headers,
            "pixels": self.pixels,
            "counts": {f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "codes": dict(Counter(f.code for f in self.findings)),
            "findings": shown,
        }

    def summary(self) -> str:
        """Return one sentence: what was looked at, and how much was found."""
        looked = f"{counted(self.images, 'image')}, headers of {self.headers}, pixels of {self.pixels}"
        found = ", ".join(counted(n, s) for s in SEVERITIES if (n := self.count(s))) or "nothing found"
        return f"{found} ({looked})"

    def render(self, see_all: str = "--json names all") -> RenderableType:
        """Return the findings by kind for a console at least 80 columns wide.

        Args:
            see_all: said where some are only counted.
        """
        from rich.text import Text

        styles: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
        text = Text("Lint: ", style="bold")
        text.append(self.summary(), style="not bold")
        for group in self.groups():
            first = group[0]
            text.append("\n")
            text.append(f"{first.severity:8}", style=styles[first.severity])
            text.append(f"{first.code} ({len(group)}): {first.training}", style="not bold")
            for f in group[:SHOWN_FINDINGS]:
                where = f"{f.split}/{f.file}" if f.file else f.split
                text.append(f"\n    {where}: {f.wrong}", style="not bold dim")
            if len(group) > SHOWN_FINDINGS:
                text.append(f"\n    and {len(group) - SHOWN_FINDINGS} more ({see_all})", style="not bold dim")
        return text
