"""Where the bytes of an image come from: a file, or anything else that has a name and can be opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, overload, runtime_checkable

from aerostat.images.archive import AnyPath, ArchiveMember, ArchivePath, member_at


@runtime_checkable
class Location(Protocol):
    """A place that holds the bytes of one image, such as a member of an archive or an object in a store.

    Two locations are equal if they are the same place. Threads open a location at the same time.
    """

    @property
    def name(self) -> str:
        """What messages call it, such as a path."""

    def open(self) -> BinaryIO:
        """Return a stream of the bytes that can seek, at its beginning; the caller closes it.

        Raises:
            OSError: the bytes cannot be had.
        """


@dataclass(frozen=True, slots=True)
class FileLocation:
    """An image in a file.

    >>> FileLocation(Path("a.jpg")).name
    'a.jpg'

    Args:
        path: of the file.
    """

    path: Path

    @property
    def name(self) -> str:
        """The path as a text."""
        return str(self.path)

    def open(self) -> BinaryIO:
        """Return the opened file.

        Raises:
            OSError: there is no such file, or it cannot be opened.
        """
        return self.path.open("rb")


AnyLocation = Location | AnyPath | str
"""A location, or the path of a file on disk or in an archive."""


def location_of(place: AnyLocation) -> Location:
    """Return the location that a path names; a location stays as it is.

    A path may lead into a zip archive: ``data.zip/train/a.jpg``.

    >>> location_of("a.jpg")
    FileLocation(path=PosixPath('a.jpg'))
    """
    if isinstance(place, ArchivePath):
        return ArchiveMember(place)
    if not isinstance(place, Path | str):
        return place
    path = Path(place)
    member = member_at(path)
    return FileLocation(path) if member is None else ArchiveMember(member)


def path_of(location: Location) -> Path | None:
    """Return the path of an image in a file, None for an image anywhere else."""
    return location.path if isinstance(location, FileLocation) else None


def read_bytes(location: Location) -> bytes:
    """Return all bytes at a location.

    Raises:
        OSError, ValueError: they cannot be had.
    """
    with location.open() as stream:
        return stream.read()


def length(location: Location) -> int:
    """Return how many bytes there are at a location.

    Raises:
        OSError: they cannot be had.
    """
    if isinstance(location, FileLocation):
        return location.path.stat().st_size
    if isinstance(location, ArchiveMember):
        return location.path.size()
    with location.open() as stream:
        return stream.seek(0, os.SEEK_END)


@dataclass(frozen=True, slots=True)
class FilesBelow(Sequence[Location]):
    """The locations of files below one folder; each is made when it is asked for.

    A hundred thousand paths would take a hundred megabytes.

    Args:
        root: the folder, on disk or in an archive.
        names: of the files, relative to it.
    """

    root: AnyPath
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> Location: ...
    @overload
    def __getitem__(self, place: slice) -> FilesBelow: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return FilesBelow(self.root, self.names[place])
        return location_of(self.root / self.names[place])

    def chosen(self, places: Iterable[int]) -> FilesBelow:
        """Return the locations at these places, in this order."""
        return FilesBelow(self.root, tuple(self.names[place] for place in places))

    def __iter__(self) -> Iterator[Location]:
        return (location_of(self.root / name) for name in self.names)
