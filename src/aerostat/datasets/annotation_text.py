"""The text of an annotation file: read once, decoded with errors that say where."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from aerostat.datasets.json_stream import JsonFile
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath, ArchivePath
from aerostat.images.folders import length_of
from aerostat.text import counted

T = TypeVar("T")

LARGE_FILE = 1 << 25
"""Bytes from which on a JSON file is not taken into memory whole, if its format can be read in parts."""

HEAD_BYTES = 1 << 16
"""Bytes at the beginning of a file by which candidates for annotation files are known."""

Document = dict[str, msgspec.Raw] | list[msgspec.Raw]
"""A JSON document whose values are not taken apart yet."""


class AnnotationText:
    """The text of one annotation file. It is read at most once, and `take` releases it.

    Args:
        path: the file.
    """

    __slots__ = ("_content", "_document", "_layout", "path")

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._content: bytes | None = None
        self._document: Document | None = None
        self._layout: JsonFile | Literal["unknown"] | None = "unknown"

    def head(self) -> bytes:
        """Return the beginning of the file as UTF-8, without white space before it; empty if it has none."""
        try:
            with self.path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except (OSError, ValueError):
            return b""
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            head = head.decode("utf-16", "ignore").encode()
        return head.removeprefix(codecs.BOM_UTF8).lstrip()

    def content(self) -> bytes:
        """Return the whole file as UTF-8 without a byte order mark.

        Raises:
            InputError: the file cannot be read or is empty.
        """
        if self._content is None:
            self._content = read_content(self.path)
        return self._content

    def take(self) -> bytes:
        """Return what `content` does, and release it: the text of a large file takes much memory."""
        content = self.content()
        self.release()
        return content

    def release(self) -> None:
        """Release the text; it is read again if it is asked for. Thousands of files may hold pictures."""
        self._content = self._document = None

    def layout(self) -> JsonFile | None:
        """Return where the values of a large JSON object stand in the file; None for all other files."""
        if self._layout == "unknown":
            try:
                large = length_of(self.path) >= LARGE_FILE
            except (OSError, ValueError):
                large = False
            # A packed file has to be unpacked whole anyway.
            on_disk = large and not isinstance(self.path, ArchivePath)
            self._layout = JsonFile.lay_out(Path(str(self.path))) if on_disk else None
        return self._layout

    def is_json(self) -> bool:
        """Return whether the text begins as a JSON object or list does.

        Raises:
            InputError: the file cannot be read or is empty.
        """
        if self.layout() is not None:
            return True
        return self.content()[:HEAD_BYTES].lstrip().startswith((b"{", b"["))

    def keys(self) -> set[str]:
        """Return the keys of the JSON object; none for a list.

        Raises:
            InputError: the JSON is cut off or malformed; the sentence gives line and byte.
        """
        layout = self.layout()
        if layout is not None:
            return set(layout.values)
        document = self.document()
        return set(document) if isinstance(document, dict) else set()

    def document(self) -> Document:
        """Return the JSON document, whose values are not taken apart.

        Raises:
            InputError: the JSON is cut off or malformed; the sentence gives line and byte.
        """
        if self._document is None:
            content = self.content()
            if content.lstrip().startswith(b"{"):
                self._document = decode(content, dict[str, msgspec.Raw], self.path)
            else:
                self._document = decode(content, list[msgspec.Raw], self.path)
        return self._document


def keys_of(raw: msgspec.Raw) -> list[str]:
    """Return the keys of a JSON object; none for any other value."""
    try:
        return list(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


def read_content(path: AnyPath) -> bytes:
    """Return the bytes of a text file as UTF-8 without a byte order mark.

    Raises:
        InputError: the file cannot be read or is empty.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what PowerShell's `>` writes
        content = content.decode("utf-16", "replace").encode()
    if not content or content.isspace():
        raise InputError(f"{path} is empty: expected annotations; export them again.")
    return _quote_no_numbers(content.removeprefix(codecs.BOM_UTF8))


_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def _quote_no_numbers(content: bytes) -> bytes:
    """Return JSON with NaN and Infinity, which Python writes and no standard knows, as texts.

    Records with such a number can then be left out, and the others stay.
    """
    is_json = content[:HEAD_BYTES].lstrip().startswith((b"{", b"["))
    if not is_json or not (b"NaN" in content or b"Infinity" in content):
        return content
    return _NO_NUMBER.sub(lambda m: m[0] if m[0].startswith(b'"') else b'"' + m[0] + b'"', content)


def decode(content: bytes | msgspec.Raw, shape: type[T], path: AnyPath | str) -> T:
    """Decode JSON of the file `path` (or of a place in it) into a type.

    Raises:
        InputError: the JSON is cut off, malformed or of another shape; the sentence gives line and byte, or
            the place inside the document.
    """
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{path} has annotations of an unexpected form: {_lower_first(str(error))}."
        ) from None
    except msgspec.DecodeError as error:
        if "Invalid UTF-8" in str(error):  # msgspec 0.23 and later; earlier ones raise UnicodeDecodeError
            raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
        raise InputError(_syntax_error(str(error), bytes(content), path)) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be annotations.") from None


def _syntax_error(reason: str, content: bytes, path: AnyPath | str) -> str:
    place = re.search(r" \(byte (\d+)\)", reason)
    byte = int(place[1]) if place else len(content)
    line = content.count(b"\n", 0, byte) + 1
    if "truncated" in reason:
        return f"{path} is cut off: its JSON ends unfinished at byte {byte} (line {line}); export it again."
    cause = reason.removeprefix("JSON is malformed: ").replace(place[0] if place else "", "")
    return f"{path} is not valid JSON: {cause} at byte {byte} (line {line}); export it again."


def is_utf8(content: bytes) -> bool:
    """Return whether bytes are UTF-8. A file that is not is refused: any name in it may be wrong."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def refuse_other_encoding(content: bytes | msgspec.Raw, path: AnyPath) -> None:
    """Refuse a part of the file `path` that is not UTF-8; a part that was not decoded may be.

    Raises:
        InputError: naming the file.
    """
    if not is_utf8(bytes(content)):
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def csv_rows(content: bytes, path: AnyPath) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table with commas, each by the names in its header, with their line numbers.

    Raises:
        InputError: the text is not UTF-8 or a row does not have the header's columns.
    """
    table = table_rows(content, path)
    _, first = next(table)
    header = [name.strip().lstrip("#") for name in first]  # VIA 1 writes `#filename`
    if len(header) == 1:
        raise InputError(
            f"{path} has no commas between its columns; export it again rather than save it from a "
            "spreadsheet."
        )
    rows = []
    for line, row in table:
        if len(row) != len(header):
            raise InputError(
                f"{path} is cut off or damaged: line {line} has {counted(len(row), 'column')}, the header "
                f"has {len(header)}; export it again."
            )
        rows.append((line, dict(zip(header, row, strict=True))))
    return rows


def table_rows(content: bytes, path: AnyPath, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table, the header first, with the number of the line that each ends in.

    Rows may have any number of cells; empty lines are left out.

    Args:
        content: the text as UTF-8.
        path: its file.
        delimiter: what separates the cells.

    Raises:
        InputError: the text is not UTF-8, or a quoted cell does not end.
    """
    before = csv.field_size_limit(max(len(content), 1 << 17))  # one outline may take more than csv's 128 KiB
    try:
        text = io.StringIO(content.decode(), newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=True)
        yield from ((reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip())
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
    except csv.Error as error:
        raise InputError(
            f"{path} is cut off or damaged at line {reader.line_num}: {error}; export it again."
        ) from None
    finally:
        csv.field_size_limit(before)
