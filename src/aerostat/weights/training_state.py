"""The state of a training run in one file, exact to the bit, without pickle.

A state consists of dict, list, tuple, str, int, float, bool, None, bytes, tensors, numpy arrays and numpy
scalars. Tensors and arrays are stored as safetensors. The rest is a JSON tree, in which ``{"$": kind, ...}``
represents types that JSON lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aerostat.errors import InputError
from aerostat.weights import container

KEY = "aerostat-state"
_WHAT = "the saved state of a training run"
_SAFE_INT = 2**53  # exact in every JSON reader; larger ones, such as PCG64's 128 bits, are hex


def save_state(path: str | Path, state: Any) -> None:
    """Write a nested state atomically.

    Args:
        path: of the file; usually ``last.ckpt``.
        state: of the types that the module lists. Tensors are loaded on the CPU, without gradients, each with
            its own memory.

    Raises:
        TypeError: a value has another type; the message names its place.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> save_state(path, {"epoch": 3, "betas": (0.9, 0.999), "weights": torch.ones(2)})
        >>> load_state(path)
        {'epoch': 3, 'betas': (0.9, 0.999), 'weights': tensor([1., 1.])}
    """
    tensors: dict[str, Tensor] = {}

    def store(tensor: Tensor) -> str:
        name = f"t{len(tensors)}"
        tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
        return name

    container.write(Path(path), tensors, KEY, {"tree": _encode(state, "state", store)})


def load_state(path: str | Path) -> Any:
    """Return the state that `save_state` wrote, with the same types and values.

    Raises:
        InputError: the file is missing, cut off, damaged, of another kind or of a newer format.
    """
    path = Path(path)
    tree = container.read_document(path, KEY, _WHAT).get("tree")
    tensors = container.read_tensors(path)
    try:
        return _decode(tree, tensors)
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise InputError(
            f"The state in {path} is damaged ({str(error)[:100]}); start the run again or take a copy."
        ) from None


def _encode(value: Any, where: str, store: Callable[[Tensor], str]) -> Any:
    """Return the JSON form of `value`; its tensors go to `store`."""
    match value:
        case Tensor():
            return {"$": "tensor", "at": store(value)}
        case np.generic() | np.ndarray():  # first, because some numpy scalars are subclasses of float and int
            return _encode_array(value, where, store)
        case None | bool() | str():
            return value
        case int():
            return int(value) if abs(value) < _SAFE_INT else {"$": "int", "hex": hex(value)}
        case float():
            return float(value) if math.isfinite(value) else {"$": "float", "is": repr(float(value))}
        case bytes():
            return {"$": "bytes", "at": store(_raw(value))}
        case dict() if all(type(key) is str for key in value) and "$" not in value:
            return {key: _encode(item, f"{where}[{key!r}]", store) for key, item in value.items()}
        case dict():
            items = [
                [_encode(k, f"{where} key", store), _encode(v, f"{where}[{k!r}]", store)]
                for k, v in value.items()
            ]
            return {"$": "dict", "items": items}
        case list():
            return [_encode(item, f"{where}[{i}]", store) for i, item in enumerate(value)]
        case tuple():
            items = [_encode(item, f"{where}[{i}]", store) for i, item in enumerate(value)]
            return {"$": "tuple", "items": items}
    raise TypeError(f"a state cannot hold the {type(value).__name__} at {where}")


def _encode_array(value: Any, where: str, store: Callable[[Tensor], str]) -> Any:
    """Store an array as bytes, because torch has fewer types than numpy."""
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.fields:
        raise TypeError(f"a state cannot hold the array of {array.dtype} at {where}")
    kind = "scalar" if isinstance(value, np.generic) else "array"
    return {
        "$": kind,
        "at": store(_raw(array.tobytes())),
        "dtype": array.dtype.str,
        "shape": list(array.shape),
    }


def _raw(value: bytes) -> Tensor:
    """Return bytes as a tensor (n,) uint8; torch wraps no empty buffer."""
    return (
        torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else torch.empty(0, dtype=torch.uint8)
    )


def _decode(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value whose JSON form is `tree`; pops its tensors, since each has one place."""
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match tree.get("$"):
        case None:
            return {key: _decode(item, tensors) for key, item in tree.items()}
        case "tensor":
            return tensors.pop(tree["at"])
        case "array" | "scalar":
            raw = bytearray(tensors.pop(tree["at"]).numpy().tobytes())
            array = np.frombuffer(raw, np.dtype(str(tree["dtype"])[:20])).reshape(tree["shape"])
            return array if tree["$"] == "array" else array[()]
        case "int":
            return int(tree["hex"], 16)
        case "float":
            return float(tree["is"])
        case "bytes":
            return tensors.pop(tree["at"]).numpy().tobytes()
        case "dict":
            return {_decode(key, tensors): _decode(item, tensors) for key, item in tree["items"]}
        case "tuple":
            return tuple(_decode(item, tensors) for item in tree["items"])
    raise ValueError(f"unknown kind {tree['$']!r}")
