"""A safetensors file that carries one JSON document beside its tensors: the form of everything saved here."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aerostat import files
from aerostat.errors import InputError
from aerostat.text import plain

FORMAT = 1
"""Version of the documents; files of a newer one are refused."""

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of the format (https://huggingface.co/docs/safetensors) for the types that a state holds."""


@cache
def version() -> str:
    """Return the version of the installed aerostat, which is looked up once.

    The look-up searches all folders that modules are imported from.
    """
    try:
        return importlib.metadata.version("aerostat")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def write(path: Path, tensors: Mapping[str, Tensor], key: str, document: Mapping[str, Any]) -> None:
    """Write tensors (on the CPU, contiguous, none sharing memory) and a document, whole or not at all.

    Args:
        path: where to.
        tensors: by name.
        key: the name of the document in the file's metadata, which tells the kinds of files apart.
        document: plain JSON values; the format number is added.
    """
    write_safetensors(path, tensors, {key: json.dumps({"format": FORMAT, **document}, allow_nan=False)})


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    The format is eight bytes that say how long the header is, the header (JSON: type, shape and place of each
    tensor) and the tensors' bytes. The library's own writer makes a second temporary file. A
    killed process leaves it behind, and its name does not tell who wrote it. Its errors are not `OSError`.

    Args:
        path: where to.
        tensors: by name, on the CPU.
        metadata: texts by name.

    Raises:
        OSError: the system refuses; what stood there before stands there still.
    """
    # By falling size of their numbers, so that each begins at a multiple of it.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        place = [end, end + tensor.numel() * tensor.element_size()]
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        end = place[1]
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)


def start(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        InputError: if there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(16)
    except IsADirectoryError:
        raise InputError(f"Expected a weights file, but {path} is a folder; name a file in it.") from None
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; check the name.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from None


def read_document(path: Path, key: str, what: str) -> dict[str, Any]:
    """Return the document under `key`; the file's length is checked in passing, no tensor is read.

    Args:
        path: the file.
        key: as given to `write`.
        what: what the file should be, for the message.

    Raises:
        InputError: if the file is no safetensors, cut off, without such a document, or of a newer format.
    """
    first = start(path)
    if first[8:9] != b"{":
        found = f"bytes that begin {first[:8]!r}" if first else "an empty file"
        raise InputError(f"{path} is not {what}: expected a .safetensors file, found {found}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(_damaged(path, error)) from None
    if key not in metadata:
        raise InputError(f"{path} is not {what}: it is a .safetensors file without the {key!r} header.")
    try:
        document = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise InputError(_damaged(path, error)) from None
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise InputError(f"The header of {path} has no format number; copy or fetch the file again.")
    if document["format"] > FORMAT:
        raise InputError(
            f"{path} is of format {document['format']}, but this aerostat ({version()}) reads up to "
            f"format {FORMAT}; install a newer one."
        )
    return document


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors by name, on the CPU.

    Raises:
        InputError: if the file is cut off or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            # copied out of the file's mapping, which somebody may overwrite while the tensors are in use
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is cut off or damaged ({plain(str(error)[:100])}); copy or fetch it again."
