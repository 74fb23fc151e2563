"""Listing folders on disk and in archives."""

from __future__ import annotations

import os
from collections.abc import Iterator

from aerostat.images.archive import AnyPath, ArchivePath

MAX_WALKED = 5_000_000
"""Files that `files_below` looks at. A folder with more is a disk, not a data set."""


def entries(folder: AnyPath) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, unsorted.

    Links count as what they lead to.

    Raises:
        OSError: the folder cannot be listed.
    """
    if isinstance(folder, ArchivePath):
        return folder.entries()
    folders, files = list[str](), list[str]()
    with os.scandir(folder) as found:
        for entry in found:
            try:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():  # a pipe would block its reader
                    files.append(entry.name)
            except OSError:  # a link in a circle leads to nothing
                continue
    return folders, files


def files_below(root: AnyPath) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it, with slashes, in a fixed order.

    Hidden folders are left out, and links to folders are not followed, so that none leads out of the root. At
    most `MAX_WALKED` files are yielded.
    """
    if isinstance(root, ArchivePath):
        yield from _in_archive(root)
        return
    left = MAX_WALKED
    waiting = [""]
    while waiting and left > 0:
        above = waiting.pop()
        try:
            with os.scandir(os.path.join(root, above)) as found:  # noqa: PTH118 - a Path each is slow
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in listed:
            name = f"{above}/{entry.name}" if above else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith("."):
                        waiting.append(name)
                elif entry.is_file():
                    left -= 1
                    yield name
            except OSError:
                continue


def _in_archive(root: ArchivePath) -> Iterator[str]:
    waiting = [""]
    while waiting:
        above = waiting.pop()
        folders, files = root.joinpath(above).entries()
        yield from (f"{above}/{name}" if above else name for name in sorted(files))
        waiting += [f"{above}/{name}" if above else name for name in sorted(folders) if name[:1] != "."]


def length_of(path: AnyPath) -> int:
    """Return the bytes of a file.

    Raises:
        OSError: there is no such file.
    """
    return path.size() if isinstance(path, ArchivePath) else path.stat().st_size


def parents(path: AnyPath) -> Iterator[AnyPath]:
    """Yield the folders above a path, the nearest first; those of an archive end with the archive."""
    above: AnyPath = path.absolute()
    while above.parent != above:
        above = above.parent
        yield above
