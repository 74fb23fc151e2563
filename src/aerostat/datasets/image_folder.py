"""Finding the file of an image that annotations name, and its size."""

from __future__ import annotations

import difflib
import re
import unicodedata
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import SPLIT_NAMES, Problem, split_name
from aerostat.errors import InputError, clause
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries, files_below
from aerostat.images.kinds import UnsupportedImageError
from aerostat.images.read import IMAGE_SUFFIXES, read_size
from aerostat.text import counted, shown

Listings = dict[AnyPath, dict[tuple[str, ...], dict[str, str]]]
"""By a folder of images and the parts of a path below it: the files there, by their composed name."""

_NAMES_TRIED = 20
_MAX_COMPARED = 20_000
"""Names among which the nearest is looked for; a comparison takes about 20 microseconds."""
_MAX_HINTS = 10
"""Missing images for which the nearest name is looked for."""

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")
"""The prefix that Label Studio gives to the name of an uploaded file."""


@dataclass(slots=True)
class _FilesBelow:
    """All files below a folder, by their last part, and by their last part without suffix."""

    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_stem: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Alike:
    """Paths that end in the same `depth` folders and in names that can mean the same.

    They are divided by the folder before only once: a thousand folders may each have an `image.jpg`.
    """

    places: list[str]
    depth: int = 0
    _by_folder: dict[str, _Alike] | None = None

    def nearest(self, folders: Sequence[str]) -> str | None:
        """Return the path that ends in the most of `folders`; None if there is none, or two have as many."""
        alike = self
        for folder in reversed(folders):
            deeper = alike._divided().get(folder) if len(alike.places) > 1 else None
            if deeper is None:
                break
            alike = deeper
        return alike.places[0] if len(alike.places) == 1 else None

    def _divided(self) -> dict[str, _Alike]:
        if self._by_folder is None:
            self._by_folder = {}
            for place in self.places:
                parts = place.rsplit("/", self.depth + 2)
                if len(parts) == self.depth + 2:
                    parts = ["", *parts]
                if len(parts) == self.depth + 3:
                    group = self._by_folder.setdefault(_folded(parts[1]), _Alike([], self.depth + 1))
                    group.places.append(place)
        return self._by_folder


@dataclass(slots=True)
class ImageFolder:
    """A folder in which images are looked up by the names that annotations give them.

    A name is looked up in these steps, and the first that finds a file counts:

    1. the path below the folder, then its last part in the folder itself;
    2. the same for the name as it was before it became a URL: ``my%20cell.jpg``, ``a.jpg?raw=true``,
       ``/data/local-files/?d=a.jpg``, ``upload/1/0123abcd-a.jpg`` of Label Studio;
    3. the only file below the folder whose path ends as the name does, with as many parts as possible;
    4. the same without regard to upper and lower case;
    5. for a name without suffix, the only image of that name.

    The names are untrusted, so they never lead out of the folder: only names that a listing of it has are
    returned. `note` says what steps 2 to 5 did.
    """

    root: AnyPath
    _listings: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    _claimed: dict[str, str] = field(default_factory=dict)
    _below: _FilesBelow | None = None
    _alike: dict[str, _Alike] = field(default_factory=dict)
    _moved: list[tuple[str, str]] = field(default_factory=list)
    _hints: int = 0

    @classmethod
    def choose(
        cls, roots: Sequence[AnyPath], file_names: Iterable[str], listings: Listings | None = None
    ) -> ImageFolder:
        """Return the first of the folders that has most of the first names; the first one if none has any.

        Of two folders with as many, the one counts that has more of them by their whole names: below
        `images/train/` the name `train/a.jpg` is found by its last part, and `val/b.jpg` is not.

        Args:
            roots: the folders.
            file_names: as annotations state them.
            listings: what listing these folders gave before; what it gives now is added.
        """
        names = list(file_names)[:_NAMES_TRIED]
        listings = {} if listings is None else listings
        folders = [cls(root, _listings=listings.setdefault(root, {})) for root in roots]

        def count(folder: ImageFolder) -> tuple[int, int]:
            found = [(name, folder._exactly(name)) for name in names]
            whole = sum(has is not None and len(_parts(has)) == len(_parts(name)) for name, has in found)
            return sum(has is not None for _, has in found), whole

        best = max(folders, key=count)
        if names and not any(map(best._exactly, names)):
            return next((folder for folder in folders if any(map(folder.find, names))), best)
        return best

    def find(self, file_name: str) -> str | None:
        """Return the file that `file_name` means, relative to the folder, or None if there is none."""
        found = self._exactly(file_name)
        if found is not None or not file_name:
            return found
        for other in spellings(file_name):
            if (found := self._exactly(other)) is not None:
                return found
        for name in (file_name, *spellings(file_name)):
            if (found := self._elsewhere(name)) is not None:
                return found
        return None

    def at_its_name(self, file_name: str) -> str | None:
        """Return what `find` returns without a search below the folder, which may take long."""
        found = map(self._exactly, (file_name, *spellings(file_name)))
        return next((name for name in found if name), None)

    def claim(self, file_name: str) -> str | None:
        """Return what `find` returns, for one entry of the annotations.

        Raises:
            InputError: another name has claimed the same file.
        """
        name = self._exactly(file_name)
        if name is None and (name := self.find(file_name)) is not None:
            self._moved.append((file_name, name))
        if name is not None and self._claimed.setdefault(name, file_name) != file_name:
            raise InputError(
                f"The annotations list {shown(self._claimed[name])} and {shown(file_name)}, which both mean "
                f"{self.root / name}; keep one entry for each image, or keep the folders that the names have."
            )
        return name

    def note(self, split: str) -> list[Problem]:
        """Return what there is to say of images that were found under another name; at most one problem."""
        if not self._moved:
            return []
        name, found = self._moved[0]
        what = f"{counted(len(self._moved), 'image')} found under another name"
        detail = f"{what}, first {shown(name)} as {shown(found)} in {self.root}"
        return [Problem(split, name, "other name", detail)]

    def missing(self, file_name: str) -> str:
        """Return a clause that says that an image is missing, and which file is nearest to its name."""
        self._hints += 1
        if self._hints > _MAX_HINTS:
            return f"not found in {self.root}"
        last = (_parts(file_name) or ("",))[-1]
        names = self._all().by_name
        stem = last.rpartition(".")[0] or last
        alike = [place for place in self._all().by_stem.get(_folded(stem), ()) if _is_image(place)]
        if not alike and len(names) <= _MAX_COMPARED:
            near = difflib.get_close_matches(last, list(names), n=1, cutoff=0.8)
            alike = names[near[0]] if near else []
        hint = f"; {shown(alike[0])} is there" if alike else ""
        return f"not found in {self.root}{hint}"

    def _exactly(self, file_name: str) -> str | None:
        parts = _parts(file_name)
        for candidate in (parts, parts[-1:]):
            if candidate and (found := self._listing(candidate[:-1]).get(_composed(candidate[-1]))):
                name = "/".join((*candidate[:-1], found))
                return file_name if name == file_name else name  # the same text once saves memory
        return None

    def _elsewhere(self, file_name: str) -> str | None:
        """Return the only file below the folder that a name can mean, if it stands in another place."""
        parts = _parts(file_name, keep=True)
        if not parts:
            return None
        last = _composed(parts[-1])
        if last not in self._alike:
            self._alike[last] = _Alike(self._meant_by(last))
        found = self._alike[last].nearest([_folded(part) for part in parts[:-1]])
        stated, there = _splits_in(parts[:-1]), _splits_in((found or "").split("/")[:-1])
        return None if stated and there and not stated & there else found

    def _meant_by(self, last: str) -> list[str]:
        """Return all files below the folder that the last part of a name can mean."""
        below = self._all()
        if found := below.by_name.get(last):
            return found
        folded = _folded(last)
        same_stem = below.by_stem.get(_folded(_stem(last)), [])
        found = [place for place in same_stem if _folded(place.rpartition("/")[2]) == folded]
        if not found and _stem(last) == last:
            found = [place for place in below.by_stem.get(folded, []) if _is_image(place)]
        return found

    def _all(self) -> _FilesBelow:
        if self._below is None:
            self._below = _FilesBelow()
            for place in files_below(self.root):
                name = place.rpartition("/")[2]
                self._below.by_name.setdefault(_composed(name), []).append(place)
                self._below.by_stem.setdefault(_folded(_stem(name)), []).append(place)
        return self._below

    def _listing(self, folder: tuple[str, ...]) -> dict[str, str]:
        """Return the names of the files in a folder below the root, each by its composed form."""
        if folder not in self._listings:
            try:
                _, files = entries(self.root.joinpath(*folder))
                self._listings[folder] = {_composed(name): name for name in files}
            except (OSError, ValueError):
                self._listings[folder] = {}
        return self._listings[folder]


def spellings(file_name: str) -> list[str]:
    """Return what a file name may have been before a tool made a URL or an upload of it.

    >>> spellings("https://host/photos/my%20cell.jpg?raw=true")
    ['photos/my cell.jpg']
    """
    path, _, query = file_name.partition("?")
    if query:
        local = [value for key, value in urllib.parse.parse_qsl(query) if key == "d"]
        path = local[0] if local else path
    path = path.partition("#")[0] if "://" in file_name else path
    if "://" in path:
        path = path.partition("://")[2].partition("/")[2]
    names = [urllib.parse.unquote(path)]
    folder, _, last = names[0].replace("\\", "/").rpartition("/")
    if (match := _UPLOAD.match(last)) is not None:
        names.append(f"{folder}/{last[match.end() :]}" if folder else last[match.end() :])
    return [name for name in names if name and name != file_name]


def _parts(file_name: str, keep: bool = False) -> tuple[str, ...]:
    """Return the parts of a name below a folder; of a name that leads elsewhere only the last one.

    Args:
        file_name: as annotations state it.
        keep: keep the folders of a name that leads elsewhere, to compare them.
    """
    parts = tuple(part for part in file_name.replace("\\", "/").split("/") if part not in ("", "."))
    if keep:
        return parts
    leaves = (
        ".." in parts or file_name.startswith(("/", "\\")) or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", file_name)
    )
    return parts[-1:] if leaves else parts


def _splits_in(folders: Iterable[str]) -> set[str]:
    """Return the splits that folders are named after: ``train/1.jpg`` is not ``val/1.jpg``."""
    return {split_name(folder) for folder in folders} & set(SPLIT_NAMES)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _is_image(name: str) -> bool:
    return f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def _composed(name: str) -> str:
    """Return a name in the composed Unicode form: macOS stores the accents of file names apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def upright_size(
    name: str | None, file_name: str, folder: ImageFolder, split: str
) -> tuple[int, int] | Problem:
    """Return (width, height) of an image from its header, or the problem that keeps the image out.

    Args:
        name: what `folder` found; None if it found nothing.
        file_name: the image as the annotations name it.
        folder: where it was looked for.
        split: name of the split.
    """
    if name is None:
        return Problem(split, file_name, "missing image", folder.missing(file_name))
    try:
        return read_size(folder.root / name)
    except InputError as error:
        return problem_of_image(error, file_name, split)


def problem_of_image(error: InputError, file_name: str, split: str) -> Problem:
    """Return the problem of an image that `read_size` refuses.

    Args:
        error: why.
        file_name: the image as the annotations name it.
        split: name of the split.
    """
    is_unsupported = isinstance(error, UnsupportedImageError)
    kind: ProblemKind = "unsupported image" if is_unsupported else "unreadable image"
    return Problem(split, file_name, kind, clause(error))
