"""Large JSON documents in pieces: where each value stands in the file, and the elements of its arrays.

Decoding `instances_train2017.json` at once takes its 450 MB of text twice. Here a megabyte is decoded at a
time. A broken document, another encoding or an array of other values than objects is not handled here: the
caller decodes such a document at once, and its errors name the place.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

CHUNK = 1 << 20
"""Bytes that are decoded at a time."""

MAX_CHUNK = 1 << 26
"""Bytes that one element of an array may take."""

_CUTS_TRIED = 100
_LONGEST_KEY = 1 << 12
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_KEY = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")


class _UnusualError(Exception):
    """The document must be decoded at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the file from `start` to `stop` in bytes, with `count` elements of an array."""

    start: int
    stop: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A JSON object in a file.

    Args:
        path: the file.
        values: where the value of each key stands; an array of objects in parts of whole elements, without
            its brackets.
        arrays: the keys whose values are such arrays.
    """

    path: Path
    values: Mapping[str, tuple[Part, ...]]
    arrays: frozenset[str]

    @classmethod
    def lay_out(cls, path: Path) -> JsonFile | None:
        """Return where the values of a JSON object stand; None if the file is anything else, or unusual."""
        try:
            with path.open("rb") as file:
                values, arrays = _Scanner(file).object()
        except (_UnusualError, OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return None
        return cls(path, values, frozenset(arrays))

    def count(self, key: str) -> int:
        """Return how many elements an array has."""
        return sum(part.count for part in self.values[key])

    def text(self, key: str) -> bytes:
        """Return the text of a value."""
        if key in self.arrays:
            return b"[" + b",".join(self._texts(key)) + b"]"
        return b"".join(self._texts(key))

    def texts(self, key: str) -> Iterator[bytes]:
        """Yield the elements of an array as smaller arrays, about a megabyte at a time."""
        return (b"[" + text + b"]" for text in self._texts(key))

    def elements(self, key: str) -> Iterator[list[msgspec.Raw]]:
        """Yield the elements of an array, about a megabyte at a time."""
        return map(_ELEMENTS.decode, self.texts(key))

    def _texts(self, key: str) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for part in self.values[key]:
                file.seek(part.start)
                yield file.read(part.stop - part.start)


class _Scanner:
    """Reads a file once from its beginning, and keeps only the part that it decodes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = b""
        self._at = 0  # in the text: the part before it is done
        self._start = 0  # of the text, in the file

    def object(self) -> tuple[dict[str, tuple[Part, ...]], set[str]]:
        """Return where the values of the object stand, and the keys of its arrays."""
        values: dict[str, tuple[Part, ...]] = {}
        arrays: set[str] = set()
        self._look(len(codecs.BOM_UTF8))
        if self._text.startswith(codecs.BOM_UTF8):
            self._at = len(codecs.BOM_UTF8)
        self._take(b"{")
        while self._next() != b"}":
            if values:
                self._take(b",")
            key = self._key()
            self._take(b":")
            arrays.discard(key)
            if self._next() == b"[":
                values[key] = self._array()
                arrays.add(key)
            else:
                values[key] = (self._value(),)
        self._take(b"}")
        if self._next():
            raise _UnusualError
        return values, arrays

    def _array(self) -> tuple[Part, ...]:
        self._take(b"[")
        parts: list[Part] = []
        while True:
            self._next()
            part, ended = self._elements()
            if part.count:
                parts.append(part)
            elif parts or not ended:  # a comma with nothing behind it
                raise _UnusualError
            if ended:
                self._take(b"]")
                return tuple(parts)
            self._take(b",")

    def _elements(self) -> tuple[Part, bool]:
        """Return the next elements of an array, and whether they are the last ones."""
        size = CHUNK
        while size <= MAX_CHUNK:
            at_end = self._look(size)
            text = self._text[self._at : self._at + size]
            cut = len(text)
            for _ in range(_CUTS_TRIED):
                cut = text.rfind(b"},", 0, cut)
                if cut < 0:
                    break
                count, end = _count(text[: cut + 1] + b"]")
                if count is not None:
                    return self._part(cut + 1 if end is None else end, count), end is not None
            if at_end or cut >= 0:
                break
            size *= 2
        count, end = _count(text)
        if count is None or end is None:
            raise _UnusualError
        return self._part(end, count), True

    def _value(self) -> Part:
        size = CHUNK
        while size <= MAX_CHUNK:
            at_end = self._look(size)
            text = memoryview(self._text)[self._at : self._at + size]
            try:
                _ANY.decode(text)
            except msgspec.DecodeError as error:
                end = _trailing(text, error)
                if end is not None:
                    return self._part(end, 1)
            if at_end:
                break
            size *= 2
        raise _UnusualError

    def _key(self) -> str:
        self._next()
        self._look(_LONGEST_KEY)
        found = _KEY.match(self._text, self._at)
        if found is None:
            raise _UnusualError
        self._at = found.end()
        return msgspec.json.decode(found[0], type=str)

    def _part(self, length: int, count: int) -> Part:
        start = self._start + self._at
        self._at += length
        return Part(start, start + length, count)

    def _next(self) -> bytes:
        """Skip white space and return the character behind it, or nothing at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text) or self._look(1):
                return self._text[self._at : self._at + 1]

    def _take(self, character: bytes) -> None:
        if self._next() != character:
            raise _UnusualError
        self._at += 1

    def _look(self, length: int) -> bool:
        """Read until `length` bytes are at hand; return whether the file has fewer."""
        if len(self._text) - self._at < length:
            self._start += self._at
            self._text = self._text[self._at :] + self._file.read(max(length, CHUNK))
            self._at = 0
        return len(self._text) - self._at < length


def _count(elements: bytes) -> tuple[int | None, int | None]:
    """Return how many elements a text holds, and where the array that they are of ends, if it does.

    Args:
        elements: elements of an array with its end, or cut off behind one of them and closed.

    Returns:
        The number is None if the text is cut off within an element. The end is None if the array continues
        behind the text.
    """
    text = b"[" + elements
    try:
        return len(_ELEMENTS.decode(text)), None
    except msgspec.DecodeError as error:
        end = _trailing(text, error)
    if end is None or text[end - 1 : end] != b"]":
        return None, None
    return len(_ELEMENTS.decode(text[:end])), end - 2


def _trailing(text: bytes | memoryview, error: Exception) -> int | None:
    """Return where the value ends behind which an error of decoding has found something else."""
    place = re.search(r"trailing characters \(byte (\d+)\)", str(error))
    return len(bytes(text[: int(place[1]) - 1]).rstrip()) if place else None
