"""Sources of frames: what a detector is given to look at, one picture after the other."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Protocol

from aerostat.errors import InputError
from aerostat.images.archive import AnyPath, ArchivePath, is_zip, member_at, open_archive
from aerostat.images.frame import AnyImage, Frame, as_frame
from aerostat.images.kinds import CLIP_SUFFIXES, unread_pictures
from aerostat.images.location import location_of
from aerostat.images.read import IMAGE_SUFFIXES, list_images
from aerostat.video.capture import is_clip

_log = logging.getLogger(__name__)


class Source(Protocol):
    """An iterable of frames, which may be endless.

    File sinks write on `close`, so an endless source never completes them.

    A class with this one method is a source. If it also has ``__len__``, progress is shown as a share.
    """

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""


class Files:
    """Image files; each is read when it is needed, by the thread that works on it.

    Every frame has a name of its own, under which a picture of it can be written.

    Args:
        paths: the files, on disk or in archives, in order.
    """

    def __init__(self, paths: Sequence[AnyPath | str]) -> None:
        self.paths = [path if isinstance(path, ArchivePath) else Path(path) for path in paths]
        self.names = unique_names(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for index, (path, name) in enumerate(zip(self.paths, self.names, strict=True)):
            if isinstance(path, ArchivePath):
                yield Frame(None, name, index, stored=location_of(path))
            else:
                yield Frame(None, name, index, path=path)


class Images:
    """Images that are at hand: arrays, PIL images, paths, or a mixture of them.

    Args:
        images: see `aerostat.images.frame.as_frame`.
    """

    def __init__(self, images: Sequence[AnyImage]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self.images):
            yield as_frame(image, index)


def find_images(sources: Sequence[str], out: Path | None = None, *, clips: bool = False) -> list[AnyPath]:
    """Return the images that files, folders (searched through), archives and patterns name, once, in order.

    Args:
        sources: files, folders, zip archives and patterns such as ``photos/*.jpg``.
        out: a folder that is not searched if it stands inside of a source, because it holds the pictures of
            an earlier call.
        clips: whether clips among the images are read as well: they are left out without a word, and a
            folder may hold clips alone.

    Raises:
        InputError: a source does not exist, or names no image.
    """
    if not sources:
        raise InputError("Expected at least one image, folder or pattern to predict on.")
    found: dict[AnyPath, AnyPath] = {}
    for source in sources:
        for path in _images_of(source, out, clips):
            found.setdefault(path.absolute(), path)
    return list(found.values())


def unique_names(paths: Sequence[AnyPath]) -> list[str]:
    """Return a name for each file: its own, with the folder or a number if another file has it already.

    Names are compared without their suffixes, since a picture may be written with another one.
    """
    names, taken = [], set[str]()
    for path in paths:
        choices = [path.stem, f"{path.parent.name}_{path.stem}"]
        choices += [f"{path.stem}-{number}" for number in range(2, len(paths) + 2)]
        stem = next(choice for choice in choices if choice.lower() not in taken)
        taken.add(stem.lower())
        names.append(stem + path.suffix)
    return names


def clips_named(source: str, out: Path | None = None) -> list[Path]:
    """Return the clips that a file, a folder (searched through) or a pattern names, in order.

    Suffix and content must tell that a file is a clip. If it is named outright, the content does.

    Args:
        source: a file, a folder or a pattern.
        out: see `find_images`.
    """
    path = Path(source)
    if path.is_file():
        return [path] if is_clip(path) else []
    if path.is_dir():
        files, start = sorted(path.rglob("*")), path
    elif glob.has_magic(source):
        files = [Path(name) for name in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207 - as below
        start = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    else:
        return []
    named = (p for p in files if p.suffix.lower() in CLIP_SUFFIXES and not p.name.startswith("."))
    return [clip for clip in _not_drawn(list(named), start, out) if clip.is_file() and is_clip(clip)]


def _images_of(source: str, out: Path | None, clips: bool) -> Iterator[AnyPath]:
    path = Path(source)
    if path.is_dir():
        images = _not_drawn(list_images(path, recursive=True), path, out)
        unread = unread_pictures(_not_drawn(sorted(path.rglob("*")), path, out), clips=not clips)
        if not images and not clips:
            rest = f"; it holds {unread}, which prediction does not read yet" if unread else ""
            raise InputError(f"There are no images in the folder {path}{rest}.")
        if unread:
            _log.warning("%s: left out %s, which prediction does not read yet", path, unread)
        yield from images
    elif is_zip(path):
        yield from images_in(path)
    elif path.exists():
        yield path
    elif (member := member_at(path)) is not None and member.is_file():
        yield member
    elif glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - pathlib refuses absolute patterns
        if not matches:
            raise InputError(f"No file matches {source}.")
        yield from _images_among(list(map(Path, matches)), source, out, clips)
    else:
        raise InputError(f"There is no image or folder {source}.")


def images_in(archive: Path) -> list[ArchivePath]:
    """Return the images in a zip archive, in order.

    Raises:
        InputError: there are none, or the archive is damaged or dangerous.
    """
    names = sorted(open_archive(archive).members)
    images = [ArchivePath(archive, name) for name in names if PurePath(name).suffix.lower() in IMAGE_SUFFIXES]
    unread = unread_pictures([PurePath(name) for name in names])
    if not images:
        rest = f"; it holds {unread}: unpack it first" if unread else ""
        raise InputError(f"There are no images in the archive {archive}{rest}.")
    if unread:
        _log.warning("%s: left out %s; unpack it to have them read", archive, unread)
    return images


def _images_among(matches: Sequence[Path], pattern: str, out: Path | None, clips: bool) -> list[Path]:
    """Return the images among the matches of a pattern, and those of the folders that it matches.

    ``photos/*`` means the photographs, not the annotations beside them. If no match has the suffix of an
    image, all files are taken, and the reader names what they are.

    Raises:
        InputError: there are none.
    """
    files: list[Path] = []
    for match in matches:
        files += list_images(match) if match.is_dir() else [match]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if (images or clips) and images != files:
        if unread := unread_pictures(files, clips=not clips):
            _log.warning("%s: left out %s, which prediction does not read yet", pattern, unread)
        files = images
    start = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    images = _not_drawn(files, start, out)
    if not images and not clips:
        raise InputError(f"No image matches {pattern}.")
    return images


def _not_drawn(images: Sequence[Path], start: Path, out: Path | None) -> list[Path]:
    """Return the images without those below `out`, unless the search was started there."""
    if out is None or start.resolve() not in out.resolve().parents:
        return list(images)
    return [image for image in images if out.resolve() not in image.resolve().parents]
