"""Reader of torch checkpoint files (``.pth``) that executes nothing in them.

OpenMMLab's published files pickle training-log objects next to the tensors. `read_pth` reads the tensors
and a few plain values, ignores everything else, and never imports a name from the file. It reads both formats
of torch: the zip archive (torch >= 1.6), and the older stream, which OpenMMLab's publishing script still
writes.
"""

from __future__ import annotations

import math
import mmap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aerostat.errors import InputError
from aerostat.weights import inert_pickle
from aerostat.weights.inert_pickle import Call, Name, Persistent

ZIP_MAGIC = b"PK\x03\x04"
STREAM_MAGIC = 0x1950A86A20F9469CFC6C
"""First number that torch pickles into a file of its older format."""
STREAM_START = b"\x80\x02\x8a\x0a" + STREAM_MAGIC.to_bytes(10, "little")

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_REBUILD = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}
_PARAMETER = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_MAX_DIMENSIONS = 8
_MAX_SHARING = 16
"""Bytes of all tensors as float32, at most, in sizes of the file: RTMDet's head shares each convolution three
times. Without this limit a small file could describe thousands of copies of one storage."""
_MAX_NUMBERS = 100
"""Numbers of a list in ``meta``, at most; longer lists are ignored."""


@dataclass(frozen=True)
class PthFile:
    """Content of a ``.pth`` file.

    Args:
        path: of the file.
        state: tensors under their names in the file, on the CPU, in their stored dtype.
        meta: plain values (str, int, float, bool, None, up to 100 numbers) of the file's ``meta``, and
            ``classes`` (tuple of str) if the file names them.
        skipped: names of entries of the state dict that are no tensors.
    """

    path: Path
    state: dict[str, Tensor]
    meta: dict[str, Any]
    skipped: tuple[str, ...] = ()


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """The damage of a file, as a clause."""


def read_pth(path: str | Path) -> PthFile:
    """Return the tensors and plain values of a torch checkpoint file, without executing anything in it.

    Args:
        path: a file that ``torch.save`` wrote in either format; recognised by content.

    Raises:
        InputError: the file is missing, cut off, damaged, no torch file, or has no state dict.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(STREAM_START))
            if start.startswith(ZIP_MAGIC):
                return _from_zip(path)
            if start == STREAM_START:
                return _from_stream(path)
    except OSError as error:
        raise InputError(f"Cannot read the weights file {path}: {error.strerror or error}.") from None
    except _Damaged as damage:
        raise InputError(f"{path} cannot be read as a torch checkpoint: {damage}; fetch it again.") from None
    raise InputError(
        f"{path} is no weights file: expected .safetensors or a checkpoint that torch.save wrote, "
        f"found bytes that begin {start[:8]!r}."
    )


def is_pth(start: bytes) -> bool:
    """Return whether a file that begins with `start`, 14 bytes or more, is a torch checkpoint."""
    return start.startswith((ZIP_MAGIC, STREAM_START))


@contextmanager
def _damage() -> Iterator[None]:
    """Turn the errors of zipfile for hostile or damaged archives into `_Damaged`."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        EOFError,
        ValueError,
        OverflowError,
    ) as error:
        raise _Damaged(f"damaged or cut off ({str(error)[:100]})") from None


def _from_zip(path: Path) -> PthFile:
    with _damage(), zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        # torch's entries are uncompressed and do not overlap; others would be a decompression bomb.
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries.values()):
            raise _Damaged("compressed entries, which torch never writes")
        if sum(e.file_size for e in archive.infolist()) > path.stat().st_size:
            raise _Damaged("entries that claim to be larger than the file")
        pickles = sorted((n for n in entries if n.endswith("/data.pkl")), key=len)
        if not pickles:
            raise _Damaged("a zip archive without data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        big_endian = f"{root}byteorder" in entries and archive.read(f"{root}byteorder") == b"big"
        content, _ = inert_pickle.read(BytesIO(archive.read(pickles[0])))

        def record(key: str) -> bytearray:
            if f"{root}data/{key}" not in entries:
                raise _Damaged(f"the tensor data {key[:40]!r} is missing")
            return bytearray(archive.read(f"{root}data/{key}"))

        return _to_pth_file(path, content, _Storages(record, big_endian, _MAX_SHARING * path.stat().st_size))


def _from_stream(path: Path) -> PthFile:
    """Read the older format: five pickles, then length (int64) and little-endian data of each storage."""
    with _damage(), path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for _ in range(3):  # magic number, protocol version, system description
            inert_pickle.read(view)
        content, persistent = inert_pickle.read(view)
        keys, _ = inert_pickle.read(view)
        widths = {storage.key: storage.dtype.itemsize for storage in map(_storage, persistent) if storage}
        spans: dict[str, tuple[int, int]] = {}
        position = view.tell()
        for key in keys if isinstance(keys, list) else ():
            if str(key) not in widths:
                raise _Damaged(f"a storage {str(key)[:40]!r} of unknown type")
            length = int.from_bytes(view[position : position + 8], "little", signed=True) * widths[str(key)]
            if length < 0 or position + 8 + length > len(view):
                raise _Damaged("it ends in the middle of its tensors")
            spans[str(key)] = (position + 8, length)
            position += 8 + length

        def record(key: str) -> bytearray:
            if key not in spans:
                raise _Damaged(f"the tensor data {key[:40]!r} is missing")
            first, length = spans[key]
            return bytearray(view[first : first + length])

        return _to_pth_file(path, content, _Storages(record, False, _MAX_SHARING * len(view)))


@dataclass(frozen=True)
class _StorageRecord:
    key: str
    dtype: torch.dtype
    numel: int


def _storage(reference: Any) -> _StorageRecord | None:
    """Return a reference to a storage, ("storage", type, key, location, numel[, view]), or None."""
    pid = reference.pid if isinstance(reference, Persistent) else None
    if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] in ("storage", b"storage")):
        return None
    kind, key, numel = pid[1], pid[2], pid[4]
    if not (isinstance(kind, Name) and isinstance(key, (str, int)) and type(numel) is int):
        return None
    module, _, name = kind.text.rpartition(".")
    if module not in ("torch", "torch.cuda") or name not in _DTYPES or (len(pid) == 6 and pid[5] is not None):
        return None
    return _StorageRecord(str(key), _DTYPES[name], numel)


@dataclass
class _Storages:
    """The storages of one file, each read when a tensor first needs it.

    Args:
        record: returns the raw bytes of a storage, given its key.
        big_endian: byte order of the file.
        room: bytes left for tensors.
        read: storages read so far, by key.
    """

    record: Callable[[str], bytearray]
    big_endian: bool
    room: int
    read: dict[str, Tensor] = field(default_factory=dict)

    def take_room(self, numel: int, dtype: torch.dtype) -> None:
        """Subtract a tensor of `numel` elements from `room`, as float32 or wider.

        Raises:
            _Damaged: all tensors together are too large for the file.
        """
        self.room -= numel * max(dtype.itemsize, 4)
        if self.room < 0:
            raise _Damaged(f"tensors of more than {_MAX_SHARING} times its size")

    def flat(self, storage: _StorageRecord) -> Tensor:
        """Return the storage as a tensor (numel,), in the machine's byte order."""
        if storage.key not in self.read:
            raw = self.record(storage.key)
            width = storage.dtype.itemsize
            if len(raw) != storage.numel * width:
                raise _Damaged(
                    f"tensor data of {len(raw)} bytes where {storage.numel} x {width} are announced"
                )
            if self.big_endian and width > 1:
                raw = bytearray(np.frombuffer(raw, f">u{width}").astype(f"=u{width}").tobytes())
            self.read[storage.key] = _tensor_of(raw, storage.dtype)
        flat = self.read[storage.key]
        if flat.dtype != storage.dtype:
            raise _Damaged("one storage announced with two types")
        return flat


def _tensor_of(raw: bytearray, dtype: torch.dtype) -> Tensor:
    """Return raw bytes as a tensor (n,); for booleans any byte but 0 is true."""
    if not raw:
        return torch.empty(0, dtype=dtype)
    if dtype == torch.bool:
        return torch.frombuffer(raw, dtype=torch.uint8) != 0
    return torch.frombuffer(raw, dtype=dtype)


def _tensor(value: Any, storages: _Storages) -> Tensor | None:
    """Return the tensor that a value of the pickle describes; None if it describes no tensor."""
    while isinstance(value, Call) and value.name in _PARAMETER and value.args:
        value = value.args[0]
    if not (isinstance(value, Call) and value.name in _REBUILD and len(value.args) >= 4):
        return None
    storage = _storage(value.args[0])
    if storage is None:
        raise _Damaged("a tensor whose storage is of unknown type")
    offset, size, stride = value.args[1], _whole(value.args[2]), _whole(value.args[3])
    if type(offset) is not int or size is None or stride is None or len(size) != len(stride):
        raise _Damaged("a tensor of an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    numel = math.prod(size)
    # At most as many elements as the storage: a stride of 0 would make gigabytes out of one number.
    if (
        offset < 0
        or numel > storage.numel
        or max(size, default=0) > 2**40
        or (numel and last >= storage.numel)
    ):
        raise _Damaged(f"a tensor of shape {size[:_MAX_DIMENSIONS]} that leaves its data")
    if numel == 0:
        return torch.empty(size, dtype=storage.dtype)
    storages.take_room(numel, storage.dtype)
    return storages.flat(storage).as_strided(size, stride, offset).contiguous()


def _whole(value: Any) -> tuple[int, ...] | None:
    """Return a shape or stride as a tuple of non-negative ints; None if the value is neither."""
    if isinstance(value, Call) and value.name == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, (tuple, list)) or len(value) > _MAX_DIMENSIONS:
        return None
    return tuple(value) if all(type(n) is int and n >= 0 for n in value) else None


def _to_pth_file(path: Path, content: Any, storages: _Storages) -> PthFile:
    """Return the state dict and the plain values of a file, given the structure of its pickle."""
    content = content if isinstance(content, dict) else {}
    # mmengine's EMA hook swaps before saving, so `state_dict` has the averaged weights.
    entries = content.get("state_dict", content)
    tensors = {
        str(name): tensor
        for name, value in (entries.items() if isinstance(entries, dict) else ())
        if (tensor := _tensor(value, storages)) is not None
    }
    if not tensors:
        raise InputError(f"{path} holds no state dict: expected tensors under 'state_dict', found none.")
    skipped = (
        tuple(str(name) for name in entries if str(name) not in tensors) if entries is not content else ()
    )
    return PthFile(path, tensors, _plain_meta(content.get("meta")), skipped)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) <= _MAX_NUMBERS and all(type(item) in (int, float) for item in value)
    return isinstance(value, (str, int, float, bool, type(None)))


def _plain_meta(meta: Any) -> dict[str, Any]:
    """Return the plain values of ``meta`` and the class names, whose place differs between versions."""
    meta = meta if isinstance(meta, dict) else {}
    plain: dict[str, Any] = {
        str(key): value
        for key, value in meta.items()
        if _is_plain(value) and str(key) not in ("classes", "CLASSES")
    }
    dataset = meta.get("dataset_meta")
    for place in (dataset if isinstance(dataset, dict) else {}, meta):
        for key in ("classes", "CLASSES"):
            names = place.get(key)
            if isinstance(names, str):  # ("balloon") written for ("balloon",)
                names = (names,)
            if isinstance(names, (tuple, list)) and names and all(isinstance(n, str) for n in names):
                plain.setdefault("classes", tuple(names))
    return plain
