"""Which folder of images has to be named to read annotations that were written elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from aerostat.datasets.image_folder import ImageFolder
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath, ArchiveMember
from aerostat.images.location import Location, path_of

_LOOKED_AT = 50
"""Images of each split that are looked for."""


def finds_images(data: Path, splits: Mapping[str, Split], images: Path | None = None) -> bool:
    """Say whether reading data finds the images of splits by their names, without a search.

    Args:
        data: written annotations of the splits.
        splits: by their names.
        images: what is given as the folder of the images.
    """
    try:
        found = {files.split: files for files in find_splits(data, ReadOptions(images=images))}
    except InputError:
        return False
    if len(splits) == len(found) == 1:  # the only split may go by the name of its file
        found = dict(zip(splits, found.values(), strict=True))
    return all(
        name in found and _stand_in(found[name].image_roots, split.sample(_LOOKED_AT))
        for name, split in splits.items()
    )


def folder_to_name(data: Path, splits: Mapping[str, Split], below: Path) -> Path | None:
    """Return the folder, or the archive, by which reading finds all images; None if there is none.

    Args:
        data: written annotations of the splits.
        splits: by their names.
        below: the folder that holds all images; those above it are not looked at.
    """
    first = next((split.images[0] for split in splits.values() if split.images), None)
    if first is None:
        return None
    candidates = _folders_of(first.location, below)
    return next((folder for folder in candidates if finds_images(data, splits, folder)), None)


def _folders_of(location: Location, below: Path) -> Iterator[Path]:
    """Yield the folder of an image and those above it, or its archive."""
    path = path_of(location)
    if path is not None:
        yield path.parent
        yield from (folder for folder in path.parent.parents if folder.is_relative_to(below))
    elif isinstance(location, ArchiveMember):
        yield location.path.archive


def _stand_in(roots: tuple[AnyPath, ...], split: Split) -> bool:
    if not split.images:
        return True
    folder = ImageFolder.choose(roots, split.images.file_names)
    for name, location in zip(split.images.file_names, split.images.locations, strict=True):
        found = folder.at_its_name(name)
        if found is None or not _is_at(location, folder.root / found):
            return False
    return True


def _is_at(location: Location, place: AnyPath) -> bool:
    if isinstance(location, ArchiveMember):
        return location.path.absolute() == place.absolute()
    path = path_of(location)
    try:
        return path is not None and isinstance(place, Path) and path.samefile(place)
    except OSError:
        return False
