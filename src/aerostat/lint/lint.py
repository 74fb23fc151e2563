"""Checks of annotated images and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aerostat.datasets.dataset import Dataset, read_what_can_be_read
from aerostat.datasets.origin import ReadOptions
from aerostat.errors import InputError
from aerostat.lint.annotations import check_boxes, check_classes, check_problems, check_shared_images
from aerostat.lint.contradictions import check_contradictions
from aerostat.lint.duplicates import Similar, find_similar, findings_of, join
from aerostat.lint.files import (
    ImageFile,
    check_headers,
    check_pixels,
    check_unreferenced,
    check_values,
    image_files,
    look_at_headers,
    look_at_pixels,
    reading_threads,
)
from aerostat.lint.listing import Finding, Leaks, LintReport, finding
from aerostat.lint.outlines import check_outlines
from aerostat.lint.split_masks import SplitMasks

MAX_HEADERS = 20_000
"""Maximum number of headers that are read before a training; more take longer than a user waits."""

BRIEF_SECONDS = 10.0
"""Seconds for which pixels are read before a training."""


def lint(
    data: Dataset, *, pixels: bool = True, brief: bool = False, threads: int | None = None
) -> LintReport:
    """Return what is wrong with a data set.

    All annotations are checked, and all headers unless `brief` limits them.

    Args:
        data: as it was read, not strictly.
        pixels: decode the images: finds those that are broken behind their headers, and those that are alike.
        brief: as before a training: pixels for `BRIEF_SECONDS` at most, headers of `MAX_HEADERS` at
            most, no comparison of scenes; what was not looked at is a finding.
        threads: that read; by default as many as there are processors, eight at most.
    """
    threads = threads or reading_threads()
    files = image_files(data)
    headers = files if not brief or len(files) <= MAX_HEADERS else []
    look_at_headers(headers, threads)
    if pixels:
        look_at_pixels(files, threads, BRIEF_SECONDS if brief else None)
    similar = find_similar(files, "none" if brief else "across splits")
    masks = {split.name: SplitMasks.of(split) for split in data.splits.values()}
    found = [
        *check_headers(headers),
        *check_pixels(files),
        *check_values(files),
        *check_unreferenced(data),
        *findings_of(files, similar),
        *check_problems(data, headers),
        *check_boxes(data),
        *check_contradictions(data, masks),
        *check_outlines(data, masks),
        *check_shared_images(data),
        *check_classes(data),
    ]
    if len(headers) < len(files):
        wrong = f"the headers of {len(files)} images were not looked at"
        found.append(finding("not-looked-at", ", ".join(data.splits), "", wrong))
    looked = sum(file.looked for file in files)
    return LintReport.of(
        found,
        images=len(files),
        headers=len(headers),
        pixels=looked,
        leaks=_leaks(files, similar, scenes=not brief) if looked == len(files) else None,
    )


def _leaks(files: Sequence[ImageFile], similar: Similar, *, scenes: bool) -> Leaks | None:
    """Return how many validation images have near-copies in training; None without both splits."""
    splits = {file.split for file in files}
    held_out = next((name for name in ("val", "test") if name in splits), None)
    if held_out is None or "train" not in splits:
        return None
    first = join(len(files), similar.pairs())
    learned = {group for group, file in zip(first, files, strict=True) if file.split == "train"}
    mine = [group for group, file in zip(first, files, strict=True) if file.split == held_out]
    return Leaks(held_out, len(mine), sum(group in learned for group in mine), scenes)


def lint_path(path: Path | str, options: ReadOptions | None = None, *, pixels: bool = True) -> LintReport:
    """Return what is wrong with the data at a path, also where they cannot be read whole.

    Args:
        path: as for `Dataset.read`.
        options: how to read it.
        pixels: as for `lint`.

    Raises:
        InputError: nothing at the path can be data, or the classes must be named.
    """
    data, refusals = read_what_can_be_read(Path(path), options or ReadOptions())
    refused: list[Finding] = [
        finding("annotations-refused", refusal.split, refusal.annotations.name, refusal.sentence)
        for refusal in refusals
    ]
    reports = [lint(part, pixels=pixels) for part in data]
    found = [*refused, *(f for report in reports for f in report.findings)]
    return LintReport.of(
        found,
        images=sum(report.images for report in reports),
        headers=sum(report.headers for report in reports),
        pixels=sum(report.pixels for report in reports),
        leaks=reports[0].leaks if len(reports) == 1 else None,
    )


def require_clean(report: LintReport) -> None:
    """Refuse data about which there is an error or a warning.

    Raises:
        InputError: naming the first and how many more there are.
    """
    if not report.fails(strict=True):
        return
    first = report.findings[0]
    more = report.count("error") + report.count("warning") - 1
    rest = f", and {more} more like this" if more else ""
    where = f"{first.split}/{first.file}" if first.file else first.split
    raise InputError(
        f"The data are refused by `strict`: {first.severity} {first.code}, {where}: {first.wrong}{rest}; "
        "`aerostat lint` shows all."
    )
