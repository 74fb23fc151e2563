"""The splits of a data set: where they are, in which format, and which classes they share.

A data set is one of
- a folder with split folders (``train``, ``val``, ``valid``, ``validation``, ``test``), each with images and
  one annotation file;
- a folder with ``annotations/*.json``, one for each split, and images in ``train2017/``, ``images/train/``,
  ``images/`` or beside (COCO's own layout);
- a folder with one annotation file, or one for each split, and images there or in ``images/``;
- an annotation file, with its images beside it or in the folder that `images` names.

Annotation files are known by their content; they may be called anything. Of a format with one annotation file
per image, all files of a folder are one split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aerostat.datasets import formats
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.image_folder import is_file
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import LOSSES
from aerostat.datasets.records import ONLY_SPLIT, SPLIT_NAMES, Split, split_name
from aerostat.errors import InputError
from aerostat.images.read import IMAGE_SUFFIXES, what_stands_at
from aerostat.text import counted, listed, shown

_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|validation|valid|val|test)(?![a-z])")


def read_splits(path: Path, options: ReadOptions) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Return the classes and the splits of a data set.

    Raises:
        InputError: nothing usable is at `path`; the sentence names the file and the record.
    """
    _check_class_names(options.classes)
    images = options.image_folder
    if images is not None and not images.is_dir():
        raise InputError(f"Expected a folder of images, found {what_stands_at(images)}: {images}.")
    splits: list[Split] = []
    for files in find_splits(path, images):
        split = read_split(files, options)
        refuse_unusable(split, files, options.strict)
        splits.append(split)
    agreed = _agree_on_classes(splits, options.classes)
    return agreed, {split.name: _relabelled(split, agreed) for split in splits}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Annotations that cannot be read, or not together with the others, and why in one sentence."""

    split: str
    annotations: Path
    sentence: str


def read_split(files: SplitFiles, options: ReadOptions) -> Split:
    """Return one split, read in the format that its annotations have.

    Raises:
        InputError: they are of no known format, of another than was asked for, or broken.
    """
    found = formats.recognise(files.texts[0])
    if options.from_format not in (None, found.name):
        raise InputError(
            f"Expected {options.from_format} annotations, found {found.name} in {files.annotations}."
        )
    return found.read(files, options)


def _check_class_names(classes: Sequence[str] | None) -> None:
    if classes is None:
        return
    if not classes or not all(name.strip() for name in classes):
        raise InputError(
            "Expected at least one class name for `classes`, found an empty one; leave it out or name it."
        )
    if len(set(classes)) < len(classes):
        raise InputError(
            f"Expected different class names for `classes`, found one twice: {', '.join(classes)}."
        )


def refuse_unusable(split: Split, files: SplitFiles, strict: bool) -> None:
    """Refuse a split without a usable image and, if `strict`, one that lost an image or an object.

    Raises:
        InputError: naming the first file concerned.
    """
    if not split.images:
        first = next(p for p in split.problems if p.kind in ("missing image", "unreadable image"))
        raise InputError(
            f"None of the images that {files.annotations} lists can be read, first "
            f"{shown(first.file_name)}: {first.detail}; name their folder with `images`."
        )
    lost = [problem for problem in split.problems if problem.kind in LOSSES]
    if strict and lost:
        more = f", and {counted(len(lost) - 1, 'more problem')} like this" if len(lost) > 1 else ""
        raise InputError(
            f"{files.annotations} is refused by `strict`: {lost[0].kind}, "
            f"{lost[0].file_name}: {lost[0].detail}{more}."
        )


# --- finding the splits ---


def find_splits(path: Path, images: Path | None = None) -> list[SplitFiles]:
    """Return where the splits of a data set stand, ``train`` before ``val`` before ``test``.

    Raises:
        InputError: there is no such path, or no annotation file, or several for one split.
    """
    try:
        if not path.exists():
            raise InputError(f"Expected a data set, found nothing at {path}; check the path.")
        if path.is_dir():
            found = _splits_in(path, images)
        else:
            name = _name_of_file(path)
            found = [_files_of(name, path, _roots_of_file(path, images, name))]
    except OSError as error:  # a folder that may not be listed, a name too long, a share that is gone
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from None
    order = {name: place for place, name in enumerate(SPLIT_NAMES)}
    return sorted(found, key=lambda files: (order.get(files.split, len(order)), files.split))


def _files_of(split: str, file: Path, image_roots: tuple[Path, ...]) -> SplitFiles:
    return SplitFiles(split, file, (AnnotationText(file),), image_roots)


def _splits_in(folder: Path, images: Path | None) -> list[SplitFiles]:
    found = _split_folders(folder, images) or _annotations_folder(folder, images)
    for name in _folders_of_formats():  # such as `labels/train/` beside `images/train/`
        if not found and (folder / name).is_dir():
            found = _split_folders(folder / name, images or folder)
    return found or _files_beside(folder, images)


def _folders_of_formats() -> list[str]:
    return list(dict.fromkeys(name for format_ in formats.FORMATS for name in format_.folders))


def _name_of_file(path: Path) -> str:
    """Return the split that a file's name or its folder's name says, or the name for the only split."""
    found = _SPLIT_IN_NAME.findall(path.stem.lower())
    if len(found) == 1:
        return split_name(found[0])
    folder = split_name(path.absolute().parent.name)
    return folder if folder in SPLIT_NAMES else ONLY_SPLIT


def _roots_of_file(path: Path, images: Path | None, split: str) -> tuple[Path, ...]:
    if images is not None:
        return (images, *_image_roots(images, split, path.stem))
    above = _image_roots(path.parent.parent, split, path.stem) if path.parent.name == "annotations" else ()
    return (path.parent, *_image_roots(path.parent, split, path.stem), *above)


def _image_roots(root: Path, split: str, stem: str = "") -> tuple[Path, ...]:
    """Return the folders below `root` where the images of a split may be, the likeliest first."""
    spellings = ("val", "valid", "validation") if split == "val" else (split,)
    names = [stem.rpartition("_")[2], *spellings]  # `instances_train2017.json` belongs to `train2017/`
    folders = [parent / name for name in names if name for parent in (root, root / "images")]
    existing = [folder for folder in folders if folder.is_dir()]
    return (*existing, *((root / "images",) if (root / "images").is_dir() else ()), root)


def _split_folders(root: Path, images: Path | None) -> list[SplitFiles]:
    """Return the splits of a folder that has one folder for each."""
    folders: dict[str, Path] = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        name = split_name(folder.name)
        if name not in SPLIT_NAMES:
            continue
        if name in folders:
            raise InputError(
                f"{root} has two folders for the split {name!r}, {folders[name].name} and "
                f"{folder.name}; keep one of them."
            )
        folders[name] = folder
    candidates = {name: _candidates(folder) for name, folder in folders.items()}
    if not any(candidates.values()):
        return []
    found = []
    for name, folder in folders.items():
        if not candidates[name] and name == "test":
            continue  # test images are often published without annotations
        roots = _image_roots(images, name) if images else _image_roots(folder, name)
        found.append(_split_of(name, candidates[name], folder, roots))
    return found


def _annotations_folder(root: Path, images: Path | None) -> list[SplitFiles]:
    """Return the splits of a folder in COCO's own layout."""
    folder = root / "annotations"
    if not folder.is_dir():
        return []
    return _one_for_each_split(_candidates(folder), folder, images or root)


def _files_beside(root: Path, images: Path | None) -> list[SplitFiles]:
    """Return the split, or the splits, whose annotation files stand in the folder itself."""
    candidates = _candidates(root)
    names = {_name_of_file(file) for file in candidates}
    if len(candidates) > 1 and len(names) == len(candidates) and not _per_image(candidates):
        return _one_for_each_split(candidates, root, images or root)
    name = split_name(root.absolute().name)
    name = name if name in SPLIT_NAMES else ONLY_SPLIT
    return [_split_of(name, candidates, root, _image_roots(images or root, name))]


def _one_for_each_split(candidates: Candidates, folder: Path, images: Path) -> list[SplitFiles]:
    by_split: dict[str, Candidates] = {}
    for file, claims in candidates.items():
        by_split.setdefault(_name_of_file(file), {})[file] = claims
    return [
        _split_of(name, group, folder, _image_roots(images, name, next(iter(group)).stem))
        for name, group in by_split.items()
    ]


Candidates = dict[Path, tuple[Format, ...]]
"""Files that look like annotations, each with the formats that may begin so."""


def _candidates(folder: Path) -> Candidates:
    """Return the files of a folder that look like annotations, by their beginning.

    Files of formats that have a folder of their own are looked for there if there are no others.
    """
    found = _candidates_in(folder)
    for name in [] if found else _folders_of_formats():
        if (folder / name).is_dir() and not found:
            found = {
                file: claims
                for file, claims in _candidates_in(folder / name).items()
                if any(name in format_.folders for format_ in claims)
            }
    return found


def _candidates_in(folder: Path) -> Candidates:
    with os.scandir(folder) as entries:
        names = [
            e.name for e in entries if is_file(e) and not e.name.startswith(".") and not _is_image(e.name)
        ]
    paths = sorted(map(folder.joinpath, names))
    claimed = ((path, formats.claimants(AnnotationText(path))) for path in paths)
    return {path: claims for path, claims in claimed if claims}


def _per_image(candidates: Candidates) -> bool:
    """Say whether files are of one format that has one file per image."""
    shared = set.intersection(*(set(claims) for claims in candidates.values())) if candidates else set()
    return any(format_.per_image for format_ in shared)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a Path for each of 100,000 names is slow


def _split_of(split: str, candidates: Candidates, folder: Path, image_roots: tuple[Path, ...]) -> SplitFiles:
    """Return a split with its annotation file, or with its files if its format has one per image.

    Raises:
        InputError: there is no file, or there are several of a format with one file per split.
    """
    files = list(candidates)
    prefixes = tuple(format_.file_prefix for format_ in formats.FORMATS if format_.file_prefix)
    preferred = [file for file in files if prefixes and file.name.startswith(prefixes)]
    if len(files) == 1 or len(preferred) == 1:
        return _files_of(split, (preferred or files)[0], image_roots)
    if _per_image(candidates):
        texts = tuple(map(AnnotationText, files))
        return SplitFiles(split, files[0].parent, texts, (files[0].parent, *image_roots))
    if files:
        names = ", ".join(file.name for file in files)
        raise InputError(
            f"{folder} has {len(files)} annotation files for one split ({names}); name one of them "
            "instead of the folder, or move the others away."
        )
    raise _without_annotations(folder)


def _without_annotations(folder: Path) -> InputError:
    count = _count_images(folder)
    if not count:
        return InputError(f"{folder} holds no images; expected images with their annotation file.")
    likely = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".json", ".csv")]
    for path in likely[:1]:
        formats.recognise(AnnotationText(path))  # the error tells what the file holds instead
    return InputError(
        f"{folder} holds {counted(count, 'image')} but no annotation file; expected {formats.expected()} "
        "beside them."
    )


def _count_images(folder: Path) -> int:
    return sum(_is_image(name) for _, _, names in os.walk(folder) for name in names)


# --- agreeing on classes ---


def _agree_on_classes(splits: list[Split], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes of all splits.

    Files of some formats state their classes, so all must state the same. Files of others only show the
    names in use, so one split may lack some that another has. The union of differing sets is never guessed:
    it would hide misspellings.

    Raises:
        InputError: the splits differ, or there is no class.
    """
    if classes is not None:
        return tuple(classes)
    stated = any((found := formats.format_of(split)) and found.states_classes for split in splits)
    largest = max(splits, key=lambda split: len(split.classes))  # the first of the largest
    there = set(largest.classes)
    for split in splits:
        here = set(split.classes)
        missing = [name for name in split.classes if name not in there]
        absent = [name for name in largest.classes if name not in here]
        if missing or (stated and absent):
            raise InputError(
                f"The classes differ between the splits: {_difference(largest, absent)}, "
                f"{_difference(split, missing)}; correct the names or list all of them with `classes`."
            )
    if not largest.classes:
        names = ", ".join(split.name for split in splits)
        raise InputError(
            f"Expected at least one class, found none in the annotations of {names}; annotate an object."
        )
    return largest.classes


def _difference(split: Split, names: Iterable[str]) -> str:
    alone = listed(map(repr, names), 10)
    return f"only {split.name} has {alone}" if alone else f"{split.name} has no other"


def _relabelled(split: Split, classes: tuple[str, ...]) -> Split:
    """Return the split with labels that index `classes`; category ids that count go with their names."""
    if split.classes == classes:
        return split
    ids = tuple(range(1, len(classes) + 1))
    found = formats.format_of(split)
    if found and found.states_classes and found.keeps_category_ids:  # all splits have the same names
        id_of = dict(zip(split.classes, split.category_ids, strict=True))
        ids = tuple(id_of[name] for name in classes)
    return split.relabelled(classes, ids)
