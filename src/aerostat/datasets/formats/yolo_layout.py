"""Where a YOLO data set's images, labels and names of classes stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from aerostat.datasets.formats import yolo_config
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.formats.yolo_config import Config
from aerostat.datasets.formats.yolo_listed import Listed, configured, images_of_labels, split_files
from aerostat.datasets.formats.yolo_paths import (
    IMAGES,
    LABELS,
    LabelFiles,
    is_image,
    labels_beside,
    split_of,
    swap,
)
from aerostat.datasets.formats.yolo_texts import (
    IMAGE_LISTS,
    LOOKED_AT,
    NAME_LISTS,
    YAML_NAMES,
    folders_above,
    has_labels,
    has_other_annotations,
    is_image_list,
    names_near,
)
from aerostat.datasets.records import ONLY_SPLIT, split_name
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath, ArchivePath
from aerostat.images.folders import entries, files_below
from aerostat.text import listed


def find(path: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    """Return the splits of a YOLO data set; none if there is another one.

    Args:
        path: a folder, a ``data.yaml``, an ``obj.data``, a list of names or a list of images.
        images: the folder of the images, if they stand elsewhere.

    Raises:
        InputError: a file that lists splits is broken, or images or labels of a split that it lists are not
            there.
    """
    if path.is_dir():
        return _in_folder(path, images)
    name = path.name.lower()
    if name.endswith((".yaml", ".yml")):
        config = yolo_config.read_yaml(path)
        return configured(config, images) if config and config.splits else []
    if name.endswith(".data"):
        config = yolo_config.read_darknet(path)
        return configured(config, images) if config else []
    if name in NAME_LISTS or name.endswith(".names"):
        return _in_folder(path.parent, images)
    if name.endswith(".txt") and is_image_list(path):
        split = split_of(path.stem) or ONLY_SPLIT
        names = names_near(*folders_above(path.parent))
        return configured(Config(path, splits={split: (path.name,)}, names=names), images)
    return []


def _in_folder(folder: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    folders, files = entries(folder)
    config = _config_in(folder, files)
    if config is not None and config.splits:
        found = configured(config, images, strict=not has_other_annotations(folder, folders))
        if found:
            return found
    names = config.names if config is not None and config.names else ()
    if has_other_annotations(folder, folders):
        return []
    lists = {split_name(Path(name).stem): (name,) for name in files if name.lower() in IMAGE_LISTS}
    if lists and all(is_image_list(folder / name) for (name,) in lists.values()):
        names = names or names_near(folder)
        return configured(Config(folder, splits=lists, names=names), images, strict=False)
    return [
        replace(files, classes=names) if names else files for files in _by_folders(folder, folders, images)
    ]


def _config_in(folder: AnyPath, files: Sequence[str]) -> Config | None:
    """Return what the file that lists splits says; None if the folder has none.

    Raises:
        InputError: it is broken, or there are several.
    """
    by_name = {name.lower(): name for name in files}
    for name in YAML_NAMES:
        if name in by_name:
            config = yolo_config.read_yaml(folder / by_name[name])
            if config is not None:
                return config
    others = sorted(name for name in files if name.lower().endswith((".yaml", ".yml", ".data")))
    found: list[Config] = []
    for name in others[:LOOKED_AT]:
        try:
            read = yolo_config.read_darknet if name.lower().endswith(".data") else yolo_config.read_yaml
            config = read(folder / name)
        except InputError:  # another program's file
            continue
        if config is not None and config.splits and (config.names or config.names_file or config.class_count):
            found.append(config)
    if len(found) > 1:
        names = listed([config.file.name for config in found])
        raise InputError(f"{folder} has several files that list splits ({names}); name one of them instead.")
    return found[0] if found else None


def _by_folders(folder: AnyPath, folders: Sequence[str], images: AnyPath | None) -> list[SplitFiles]:
    """Return the splits of a folder that no file lists."""
    names = names_near(*folders_above(folder))
    by_split = _label_folders(folder, folders)
    if not any(has_labels(labels) for _, labels in by_split.values()):
        by_split = _any_label_folder(folder, folders) if names else {}
    found = []
    for split, (beside, labels) in by_split.items():
        if has_labels(labels):
            part = _images_below(beside, labels, images, split)
            classes = names_near(labels, labels.parent, beside) or names
            found.append(replace(split_files(split, part, images), classes=classes))
        elif split != "test":  # test images are often published without annotations
            raise InputError(f"{labels} holds no label files of {split}; export them again.")
    return found


def _images_below(folder: AnyPath, labels: AnyPath, images: AnyPath | None, split: str) -> Listed:
    """Return the images of a split: those in its folder, else those that its labels describe."""
    names = tuple(name for name in files_below(folder) if is_image(name)) if folder.is_dir() else ()
    return Listed(folder, names, labels) if names else images_of_labels(labels, images, split)


_Pairs = dict[str, tuple[AnyPath, AnyPath]]
"""Folder of the images and folder of the labels, by split."""


def _label_folders(folder: AnyPath, folders: Sequence[str]) -> _Pairs:
    """Return the folders of each split in a layout that is common.

    Raises:
        InputError: two folders are of one split.
    """
    by_name = {name.lower(): name for name in sorted(folders)}
    images = folder / by_name[IMAGES] if IMAGES in by_name else folder
    if LABELS in by_name:
        labels = folder / by_name[LABELS]
        inner = _of_splits(entries(labels)[0])
        pairs = [(split, images / name, labels / name) for split, name in inner]
        return _unique(pairs, labels) if pairs else {_split_name(folder): (images, labels)}
    if splits := _of_splits(folders):
        return _unique([(split, *_pair(folder / name)) for split, name in splits], folder)
    if IMAGES in by_name:
        inner = _of_splits(entries(images)[0])
        pairs = [(split, images / name, images / name) for split, name in inner]
        return _unique(pairs, images) if pairs else {_split_name(folder): (images, images)}
    pair = _pair(folder)
    return {_split_name(folder): pair} if pair[0] != pair[1] or _has_labels_beside(folder) else {}


def _has_labels_beside(folder: AnyPath) -> bool:
    """Return whether one of the first images below a folder has its label file beside it; labels alone do."""
    folders, files = entries(folder)
    if len(folders) == 1 and not any(map(is_image, files)):
        return False  # what was packed or downloaded is often one folder deeper
    labels = LabelFiles(folder)
    images = list(islice(filter(is_image, files_below(folder)), LOOKED_AT**2))
    return any(map(labels.of, images)) if images else has_labels(folder)


def _of_splits(folders: Sequence[str]) -> list[tuple[str, str]]:
    """Return the folders that are called as a split is, each behind the split."""
    return [(split, name) for name in sorted(folders) if (split := split_of(name)) is not None]


def _pair(folder: AnyPath) -> tuple[AnyPath, AnyPath]:
    """Return the folder of the images and that of the labels of one split."""
    by_name = {name.lower(): name for name in entries(folder)[0]}
    images = folder / by_name[IMAGES] if IMAGES in by_name else folder
    if LABELS in by_name:
        return images, folder / by_name[LABELS]
    beside = labels_beside(images)
    if beside != images and beside.is_dir() and not has_labels(images):
        return images, beside
    return _images_of(images), images


def _images_of(labels: AnyPath) -> AnyPath:
    """Return the folder of the images of a folder of labels, which may be given alone."""
    inner = labels.inner if isinstance(labels, ArchivePath) else labels.absolute().as_posix()
    swapped = swap(inner, LABELS, IMAGES)
    if swapped is None or any(is_image(name) for name in entries(labels)[1]):
        return labels
    place = ArchivePath(labels.archive, swapped) if isinstance(labels, ArchivePath) else Path(swapped)
    return place if place.is_dir() else labels


def _any_label_folder(folder: AnyPath, folders: Sequence[str]) -> _Pairs:
    """Return the folders of labels that are called anything, beside a list of names."""
    labels = [name for name in sorted(folders) if has_labels(folder / name)]
    images = [name for name in sorted(folders) if any(map(is_image, entries(folder / name)[1]))]
    if len(labels) == 1:
        beside = labels[0] if labels[0] in images or len(images) != 1 else images[0]
        return {_split_name(folder): (folder / beside, folder / labels[0])}
    pairs = [(split, folder / name, folder / name) for name in labels if (split := split_of(name))]
    return _unique(pairs, folder)


def _unique(found: Sequence[tuple[str, AnyPath, AnyPath]], folder: AnyPath) -> _Pairs:
    pairs: _Pairs = {}
    for split, images, labels in found:
        if split in pairs and has_labels(labels) and has_labels(pairs[split][1]):
            raise InputError(
                f"{folder} has two folders for the split {split!r}, {pairs[split][1].name} and "
                f"{labels.name}; keep one of them, or name them in a data.yaml."
            )
        if split not in pairs or has_labels(labels):
            pairs[split] = (images, labels)
    return pairs


def _split_name(folder: AnyPath) -> str:
    """Return the split that the name of a folder or of the one above says; else that of an only split."""
    return next((split for place in folders_above(folder)[:2] if (split := split_of(place.name))), ONLY_SPLIT)
