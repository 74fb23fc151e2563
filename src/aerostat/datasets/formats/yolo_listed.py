"""Splits of a YOLO data set that a file lists: ``data.yaml``, ``obj.data``, or a list of images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from aerostat.datasets.formats import yolo_config
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.formats.yolo_config import Config
from aerostat.datasets.formats.yolo_paths import (
    IMAGES,
    MAX_LENGTH,
    MAX_STARTS,
    LabelFiles,
    Listings,
    below,
    common_folder,
    is_image,
    labels_beside,
    parts_of,
    resolved,
    split_of,
    swap,
)
from aerostat.datasets.formats.yolo_texts import label_names, names_near
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath, ArchivePath
from aerostat.images.folders import files_below
from aerostat.text import counted, listed, shown

_log = logging.getLogger("aerostat.datasets")

NAME = "yolo"
"""Of the format."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Images of a split.

    Args:
        root: the folder that the names are relative to.
        names: of the images.
        source: the folder of their labels, or the file that lists the images.
    """

    root: AnyPath
    names: tuple[str, ...]
    source: AnyPath


def configured(config: Config, images: AnyPath | None, strict: bool = True) -> list[SplitFiles]:
    """Return the splits that a file lists.

    Args:
        config: what it says.
        images: the folder of the images, if they stand elsewhere.
        strict: refuse a split without images or labels; else nothing is returned.

    Raises:
        InputError: see `strict`.
    """
    home = config.file if config.file.is_dir() else config.file.parent
    bases = _bases(config, home)
    names = config.names
    if config.names_file and (file := resolved(config.names_file, _with_working_folder(bases))) is not None:
        names = yolo_config.read_names(file)
    if not names and not config.names_file:
        names = names_near(home)
    if config.class_count is not None and names and config.class_count != len(names):
        _log.warning(
            "%s states %s and lists %s; the names count.",
            *(config.file, counted(config.class_count, "class", "classes"), counted(len(names), "name")),
        )
    found = []
    for split, places in config.splits.items():
        try:
            part = _configured_split(split, places, bases, images)
            found.append(replace(part, classes=names, listing=config.file))
        except InputError as error:
            if not strict:
                return []
            if split != "test" or len(config.splits) == 1:
                raise InputError(f"{config.file}: {error}") from None
            _log.warning("%s: %s The split is left out.", config.file, error)
    return found


def _bases(config: Config, home: AnyPath) -> list[AnyPath]:
    """Return the folders that hold the data set: the stated one, and that of the file."""
    root = _root(config.root, _with_working_folder([home])) if config.root else None
    return list(dict.fromkeys(place for place in (root, home) if place is not None))


def _with_working_folder(bases: Sequence[AnyPath]) -> list[AnyPath]:
    """Return folders that paths may be relative to, the working folder last; no path leaves an archive."""
    if any(isinstance(base, ArchivePath) for base in bases):
        return list(bases)
    return list(dict.fromkeys([*bases, Path.cwd()]))


def _root(text: str, bases: Sequence[AnyPath]) -> AnyPath | None:
    if not parts_of(text):
        return bases[0]
    found = resolved(text, bases)
    return found if found is not None and found.is_dir() else None


def _configured_split(
    split: str, places: Sequence[str], bases: Sequence[AnyPath], images: AnyPath | None
) -> SplitFiles:
    """Return one split of a file that lists them.

    Raises:
        InputError: something is not there; the sentence is about the split.
    """
    found = [_listed_at(place, bases, images, split) for place in places]
    whole = found[0] if len(found) == 1 else _joined(found)
    if not whole.names:
        raise InputError(f"No image of {split} is in {whole.root}.")
    files = split_files(split, whole, images)
    labels = label_files(files)
    if not any(labels.of(name) for name in whole.names):
        raise without_labels(split, whole.names, labels)
    return files


def split_files(split: str, found: Listed, images: AnyPath | None) -> SplitFiles:
    """Return where a split stands, by its images.

    Args:
        split: its name.
        found: its images.
        images: the folder of the images, if they stand elsewhere.
    """
    roots = (found.root, *image_roots(images, split))
    return SplitFiles(split, found.source, (), roots, format=NAME, images=found.names)


def label_files(files: SplitFiles) -> LabelFiles:
    """Return what finds the label files of a split's images."""
    root, *elsewhere = files.image_roots
    labels = [files.annotations] if files.annotations.is_dir() else []
    return LabelFiles(root, [*labels, *elsewhere])


def without_labels(split: str, names: Sequence[str], labels: LabelFiles) -> InputError:
    """Return the refusal of a split without a label file; it names the place of the first."""
    return InputError(
        f"None of the {counted(len(names), 'image')} of {split} has a label file; that of the first was "
        f"looked for in {shown(str(labels.looked_in(names[0])), 200)}."
    )


def _listed_at(place: str, bases: Sequence[AnyPath], images: AnyPath | None, split: str) -> Listed:
    """Return the images of a folder, or those that a list names.

    Raises:
        InputError: there is neither.
    """
    around = _with_working_folder(bases)
    path = resolved(place, around)
    if path is not None and path.is_dir():
        return _images_in(path, images, split)
    if path is not None and path.suffix.lower() == ".txt":
        return _images_of_list(path, bases)
    swapped = swap("/".join(parts_of(place)))
    labels = resolved(swapped, around) if swapped else None
    if images is not None and labels is not None and labels.is_dir():
        return images_of_labels(labels, images, split)
    raise InputError(
        f"The images of {split} ({shown(place)}) are not there; looked below {listed(map(str, around))}."
    )


def _images_in(folder: AnyPath, images: AnyPath | None, split: str) -> Listed:
    names = tuple(name for name in files_below(folder) if is_image(name))
    labels = labels_beside(folder)
    labels = labels if labels.is_dir() else folder
    if names or images is None:
        return Listed(folder, names, labels)
    return images_of_labels(labels, images, split)


def images_of_labels(labels: AnyPath, images: AnyPath | None, split: str) -> Listed:
    """Return the images that label files describe, by the names of images elsewhere where they are there."""
    stems = [name[:-4] for name in label_names(labels)]
    root = image_roots(images, split)[0] if images is not None else labels
    known = {name.rpartition(".")[0]: name for name in files_below(root) if is_image(name)}
    return Listed(root, tuple(known.get(stem, stem) for stem in stems), labels)


def _joined(parts: Sequence[Listed]) -> Listed:
    root = common_folder([part.root for part in parts])
    names: list[str] = []
    for part in parts:
        inner = below(part.root, root)
        names += [f"{inner}/{name}" if inner else name for name in part.names]
    return Listed(root, tuple(dict.fromkeys(names)), parts[0].source)


def _images_of_list(file: AnyPath, bases: Sequence[AnyPath]) -> Listed:
    """Return the images that a text file names, relative to a folder that has them or their labels.

    Raises:
        InputError: the list is empty or cannot be read.
    """
    lines = [line.strip(" \t\r") for line in yolo_config.read_text(file).split("\n")]
    paths = [line.replace("\\", "/") for line in lines if line]
    if not paths:
        raise InputError(f"{file} lists no images; export it again.")
    listings = Listings()
    roots = list(dict.fromkeys((file.parent, *bases)))
    first = paths[0]
    root = next((base for base in roots if _place(first, base, listings) is not None), roots[0])
    folders: dict[str, str] = {}
    names: list[str] = []
    for path in paths:
        folder, slash, last = path.rpartition("/")
        folder += slash  # tells `/a.jpg` from `a.jpg`
        if folder not in folders:
            place = _place(path, root, listings)
            folders[folder] = "/".join(_inner(folder)) if place is None else place
        inner = folders[folder]
        names.append(f"{inner}/{last}" if inner else last)
    return _shortened(Listed(root, tuple(dict.fromkeys(names)), file))


def _inner(text: str) -> list[str]:
    return [part for part in parts_of(text) if part != ".."]


def _place(path: str, root: AnyPath, listings: Listings) -> str | None:
    """Return the folder below a root that has an image or its label; None if no end of its path is one."""
    if len(path) > MAX_LENGTH:
        return None
    *parts, last = _inner(path) or [""]
    label = f"{last.rpartition('.')[0] or last}.txt"
    starts = (start for start, part in enumerate(parts) if part.lower() in listings.folders(root))
    for start in (*islice(starts, MAX_STARTS), len(parts)):
        inner = "/".join(parts[start:])
        swapped = swap(inner)
        folder = root.joinpath(*parts[start:])
        beside = labels_beside(folder) if swapped is None else root.joinpath(*swapped.split("/"))
        here = listings.of(folder)
        if last in here or label in here or label in listings.of(beside):
            return inner
    return None


def _shortened(listed_: Listed) -> Listed:
    """Return a list whose names begin below the folder of images, if all of them stand in the same one."""
    folder = listed_.names[0].rpartition("/")[0].split("/")
    places = [place for place, part in enumerate(folder) if part.lower() == IMAGES]
    if not places:
        return listed_
    count = places[-1] + 1
    for kept in (count + 1, count):
        if kept > len(folder) or (kept > count and split_of(folder[count]) is None):
            continue
        prefix = "/".join(folder[:kept]) + "/"
        if all(name.startswith(prefix) for name in listed_.names):
            names = tuple(name[len(prefix) :] for name in listed_.names)
            return Listed(listed_.root.joinpath(*folder[:kept]), names, listed_.source)
    return listed_


def image_roots(images: AnyPath | None, split: str) -> tuple[AnyPath, ...]:
    """Return the folders of images that were given elsewhere, that of the split first."""
    if images is None:
        return ()
    spellings = ("val", "valid", "validation") if split == "val" else (split,)
    inner = [parent / name for name in spellings for parent in (images, images / IMAGES)]
    inner += [images / name / IMAGES for name in spellings]
    gathered = [images / IMAGES]
    return (*(folder for folder in (*inner, *gathered) if folder.is_dir()), images)
