"""From one annotation format to another. Images stay where they are, unless they are brought along.

Images that are brought along stand where reading finds them by itself:

| format | annotations | images |
|---|---|---|
| one file per split | ``DST/SPLIT.json`` | ``DST/images/SPLIT/``, or ``DST/images/`` for one split |
| one file per image | ``DST/SPLIT/``, or ``DST/`` for one split | beside them, or as the format says |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aerostat.datasets import formats
from aerostat.datasets.dataset import Dataset, read_dataset
from aerostat.datasets.formats.format import LEFT_OUT, Format, SplitFiles, WriteOptions
from aerostat.datasets.image_copies import ImagesAs, bring_images, refuse_without_space
from aerostat.datasets.image_hint import finds_images, folder_to_name
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import TYPE_OF_KIND
from aerostat.datasets.records import Problem, Split
from aerostat.errors import InputError
from aerostat.files import nearest_existing, undone_on_failure
from aerostat.images.archive import AnyPath
from aerostat.text import counted, listed, plain


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
        images: where the images of the written annotations are.
        classes_stated: whether the written files state all classes in their order.
    """

    format: str
    classes: tuple[str, ...]
    files: tuple[Written, ...]
    problems: tuple[Problem, ...]
    lost: dict[str, int]
    images: WhereImagesAre
    classes_stated: bool

    @property
    def not_read(self) -> dict[str, int]:
        """What is in the source and was not read, such as key points, with its number."""
        numbers: Counter[str] = Counter()
        for problem in self.problems:
            if problem.kind == "not read" and (found := re.match(r"\d+", problem.detail)):
                numbers[problem.record] += int(found[0])
        return dict(numbers)

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
            "not_read": self.not_read,
            "lost": self.lost,
            "classes_stated": self.classes_stated,
            "images": {"found": self.images.found, "folder": _text(self.images.folder)},
        }

    def lines(self) -> list[str]:
        """Return the lines of a report for a person."""
        classes = f"{counted(len(self.classes), 'class', 'classes')} ({listed(self.classes, 8)})"
        together = len({f.path for f in self.files}) < len(self.files)
        report = [
            f"{f.path}{f' ({f.split})' if together else ''}: {counted(f.images, 'image')}, "
            f"{counted(f.instances, 'object')} of {classes}"
            for f in self.files
        ]
        kinds = Counter(problem.kind for problem in self.problems if problem.kind != "not read")
        for kind, number in kinds.items():
            first = next(problem for problem in self.problems if problem.kind == kind)
            report.append(f"{kind}: {number}, first {first.file_name}: {first.detail}")
        report += [f"not read: {number} {what}" for what, number in self.not_read.items()]
        report += [f"lost in writing: {number} {what}" for what, number in self.lost.items()]
        if not self.classes_stated:
            given = f"`classes={self.classes}`" if len(self.classes) <= 20 else "`classes` in this order"
            report.append(f"The files do not state this order of the classes; read them with {given}.")
        return report + self.images.lines()


@dataclass(frozen=True, slots=True)
class WhereImagesAre:
    """Where the images of written annotations are.

    Args:
        found: whether reading the annotations finds them.
        folder: the folder or archive to name as `images` if it does not; None if no single one has them.
    """

    found: bool
    folder: Path | None = None

    def lines(self) -> list[str]:
        """Return what a person has to know: nothing if the images are found."""
        if self.found:
            return []
        if self.folder is not None:
            return [
                f"The images stay where they are; read the annotations with `images={str(self.folder)!r}`."
            ]
        return [
            "The images stay where they are, and no single folder has them; bring them along with "
            "`with_images='copy'`."
        ]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def convert(
    src: Path | str,
    dst: Path | str,
    options: ReadOptions | None = None,
    *,
    to: str | None = None,
    area: Literal["polygon", "box"] = "polygon",
    force: bool = False,
    with_images: ImagesAs | None = None,
) -> Conversion:
    """Write the annotations at `src` in another format, and return what was written.

    Args:
        src: anything that `Dataset.read` takes.
        dst: a file for one split, or a folder that gets ``train.json``, ``val.json`` and so on. A format
            with one file per image gets the folder, or a folder in it for each split.
        options: how to read `src`, such as the class names.
        to: name of the format to write; by default the one that is a word of the name of `dst`, else the one
            of its suffix, else COCO.
        area: ``polygon`` states each object's own area, as COCO means it; ``box`` states the area of its box
            and, from VIA, adds half a pixel to the outlines and counts all ids from 0, as the usual balloon
            converter does.
        force: replace files that exist.
        with_images: copy the images into `dst`, or link them; None leaves them where they are. `dst` then is
            a new or empty folder, and the annotations name the images in it.

    Raises:
        InputError: the source cannot be read, or the destination exists or does not fit; nothing is written.
        AerostatError: an image cannot be brought along; nothing stays of what was written.

    Example:
        ``convert("balloon/train", "train.json", ReadOptions(classes=["balloon"]))``
    """
    src, dst = Path(src), Path(dst)
    written = formats.named(to) if to else _format_in_name(dst)
    options = options or ReadOptions()
    if with_images is not None:
        _require_new_folder(dst)
    targets = _targets(src, dst, options, written, force, in_folder=with_images is not None)
    dataset = read_dataset(src, options)
    if dataset.left_out:  # a conversion is whole, or is refused
        raise InputError(dataset.left_out[0].sentence)
    _refuse_without_objects(dataset, src)
    splits = dict(dataset.splits)
    with undone_on_failure([*targets.values(), *([dst] if with_images else [])]):
        if with_images is not None:
            refuse_without_space(splits.values(), dst, with_images)
            for name, split in splits.items():
                splits[name] = bring_images(
                    split,
                    _image_folder(dst, targets, name, written),
                    with_images,
                    own_stems=written.per_image,
                    places_of=written.image_places,
                )
        files, lost = _write(splits, targets, written, area)
    return Conversion(
        written.name,
        dataset.classes,
        files,
        dataset.problems,
        lost,
        _where_images_are(dst, splits, options.image_folder or _root_of(src)),
        written.states_classes
        or written.write_all is not None  # its file about all splits has the classes, too
        or dataset.classes == _classes_in_use(dataset),
    )


def _write(
    splits: Mapping[str, Split],
    targets: Mapping[str, Path],
    written: Format,
    area: Literal["polygon", "box"],
) -> tuple[tuple[Written, ...], dict[str, int]]:
    """Write the annotations of splits; return what was written and what was lost."""
    files, lost = [], Counter[str]()
    together = None
    if written.write_all is not None:
        together = written.write_all(splits, next(iter(targets.values())), WriteOptions(area))
    for name, split in splits.items():
        instances = len(split.images.instances)
        source = formats.format_of(split)
        whole_pixels = source is not None and source.whole_pixels
        lost_here = (
            written.write(split, targets[name], WriteOptions(area, whole_pixels))
            if together is None
            else together[name]
        )
        instances -= lost_here[LEFT_OUT]
        lost += lost_here
        files.append(Written(targets[name], name, len(split), instances))
    return tuple(files), dict(lost)


def _image_folder(dst: Path, targets: Mapping[str, Path], split: str, written: Format) -> Path:
    """Return the folder into which the images of a split are brought."""
    if written.per_image:
        return targets[split]
    return dst / "images" / split if len(targets) > 1 else dst / "images"


def _where_images_are(dst: Path, splits: Mapping[str, Split], root: Path) -> WhereImagesAre:
    if finds_images(dst, splits):
        return WhereImagesAre(True)
    return WhereImagesAre(False, folder_to_name(dst, splits, root))


def _root_of(src: Path) -> Path:
    """Return the folder that holds the images of a source that is a folder or a file."""
    folder = src if src.is_dir() else src.parent
    return folder.parent if folder.name == "annotations" else folder


def _classes_in_use(dataset: Dataset) -> tuple[str, ...]:
    """Return the classes that have objects, sorted, as files that do not state their classes give them."""
    return tuple(
        sorted(
            {
                split.classes[label]
                for split in dataset.splits.values()
                for label in set(split.images.instances.labels.tolist())
            }
        )
    )


def _refuse_without_objects(dataset: Dataset, src: Path) -> None:
    """Refuse a source all of whose objects were lost on reading: what would be written has no use.

    Raises:
        InputError: naming the first object that was lost, and why.
    """
    if any(len(split.images.instances) for split in dataset.splits.values()):
        return
    lost = [problem for problem in dataset.problems if TYPE_OF_KIND[problem.kind].lost == "object"]
    if lost:
        more = f", and {counted(len(lost) - 1, 'more problem')} like this" if len(lost) > 1 else ""
        raise InputError(
            f"No object of {src} can be used, so nothing is written: {lost[0].kind}, "
            f"{plain(lost[0].file_name[:60])}: {lost[0].detail[:200]}{more}; correct the annotations."
        )


def _format_in_name(dst: Path) -> Format:
    """Return the format whose name is in the name of a file or folder, else that of its suffix, else COCO.

    Words are separated by anything but letters: ``my_via.json`` names VIA, ``aviary.json`` does not. A suffix
    counts if it is not that of the first format: ``labels.csv`` is a table.
    """
    first, *others = formats.FORMATS
    words = f"-{'-'.join(re.split(r'[^a-z]+', dst.stem.lower()))}-"
    for format_ in others:
        if f"-{format_.name}-" in words:
            return format_
    of_suffix = (f for f in others if f.suffix == dst.suffix.lower() != first.suffix and not f.per_image)
    return next(of_suffix, first)


def _targets(
    src: Path, dst: Path, options: ReadOptions, written: Format, force: bool, in_folder: bool
) -> dict[str, Path]:
    """Return the file or folder to write for each split.

    Args:
        src: what is read.
        dst: a file or folder.
        options: of reading.
        written: the format to write.
        force: replace files that exist.
        in_folder: whether `dst` is a folder whatever its name looks like.

    Raises:
        InputError: the destination exists, or it is one file for several splits.
    """
    sources = find_splits(src, options)
    several = ", ".join(source.split for source in sources)
    if written.write_all is not None:
        targets = {source.split: dst for source in sources}
    elif written.per_image:
        targets = {source.split: dst / source.split if len(sources) > 1 else dst for source in sources}
    elif dst.suffix and not dst.is_dir() and not in_folder:
        if len(sources) > 1:
            raise InputError(
                f"{src} has several splits ({several}), which do not go into one file {dst}; name a folder, "
                "or convert one split."
            )
        targets = {sources[0].split: dst}
    else:
        targets = {source.split: dst / f"{source.split}{written.suffix}" for source in sources}
    for path in targets.values():
        same = (_is_same(path, source.annotations) or _is_inside(path, source, written) for source in sources)
        if any(same):
            kind = "folder" if written.per_image else "file"
            raise InputError(f"{path} is the {kind} to convert; name another {kind} to write.")
        _require_free(path, written, force)
    return targets


def _require_new_folder(dst: Path) -> None:
    """Refuse a folder for images that is not new or empty.

    Raises:
        InputError: naming what is there.
    """
    if dst.suffix.lower() in {format_.suffix for format_ in formats.FORMATS}:
        raise InputError(f"{dst} is the name of a file, and `with_images` fills a folder; name a folder.")
    if dst.is_dir() and any(dst.iterdir()):
        raise InputError(f"{dst} is not empty; with `with_images`, name a new folder, or empty it first.")


def _is_same(path: Path, source: AnyPath) -> bool:
    return isinstance(source, Path) and path.exists() and path.samefile(source)


def _is_inside(path: Path, source: SplitFiles, written: Format) -> bool:
    """Return whether a folder to write holds the source, whose files would be replaced."""
    place = source.annotations
    together = written.write_all is not None and source.format == written.name
    return together and isinstance(place, Path) and place.resolve().is_relative_to(path.resolve())


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
