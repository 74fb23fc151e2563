"""Where the splits of a data set stand: in folders, in one folder, in an archive, or as they were named."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aerostat.datasets import formats
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.origin import ReadOptions, annotations_named
from aerostat.datasets.records import ONLY_SPLIT, SPLIT_NAMES, split_name
from aerostat.errors import InputError
from aerostat.images.archive import ARCHIVE_SUFFIXES, AnyPath, ArchivePath, is_zip
from aerostat.images.folders import entries, files_below
from aerostat.images.read import IMAGE_SUFFIXES, what_stands_at
from aerostat.text import counted, listed, shown

_SPLIT_IN_NAME = re.compile(r"(?<![a-z])(train|validation|valid|val|test)(?![a-z])")
_SPLIT_FOLDER = re.compile(r"(train|validation|valid|val|test)[-_]?\d*")
_MAX_DESCENTS = 3
"""Folders with nothing but one folder in them that are gone through."""

Candidates = dict[AnyPath, tuple[Format, ...]]
"""Files that look like annotations, each with the formats that may begin so."""


def find_splits(path: AnyPath, options: ReadOptions) -> list[SplitFiles]:
    """Return where the splits of a data set stand, ``train`` before ``val`` before ``test``.

    Raises:
        InputError: there is no such path, or no annotation file, or several for one split.
    """
    images = _image_folder(options)
    try:
        if not path.exists():
            raise InputError(f"Expected a data set, found nothing at {path}; check the path.")
        if options.splits is not None:
            found = _named_splits(path, options.splits, images, options.from_format)
        else:
            found = _splits_at(path, images, options.from_format)
    except OSError as error:  # a folder that may not be listed, a name too long, a share that is gone
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from None
    order = {name: place for place, name in enumerate(SPLIT_NAMES)}
    return sorted(found, key=lambda files: (order.get(files.split, len(order)), files.split))


def _image_folder(options: ReadOptions) -> AnyPath | None:
    """Return the folder of the images that was asked for, None if none was.

    Raises:
        InputError: it is neither a folder nor a zip archive.
    """
    folder = options.image_folder
    if folder is None or folder.is_dir():
        return folder
    if is_zip(folder):
        return ArchivePath(folder)
    raise InputError(f"Expected a folder of images, found {what_stands_at(folder)}: {folder}.")


def _named_splits(
    path: AnyPath, named: Mapping[str, Path | str], images: AnyPath | None, asked: str | None
) -> list[SplitFiles]:
    """Return the splits whose annotations were named one by one.

    Raises:
        InputError: nothing is there, the annotations hold several splits, or two names mean one split.
    """
    if isinstance(path, Path) and path.is_file() and is_zip(path):
        path = ArchivePath(path)
    root = path if path.is_dir() else path.parent
    found: list[SplitFiles] = []
    spelled: dict[str, str] = {}
    for name, place in named.items():
        if spelled.setdefault(split_name(name), name) != name:
            raise InputError(
                f"{spelled[split_name(name)]!r} and {name!r} in `splits` are one split, "
                f"{split_name(name)!r}; name it once."
            )
        below = annotations_named(path, place)
        if not below.exists():
            raise InputError(f"Expected the annotations of {name!r} (`splits`), found nothing at {below}.")
        parts = _splits_at(below, images or (root if path.is_dir() else None), asked)
        if len(parts) > 1:
            several = ", ".join(part.split for part in parts)
            raise InputError(
                f"{below} has several splits ({several}); name one file for {name!r} in `splits`."
            )
        found.append(_renamed(parts[0], split_name(name)))
    return found


def _renamed(files: SplitFiles, name: str) -> SplitFiles:
    return replace(files, split=name)


def _splits_at(path: AnyPath, images: AnyPath | None, asked: str | None) -> list[SplitFiles]:
    if isinstance(path, Path) and path.is_file() and is_zip(path):
        path = ArchivePath(path)
    if path.is_dir():
        return _splits_in(path, images, asked)
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        raise InputError(
            f"{path} is an archive of a kind that is not read in place; unpack it, or pack a zip."
        )
    if found := _of_own_layout(path, images, asked):
        return found
    name = _name_of_file(path)
    return [_files_of(name, path, _roots_of_file(path, images, name))]


def _of_own_layout(path: AnyPath, images: AnyPath | None, asked: str | None) -> list[SplitFiles]:
    """Return the splits of a layout that only one format has."""
    for format_ in formats.FORMATS:
        if format_.find is None or asked not in (None, format_.name):
            continue
        found = format_.find(path, images)
        if found:
            return [_with_roots(files, images) for files in found]
    return []


def _with_roots(files: SplitFiles, images: AnyPath | None) -> SplitFiles:
    """Return a split whose images may be in a folder of `images` for this split, too."""
    if images is None:
        return files
    roots = dict.fromkeys((*files.image_roots, *_image_roots(images, files.split)))
    return replace(files, image_roots=tuple(roots))


def _splits_in(folder: AnyPath, images: AnyPath | None, asked: str | None) -> list[SplitFiles]:
    for _ in range(_MAX_DESCENTS):
        if found := _layout_of(folder, images, asked):
            return found
        folders, files = entries(folder)
        visible = [name for name in folders if not name.startswith(".")]
        if len(visible) != 1 or any(_is_image(name) for name in files):
            break
        folder = folder / visible[0]  # what was packed or downloaded is often one folder deeper
    return _files_beside(folder, images, deep=True)


def _layout_of(folder: AnyPath, images: AnyPath | None, asked: str | None) -> list[SplitFiles]:
    if found := _of_own_layout(folder, images, asked):
        return found
    found = _split_folders(folder, images, asked) or _annotations_folder(folder, images)
    if asked is not None and not any(_may_be(files, asked) for files in found):
        found = _in_format_folders(folder, images, asked) or found
    for name in _folders_of_formats():  # such as `labels/train/` beside `images/train/`
        if not found and (folder / name).is_dir():
            found = _split_folders(folder / name, images or folder, asked)
    if found or not _candidates(folder):
        return found
    return _files_beside(folder, images)


def _in_format_folders(folder: AnyPath, images: AnyPath | None, asked: str) -> list[SplitFiles]:
    """Return the splits of the format that was asked for below folders of formats, such as `labels/`."""
    for place in (folder / name for name in _folders_of_formats()):
        if not place.is_dir():
            continue
        found = _split_folders(place, images or folder, asked)
        if not found and (candidates := _candidates_in(place) | _nested(place)):
            roots = _image_roots(images or folder, ONLY_SPLIT)
            found = [_split_of(ONLY_SPLIT, candidates, place, roots)]
        if any(_may_be(files, asked) for files in found):
            return found
    return []


def _may_be(files: SplitFiles, asked: str) -> bool:
    """Return whether the annotations of a split may be of the format that was asked for."""
    if files.format:
        return files.format == asked
    return any(format_.name == asked for text in files.texts for format_ in formats.claimants(text))


def _files_of(split: str, file: AnyPath, image_roots: tuple[AnyPath, ...]) -> SplitFiles:
    return SplitFiles(split, file, (AnnotationText(file),), image_roots)


def _folders_of_formats() -> list[str]:
    return list(dict.fromkeys(name for format_ in formats.FORMATS for name in format_.folders))


def _name_of_file(path: AnyPath) -> str:
    """Return the split that a file's name or its folder's name says, or the name for the only split."""
    found = _SPLIT_IN_NAME.findall(path.stem.lower())
    if len(found) == 1:
        return split_name(found[0])
    folder = split_name(path.absolute().parent.name)
    return folder if folder in SPLIT_NAMES else ONLY_SPLIT


def _roots_of_file(path: AnyPath, images: AnyPath | None, split: str) -> tuple[AnyPath, ...]:
    if images is not None:
        return (images, *_image_roots(images, split, path.stem))
    above = _image_roots(path.parent.parent, split, path.stem) if path.parent.name == "annotations" else ()
    return (path.parent, *_image_roots(path.parent, split, path.stem), *above)


def _image_roots(root: AnyPath, split: str, stem: str = "") -> tuple[AnyPath, ...]:
    """Return the folders below `root` where the images of a split may be, the likeliest first."""
    spellings = ("val", "valid", "validation") if split == "val" else (split,)
    names = [stem.rpartition("_")[2], *spellings]  # `instances_train2017.json` belongs to `train2017/`
    # `custom_train.json` belongs to `train2017/`, too.
    dated = [
        name
        for name in (sorted(entries(root)[0]) if root.is_dir() else ())
        if (match := _SPLIT_FOLDER.fullmatch(name.lower())) and split_name(match[1]) == split
    ]
    names = list(dict.fromkeys([*names, *dated]))
    folders = [parent / name for name in names if name for parent in (root, root / "images")]
    gathered = [root / name for name in ("images", "data", "JPEGImages")]  # FiftyOne has `data/`
    return (*(folder for folder in (*folders, *gathered) if folder.is_dir()), root)


def _split_folders(root: AnyPath, images: AnyPath | None, asked: str | None) -> list[SplitFiles]:
    """Return the splits of a folder that has one folder for each."""
    folders: dict[str, AnyPath] = {}
    for folder_name in sorted(entries(root)[0]):
        name = split_name(folder_name)
        if name not in SPLIT_NAMES:
            continue
        if name in folders:
            raise InputError(
                f"{root} has two folders for the split {name!r}, {folders[name].name} and "
                f"{folder_name}; keep one of them."
            )
        folders[name] = root / folder_name
    candidates = {name: _candidates(folder) or _nested(folder) for name, folder in folders.items()}
    if not any(candidates.values()):
        return []
    found = []
    for name, folder in folders.items():
        if not candidates[name] and name == "test":
            continue  # test images are often published without annotations
        if len(own := _of_own_layout(folder, images, asked)) == 1:
            found.append(_with_roots(_renamed(own[0], name), images))
            continue
        roots = _image_roots(images, name) if images else _image_roots(folder, name)
        found.append(_split_of(name, candidates[name], folder, roots))
    return found


def _annotations_folder(root: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    """Return the splits of a folder in COCO's own layout."""
    folder = root / "annotations"
    if not folder.is_dir():
        return []
    candidates = _candidates(folder)
    if _per_image(candidates):  # images may be called `test_1`
        name = split_name(root.absolute().name)
        name = name if name in SPLIT_NAMES else ONLY_SPLIT
        return [_split_of(name, candidates, folder, _image_roots(images or root, name))]
    return _one_for_each_split(candidates, folder, images or root)


def _files_beside(root: AnyPath, images: AnyPath | None, deep: bool = False) -> list[SplitFiles]:
    """Return the split, or the splits, whose annotation files stand in the folder itself.

    Args:
        root: the folder.
        images: that of the images, if it was given.
        deep: without any such file, take those in folders below, if their format has one file per image.
    """
    candidates = _candidates(root) or (_nested(root) if deep else {})
    names = {_name_of_file(file) for file in candidates}
    several = len(candidates) > 1 and (len(names) > 1 or names <= set(SPLIT_NAMES))
    if several and not _per_image(candidates):
        return _one_for_each_split(candidates, root, images or root)
    name = split_name(root.absolute().name)
    name = name if name in SPLIT_NAMES else ONLY_SPLIT
    return [_split_of(name, candidates, root, _image_roots(images or root, name))]


def _one_for_each_split(candidates: Candidates, folder: AnyPath, images: AnyPath) -> list[SplitFiles]:
    by_split: dict[str, Candidates] = {}
    for file, claims in candidates.items():
        by_split.setdefault(_name_of_file(file), {})[file] = claims
    return [
        _split_of(name, group, folder, _image_roots(images, name, next(iter(group)).stem))
        for name, group in by_split.items()
    ]


def _candidates(folder: AnyPath) -> Candidates:
    """Return the files of a folder that look like annotations, by their beginning.

    Files of formats that have a folder of their own are looked for there if there are no others, then hidden
    files, such as ``.annotations.coco.json``.
    """
    found = _candidates_in(folder)
    if _per_image(found):
        return found | _nested(folder)
    for name in [] if found else _folders_of_formats():
        if (folder / name).is_dir() and not found:
            found = {
                file: claims
                for file, claims in (_candidates_in(folder / name) | _nested(folder / name)).items()
                if any(name in format_.folders for format_ in claims)
            }
    return found or _candidates_in(folder, hidden=True)


def _nested(folder: AnyPath) -> Candidates:
    """Return the files in folders below a folder that look like annotations of one image each."""
    suffixes = tuple({format_.suffix for format_ in formats.FORMATS if format_.per_image})
    nested = (name for name in files_below(folder) if "/" in name and name.lower().endswith(suffixes))
    paths: list[AnyPath] = [folder / name for name in sorted(nested)]
    claimed = ((path, formats.claimants(AnnotationText(path))) for path in paths)
    return {path: claims for path, claims in claimed if any(format_.per_image for format_ in claims)}


def _candidates_in(folder: AnyPath, hidden: bool = False) -> Candidates:
    _, files = entries(folder)
    names = sorted(name for name in files if name.startswith(".") == hidden and not _is_image(name))
    paths: list[AnyPath] = [folder / name for name in names]
    claimed = ((path, formats.claimants(AnnotationText(path))) for path in paths)
    return {path: claims for path, claims in claimed if claims}


def _per_image(candidates: Candidates) -> bool:
    """Say whether files are of one format that has one file per image."""
    shared = set.intersection(*(set(claims) for claims in candidates.values())) if candidates else set()
    return any(format_.per_image for format_ in shared)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a Path for each of 100,000 names is slow


def _split_of(
    split: str, candidates: Candidates, folder: AnyPath, image_roots: tuple[AnyPath, ...]
) -> SplitFiles:
    """Return a split with its annotation file, or with its files.

    Raises:
        InputError: there is no file.
    """
    files = list(candidates)
    prefixes = tuple(format_.file_prefix for format_ in formats.FORMATS if format_.file_prefix)
    preferred = [file for file in files if prefixes and file.name.startswith(prefixes)]
    if len(files) == 1 or len(preferred) == 1:
        return _files_of(split, (preferred or files)[0], image_roots)
    if not files:
        raise _without_annotations(folder)
    texts = tuple(map(AnnotationText, files))
    shared = _shared_folder(files)
    return SplitFiles(split, shared, texts, (shared, *image_roots))


def _shared_folder(files: Sequence[AnyPath]) -> AnyPath:
    """Return the deepest folder that all files are below."""
    folders = {str(file.parent): file.parent for file in files}
    shared = min(folders.values(), key=lambda folder: len(str(folder)))
    while not all(f"{name}/".startswith(f"{shared}/") for name in folders):
        shared = shared.parent
    return shared


def _without_annotations(folder: AnyPath) -> InputError:
    """Return the refusal of a folder without annotations; it names what was found in their place."""
    count = _count_images(folder)
    places = [folder, *([folder / "annotations"] if (folder / "annotations").is_dir() else [])]
    names = [place / name for place in places for name in sorted(entries(place)[1])]
    likely = [path for path in names if path.name.lower().endswith((".json", ".csv", ".xml", ".yaml"))]
    inner = [name for name in sorted(entries(folder)[0]) if _candidates_below(folder / name)]
    if inner:
        return InputError(
            f"{folder} holds no annotations itself, but its folders do: {listed(map(shown, inner))}; name "
            "one of them, or a file for each split with `splits`."
        )
    if not count:
        return InputError(f"{folder} holds no images; expected images with their annotation file.")
    for path in likely[:1]:
        try:
            formats.recognise(AnnotationText(path))
        except InputError as error:
            return error  # it tells what the file holds instead
    return InputError(
        f"{folder} holds {counted(count, 'image')} but no annotation file; expected {formats.expected()} "
        "beside them."
    )


def _candidates_below(folder: AnyPath) -> bool:
    """Say whether a folder, or a folder of a format in it, has annotations."""
    try:
        return bool(_candidates(folder)) or any(
            _candidates_in(folder / name)
            for name in ("ann", "annotations", "Annotations")
            if (folder / name).is_dir()
        )
    except (OSError, InputError):
        return False


def _count_images(folder: AnyPath) -> int:
    return sum(map(_is_image, files_below(folder)))
