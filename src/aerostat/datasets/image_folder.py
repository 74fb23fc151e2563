"""Finding the file of an image that annotations name, and its size."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import Problem
from aerostat.errors import InputError, clause
from aerostat.images.read import read_size

_NAMES_TRIED = 20


@dataclass(slots=True)
class ImageFolder:
    """A folder in which images are looked up by the names that annotations give them.

    The names are untrusted, so they never lead out of the folder: of an absolute path, a URL or
    a path with ``..`` only the last part counts. The same holds for a path that does not exist below the
    folder, such as ``images/a.jpg`` where the images were moved beside their annotations.
    """

    root: Path
    _listings: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    _claimed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def choose(cls, roots: Sequence[Path], file_names: Iterable[str]) -> ImageFolder:
        """Return the first of the folders that has most of the first names; the first one if none has any."""
        names = list(file_names)[:_NAMES_TRIED]
        return max((cls(root) for root in roots), key=lambda folder: sum(map(bool, map(folder.find, names))))

    def find(self, file_name: str) -> str | None:
        """Return the file that `file_name` means, relative to the folder, or None if there is none."""
        parts = _parts(file_name)
        for candidate in (parts, parts[-1:]):
            if candidate and (found := self._listing(candidate[:-1]).get(_composed(candidate[-1]))):
                name = "/".join((*candidate[:-1], found))
                return file_name if name == file_name else name  # the same text once saves memory
        return None

    def claim(self, file_name: str) -> str | None:
        """Return what `find` returns, for one entry of the annotations.

        Raises:
            InputError: another name has claimed the same file.
        """
        name = self.find(file_name)
        if name is not None and self._claimed.setdefault(name, file_name) != file_name:
            raise InputError(
                f"The annotations list {self._claimed[name]!r} and {file_name!r}, which both mean "
                f"{self.root / name}; keep one entry for each image, or keep the folders that the names have."
            )
        return name

    def _listing(self, folder: tuple[str, ...]) -> dict[str, str]:
        """Return the names of the files in a folder below the root, each by its composed form."""
        if folder not in self._listings:
            try:
                with os.scandir(self.root.joinpath(*folder)) as entries:
                    self._listings[folder] = {_composed(e.name): e.name for e in entries if is_file(e)}
            except (OSError, ValueError):
                self._listings[folder] = {}
        return self._listings[folder]


def is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is a file, or a link to one; a link in a circle leads to none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _parts(file_name: str) -> tuple[str, ...]:
    parts = tuple(part for part in file_name.replace("\\", "/").split("/") if part not in ("", "."))
    leaves = (
        ".." in parts or file_name.startswith(("/", "\\")) or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", file_name)
    )
    return parts[-1:] if leaves else parts


def _composed(name: str) -> str:
    """Return a name in the composed Unicode form: macOS stores the accents of file names apart."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


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
    kind: ProblemKind = "missing image"
    detail = f"not found in {folder.root}"
    if name is not None:
        try:
            return read_size(folder.root / name)
        except InputError as error:
            kind, detail = "unreadable image", clause(error)
    return Problem(split, file_name, kind, detail)
