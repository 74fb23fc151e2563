"""Splits in a folder: annotation files and lists of names, with a link to the images, which stay in place."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aerostat.datasets import formats
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import Format, WriteOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.files import nearest_existing
from aerostat.images.location import path_of

LINK = "images"
"""Name of the link to the folder of the images; `aerostat.datasets.discover` looks for images there."""
LISTS = "lists"
"""Folder of the lists of names."""
_OURS = re.compile(r"(fold\d{1,4}/)?(lists/(train|val|test)\.txt|(train|val|test)\.[a-z]{2,5}|images)")


@dataclass(frozen=True, slots=True)
class WrittenSplits:
    """What was written.

    Args:
        folders: that each hold one data set: the folder itself, or one for each fold.
        files: all annotation files and lists.
        image_folder: where the images are.
        linked: whether the folders have a link to it; else it must be named on reading.
        lost: objects written as less than they were, by what the format cannot say.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    image_folder: Path
    linked: bool
    lost: Mapping[str, int]


def write_splits(data: Sequence[Dataset], out: Path, *, force: bool = False) -> WrittenSplits:
    """Write data sets into a folder, all files or none; images stay where they are.

    Each data set gets an annotation file and a list of names for each split. The file is in the format that
    the data were read from. It is COCO if that format has one file per image. Names are relative to the
    folder of the images, to which there is a link.

    Args:
        data: one data set, or one for each fold; folds go into ``fold1``, ``fold2`` and so on.
        out: the folder.
        force: replace the files of an earlier split in it; other files stay.

    Raises:
        InputError: the folder exists, or an image is in no file.

    Example:
        ``write_splits([ae.split(ae.Dataset.read("photos/"))], Path("splits/photos"))``
    """
    require_free(out, force)
    root, keeps_names = _image_folder(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", dir=out.parent))
    try:
        staged.chmod(0o755 if not out.is_dir() else out.stat().st_mode & 0o7777)
        lost: Counter[str] = Counter()
        linked = True
        places = [""] if len(data) == 1 else [f"fold{number}" for number in range(1, len(data) + 1)]
        for one, place in zip(data, places, strict=True):
            for split in one.splits.values():
                named = split if keeps_names else _renamed(split, root)
                lost += _write_split(named, staged / place)
            linked &= _link(staged / place / LINK, root, out / place)
        names = sorted(path.relative_to(staged) for path in _files_of(staged) if not path.is_symlink())
        _move_into_place(staged, out)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return WrittenSplits(
        tuple(out / place for place in places), tuple(out / name for name in names), root, linked, dict(lost)
    )


def require_files(data: Dataset) -> None:
    """Refuse data whose splits cannot be written, because an image is in no file of its own.

    Raises:
        InputError: naming the first of them.
    """
    _image_folder([data])


def require_free(out: Path, force: bool) -> None:
    """Refuse a folder to write that holds something, or that can never be.

    Raises:
        InputError: naming what is at the path.
    """
    above = nearest_existing(out.absolute().parent)
    if not above.is_dir() or (out.exists() and not out.is_dir()):
        in_the_way = out if above.is_dir() else above
        raise InputError(f"{out} cannot be a folder: the file {in_the_way} stands in the way.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise InputError(f"{out} exists; name another `out`, or replace it with `force=True`.")
    for link in (out / LINK, *out.glob(f"fold*/{LINK}")):
        if link.exists() and not link.is_symlink():
            raise InputError(f"{link} holds images of its own, which are never replaced; name another `out`.")


def _image_folder(data: Sequence[Dataset]) -> tuple[Path, bool]:
    """Return a folder above all images, and whether their names are relative to it already.

    Raises:
        InputError: an image is in no file, or there is no such folder.
    """
    images = [split.images for one in data[:1] for split in one.splits.values()]
    paths: list[Path] = []
    names: list[str] = []
    for part in images:
        for location, name in zip(part.locations, part.file_names, strict=True):
            path = path_of(location)
            if path is None:
                raise InputError(
                    f"Expected images in files of their own, found {location.name}; unpack the archive, or "
                    "use the split in Python."
                )
            paths.append(Path(os.path.normpath(path.absolute())))
            names.append(name)
    first, depth = paths[0], len(Path(names[0]).parts)
    root = first.parents[depth - 1] if depth <= len(first.parents) else first.parent
    if all(path == root / name for path, name in zip(paths, names, strict=True)):
        return root, True
    try:
        return Path(os.path.commonpath([path.parent for path in paths])), False
    except ValueError:
        raise InputError("The images are on several drives; a split in files needs one folder.") from None


def _renamed(split: Split, root: Path) -> Split:
    """Return a split whose images are named by their paths below a folder."""
    names = []
    for location in split.images.locations:
        path = path_of(location)
        assert path is not None  # `_image_folder` refuses images without a path
        names.append(Path(os.path.normpath(path.absolute())).relative_to(root).as_posix())
    return replace(split, images=replace(split.images, file_names=tuple(names)))


def _format_to_write(split: Split) -> Format:
    source = formats.format_of(split)
    return formats.FORMATS[0] if source is None or source.per_image else source


def _write_split(split: Split, folder: Path) -> Counter[str]:
    (folder / LISTS).mkdir(parents=True, exist_ok=True)
    written, source = _format_to_write(split), formats.format_of(split)
    options = WriteOptions(whole_pixels=source is not None and source.whole_pixels)
    lost = written.write(split, folder / f"{split.name}{written.suffix}", options)
    lines = "".join(f"{name}\n" for name in split.images.file_names)
    (folder / LISTS / f"{split.name}.txt").write_bytes(lines.encode("utf-8", "surrogatepass"))
    return lost


def _link(link: Path, root: Path, final: Path) -> bool:
    """Make a link to the images and return whether that was possible; Windows allows it to few users."""
    try:
        target = os.path.relpath(root.resolve(), Path(final.absolute().parent.resolve(), final.name))
        link.symlink_to(target, target_is_directory=True)
    except (OSError, ValueError, NotImplementedError):
        return False
    return True


def _move_into_place(staged: Path, out: Path) -> None:
    """Rename the staged folder, or put its files into a folder that is there and remove those of before."""
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if not out.exists():
        staged.rename(out)
        return
    new = {path.relative_to(staged) for path in _files_of(staged)}
    for path in _files_of(out):
        if path.relative_to(out) not in new:
            path.unlink()
    for name in sorted(new):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(out / name)
    for folder in sorted((p for p in out.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
        if re.fullmatch(r"(fold\d{1,4}/)?lists|fold\d{1,4}", folder.relative_to(out).as_posix()):
            with contextlib.suppress(OSError):  # it holds files of others
                folder.rmdir()


def _files_of(folder: Path) -> list[Path]:
    """Return the files and links in a folder that a split writes."""
    places = [folder, *(p for p in folder.glob("fold*") if p.is_dir() and not p.is_symlink())]
    found = []
    for place in places:
        for inside in (place, place / LISTS):
            if inside.is_dir() and not inside.is_symlink():
                found += [
                    p
                    for p in inside.iterdir()
                    if (p.is_symlink() or p.is_file())
                    and _OURS.fullmatch(p.relative_to(folder).as_posix())
                    and (p.name != LINK or p.is_symlink())
                ]
    return found
