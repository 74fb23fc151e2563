"""From what a person calls DATA to its splits: finding the splits, recognising formats, agreeing on classes.

DATA is one of
- a folder with split folders (``train``, ``val``, ``valid``, ``validation``, ``test``), each with images and
  one annotation file;
- a folder with ``annotations/*.json``, one for each split, and images in ``train2017/``, ``images/train/``,
  ``images/`` or beside (COCO's own layout);
- a folder with one annotation file, or one for each split, and images there or in ``images/``;
- an annotation file, with its images beside it or in the folder that `images` names.

Annotation files are known by their content; they may be called anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aerostat.datasets.formats.coco import read_coco
from aerostat.datasets.formats.via import read_via
from aerostat.datasets.image_folder import is_file
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import LOSSES
from aerostat.datasets.records import ONLY_SPLIT, SPLIT_NAMES, Split, split_name
from aerostat.datasets.sniff import may_hold_annotations, read_content, recognise
from aerostat.errors import InputError
from aerostat.images.read import IMAGE_SUFFIXES, what_stands_at
from aerostat.text import counted, listed, shown

_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|validation|valid|val|test)(?![a-z])")


@dataclass(frozen=True, slots=True)
class Source:
    """Where one split stands: its annotation file and the folders in which its images may be."""

    split: str
    annotations: Path
    image_roots: tuple[Path, ...]


def read_splits(path: Path, options: ReadOptions) -> tuple[tuple[str, ...], dict[str, Split]]:
    """Return the classes and the splits of a data set.

    Raises:
        InputError: nothing usable stands at `path`; the sentence names the file and the record.
    """
    _check_class_names(options.classes)
    images = options.image_folder
    if images is not None and not images.is_dir():
        raise InputError(f"Expected a folder of images, found {what_stands_at(images)}: {images}.")
    splits: list[Split] = []
    for source in find_sources(path, images):
        split = read_split(source, options)
        refuse_unusable(split, source, options.strict)
        splits.append(split)
    agreed = _agree_on_classes(splits, options.classes)
    return agreed, {split.name: _relabelled(split, agreed) for split in splits}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Annotations that cannot be read, or not together with the others, and why in one sentence."""

    split: str
    annotations: Path
    sentence: str


def read_split(source: Source, options: ReadOptions) -> Split:
    """Return one split, read in the format that its annotations have.

    Raises:
        InputError: they are of no known format, of another than was asked for, or broken.
    """
    text = [read_content(source.annotations)]
    found = recognise(text[0], source.annotations)
    if options.from_format not in (None, found):
        raise InputError(
            f"Expected {options.from_format} annotations, found {found} in {source.annotations}."
        )
    if found == "coco":
        return read_coco(
            source.annotations,
            source.image_roots,
            split=source.split,
            classes=options.classes,
            content=text.pop(),  # the text of a large file is let go of as soon as it is taken apart
        )
    return read_via(
        source.annotations,
        source.image_roots,
        split=source.split,
        classes=options.classes,
        class_attribute=options.class_attribute,
        content=text.pop(),
    )


def _check_class_names(classes: Sequence[str] | None) -> None:
    if classes is None:
        return
    if not classes or not all(name.strip() for name in classes):
        raise InputError(
            "Expected at least one class name for --classes, found an empty one; leave it out or name it."
        )
    if len(set(classes)) < len(classes):
        raise InputError(
            f"Expected different class names for --classes, found one twice: {', '.join(classes)}."
        )


def refuse_unusable(split: Split, source: Source, strict: bool) -> None:
    """Refuse a split without a usable image and, if `strict`, one that lost an image or an object.

    Raises:
        InputError: naming the first file concerned.
    """
    if not split.images:
        first = next(p for p in split.problems if p.kind in ("missing image", "unreadable image"))
        raise InputError(
            f"None of the images that {source.annotations} lists can be read, first "
            f"{shown(first.file_name)}: {first.detail}; name their folder with --images."
        )
    lost = [problem for problem in split.problems if problem.kind in LOSSES]
    if strict and lost:
        more = f", and {counted(len(lost) - 1, 'more problem')} like this" if len(lost) > 1 else ""
        raise InputError(
            f"{source.annotations} is refused by --strict: {lost[0].kind}, "
            f"{lost[0].file_name}: {lost[0].detail}{more}."
        )


# --- finding the splits ---


def find_sources(path: Path, images: Path | None = None) -> list[Source]:
    """Return where the splits of a data set stand, ``train`` before ``val`` before ``test``.

    Raises:
        InputError: there is no such path, or no annotation file, or several for one split.
    """
    try:
        if not path.exists():
            raise InputError(f"Expected a data set, found nothing at {path}; check the path.")
        if path.is_dir():
            sources = _sources_in(path, images)
        else:
            name = _name_of_file(path)
            sources = [Source(name, path, _roots_of_file(path, images, name))]
    except OSError as error:  # a folder that may not be listed, a name too long, a share that is gone
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from None
    order = {name: place for place, name in enumerate(SPLIT_NAMES)}
    return sorted(sources, key=lambda source: (order.get(source.split, len(order)), source.split))


def _sources_in(folder: Path, images: Path | None) -> list[Source]:
    return (
        _split_folders(folder, images) or _annotations_folder(folder, images) or _files_beside(folder, images)
    )


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


def _split_folders(root: Path, images: Path | None) -> list[Source]:
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
    found = {name: _annotation_files(folder) for name, folder in folders.items()}
    if not any(found.values()):
        return []
    sources = []
    for name, folder in folders.items():
        if not found[name] and name == "test":
            continue  # test images are often published without annotations
        roots = _image_roots(images, name) if images else _image_roots(folder, name)
        sources.append(Source(name, _the_only(found[name], folder), roots))
    return sources


def _annotations_folder(root: Path, images: Path | None) -> list[Source]:
    """Return the splits of a folder in COCO's own layout."""
    folder = root / "annotations"
    if not folder.is_dir():
        return []
    return _one_for_each_split(_annotation_files(folder), folder, images or root)


def _files_beside(root: Path, images: Path | None) -> list[Source]:
    """Return the split, or the splits, whose annotation files stand in the folder itself."""
    files = _annotation_files(root)
    if len(files) > 1 and len({_name_of_file(file) for file in files}) == len(files):
        return _one_for_each_split(files, root, images or root)
    name = split_name(root.absolute().name)
    name = name if name in SPLIT_NAMES else ONLY_SPLIT
    return [Source(name, _the_only(files, root), _image_roots(images or root, name))]


def _one_for_each_split(files: list[Path], folder: Path, images: Path) -> list[Source]:
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_name_of_file(file), []).append(file)
    sources = []
    for name, group in by_split.items():
        # COCO ships captions and key points of the same images beside the objects.
        objects = [file for file in group if file.name.startswith("instances")]
        file = _the_only(objects if len(objects) == 1 else group, folder)
        sources.append(Source(name, file, _image_roots(images, name, file.stem)))
    return sources


def _annotation_files(folder: Path) -> list[Path]:
    """Return the files of a folder that look like annotations, by their beginning."""
    with os.scandir(folder) as entries:
        names = [
            e.name for e in entries if is_file(e) and not e.name.startswith(".") and not _is_image(e.name)
        ]
    return sorted(path for path in map(folder.joinpath, names) if may_hold_annotations(path))


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a Path for each of 100,000 names is slow


def _the_only(files: list[Path], folder: Path) -> Path:
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise InputError(
            f"{folder} has {len(files)} annotation files for one split ({names}); give one of them as DATA, "
            "or move the others away."
        )
    count = _count_images(folder)
    if not count:
        raise InputError(f"{folder} holds no images; expected images with their annotation file.")
    likely = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".json", ".csv")]
    for path in likely[:1]:
        recognise(read_content(path), path)  # says what it holds instead
    raise InputError(
        f"{folder} holds {counted(count, 'image')} but no annotation file; expected COCO or VIA beside them."
    )


def _count_images(folder: Path) -> int:
    return sum(_is_image(name) for _, _, names in os.walk(folder) for name in names)


# --- agreeing on classes ---


def _agree_on_classes(splits: list[Split], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes of all splits.

    COCO files state their categories, so all must state the same. VIA files only show the names in use, so
    one split may lack some that another has; the union of differing sets is never guessed, for it hides
    misspellings.

    Raises:
        InputError: the splits differ, or there are no classes at all.
    """
    if classes is not None:
        return tuple(classes)
    stated = any(split.source_format == "coco" for split in splits)
    largest = max(splits, key=lambda split: len(split.classes))  # the first of the largest
    there = set(largest.classes)
    for split in splits:
        here = set(split.classes)
        missing = [name for name in split.classes if name not in there]
        absent = [name for name in largest.classes if name not in here]
        if missing or (stated and absent):
            raise InputError(
                f"The classes differ between the splits: {_difference(largest, absent)}, "
                f"{_difference(split, missing)}; correct the names or list all of them with --classes."
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
    """Return the split with labels that index `classes`; COCO's category ids go with their names."""
    if split.classes == classes:
        return split
    place = {name: label for label, name in enumerate(classes)}
    labels = [place[name] for name in split.classes]
    ids = tuple(range(1, len(classes) + 1))
    if split.source_format == "coco":  # whose splits all have the same names
        id_of = dict(zip(split.classes, split.category_ids, strict=True))
        ids = tuple(id_of[name] for name in classes)
    images = tuple(
        replace(image, instances=tuple(replace(i, label=labels[i.label]) for i in image.instances))
        for image in split.images
    )
    return replace(split, classes=classes, category_ids=ids, images=images)
