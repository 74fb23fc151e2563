"""Zip archives that are read in place, and paths in them.

An `ArchivePath` has the part of `pathlib.Path` that reading data needs, so that a folder and an archive are
read by the same code. An archive comes from a stranger: one that could fill the memory, that names files
outside itself, or that holds links or further archives is refused when it is opened.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from aerostat.errors import InputError
from aerostat.text import shown

MAX_MEMBERS = 2_000_000
"""Members of an archive. Each takes about a kilobyte of memory."""

MEMORY_PER_BYTE = 200
"""Unpacked bytes that each byte of an archive allows. Run-length masks in JSON reach about 50; a file of
equal bytes reaches 1,030, the limit of deflate."""

FREE_MEMORY = 64 << 20
"""Unpacked bytes that any archive is allowed."""

ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"))
"""Suffixes of archives, in lower case."""

MAX_DEPTH = 100
"""Parts of a member's name. Each folder above a member takes memory for its whole path, so a name of 30,000
parts would take a gigabyte. Paths on disk have at most 4,096 bytes."""

_ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")
_FLAG_ENCRYPTED, _FLAG_UTF8 = 0x1, 0x800  # PKWARE's APPNOTE, section 4.4.4
_OPEN_ARCHIVES = 8
_COMPRESSIONS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
"""Without LZMA: its header may ask for gigabytes of memory, whatever the file's size."""


def is_zip(path: Path) -> bool:
    """Return whether a file begins as a zip archive does; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _ZIP_START
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True, order=True)
class ArchivePath:
    """A file or folder in a zip archive.

    >>> ArchivePath(Path("data.zip"), "train/a.jpg").parent.name
    'train'

    Args:
        archive: the zip file.
        inner: path in it with slashes; empty for the archive itself.
    """

    archive: Path
    inner: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.inner.rpartition("/")[2] or self.archive.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, such as ``.jpg``; a folder's name may have one, too."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ArchivePath:
        """The folder above; that of the archive itself is the archive."""
        return ArchivePath(self.archive, self.inner.rpartition("/")[0])

    def __truediv__(self, name: str) -> ArchivePath:
        return self.joinpath(name)

    def joinpath(self, *names: str) -> ArchivePath:
        """Return a path below this one."""
        return ArchivePath(self.archive, "/".join(part for part in (self.inner, *names) if part))

    def __str__(self) -> str:
        return f"{self.archive}/{self.inner}" if self.inner else str(self.archive)

    def absolute(self) -> ArchivePath:
        """Return the path with the absolute path of its archive."""
        return ArchivePath(self.archive.absolute(), self.inner)

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        return self.is_file() or self.is_dir()

    def is_dir(self) -> bool:
        """Return whether there is such a folder."""
        return self.inner in open_archive(self.archive).folders

    def is_file(self) -> bool:
        """Return whether there is such a file."""
        return self.inner in open_archive(self.archive).members

    def iterdir(self) -> Iterator[ArchivePath]:
        """Yield what is in the folder."""
        folders, files = self.entries()
        return map(self.joinpath, (*folders, *files))

    def entries(self) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the files in the folder; none if there is no such folder."""
        folder = open_archive(self.archive).folders.get(self.inner)
        return (list(folder.folders), list(folder.files)) if folder else ([], [])

    def size(self) -> int:
        """Return the bytes of the unpacked file.

        Raises:
            OSError: there is no such file.
        """
        return self._member().file_size

    def read_bytes(self) -> bytes:
        """Return the content of the file.

        Raises:
            OSError: there is no such file, or its part of the archive is damaged.
        """
        archive, member = open_archive(self.archive), self._member()
        try:
            return archive.file.read(member)
        except Exception as error:  # each kind of compression has errors of its own
            raise OSError(5, f"damaged in its archive ({error})", str(self)) from None

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """Return the content as a stream that can seek.

        Raises:
            OSError: there is no such file, or its part of the archive is damaged.
        """
        return io.BytesIO(self.read_bytes())

    def _member(self) -> zipfile.ZipInfo:
        member = open_archive(self.archive).members.get(self.inner)
        if member is None:
            raise FileNotFoundError(2, "not in the archive", str(self))
        return member


AnyPath = Path | ArchivePath
"""A path on disk or in an archive."""


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """The location of an image in an archive.

    >>> ArchiveMember(ArchivePath(Path("data.zip"), "a.jpg")).name
    'data.zip/a.jpg'

    Args:
        path: of the image.
    """

    path: ArchivePath

    @property
    def name(self) -> str:
        """The path of the archive, and the path in it."""
        return str(self.path)

    def open(self) -> BinaryIO:
        """Return the content as a stream that can seek.

        Raises:
            OSError: the archive has no such file, or is damaged.
        """
        return self.path.open("rb")


def member_at(path: Path) -> ArchivePath | None:
    """Return what a path such as ``data.zip/train/a.jpg`` names in a zip archive; None for other paths.

    Whether the archive has it is not looked up.
    """
    if ".zip" not in str(path).lower():  # data sets have a hundred thousand paths
        return None
    for above in path.parents:
        if above.suffix.lower() == ".zip" and is_zip(above):
            return ArchivePath(above, path.relative_to(above).as_posix())
    return None


@dataclass(frozen=True, slots=True)
class Folder:
    """Names in one folder of an archive, each with None; dictionaries keep their order."""

    folders: dict[str, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Archive:
    """An opened archive. Threads read it at the same time.

    Args:
        file: the archive.
        members: its files by their path.
        folders: its folders by their path; the archive itself is the empty path.
    """

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    folders: dict[str, Folder]


def open_archive(path: Path) -> Archive:
    """Return an archive; one that was opened before is opened once.

    Raises:
        InputError: it is damaged or dangerous; the sentence says what was found in it.
    """
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    # A child process that shares the parent's file would move the parent's place in it.
    return _open(path, os.getpid(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=_OPEN_ARCHIVES)
def _open(path: Path, process: int, changed: int, length: int) -> Archive:
    try:
        file = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path} is no whole zip archive ({error}); download or pack it again.") from None
    infos = file.infolist()
    if len(infos) > MAX_MEMBERS:
        raise InputError(f"{path} has {len(infos)} members, expected at most {MAX_MEMBERS}; unpack it first.")
    _refuse_bomb(path, infos, length)
    members: dict[str, zipfile.ZipInfo] = {}
    folders = {"": Folder()}
    for info in infos:
        name = _name_of(info)
        parts = _safe_parts(path, name, info)
        if not parts or _made_by_the_system(parts):
            continue
        inner = "/".join(parts)
        if name.endswith("/"):
            _add_folders(folders, parts)
            continue
        if inner in members:
            raise InputError(f"{path} has two files called {shown(inner)}; pack it again.")
        if PurePosixPath(inner).suffix.lower() in ARCHIVE_SUFFIXES:
            raise InputError(f"{path} holds another archive, {shown(inner)}; unpack {path.name} first.")
        members[inner] = info
        _add_folders(folders, parts[:-1])
        folders["/".join(parts[:-1])].files[parts[-1]] = None
    return Archive(file, members, folders)


def _refuse_bomb(path: Path, infos: Iterable[zipfile.ZipInfo], length: int) -> None:
    """Refuse an archive whose members overlap, or whose content is too large for its size."""
    packed = unpacked = 0
    for info in infos:
        packed += info.compress_size
        unpacked += info.file_size
        if info.compress_size and info.file_size > MEMORY_PER_BYTE * info.compress_size + FREE_MEMORY:
            unpacked = max(unpacked, MEMORY_PER_BYTE * length + FREE_MEMORY + 1)
    if packed > length or unpacked > MEMORY_PER_BYTE * length + FREE_MEMORY:
        raise InputError(
            f"{path} has {length} bytes and claims to hold {unpacked}, as an archive made to fill the memory "
            "does; unpack it yourself if you trust it."
        )


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return a member's name.

    Without the flag for UTF-8 it is in the encoding of the computer that packed it. UTF-8 is tried first,
    then GBK (Windows in China), then code page 437 as the standard says.
    """
    name = info.orig_filename.partition("\0")[0]
    if not info.flag_bits & _FLAG_UTF8 and not name.isascii():
        for encoding in ("utf-8", "gbk"):
            try:
                name = name.encode("cp437").decode(encoding)
                break
            except UnicodeError:
                continue
    return name.replace("\\", "/")


def _safe_parts(path: Path, name: str, info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the parts of a member's name.

    Raises:
        InputError: it leads out of the archive, has too many folders or a control character, or is a link,
            encrypted, or packed by another method.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{path} names a file outside itself, {shown(name)}; do not trust it.")
    if len(parts) > MAX_DEPTH:
        raise InputError(
            f"{path} has a file below {len(parts) - 1} folders, {shown(name)}, expected at most "
            f"{MAX_DEPTH - 1}; do not trust it."
        )
    if any(ord(letter) < 32 or letter == "\x7f" for letter in name):
        raise InputError(f"{path} names a file with a control character, {shown(name)}; pack it again.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{path} holds a link, {shown(name)}; pack the files instead of links to them.")
    if info.flag_bits & _FLAG_ENCRYPTED:
        raise InputError(f"{path} is encrypted, first {shown(name)}; unpack it with its password first.")
    if info.compress_type not in _COMPRESSIONS:
        raise InputError(
            f"{path} is packed by method {info.compress_type}, first {shown(name)}; expected stored, deflate "
            "or bzip2: unpack it first."
        )
    return parts


def _made_by_the_system(parts: tuple[str, ...]) -> bool:
    """Return whether macOS added a file beside the packed ones."""
    return parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _add_folders(folders: dict[str, Folder], parts: tuple[str, ...]) -> None:
    above = ""
    for number, part in enumerate(parts, start=1):
        inner = "/".join(parts[:number])
        folders[above].folders[part] = None
        folders.setdefault(inner, Folder())
        above = inner
