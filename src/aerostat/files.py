"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aerostat.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    The parent folder is made if it is missing. If the block raises, the temporary file is removed and
    whatever stood at `path` before stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(path.suffix) <= 20 else ""  # a name has 255 bytes, four for some letters
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=suffix, dir=path.parent)
    os.close(handle)
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
    """Return a name as a part of file names that every system takes, at most so many bytes long."""
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
        raise InputError(f"{folder} cannot be a folder, because {why}; choose another --out.")
