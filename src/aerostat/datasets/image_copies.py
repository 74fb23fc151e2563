"""Bringing the images of a split into a folder: copies, links, and what is unpacked from archives."""

from __future__ import annotations

import io
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from aerostat.datasets.records import Split
from aerostat.errors import AerostatError, InputError
from aerostat.files import file_stem, nearest_existing
from aerostat.images.archive import ArchiveMember
from aerostat.images.location import FilesBelow, Location, length, path_of
from aerostat.images.read import IMAGE_SUFFIXES
from aerostat.progress import track

ImagesAs = Literal["copy", "link"]
"""How images are brought along. A link is a hard link where the disk allows one, else a symbolic link."""


def bring_images(
    split: Split,
    folder: Path,
    how: ImagesAs,
    *,
    own_stems: bool,
    places_of: Callable[[Split], Sequence[str]] | None = None,
) -> Split:
    """Copy or link the images of a split into a folder, and return the split with their names and places.

    Folders below which images stand are kept. Names that would collide become distinct. What is in an
    archive or in an annotation file is written as a file, for links, too.

    Args:
        split: whose images are brought.
        folder: a new folder.
        how: copies keep every byte. A hard link shares its bytes with the original.
        own_stems: whether two images must not differ in their suffix alone, because each has an annotation
            file of its own name.
        places_of: returns where in the folder the images of a split belong; by default at their names.

    Raises:
        AerostatError: an image cannot be brought, for example because the disk is full.
    """
    names = distinct_names(split.images.file_names, split.images.locations, own_stems=own_stems)
    named = replace(split, images=replace(split.images, file_names=tuple(names)))
    places = tuple(names if places_of is None else places_of(named))
    made: set[Path] = set()
    pairs = list(zip(split.images.locations, places, strict=True))
    for location, place in track(pairs, f"bringing the images of {split.name}"):
        target = folder.joinpath(*place.split("/"))
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _bring(location, target, how)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AerostatError(
                f"{location.name} cannot be brought to {target}: {reason}; nothing was left there."
            ) from None
    return replace(named, images=replace(named.images, locations=FilesBelow(folder, places)))


def refuse_without_space(splits: Iterable[Split], folder: Path, how: ImagesAs) -> None:
    """Refuse to begin where the images do not fit on the disk.

    Raises:
        InputError: it has not enough space.
    """
    needed = 0
    for split in splits:
        for location in split.images.locations:
            if how == "copy" or path_of(location) is None:
                try:
                    needed += length(location)
                except (OSError, ValueError):
                    continue  # bringing it will tell
    free = shutil.disk_usage(nearest_existing(folder)).free
    if needed > free:
        raise InputError(
            f"The images take {needed / 1e6:.0f} MB, and {folder} has {free / 1e6:.0f} MB left; name a "
            "folder on another disk, or link them with `with_images='link'`."
        )


def distinct_names(file_names: Sequence[str], locations: Sequence[Location], *, own_stems: bool) -> list[str]:
    """Return a path below a folder for each image, with slashes; no two are the same on any system.

    Args:
        file_names: of the images, as annotations state them.
        locations: of the images.
        own_stems: whether the paths must differ without their suffixes, too.
    """
    taken: set[str] = set()
    last_number: dict[str, int] = {}
    names = []
    for file_name, location in zip(file_names, locations, strict=True):
        wanted = PurePosixPath(*_wanted_parts(file_name, location))
        name, key = wanted, _key(wanted, own_stems)
        first = key
        while key in taken:
            last_number[first] = last_number.get(first, 1) + 1
            name = wanted.with_name(f"{wanted.stem}_{last_number[first]}{wanted.suffix}")
            key = _key(name, own_stems)
        taken.add(key)
        names.append(str(name))
    return names


def _key(name: PurePosixPath, own_stems: bool) -> str:
    """Return the same text for names that are one file on a system that ignores case or composes accents."""
    return unicodedata.normalize("NFC", str(name.with_suffix("") if own_stems else name)).casefold()


def _wanted_parts(file_name: str, location: Location) -> tuple[str, ...]:
    """Return the parts of the path of an image: its file's name, below the folders that both names have."""
    parts = [part for part in file_name.replace("\\", "/").split("/") if part not in ("", ".")]
    path = path_of(location)
    if path is not None:
        real: tuple[str, ...] = path.parts
    elif isinstance(location, ArchiveMember):
        real = tuple(location.path.inner.split("/"))
    else:
        return (_name_of_embedded(parts[-1] if parts else "", location),)
    folders = real[-len(parts) : -1] if len(parts) > 1 else ()
    agrees = [*map(str.casefold, folders)] == [part.casefold() for part in parts[:-1]]
    return (*folders, real[-1]) if agrees and ".." not in parts else real[-1:]


_SUFFIX_OF_KIND = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "GIF": ".gif",
}


def _name_of_embedded(name: str, location: Location) -> str:
    """Return a name for an image that is no file; its suffix is that of its content if the name has none."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return file_stem(name[: -len(suffix)]) + suffix
    from PIL import Image

    try:
        with location.open() as stream, Image.open(io.BytesIO(stream.read())) as image:
            return file_stem(name or "image") + _SUFFIX_OF_KIND.get(image.format or "", ".png")
    except (OSError, ValueError):
        return file_stem(name or "image")


def _bring(location: Location, target: Path, how: ImagesAs) -> None:
    """Write or link one image.

    Raises:
        OSError: it cannot be read or written, or the system has no links.
    """
    path = path_of(location)
    if path is None:
        with location.open() as stream, target.open("xb") as file:
            shutil.copyfileobj(stream, file)
    elif how == "copy":
        shutil.copyfile(path, target)
    else:
        _link(path.resolve(strict=True), target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, a file of another user, a file system without hard links
        target.symlink_to(source)
