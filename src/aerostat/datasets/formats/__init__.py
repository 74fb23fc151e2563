"""The annotation formats, one module each. `FORMATS` is the one list of them."""

from __future__ import annotations

import msgspec

from aerostat.datasets.annotation_text import AnnotationText, Document, keys_of
from aerostat.datasets.formats import coco, csv_table, cvat, label_studio, labelme, openimages, via, voc, yolo
from aerostat.datasets.formats.format import Format
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.text import counted, listed

FORMATS: tuple[Format, ...] = (
    coco.FORMAT,
    via.FORMAT,
    csv_table.FORMAT,
    openimages.FORMAT,
    labelme.FORMAT,
    label_studio.FORMAT,
    voc.FORMAT,
    cvat.FORMAT,
    yolo.FORMAT,
)
"""The formats that are read and written. The first one is written if nothing else is asked for."""


def expected() -> str:
    """Return the formats for a sentence: ``COCO or VIA``."""
    *others, last = [format_.title for format_ in FORMATS]
    return f"{', '.join(others)} or {last}" if others else last


def named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        InputError: there is no such format.
    """
    found = next((format_ for format_ in FORMATS if format_.name == name), None)
    if found is None:
        known = ", ".join(format_.name for format_ in FORMATS)
        raise InputError(f"Expected a format ({known}), found {name!r}.")
    return found


def format_of(split: Split) -> Format | None:
    """Return the format that a split was read from, None for a split that was made in memory."""
    return named(split.source_format) if split.source_format else None


def claimants(text: AnnotationText) -> tuple[Format, ...]:
    """Return the formats that may begin as a file does."""
    head = text.head()
    return tuple(format_ for format_ in FORMATS if format_.may_begin(head)) if head else ()


def recognise(text: AnnotationText) -> Format:
    """Return the format of annotations from their content.

    Raises:
        InputError: the file cannot be read, its JSON is cut off or malformed, or it is no annotation file;
            the sentence says what it is.
    """
    try:
        found = next((format_ for format_ in FORMATS if format_.recognise(text)), None)
    except InputError:
        first = _first_of_lines(text)
        if first is None:
            raise
        what = f"one JSON document a line, the first of them {_describe(first)}"
        raise InputError(f"Expected {expected()} annotations in {text.path}, found {what}.") from None
    if found is None:
        what = _describe(text.document()) if text.is_json() else "text that is neither JSON nor a known table"
        raise InputError(f"Expected {expected()} annotations in {text.path}, found {what}.")
    return found


def _first_of_lines(text: AnnotationText) -> Document | None:
    """Return the first line of a file that has a JSON object on each of its first two lines, else None."""
    first, _, rest = text.content().lstrip().partition(b"\n")
    if not rest.lstrip().startswith(b"{"):
        return None
    try:
        return msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _describe(document: Document) -> str:
    """Return what a JSON document looks like, in the words of a person."""
    if isinstance(document, list):
        keys = keys_of(document[0]) if document else []
        if {"image_id", "score"} <= set(keys):
            return "a list of detections (COCO results); give the annotations that they belong to"
        if "data" in keys and {"annotations", "predictions"} & set(keys):
            return f"{counted(len(document), 'task')} of Label Studio without a region"
        if {"image", "annotations"} <= set(keys):
            return "a list of images (CreateML or a like format), which is not supported; export as COCO"
        if keys:
            return f"a list of {counted(len(document), 'object')} with the keys {_some(keys)}"
        return f"a list of {counted(len(document), 'value')}"
    if {"filename", "object"} & set(keys_of(document.get("annotation", msgspec.Raw(b"")))):
        return "one Pascal VOC annotation as JSON, which is not supported; give XML files or export as COCO"
    if "features" in document:
        return "GeoJSON, which is not supported; export as COCO"
    if "images" in document:
        return "images without annotations (the key 'annotations' is missing)"
    return f"an object with the keys {_some(list(document))}"


def _some(keys: list[str]) -> str:
    return listed([repr(key[:40]) for key in keys], 6)
