"""Paths that YOLO's files state: of folders, of lists of images, of the label file of an image."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aerostat.images.archive import AnyPath, ArchivePath
from aerostat.images.folders import entries
from aerostat.images.read import IMAGE_SUFFIXES

IMAGES, LABELS = "images", "labels"
"""The last folder called `IMAGES` on the way to an image is called `LABELS` on the way to its label file."""

MAX_STARTS = 32
"""Ends of a path of another computer that are looked for: more would cost the square of its length."""
MAX_LENGTH = 4096
"""Characters of a path that can exist; Linux allows as many bytes."""

_SPLIT_FOLDER = re.compile(r"(?:obj_)?(train|validation|valid|val|test)(?:[-_]?\d+)?(?:_data)?")


def split_of(name: str) -> str | None:
    """Return the split that the name of a folder or a list says.

    >>> split_of("valid"), split_of("train2017"), split_of("obj_train_data"), split_of("training")
    ('val', 'train', 'train', None)
    """
    match = _SPLIT_FOLDER.fullmatch(name.lower())
    if match is None:
        return None
    return "val" if match[1].startswith("val") else match[1]


def is_image(name: str) -> bool:
    """Return whether a file is an image by its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a Path for each is slow


def parts_of(text: str) -> list[str]:
    """Return the folders and the name of a path, whatever system wrote it, without drive and ``.``.

    >>> parts_of("C:\\\\data\\\\train"), parts_of("../train/./images")
    (['data', 'train'], ['..', 'train', 'images'])
    """
    text = re.sub(r"^[A-Za-z]:(?=[\\/])", "", text.strip()).replace("\\", "/")
    return [part for part in text.split("/") if part not in ("", ".")]


def is_absolute(text: str) -> bool:
    """Return whether a path begins at the root of a disk, on any system."""
    return bool(re.match(r"\s*([A-Za-z]:)?[\\/]", text))


def resolved(text: str, bases: Sequence[AnyPath]) -> AnyPath | None:
    """Return the file or folder that a path means; None if there is none.

    It is looked up in these steps: an absolute path of this computer; below each base without ``..``, because
    Roboflow writes ``../train/images`` beside ``train``; as it stands; its end below a base, because absolute
    paths come from another computer.
    """
    if len(text) > MAX_LENGTH:
        return None
    parts = parts_of(text)
    inner = [part for part in parts if part != ".."]
    if is_absolute(text) and not isinstance(bases[0], ArchivePath) and _exists(Path(text.strip())):
        return Path(text.strip())
    places = [base.joinpath(*inner) for base in bases]
    if len(inner) < len(parts):
        places += [climbed for base in bases if (climbed := _climbed(base, parts)) is not None]
    starts = range(max(1, len(inner) - MAX_STARTS), len(inner))
    places += [base.joinpath(*inner[start:]) for base in bases for start in starts]
    return next((place for place in places if _exists(place)), None)


def _exists(path: AnyPath) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _climbed(base: AnyPath, parts: Iterable[str]) -> AnyPath | None:
    """Return a path with ``..``; None for one that leaves its archive."""
    place = base.absolute()
    for part in parts:
        if part == ".." and isinstance(place, ArchivePath) and not place.inner:
            return None
        place = place.parent if part == ".." else place / part
    return place


def common_folder(folders: Sequence[AnyPath]) -> AnyPath:
    """Return the deepest folder that holds all these folders."""
    first = folders[0].absolute()
    if isinstance(first, ArchivePath):
        inner = [f"/{folder.inner}" for folder in folders if isinstance(folder, ArchivePath)]
        return ArchivePath(first.archive, posixpath.commonpath(inner).strip("/"))
    return Path(os.path.commonpath([str(folder.absolute()) for folder in folders]))


def below(folder: AnyPath, root: AnyPath) -> str:
    """Return the path from a folder to one below it, with slashes; empty if they are the same."""
    if isinstance(folder, ArchivePath):
        inner = root.inner if isinstance(root, ArchivePath) else ""
        return folder.inner[len(inner) :].strip("/")
    name = os.path.relpath(str(folder.absolute()), str(root.absolute())).replace(os.sep, "/")
    return "" if name == "." else name


def labels_beside(folder: AnyPath) -> AnyPath:
    """Return the folder of the labels of a folder of images, by the rule of `LABELS`; it may not exist."""
    inner = folder.inner if isinstance(folder, ArchivePath) else folder.absolute().as_posix()
    swapped = swap(inner)
    if swapped is None:
        return folder
    return ArchivePath(folder.archive, swapped) if isinstance(folder, ArchivePath) else Path(swapped)


def swap(folder: str, old: str = IMAGES, new: str = LABELS) -> str | None:
    """Return a path in which the last folder called `old` is called `new`; None if there is none.

    >>> swap("images/a/images/b"), swap("photos")
    ('images/a/labels/b', None)
    """
    parts = folder.split("/")
    for place in range(len(parts) - 1, -1, -1):
        if parts[place].lower() == old:
            parts[place] = new
            return "/".join(parts)
    return None


@dataclass(slots=True)
class Listings:
    """Names of the files in folders; each folder is listed once."""

    _names: dict[AnyPath, frozenset[str]] = field(default_factory=dict)
    _folders: dict[AnyPath, frozenset[str]] = field(default_factory=dict)

    def of(self, folder: AnyPath) -> frozenset[str]:
        """Return the names of the files in a folder; none if it cannot be listed."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(entries(folder)[1])
            except (OSError, ValueError):
                self._names[folder] = frozenset()
        return self._names[folder]

    def folders(self, folder: AnyPath) -> frozenset[str]:
        """Return the names of the folders in a folder, in lower case; `LABELS` stands for `IMAGES`, too."""
        if folder not in self._folders:
            try:
                names = {name.lower() for name in entries(folder)[0]}
            except (OSError, ValueError):
                names = set()
            self._folders[folder] = frozenset(names | ({IMAGES} if LABELS in names else set()))
        return self._folders[folder]


@dataclass(slots=True)
class LabelFiles:
    """Finds the label files of images.

    An image ``images/train/a.jpg`` has the label file ``labels/train/a.txt``, else the one beside it.

    Args:
        root: the folder that the names of images are relative to.
        more: further folders with the same folders and names below them, such as one of labels only.
    """

    root: AnyPath
    more: Sequence[AnyPath] = ()
    _listings: Listings = field(default_factory=Listings)
    _folders: dict[str, list[tuple[AnyPath, frozenset[str]]]] = field(default_factory=dict)

    def of(self, name: str) -> AnyPath | None:
        """Return the label file of an image; None if it has none.

        Args:
            name: of the image, relative to the root, with slashes.
        """
        folder, _, last = name.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._where(folder)
        label = f"{last.rpartition('.')[0] or last}.txt"
        for place, names in self._folders[folder]:
            if label in names:
                return place / label
        return None

    def looked_in(self, name: str) -> AnyPath:
        """Return the first folder in which the label file of an image is looked for."""
        folder = name.rpartition("/")[0]
        swapped = swap(folder)
        if swapped is not None:
            return self.root.joinpath(*swapped.split("/"))
        return (self.more[0] if self.more else labels_beside(self.root)).joinpath(*filter(None, [folder]))

    def _where(self, folder: str) -> list[tuple[AnyPath, frozenset[str]]]:
        parts = folder.split("/") if folder else []
        swapped = swap(folder)
        roots = dict.fromkeys((*self.more, labels_beside(self.root), self.root))
        places = [] if swapped is None else [root.joinpath(*swapped.split("/")) for root in roots]
        places += [root.joinpath(*parts) for root in roots]
        return [(place, names) for place in dict.fromkeys(places) if (names := self._listings.of(place))]
