"""From one annotation format to another, file by file; images stay where they are."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aerostat.datasets import formats
from aerostat.datasets.dataset import read_dataset
from aerostat.datasets.formats.format import LEFT_OUT, Format, WriteOptions
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Problem
from aerostat.errors import InputError
from aerostat.files import nearest_existing
from aerostat.images.archive import AnyPath
from aerostat.text import counted, listed


@dataclass(frozen=True, slots=True)
class Written:
    """The annotations of one split that were written.

    Args:
        path: the file, or the folder of files of a format with one per image.
        split: name of its split.
        images, instances: how many it holds.
    """

    path: Path
    split: str
    images: int
    instances: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Args:
        format: name of the format of the written files.
        classes: class names in the order of the written categories.
        files: what was written.
        problems: what was wrong with the source.
        lost: objects written as less than they were, by what the format cannot say.
    """

    format: str
    classes: tuple[str, ...]
    files: tuple[Written, ...]
    problems: tuple[Problem, ...]
    lost: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the conversion as JSON can hold it."""
        return {
            "format": self.format,
            "classes": list(self.classes),
            "files": [
                {"path": str(f.path), "split": f.split, "images": f.images, "instances": f.instances}
                for f in self.files
            ],
            "problems": dict(Counter(problem.kind for problem in self.problems)),
            "lost": self.lost,
        }

    def lines(self) -> list[str]:
        """Return the lines of a report for a person."""
        classes = f"{counted(len(self.classes), 'class', 'classes')} ({listed(self.classes, 8)})"
        report = [
            f"{f.path}: {counted(f.images, 'image')}, {counted(f.instances, 'object')} of {classes}"
            for f in self.files
        ]
        kinds = Counter(problem.kind for problem in self.problems)
        for kind, number in kinds.items():
            first = next(problem for problem in self.problems if problem.kind == kind)
            report.append(f"{kind}: {number}, first {first.file_name}: {first.detail}")
        return report + [f"{what}: {number}" for what, number in self.lost.items()]


def convert(
    src: Path | str,
    dst: Path | str,
    options: ReadOptions | None = None,
    *,
    to: str | None = None,
    area: Literal["polygon", "box"] = "polygon",
    force: bool = False,
) -> Conversion:
    """Write the annotations at `src` in another format, and return what was written.

    Args:
        src: anything that `Dataset.read` takes.
        dst: a file for one split, or a folder that gets ``train.json``, ``val.json`` and so on. A format
            with one file per image gets the folder, or a folder in it for each split.
        options: how to read `src`, such as the class names.
        to: name of the format to write; by default the one that is a word of the name of `dst`, else COCO.
        area: ``polygon`` states each object's own area, as COCO means it; ``box`` states the area of its box
            and, from VIA, adds half a pixel to the outlines and counts all ids from 0, as the usual balloon
            converter does.
        force: replace files that exist.

    Raises:
        InputError: the source cannot be read, or the destination exists or does not fit; nothing is written.

    Example:
        ``convert("balloon/train", "train.json", ReadOptions(classes=["balloon"]))``
    """
    src, dst = Path(src), Path(dst)
    written = formats.named(to) if to else _format_in_name(dst)
    options = options or ReadOptions()
    targets = _targets(src, dst, options, written, force)
    dataset = read_dataset(src, options)
    if dataset.left_out:  # a conversion is whole, or is refused
        raise InputError(dataset.left_out[0].sentence)
    files, lost = [], Counter[str]()
    for name, split in dataset.splits.items():
        instances = len(split.images.instances)
        source = formats.format_of(split)
        lost_here = written.write(
            split, targets[name], WriteOptions(area, whole_pixels=source is not None and source.whole_pixels)
        )
        instances -= lost_here[LEFT_OUT]
        lost += lost_here
        files.append(Written(targets[name], name, len(split), instances))
    return Conversion(written.name, dataset.classes, tuple(files), dataset.problems, dict(lost))


def _format_in_name(dst: Path) -> Format:
    """Return the format whose name is a word of the name of a file or folder, else the first of all.

    Words are separated by anything but letters: ``my_via.json`` names VIA, ``aviary.json`` does not.
    """
    first, *others = formats.FORMATS
    words = re.split(r"[\W\d_]+", dst.stem.lower())
    return next((format_ for format_ in others if format_.name in words), first)


def _targets(src: Path, dst: Path, options: ReadOptions, written: Format, force: bool) -> dict[str, Path]:
    """Return the file or folder to write for each split.

    Raises:
        InputError: the destination exists, or it is one file for several splits.
    """
    sources = find_splits(src, options)
    several = ", ".join(source.split for source in sources)
    if written.per_image:
        targets = {source.split: dst / source.split if len(sources) > 1 else dst for source in sources}
    elif dst.suffix and not dst.is_dir():
        if len(sources) > 1:
            raise InputError(
                f"{src} has several splits ({several}), which do not go into one file {dst}; name a folder, "
                "or convert one split."
            )
        targets = {sources[0].split: dst}
    else:
        targets = {source.split: dst / f"{source.split}{written.suffix}" for source in sources}
    for path in targets.values():
        if any(_is_same(path, source.annotations) for source in sources):
            kind = "folder" if written.per_image else "file"
            raise InputError(f"{path} is the {kind} to convert; name another {kind} to write.")
        _require_free(path, written, force)
    return targets


def _is_same(path: Path, source: AnyPath) -> bool:
    return isinstance(source, Path) and path.exists() and path.samefile(source)


def _require_free(path: Path, written: Format, force: bool) -> None:
    """Refuse a file or folder to write that exists or can never be.

    Raises:
        InputError: naming what is at the path.
    """
    above = nearest_existing(path.absolute().parent)
    fits = path.is_dir() if written.per_image else path.is_file()
    if not above.is_dir() or (path.exists() and not fits):
        kind, found = ("folder", "a file") if written.per_image else ("file", "a folder")
        raise InputError(
            f"{path} cannot be a {kind}: {found if above.is_dir() else above} stands in the way."
        )
    in_use = any(path.iterdir()) if path.is_dir() else path.exists()
    if in_use and not force:
        raise InputError(f"{path} exists; name another to write, or replace it with `force=True`.")
