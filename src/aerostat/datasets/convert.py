"""From one annotation format to another, file by file; images stay where they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aerostat.datasets.dataset import read_dataset
from aerostat.datasets.discover import find_sources
from aerostat.datasets.formats.coco import write_coco
from aerostat.datasets.formats.via import LEFT_OUT, write_via
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Problem, Split
from aerostat.datasets.sniff import Format
from aerostat.errors import InputError
from aerostat.files import nearest_existing
from aerostat.text import counted, listed

PIXEL_CENTRE = 0.5
"""What the usual balloon converter adds to VIA's whole-numbered vertices: the middle of the pixel."""


@dataclass(frozen=True, slots=True)
class Written:
    """One annotation file that was written.

    Args:
        path: the file.
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
        format: of the written files.
        classes: class names in the order of the written categories.
        files: what was written.
        problems: what was wrong with the source.
        lost: objects written as less than they were, by what the format cannot say.
    """

    format: Format
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
        """Return what a person is told, a line each."""
        classes = f"{counted(len(self.classes), 'class', 'classes')} ({listed(self.classes, 8)})"
        told = [
            f"{f.path}: {counted(f.images, 'image')}, {counted(f.instances, 'object')} of {classes}"
            for f in self.files
        ]
        kinds = Counter(problem.kind for problem in self.problems)
        for kind, number in kinds.items():
            first = next(problem for problem in self.problems if problem.kind == kind)
            told.append(f"{kind}: {number}, first {first.file_name}: {first.detail}")
        return told + [f"{what}: {number}" for what, number in self.lost.items()]


def convert(
    src: Path | str,
    dst: Path | str,
    options: ReadOptions | None = None,
    *,
    to: Format | None = None,
    area: Literal["polygon", "box"] = "polygon",
    force: bool = False,
) -> Conversion:
    """Write the annotations at `src` in another format, and return what was written.

    Args:
        src: anything that `Dataset.read` takes.
        dst: a file for one split, or a folder that gets ``train.json``, ``val.json`` and so on.
        options: how to read `src`, such as the class names.
        to: format to write; by default VIA where the name of `dst` has ``via`` in it, else COCO.
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
    to = to or ("via" if "via" in dst.stem.lower() else "coco")
    options = options or ReadOptions()
    targets = _targets(src, dst, options.image_folder, force)
    dataset = read_dataset(src, options)
    files, lost = [], Counter[str]()
    for name, split in dataset.splits.items():
        instances = sum(len(image.instances) for image in split.images)
        if to == "via":
            lost_here = write_via(split, targets[name])
            instances -= lost_here[LEFT_OUT]
            lost += lost_here
        else:
            _write_coco(split, targets[name], area)
        files.append(Written(targets[name], name, len(split), instances))
    return Conversion(to, dataset.classes, tuple(files), dataset.problems, dict(lost))


def _write_coco(split: Split, path: Path, area: Literal["polygon", "box"]) -> None:
    if area == "box" and split.source_format == "via":
        write_coco(split, path, area="box", ids="from_zero", polygon_offset=PIXEL_CENTRE)
    else:
        write_coco(split, path, area=area)


def _targets(src: Path, dst: Path, images: Path | None, force: bool) -> dict[str, Path]:
    """Return the file to write for each split.

    Raises:
        InputError: a file stands there, or one file is asked for several splits.
    """
    sources = find_sources(src, images)
    if dst.suffix and not dst.is_dir():
        if len(sources) > 1:
            names = ", ".join(source.split for source in sources)
            raise InputError(
                f"{src} has several splits ({names}), which do not go into one file {dst}; name a folder, "
                "or convert one split."
            )
        targets = {sources[0].split: dst}
    else:
        targets = {source.split: dst / f"{source.split}.json" for source in sources}
    for path in targets.values():
        if any(path.exists() and path.samefile(source.annotations) for source in sources):
            raise InputError(f"{path} is the file to convert; name another file to write.")
        above = nearest_existing(path.absolute().parent)
        if not above.is_dir() or path.is_dir():
            raise InputError(
                f"{path} cannot be a file: {'a folder' if path.is_dir() else above} stands in the way."
            )
        if path.exists() and not force:
            raise InputError(f"{path} exists; name another file to write, or replace it with --force.")
    return targets
