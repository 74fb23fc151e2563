"""The published weights: what there is, where it lies, and how it gets here (arXiv:2212.07784; Apache-2.0).

Nothing here touches the network except `fetch`, and that only for a file that is not in the cache yet.

Environment:
    AEROSTAT_HOME: the cache (default ``~/.cache/aerostat``); weights lie in its ``weights`` folder.
    AEROSTAT_MIRROR: a base URL, ``https://`` or (for a mirror only) ``http://``, that stands in for
        ``https://download.openmmlab.com``; the paths below it are the same.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import logging
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from aerostat import files
from aerostat.errors import AerostatError, InputError, nearest
from aerostat.progress import track
from aerostat.text import plain

_log = logging.getLogger(__name__)

PUBLISHED = "https://download.openmmlab.com"
_DETECTION = "mmdetection/v3.0/rtmdet"
_POSE = "mmpose/v1/projects/rtmposev1"

TIMEOUT_SECONDS = 30.0
"""Without a byte for so long a connection counts as cut."""
SLOWEST = 1000
"""Bytes a second; a connection that stays below after `TIMEOUT_SECONDS` counts as cut: some send for ever."""
ATTEMPTS = 5
"""Connections for one file; each goes on where the last was cut."""
_CHUNK = 1 << 20
_MAX_BYTES = 4 << 30  # the largest published file has 0.4 GB; a server without an end must not fill the disk

Task = Literal["detection", "instance segmentation", "backbone"]


@dataclass(frozen=True)
class ZooEntry:
    """One published file.

    Args:
        name: what a person types.
        task: what the weights do.
        size: nano, tiny, s, m, l or x.
        classes: what it finds, for people: ``COCO (80)``, ``person``, ``hand``.
        input_size: (width, height) in pixels.
        box_ap: published COCO box AP in percent, or None.
        parameters_m: millions of parameters.
        path: of the file below the base URL.
        licence: of the weights.
        mask_ap: published COCO mask AP in percent, or None.
    """

    name: str
    task: Task
    size: str
    classes: str
    input_size: tuple[int, int]
    box_ap: float | None
    parameters_m: float
    path: str
    licence: str = "Apache-2.0"
    mask_ap: float | None = None

    @property
    def sha256_prefix(self) -> str:
        """The published digits of the file's SHA-256, which OpenMMLab writes into its name."""
        return _digits_in(self.path)

    @property
    def file_name(self) -> str:
        """The name of the file in the cache."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where the file is published, or the mirror's address for it if AEROSTAT_MIRROR is set."""
        return f"{_base()}/{self.path}"


def _detector(size: str, stamp: str, ap: float, parameters_m: float) -> ZooEntry:
    folder = f"rtmdet_{size}_8xb32-300e_coco"
    path = f"{_DETECTION}/{folder}/{folder}_{stamp}.pth"
    return ZooEntry(f"rtmdet-{size}", "detection", size, "COCO (80)", (640, 640), ap, parameters_m, path)


def _segmenter(size: str, stamp: str, box_ap: float, mask_ap: float, parameters_m: float) -> ZooEntry:
    folder = f"rtmdet-ins_{size}_8xb{16 if size == 'x' else 32}-300e_coco"
    path = f"{_DETECTION}/{folder}/{folder}_{stamp}.pth"
    task: Task = "instance segmentation"
    return ZooEntry(
        f"rtmdet-ins-{size}",
        task,
        size,
        "COCO (80)",
        (640, 640),
        box_ap,
        parameters_m,
        path,
        mask_ap=mask_ap,
    )


def _single(name: str, classes: str, side: int, parameters_m: float, file_name: str) -> ZooEntry:
    size = name.split("-")[1]
    path = f"{_POSE}/{file_name}.pth"
    return ZooEntry(name, "detection", size, classes, (side, side), None, parameters_m, path)


_ENTRIES = (
    _detector("tiny", "20220902_112414-78e30dcc", 41.1, 4.896168),
    _detector("s", "20220905_161602-387a891e", 44.6, 8.886924),
    _detector("m", "20220719_112220-229f527c", 49.4, 24.709188),
    _detector("l", "20220719_112030-5a0be7c4", 51.5, 52.315804),
    _detector("x", "20220715_230555-cc79b9ae", 52.8, 94.855572),
    _single(
        "rtmdet-nano-person", "person", 320, 0.994423, "rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e"
    ),
    _single("rtmdet-m-person", "person", 640, 24.663447, "rtmdet_m_8xb32-100e_coco-obj365-person-235e8209"),
    _single("rtmdet-nano-hand", "hand", 320, 0.994423, "rtmdet_nano_8xb32-300e_hand-267f9c8f"),
    ZooEntry(
        "cspnext-tiny",
        "backbone",
        "tiny",
        "ImageNet",
        (224, 224),
        None,
        2.3487,
        f"{_DETECTION}/cspnext_rsb_pretrain/cspnext-tiny_imagenet_600e.pth",
    ),
    _segmenter("tiny", "20221130_151727-ec670f7e", 40.5, 35.4, 5.638187),
    _segmenter("s", "20221121_212604-fdc5d7ec", 44.0, 38.7, 10.183311),
    _segmenter("m", "20221123_001039-6eba602e", 48.8, 42.1, 27.575111),
    _segmenter("l", "20221124_103237-78d1d652", 51.2, 43.7, 57.365663),
    _segmenter("x", "20221124_111313-33d4595b", 52.4, 44.6, 102.703767),
)


@dataclass(frozen=True)
class ZooRow:
    """One line of what ``aerostat models`` prints; `path` is where the file lies or would have to lie."""

    entry: ZooEntry
    path: Path
    here: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the line for JSON."""
        return {
            **asdict(self.entry),
            "url": self.entry.url,
            "sha256_prefix": self.entry.sha256_prefix,
            "supported": True,  # readers of version 0.1 look for it
            "file": str(self.path),
            "here": self.here,
        }


def entries() -> tuple[ZooEntry, ...]:
    """Return everything published, detectors first."""
    return _ENTRIES


def find(name: str) -> ZooEntry:
    """Return the entry of that name.

    Raises:
        InputError: if there is none, with the nearest name.
    """
    for entry in entries():
        if entry.name == name.lower():
            return entry
    names = [entry.name for entry in entries()]
    raise InputError(f"The zoo has no {name!r}; aerostat models lists it.{nearest(name, names)}")


def zoo_table() -> tuple[ZooRow, ...]:
    """Return the zoo with where each file lies or would have to lie; looks at the disk only."""
    return tuple(ZooRow(e, cached_path(e), cached_path(e).is_file()) for e in entries())


def weights_folder() -> Path:
    """Return the folder of the cache that holds weights, below the current one for a user without a home."""
    cache = Path(os.environ.get("AEROSTAT_HOME") or "~/.cache/aerostat")
    try:
        return cache.expanduser() / "weights"
    except RuntimeError:
        return Path(*cache.parts[1:]).absolute() / "weights"


def cached_path(entry: ZooEntry) -> Path:
    """Return where the entry's file lies once it is here."""
    return weights_folder() / entry.file_name


def fetch(name_or_url: str) -> Path:
    """Return the path of a weights file in the cache, downloading it first if it is not there.

    A download shows its progress, goes on where it was cut off, is checked against the published digits of
    its SHA-256 (a file without any has its hash recorded on arrival) and appears whole or not at all. A file
    in the cache is checked against that record, or against the published digits if somebody put it there.

    Args:
        name_or_url: a name of the zoo, or an ``https://`` address of a weights file.

    Raises:
        InputError: for an unknown name, or an address of another kind.
        AerostatError: if the file cannot be had; the message says which file to put where.
    """
    if "://" in name_or_url:
        name, url, path = _of_url(name_or_url)
    else:
        entry = find(name_or_url)
        name, url, path = entry.name, entry.url, cached_path(entry)
    if not path.is_file():
        with _locked(path):
            if not path.is_file():  # another process may have brought it while this one waited
                _download(name, url, path)
    _verify(path)
    return path


def _of_url(url: str) -> tuple[str, str, Path]:
    """Return what to call the file behind an address, the address, and the file's place in the cache."""
    parts = urllib.parse.urlsplit(url)
    name = parts.path.rpartition("/")[2]
    if parts.scheme != "https" or not parts.netloc:
        raise InputError(
            f"Weights are fetched over https only, found {url!r}; download the file and name its path."
        )
    if not re.fullmatch(r"[\w.+-]+\.(pth|pt|ckpt|safetensors)", name):
        raise InputError(f"Expected the address of a .pth or .safetensors file, found {url!r}.")
    # two addresses may end in the same name: without digits of its hash the name tells the files not apart
    unique = name if _digits_in(name) else f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    return name, url.replace(PUBLISHED, _base(), 1), weights_folder() / unique


def _base() -> str:
    """Return the base URL: the mirror, if one is named."""
    mirror = os.environ.get("AEROSTAT_MIRROR", "").rstrip("/")
    if mirror and urllib.parse.urlsplit(mirror).scheme not in ("https", "http"):
        raise InputError(
            f"AEROSTAT_MIRROR is {mirror!r}; expected a base URL that begins with https:// or http://."
        )
    return mirror or PUBLISHED


def _digits_in(name: str) -> str:
    """Return the digits of a SHA-256 that stand at the end of a published file's name, or an empty string."""
    match = re.search(r"-([0-9a-f]{8})\.pth$", name)
    return match[1] if match else ""


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time fetch a file, for instance one of the ranks of a training run."""
    from filelock import FileLock

    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise AerostatError(
            f"Cannot write to the cache {path.parent} ({error.strerror or error}); set AEROSTAT_HOME to a "
            f"folder that you may write to."
        ) from None
    try:
        yield
    finally:
        lock.release()


# ------------------------------------------------------------------------------------------ verification


def _verify(path: Path) -> None:
    """Check a cached file against what is known of its SHA-256, and write the whole of it down beside it."""
    found = files.sha256(path)
    record = path.with_name(path.name + ".sha256")
    expected = _digits_in(path.name)
    recorded = record.read_text("utf-8").split() if record.is_file() else []
    if not found.startswith(expected) or (recorded and recorded[0] != found):
        wanted = recorded[0][:8] if recorded else expected
        raise AerostatError(
            f"{path} is not the file that was published: its SHA-256 should begin {wanted} but begins "
            f"{found[:8]}; remove it and fetch it again."
        )
    if not recorded:
        with contextlib.suppress(OSError):  # a read-only cache keeps no record
            files.write_text(record, f"{found}  {path.name}\n")


# ---------------------------------------------------------------------------------------------- download


class _NoMore(Exception):  # noqa: N818 - never leaves this module
    """The server cannot or will not give the file; asking again is no use."""


class _NoRoom(Exception):  # noqa: N818 - never leaves this module
    """What was received cannot be written; the server is not to blame."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https only, or to http too if the first address was http (a mirror's)."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse an address of another scheme."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https" and not (scheme == "http" and req.type == "http"):
            raise _NoMore(f"it was redirected to {newurl[:80]!r}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(name: str, url: str, path: Path) -> None:
    """Download to ``path.part``, going on where an earlier attempt ended, and rename when it is right."""
    part = path.with_name(path.name + ".part")
    if not _digits_in(path.name):
        part.unlink(missing_ok=True)  # without digits to check, halves of two versions could be joined
    try:
        reason = _complete(name, url, part)
    except _NoRoom as refusal:
        part.unlink(missing_ok=True)
        raise AerostatError(
            f"{name} cannot be written to the cache {path.parent} ({refusal}), so nothing was kept; make "
            f"room there or set AEROSTAT_HOME to another folder."
        ) from None
    if reason:
        raise AerostatError(
            f"{name} is not in the cache and {url} cannot be fetched ({reason}); "
            f"get that file and put it at {path}."
        )
    expected, found = _digits_in(path.name), files.sha256(part)
    if not found.startswith(expected):
        part.unlink()
        raise AerostatError(
            f"{url} sent something else than was published: its SHA-256 should begin {expected} but begins "
            f"{found[:8]}; nothing was kept, try again or another mirror."
        )
    with contextlib.suppress(OSError):  # the last bytes of a full disk; `_verify` tries again
        files.write_text(path.with_name(path.name + ".sha256"), f"{found}  {path.name}\n")
    part.replace(path)


def _complete(name: str, url: str, part: Path) -> str:
    """Fetch until `part` is complete while every attempt brings something; return what went wrong or ''."""
    reason = ""
    for _ in range(ATTEMPTS):
        before = _length(part)
        try:
            if _receive(name, url, part):
                return ""
            reason = "the connection was cut"
        except _NoMore as refusal:
            return plain(str(refusal))
        except (OSError, http.client.HTTPException) as error:
            reason = plain(" ".join(str(getattr(error, "reason", "") or error).split())[:120])
        if _length(part) == before:
            break
    return reason


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _receive(name: str, url: str, part: Path) -> bool:
    """Fetch what `part` still lacks and append it; return whether it is complete now."""
    have = _length(part)
    request = urllib.request.Request(url, headers={"User-Agent": "aerostat", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not have:
            raise _NoMore(" ".join(f"HTTP {error.code} {error.reason}".split())[:120]) from None
        if (error.headers.get("Content-Range") or "").endswith(f"/{have}"):
            return True  # the whole file was here already, only its name was not
        part.unlink()  # longer than the file, so no part of it
        return False
    with response:
        start = _first_byte(response) if response.status == 206 else 0
        if start not in (0, have):
            raise _NoMore(f"the server sent bytes from {start} where {have} was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if (total or 0) > _MAX_BYTES:
            raise _NoMore(f"it claims to have {total} bytes")
        _log.info(f"Downloading {url}" + (f", going on at {start / 1e6:.1f} MB" if start else ""))
        try:
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                _append(response, file, f"{name} (MiB)", None if total is None else total - start)
        except _NoMore:
            part.unlink(missing_ok=True)  # gigabytes of a body without an end
            raise
        except OSError as error:
            if error.filename or error.errno in _DISK_FULL:
                raise _NoRoom(error.strerror or str(error)) from None
            raise
    return total is None or _length(part) == total


def _first_byte(response: Any) -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


_DISK_FULL = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def _append(response: Any, file: IO[bytes], title: str, length: int | None) -> None:
    """Copy a response to an open file in pieces, showing progress."""
    pieces = _pieces(response)
    for piece in track(pieces, title, None if length is None else math.ceil(length / _CHUNK)):
        file.write(piece)
        if file.tell() > _MAX_BYTES:
            raise _NoMore("it does not end")
    file.flush()
    os.fsync(file.fileno())


def _pieces(response: Any) -> Iterator[bytes]:
    """Yield what a response holds in pieces of `_CHUNK`; what came before it broke off, too.

    Raises:
        TimeoutError: it trickles.
    """
    started, received, gathered = time.monotonic(), 0, bytearray()
    try:
        while piece := response.read1(_CHUNK):
            received += len(piece)
            gathered += piece
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
            waited = time.monotonic() - started
            if waited > TIMEOUT_SECONDS and received < SLOWEST * waited:
                raise TimeoutError(f"it sends less than {SLOWEST} bytes a second")
    except (OSError, http.client.HTTPException):
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)
