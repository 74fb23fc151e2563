"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from aerostat.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    The parent folder is made if it is missing. If the block raises, the temporary file is removed and
    whatever stood at `path` before stands there still. Only the death of the process leaves a temporary file;
    while it lives the file is locked, so that `clear_leftovers` can tell.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(path.suffix) <= 20 else ""  # a name has 255 bytes, four for some letters
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=suffix, dir=path.parent)
    locked = _lock(handle)
    if not locked:
        os.close(handle)  # Windows renames no open file
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would keep a shared machine's other users out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if locked:
            os.close(handle)


@contextlib.contextmanager
def undone_on_failure(paths: Iterable[Path]) -> Iterator[None]:
    """If the block raises, remove the files and folders that it made; what stood there before stays.

    Args:
        paths: files and folders that the block may make. Of a folder that is empty before, the content is
            removed. Folders above them are removed if the block made them and they are empty.
    """
    paths = list(paths)
    absent = [path for path in paths if not path.exists()]
    empty = [path for path in paths if path.is_dir() and not any(path.iterdir())]
    above = {folder for path in paths for folder in path.absolute().parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for path in (*absent, *(child for folder in empty for child in folder.iterdir())):
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        for folder in sorted(above, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def flush_folder(folder: Path) -> None:
    """Bring the names of a folder's files to disk; without that a power cut may undo a rename.

    Windows does so by itself, and a file system that refuses is none that could.
    """
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_TEMPORARY = re.compile(r"\.(?P<name>.{1,40})\.[a-z0-9_]{8}(?P<suffix>\.[^.]{0,19})?", re.DOTALL)


def is_temporary(path: Path) -> bool:
    """Return whether a file's name is one that `replacing` gives while it writes."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    suffix = match["suffix"] or ""
    return len(match["name"]) == 40 or Path(match["name"]).suffix == suffix  # a long name is cut off


def clear_leftovers(folder: Path) -> int:
    """Remove the temporary files that dead processes left in a folder, never those of living ones.

    Returns:
        How many were removed.
    """
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(path) and path.is_file() and not path.is_symlink() and not _in_use(path):
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _in_use(path: Path) -> bool:
    """Return whether a living process writes this temporary file; where that cannot be told, that it does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return True
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder for this process while the block runs; the system unlocks it when the process dies.

    The lock is on the folder itself, so nothing is written and a read-only folder can be locked.
    Where the file system has no locks, or on Windows, the block runs without one.

    Args:
        folder: path of an existing folder.
        doing: what the block does to the folder, for the message, such as ``being trained``.

    Raises:
        InputError: another process has locked the folder.
    """
    handle = -1
    with contextlib.suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
    try:
        if handle >= 0 and not _lock(handle, without_locks=True):
            raise InputError(f"{folder} is {doing} by another process; wait for its end, or stop it.")
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int, *, without_locks: bool = False) -> bool:
    """Lock an open file until it is closed, and return whether it is locked; False if another process has it.

    Args:
        handle: descriptor of the file.
        without_locks: what to return where there are no locks.
    """
    if os.name == "nt":  # a lock there is mandatory: nobody could write or rename the file
        return without_locks
    from filelock import lock_descriptor  # 30 ms in a bare process

    try:
        return lock_descriptor(handle, blocking=False)
    except OSError:  # some network file systems have no locks
        return without_locks


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 with newlines as they are, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def nearest_existing(path: Path) -> Path:
    """Return the path itself if something stands there, else the nearest folder (or file) above it."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def file_stem(name: str, longest: int = 120) -> str:
    """Return a name that is valid in file names on every system, cut to `longest` bytes."""
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(". ")
    return stem.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore") or "unnamed"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_folder(folder: Path) -> None:
    """Refuse, before any work is done, a folder to write into that cannot be made.

    Raises:
        InputError: a file stands in its way; the sentence names it.
    """
    above = nearest_existing(folder)
    if not above.is_dir():
        why = "it is a file" if above == folder else f"{above} is a file"
        raise InputError(f"{folder} cannot be a folder, because {why}; choose another `out`.")
