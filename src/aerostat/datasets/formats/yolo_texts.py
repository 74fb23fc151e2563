"""What text files in a YOLO data set are: label files, lists of names, lists of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats import yolo_config
from aerostat.datasets.formats.yolo_paths import IMAGES, LABELS, is_image, split_of
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries, files_below

YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
"""Usual names of the file that lists splits and classes."""
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "classes.names", "predefined_classes.txt")
"""Usual names of the list of classes, the likeliest first."""
IMAGE_LISTS = ("train.txt", "val.txt", "valid.txt", "validation.txt", "test.txt")
"""Usual names of lists of images."""

LOOKED_AT = 20
"""Files of a folder that are looked at to tell what it holds."""

_OTHER_TEXTS = frozenset(
    (*NAME_LISTS, *IMAGE_LISTS, "readme.txt", "readme.dataset.txt", "readme.roboflow.txt")
)
_NUMBER = rb"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(rb"\d+(?:\.0+)?(?:[ \t]+" + _NUMBER + rb"){4,}")
_MAX_SHARE = 1.5
_OTHER_FORMATS = (b'"annotations"', b'"file_name"', b'"regions"', b'"_via_img_metadata"')


def looks_like_labels(head: bytes) -> bool:
    """Return whether a text begins as a label file does: the number of a class, and at least four shares.

    >>> looks_like_labels(b"0 0.5 0.5 0.1 0.2\\n"), looks_like_labels(b"Car 0.5 0.5 0.1 0.2")
    (True, False)
    """
    line = head.lstrip().partition(b"\n")[0].rstrip()
    return bool(_LINE.fullmatch(line)) and all(abs(float(word)) <= _MAX_SHARE for word in line.split()[1:5])


def label_names(folder: AnyPath) -> Iterator[str]:
    """Yield the names of the label files below a folder, relative to it."""
    for name in files_below(folder):
        if name.endswith(".txt") and name.rpartition("/")[2].lower() not in _OTHER_TEXTS:
            yield name


def has_labels(folder: AnyPath) -> bool:
    """Return whether one of the first text files below a folder is a label file with an object."""
    if not folder.is_dir():
        return False
    looked_at = 0
    for name in islice(label_names(folder), LOOKED_AT**2):  # most may be empty
        head = AnnotationText(folder / name).head()
        if looks_like_labels(head):
            return True
        looked_at += bool(head)
        if looked_at == LOOKED_AT:
            break
    return False


def is_image_list(file: AnyPath) -> bool:
    """Return whether the first line of a text names an image."""
    line = AnnotationText(file).head().partition(b"\n")[0].strip()
    return is_image(line.decode("utf-8", "replace"))


def has_other_annotations(folder: AnyPath, folders: Sequence[str]) -> bool:
    """Return whether a folder, or one of a split in it, has annotations of another format."""
    inner = [name for name in folders if name.lower() == "annotations" or split_of(name)]
    for place in (folder, *(folder / name for name in inner)):
        names = sorted(name for name in entries(place)[1] if name.lower().endswith(".json"))
        for name in names[:LOOKED_AT]:
            head = AnnotationText(place / name).head()
            if any(key in head for key in _OTHER_FORMATS):
                return True
    return False


def names_near(*folders: AnyPath) -> tuple[str, ...]:
    """Return the names of classes from the first of these folders that has a list of them, or a data.yaml.

    Raises:
        InputError: a list is broken.
    """
    for folder in dict.fromkeys(folders):
        if not folder.is_dir():
            continue
        files = {name.lower(): name for name in entries(folder)[1]}
        lists = [name for name in NAME_LISTS if name in files]
        lists += sorted(name for name in files if name.endswith(".names"))
        if lists and (names := yolo_config.read_names(folder / files[lists[0]])):
            return names
        for name in YAML_NAMES:
            if name in files and (config := yolo_config.read_yaml(folder / files[name])) and config.names:
                return config.names
    return ()


def folders_above(folder: AnyPath) -> list[AnyPath]:
    """Return a folder and those above it that belong to its data set."""
    found = [folder.absolute()]
    for _ in range(3):
        names = (found[-1].name.lower(), found[-1].parent.name.lower())
        if split_of(names[0]) is None and not {IMAGES, LABELS}.intersection(names):
            break
        found.append(found[-1].parent)
    return found
