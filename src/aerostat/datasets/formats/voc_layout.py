"""Where the files of a Pascal VOC data set stand: annotations, images, lists of splits, names of classes.

```
VOC2007/Annotations/000001.xml
VOC2007/JPEGImages/000001.jpg
VOC2007/ImageSets/Main/train.txt, val.txt, trainval.txt, test.txt
VOC2007/labelmap.txt
```

A list has one name in each line. ``cow_train.txt`` is a list for classification and no split.
``trainval.txt`` is the union of train and val: it serves as the one of them that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.records import ONLY_SPLIT, SPLIT_NAMES, split_name
from aerostat.datasets.xml_text import root_tag
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries, files_below

FOLDERS = ("Annotations", "annotations", "xmls")
"""Folders in which XML files stand."""

DEFAULT_LIST = "default"
"""The list of a data set without splits, as CVAT names it."""

CLASS_LISTS = ("labelmap.txt", "classes.txt", "labels.txt", "predefined_classes.txt")
"""Files beside the annotations that name the classes in their order."""

_LISTS = ("ImageSets/Main", "ImageSets")
_IMAGES = ("JPEGImages", "images", "Images", "imgs")
_BOTH = "trainval"
_MAX_LIST_BYTES = 1 << 28

Names = tuple[str, ...]


def find(path: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    """Return the splits of a folder with the layout of VOC, or the one whose list was given.

    Args:
        path: the folder, a list in its ``ImageSets/Main``, or a file in its ``Annotations``.
        images: folder of the images, if it was given.
    """
    single = path.suffix.lower() == ".xml" and path.parent.name in FOLDERS and not path.is_dir()
    if path.is_dir() or single:
        root, only = path.absolute().parent.parent if single else path, None
    elif path.suffix.lower() == ".txt" and (above := _above_lists(path)) is not None:
        root, only = above, path
    else:
        return []
    folder = _annotations_of(root)
    if folder is None:
        return []
    places = _places(folder)
    if not places:
        return []
    roots = [root / name for name in _IMAGES if (root / name).is_dir()]
    roots = [*([images] if images is not None else []), *roots, folder, root]
    if single:
        return [SplitFiles(ONLY_SPLIT, path, (AnnotationText(path),), tuple(roots), "voc")]
    if only is not None:
        lists: Mapping[str, Names] = {_split_of_list(only): _names_in(only)}
    else:
        lists = _lists_of(root)
    found = [_listed_split(name, names, folder, places, tuple(roots)) for name, names in lists.items()]
    if found or any(split_name(name) in SPLIT_NAMES for name in entries(folder)[0]):
        return found  # `Annotations/train/` is a split of its own
    texts = tuple(AnnotationText(folder / place) for place in places.values())
    return [SplitFiles(_split_of_folder(root), folder, texts, tuple(roots), "voc")]


def is_voc(head: bytes) -> bool:
    """Return whether a file that begins so is VOC. The old XML of LabelMe has the same first element."""
    labelme = any(mark in head for mark in (b"<imagesize>", b"<sourceImage>", b"<pt>"))
    return root_tag(head) == "annotation" and not labelme


def stem_of(path: AnyPath, folder: AnyPath) -> str:
    """Return the path of an XML file below its folder of annotations, without suffix."""
    below = str(path)[len(str(folder)) :].replace("\\", "/").strip("/") if path != folder else path.name
    return below.rpartition(".")[0] or below


def listed_classes(files: SplitFiles, used: Set[str]) -> Names:
    """Return the names of a list of classes beside the annotations, if it has all that are in use.

    CVAT writes a class for the background, which is left out unless it is in use.
    """
    above = files.annotations if files.annotations.is_dir() else files.annotations.parent
    for folder in (above, above.parent):
        for name in CLASS_LISTS:
            if (folder / name).is_file():
                names = _class_names(folder / name, labelmap=name == CLASS_LISTS[0])
                if names and used <= set(names):
                    return tuple(name for name in names if name != "background" or name in used)
    return ()


def _class_names(path: AnyPath, labelmap: bool) -> Names:
    """Return the names in a list; a line of ``labelmap.txt`` is ``name:color:parts:actions``."""
    lines = [line for line in _lines(path) if not labelmap or not line.startswith("# ")]
    names = [(line.rsplit(":", 3)[0] if labelmap else line).strip() for line in lines]
    return tuple(dict.fromkeys(name for name in names if name))


def _above_lists(path: AnyPath) -> AnyPath | None:
    """Return the root of a data set from one of its lists."""
    above = path.absolute().parent
    if above.name == "Main":
        above = above.parent
    return above.parent if above.name == "ImageSets" else None


def _annotations_of(root: AnyPath) -> AnyPath | None:
    """Return the folder of XML files."""
    there = set(entries(root)[0])
    for name in FOLDERS:
        folder = root / name
        if name in there:
            return folder / "xmls" if name != "xmls" and "xmls" in entries(folder)[0] else folder
    return None


def _places(folder: AnyPath) -> dict[str, str]:
    """Return the XML files below a folder by their path without suffix; none if the first one is no VOC."""
    found = {name.rpartition(".")[0]: name for name in sorted(files_below(folder)) if _is_xml(name)}
    for name in list(found.values())[:20]:  # the first ones may be empty
        head = AnnotationText(folder / name).head()
        if head:
            return found if is_voc(head) else {}
    return found


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml") and not name.rpartition("/")[2].startswith(".")


def _split_of_folder(root: AnyPath) -> str:
    name = split_name(root.absolute().name)
    return name if name in SPLIT_NAMES else ONLY_SPLIT


def _split_of_list(path: AnyPath) -> str:
    stem = path.stem.lower()
    return "train" if stem == _BOTH else ONLY_SPLIT if stem == DEFAULT_LIST else split_name(path.stem)


def _lists_of(root: AnyPath) -> dict[str, Names]:
    """Return the names of the images of each split."""
    for below in _LISTS:
        folder = root
        for part in below.split("/"):
            folder = folder / part
        if folder.is_dir() and (found := _lists_in(folder)):
            return found
    return {}


def _lists_in(folder: AnyPath) -> dict[str, Names]:
    known = (*SPLIT_NAMES, _BOTH, DEFAULT_LIST)
    paths: dict[str, AnyPath] = {}
    for name in sorted(entries(folder)[1]):
        stem, _, suffix = name.rpartition(".")
        split = split_name(stem.lower())
        if suffix.lower() != "txt" or split not in known:
            continue
        if split in paths:
            raise InputError(
                f"{folder} has two lists for the split {split!r}, {paths[split].name} and {name}; keep one."
            )
        paths[split] = folder / name
    lists = {split: _names_in(path) for split, path in paths.items()}
    both, only = lists.pop(_BOTH, ()), lists.pop(DEFAULT_LIST, ())
    train, val = lists.get("train"), lists.get("val")
    if both and (train is None or val is None):
        rest = set(train or val or ())
        missing = tuple(name for name in both if name not in rest)
        if missing:
            lists["train" if train is None else "val"] = missing
    return lists if lists or not only else {ONLY_SPLIT: only}


def _listed_split(
    split: str, names: Names, folder: AnyPath, places: Mapping[str, str], roots: tuple[AnyPath, ...]
) -> SplitFiles:
    found = [(name, _own_place(name, places)) for name in names]
    kept = (place for name, place in found if place in places or not name.startswith("#"))  # no comments
    own = tuple(dict.fromkeys(kept))
    texts = tuple(AnnotationText(folder / places[place]) for place in own if place in places)
    return SplitFiles(split, folder, texts, roots, "voc", images=own)


def _own_place(name: str, places: Mapping[str, str]) -> str:
    """Return the path of an XML file without suffix that a line of a list means.

    Lines of classification end with 1, -1 or 0. Some lists have suffixes, folders, or the XML file behind the
    image.
    """
    shorter = re.sub(r"\s+-?[01]$", "", name)
    for candidate in (name, shorter, name.strip('"'), shorter.split()[-1]):
        last = candidate.replace("\\", "/").rpartition("/")[2]
        for form in (candidate, candidate.rpartition(".")[0], last, last.rpartition(".")[0]):
            if form in places:
                return form
    return shorter


def _names_in(path: AnyPath) -> Names:
    return tuple(dict.fromkeys(_lines(path)))


def _lines(path: AnyPath) -> list[str]:
    """Return the lines of a list without white space around them; empty ones are left out.

    Raises:
        InputError: the file cannot be read or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LIST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
