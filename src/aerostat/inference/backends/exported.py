"""The description in an exported file: all that prediction needs beside the network.

An ONNX file keeps it among its metadata, which are read here without any package for ONNX: of Protocol
Buffers' wire format only the two cases that `ModelProto.metadata_props` needs are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aerostat.errors import InputError

KEY = "aerostat"
"""Of the metadata entry, in ONNX and in OpenVINO files."""
FORMAT = 2
"""Of the entry; a higher one is refused. Files of aerostat's own layout have 1, as they always had."""
LAYOUT = "aerostat"
"""The layout that the engines here run; files of other layouts are for other runtimes."""
LETTERBOX = {"align": "top-left", "pad_value": 114}
"""How images are brought to the input size: their ratio is kept, the rest is filled with grey."""
SUFFIXES = (".onnx", ".xml")
"""Of exported files: ONNX, and OpenVINO's pair of .xml and .bin."""

_METADATA_PROPS = 14  # field of ModelProto (onnx.proto3)


@dataclass(frozen=True)
class Exported:
    """What an exported file says about itself.

    Args:
        size: nano, tiny, s, m, l or x.
        classes: names of the classes.
        input_size: (width, height) that images are letterboxed to, at the top left, padded with grey 114.
        dynamic: whether other multiples of 32 will do, too.
        batch: images per call; None for any number.
        precision: float32, float16 or int8.
        score_threshold: of the suppression in the graph, below which nothing leaves it; None without one.
        nms_iou: of the suppression in the graph; None without one.
        weights_sha256: of the weights file that it was made from.
        masks: whether it gives masks.
        object_side: median side of the training objects in pixels of their photographs; 0 if unknown.
        slices: side of the windows that it was trained on; 0 for whole photographs.
        layout: what its inputs and outputs look like; see `aerostat.deploy.layouts`.
        colour_order: BGR or RGB, of the pixels that it takes.
        normalisation: what its caller does to pixels of 0 to 255, for people.
        licence: of the weights; empty if it is not known.
    """

    size: str
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    dynamic: bool = False
    batch: int | None = 1
    precision: str = "float32"
    score_threshold: float | None = None
    nms_iou: float | None = None
    weights_sha256: str = ""
    masks: bool = False
    object_side: float = 0.0
    slices: int = 0
    layout: str = LAYOUT
    colour_order: str = "BGR"
    normalisation: str = "none: the graph takes uint8 and normalises"
    licence: str = ""

    @property
    def suppressed(self) -> bool:
        """Whether the graph gives what non-maximum suppression keeps, not all points."""
        return self.nms_iou is not None

    def to_json(self) -> str:
        """Return the text of the metadata entry."""
        own = self.layout == LAYOUT
        entry = {"format": 1 if own else FORMAT, **asdict(self), "letterbox": LETTERBOX}
        if not self.masks:  # as files without masks have always been written
            del entry["masks"]
        for name in ("object_side", "slices"):
            if not entry[name]:
                del entry[name]
        return json.dumps(entry, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Exported:
        """Return what `to_json` wrote.

        Raises:
            InputError: the entry is of a newer format, or broken.
        """
        try:
            entry = json.loads(text)
            version = int(entry.pop("format"))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            entry, version = {}, FORMAT
        if version > FORMAT:
            raise InputError(
                f"{path} was written by a newer aerostat (format {version}, expected {FORMAT} at most); "
                "update this one or export again."
            )
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v
            for k, v in entry.items()
            if k in cls.__dataclass_fields__
        }
        if not {"size", "classes", "input_size"} <= known.keys() or not _is_sound(exported := cls(**known)):
            raise InputError(f"{path} has a description that cannot be read; export it again.")
        return exported


_MAX_INPUT = 1 << 14
"""Pixels of a side; the network needs gigabytes for a tenth of it."""


def _is_sound(said: Exported) -> bool:
    """Return whether all fields have the types and values of an export; a file may hold anything."""
    sides, names = said.input_size, said.classes
    shares = (said.score_threshold, said.nms_iou)
    return (
        isinstance(sides, tuple)
        and len(sides) == 2
        and all(type(side) is int and 0 < side <= _MAX_INPUT for side in sides)
        and isinstance(names, tuple)
        and len(names) > 0
        and all(isinstance(name, str) and name for name in names)
        and all(isinstance(text, str) for text in (said.size, said.precision, said.weights_sha256))
        and all(isinstance(text, str) for text in (said.layout, said.colour_order))
        and all(isinstance(text, str) for text in (said.normalisation, said.licence))
        and isinstance(said.dynamic, bool)
        and isinstance(said.masks, bool)
        and type(said.object_side) in (int, float)
        and 0 <= said.object_side < 1 << 20
        and type(said.slices) is int
        and 0 <= said.slices <= _MAX_INPUT
        and (said.batch is None or (type(said.batch) is int and 0 < said.batch < 1 << 16))
        and all(share is None or (type(share) in (int, float) and 0 <= share <= 1) for share in shares)
    )


def read_onnx_entry(path: Path) -> Exported:
    """Return what an ONNX file says about itself.

    Raises:
        InputError: it is no ONNX file, or not one of ours.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    try:
        entries = dict(_entry(field) for number, field in _fields(content) if number == _METADATA_PROPS)
    except (IndexError, KeyError, ValueError):
        raise InputError(f"{path} is no whole ONNX file; export it again.") from None
    if KEY not in entries:
        raise InputError(
            f"{path} does not say what its classes and input are: expected an ONNX file written by "
            "`aerostat export`."
        )
    return Exported.from_json(entries[KEY], path)


def _entry(content: memoryview) -> tuple[str, str]:
    """Return key and value of a StringStringEntryProto."""
    parts = {number: bytes(field).decode("utf-8") for number, field in _fields(content)}
    return parts[1], parts.get(2, "")


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of each field that has a length; numbers (varints) are stepped over.

    Raises:
        ValueError: the bytes are no Protocol Buffers message of such fields.
        IndexError: they end within one.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0 and number > 0:
            _, at = _varint(content, at)
        elif kind == 2 and number > 0:
            length, at = _varint(content, at)
            if at + length > len(content):
                raise IndexError
            yield number, content[at : at + length]
            at += length
        else:
            raise ValueError(f"field {number} of kind {kind}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number without an end")
