"""The text of an annotation file: read once, recognised by content, decoded with errors that say where."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from aerostat.errors import InputError
from aerostat.text import counted, listed

T = TypeVar("T")

Format = Literal["coco", "via"]

CSV_COLUMN = "region_shape_attributes"
"""The column by which a CSV export of VIA is known."""

_HEAD_BYTES = 1 << 16
_MARKS = (
    *(f'"{key}"'.encode() for key in ("images", "annotations", "categories", "regions", "shape_attributes")),
    b'"_via_',
    CSV_COLUMN.encode(),
)


def read_content(path: Path) -> bytes:
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
        raise InputError(f"{path} is empty: expected COCO or VIA annotations; export them again.")
    return _quote_no_numbers(content.removeprefix(codecs.BOM_UTF8))


_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def _quote_no_numbers(content: bytes) -> bytes:
    """Return JSON with NaN and Infinity, which Python writes and no standard knows, as texts.

    So the records that hold them can be told from the others, which stay.
    """
    is_json = content[:_HEAD_BYTES].lstrip().startswith((b"{", b"["))
    if not is_json or not (b"NaN" in content or b"Infinity" in content):
        return content
    return _NO_NUMBER.sub(lambda m: m[0] if m[0].startswith(b'"') else b'"' + m[0] + b'"', content)


def may_hold_annotations(path: Path) -> bool:
    """Say whether the beginning of a file has the marks of annotations, whatever the file is called."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "ignore").encode()
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith((b"{", b"[")):
        return any(mark in head for mark in _MARKS)
    return CSV_COLUMN.encode() in start.partition(b"\n")[0]


def recognise(content: bytes, path: Path) -> Format:
    """Return the format of annotations from their content.

    Raises:
        InputError: the JSON is cut off or malformed, or is no annotation file; the sentence says what it is.
    """
    start = content[:_HEAD_BYTES].lstrip()
    if not start.startswith((b"{", b"[")):
        if CSV_COLUMN.encode() in start.partition(b"\n")[0]:
            return "via"
        raise InputError(f"{path} is neither JSON nor a CSV export of VIA; expected COCO or VIA annotations.")
    document: dict[str, msgspec.Raw] | list[msgspec.Raw]
    if start.startswith(b"{"):
        document = decode(content, dict[str, msgspec.Raw], path)
    else:
        document = decode(content, list[msgspec.Raw], path)
    found = _format_of(document)
    if found is None:
        raise InputError(f"Expected COCO or VIA annotations in {path}, found {_describe(document)}.")
    return found


def _format_of(document: dict[str, msgspec.Raw] | list[msgspec.Raw]) -> Format | None:
    if isinstance(document, list):
        return None
    if "images" in document and "annotations" in document:
        return "coco"
    if "_via_img_metadata" in document or not document:
        return "via"
    entry = _keys(next(iter(document.values())))
    return "via" if "filename" in entry and "regions" in entry else None


def _keys(raw: msgspec.Raw) -> list[str]:
    """Return the keys of a JSON object; none for any other value."""
    try:
        return list(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


def _describe(document: dict[str, msgspec.Raw] | list[msgspec.Raw]) -> str:
    """Say for a person what a JSON document looks like."""
    if isinstance(document, list):
        keys = _keys(document[0]) if document else []
        if {"image_id", "score"} <= set(keys):
            return "a list of detections (COCO results); give the annotations that they belong to"
        if {"image", "annotations"} <= set(keys):
            return "a list of images (CreateML or a like format), which is not supported; export as COCO"
        if keys:
            return f"a list of {counted(len(document), 'object')} with the keys {_some(keys)}"
        return f"a list of {counted(len(document), 'value')}"
    if {"shapes", "imagePath"} <= document.keys():
        return "LabelMe's form for one image, which is not supported; export as COCO"
    if "features" in document:
        return "GeoJSON, which is not supported; export as COCO"
    if "images" in document:
        return "images without annotations (the key 'annotations' is missing)"
    return f"an object with the keys {_some(list(document))}"


def _some(keys: list[str]) -> str:
    return listed([repr(key[:40]) for key in keys], 6)


def decode(content: bytes | msgspec.Raw, shape: type[T], path: Path | str) -> T:
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
        raise InputError(_syntax_error(str(error), bytes(content), path)) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be COCO or VIA annotations.") from None


def _syntax_error(reason: str, content: bytes, path: Path | str) -> str:
    place = re.search(r" \(byte (\d+)\)", reason)
    byte = int(place[1]) if place else len(content)
    line = content.count(b"\n", 0, byte) + 1
    if "truncated" in reason:
        return f"{path} is cut off: its JSON ends unfinished at byte {byte} (line {line}); export it again."
    cause = reason.removeprefix("JSON is malformed: ").replace(place[0] if place else "", "")
    return f"{path} is not valid JSON: {cause} at byte {byte} (line {line}); export it again."


def is_utf8(content: bytes) -> bool:
    """Say whether bytes are UTF-8; what is not is refused whole, for any name in it may be wrong."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def csv_rows(content: bytes, path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV export with their line numbers.

    Raises:
        InputError: the text is not UTF-8 or a row does not have the header's columns.
    """
    before = csv.field_size_limit(max(len(content), 1 << 17))  # one outline may take more than csv's 128 KiB
    try:
        text = io.StringIO(content.decode(), newline="")
        reader = csv.reader(text, strict=True, skipinitialspace=True)
        header = [name.strip().lstrip("#") for name in next(reader)]  # VIA 1 writes `#filename`
        if len(header) == 1:
            raise InputError(
                f"{path} has no commas between its columns, as VIA's own CSV exports have; export it again "
                "rather than save it from a spreadsheet."
            )
        rows = []
        for row in reader:
            if len(row) == len(header):
                rows.append((reader.line_num, dict(zip(header, row, strict=True))))
            elif row:
                raise InputError(
                    f"{path} is cut off or damaged: line {reader.line_num} has "
                    f"{counted(len(row), 'column')}, the header has {len(header)}; export it again."
                )
        return rows
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it again as UTF-8.") from None
    except csv.Error as error:
        raise InputError(
            f"{path} is cut off or damaged at line {reader.line_num}: {error}; export it again."
        ) from None
    finally:
        csv.field_size_limit(before)
