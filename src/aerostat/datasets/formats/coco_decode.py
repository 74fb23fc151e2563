"""COCO's annotation records as they are stated: decoded strictly and together, else leniently one by one.

What a file states beside box, class and outline is never the reason to lose an object. A field of another
form is converted where its meaning is certain, and ignored where it is not needed.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.text import shown

T = TypeVar("T")
Id = int | str

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors that decoding a record can raise."""


class Rle(msgspec.Struct):
    """A run-length mask."""

    size: tuple[int, int]
    counts: str | list[int]


class Annotation(msgspec.Struct):
    """One record; ids are None where they are null or missing."""

    image_id: Id | None = None
    category_id: Id | None = None
    id: Id | None = None
    bbox: list[float] | None = None
    segmentation: list[list[float]] | Rle | None = None
    iscrowd: int | bool | None = 0
    area: float | None = None
    aerostat_box_xyxy: list[float] | None = None


class _Standard(Annotation, forbid_unknown_fields=True):
    """A record without other fields. COCO's own need no second look for what is not read."""


class _Extras(msgspec.Struct):
    """What a record may state beside the object."""

    keypoints: msgspec.Raw = msgspec.Raw(b"")
    attributes: msgspec.Raw = msgspec.Raw(b"")
    score: msgspec.Raw = msgspec.Raw(b"")
    caption: msgspec.Raw = msgspec.Raw(b"")
    difficult: msgspec.Raw = msgspec.Raw(b"")


class Heads(msgspec.Struct):
    """The two ids of a record, whatever they are."""

    image_id: Any = None
    category_id: Any = None
    id: Any = None


_ALL_STANDARD = msgspec.json.Decoder(list[_Standard])
_ALL = msgspec.json.Decoder(list[Annotation])
_ALL_EXTRAS = msgspec.json.Decoder(list[_Extras])
_ALL_HEADS = msgspec.json.Decoder(list[Heads])
_ONE = msgspec.json.Decoder(Annotation)
_ONE_IN_ANY_FORM = msgspec.json.Decoder(Annotation, strict=False)
_ONE_EXTRAS = msgspec.json.Decoder(_Extras)
_ONE_HEADS = msgspec.json.Decoder(Heads)
_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(slots=True)
class Records:
    """Decoded records.

    Args:
        found: in the order of the file; None for one that is no annotation.
        errors: why, by place.
        spoilt: places of those whose segmentation cannot be used.
        forms: errors of strict decoding, by place, of records whose numbers are texts or decimals.
        outlines_converted: places of those whose outlines are nested in another way.
        ignored: names of optional fields and what they state, by place.
        difficult: (n,) marks; None if no record has one.
        unread: how many values of each kind were not read.
    """

    found: Sequence[Annotation | None]
    errors: Mapping[int, Exception] = field(default_factory=dict)
    spoilt: Set[int] = frozenset()
    forms: Mapping[int, Exception] = field(default_factory=dict)
    outlines_converted: Set[int] = frozenset()
    ignored: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    difficult: NDArray[np.bool_] | None = None
    unread: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class RecordDecoder:
    """Decodes batches of one file.

    Args:
        further_fields: whether a record had a field that COCO's do not have.
    """

    further_fields: bool = False

    def decode(self, batch: bytes) -> Records:
        """Return the records of a JSON array."""
        if not self.further_fields:
            with contextlib.suppress(*BROKEN):
                return Records(_ALL_STANDARD.decode(batch))
        with contextlib.suppress(*BROKEN):
            found = _ALL.decode(batch)
            self.further_fields = True
            return _with_extras(Records(found), batch)
        return _with_extras(_one_by_one(batch), batch)


def records_of(batch: bytes) -> list[msgspec.Raw]:
    """Return the records of a JSON array, not decoded."""
    return _RECORDS.decode(batch)


def heads_of(batch: bytes) -> list[Heads]:
    """Return the ids of the records of a JSON array; those of a record that is no object are None."""
    with contextlib.suppress(*BROKEN):
        return _ALL_HEADS.decode(batch)
    return [_decoded(_ONE_HEADS, raw) or Heads() for raw in _RECORDS.decode(batch)]


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T | None:
    with contextlib.suppress(*BROKEN):
        return decoder.decode(raw)
    return None


def _with_extras(records: Records, batch: bytes) -> Records:
    extras = _decoded(_ALL_EXTRAS, batch)
    if extras is None:
        extras = [_decoded(_ONE_EXTRAS, raw) or _Extras() for raw in _RECORDS.decode(batch)]
    difficult = np.fromiter((_is_set(e.difficult) for e in extras), np.bool_, len(extras))
    records.difficult = difficult if difficult.any() else None
    for kind, count in (
        ("key points", sum(_key_points(e.keypoints) for e in extras)),
        ("attributes", sum(_length(e.attributes) for e in extras)),
        ("scores", sum(bytes(e.score) not in (b"", b"null") for e in extras)),
        ("captions", sum(bytes(e.caption) not in (b"", b"null", b'""') for e in extras)),
    ):
        records.unread[kind] += count
    return records


def _is_set(raw: msgspec.Raw) -> bool:
    return bytes(raw) in (b"1", b"true", b"1.0", b'"1"', b'"true"')


def _key_points(raw: msgspec.Raw) -> int:
    """Return the number of key points that are labelled: each is x, y and a visibility above 0."""
    if bytes(raw) in (b"", b"null", b"[]"):
        return 0
    try:
        return sum(visibility > 0 for visibility in msgspec.json.decode(raw, type=list[float])[2::3])
    except BROKEN:
        return _length(raw)


def _length(raw: msgspec.Raw) -> int:
    if not bytes(raw).startswith((b"{", b"[")):
        return 0
    with contextlib.suppress(*BROKEN):
        return len(msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | list[msgspec.Raw]))
    return 0


def _one_by_one(batch: bytes) -> Records:
    found: list[Annotation | None] = []
    errors: dict[int, Exception] = {}
    forms: dict[int, Exception] = {}
    ignored: dict[int, Mapping[str, str]] = {}
    spoilt, converted = set[int](), set[int]()
    for place, raw in enumerate(_RECORDS.decode(batch)):
        try:
            found.append(_ONE.decode(raw))
            continue
        except BROKEN as error:
            reason = error
        if (annotation := _decoded(_ONE_IN_ANY_FORM, raw)) is not None:
            found.append(annotation)
            forms[place] = reason
            continue
        loose = _loose(raw)
        found.append(None if loose is None else loose.annotation)
        if loose is None:
            errors[place] = reason
            continue
        if loose.number_in_another_form:
            forms[place] = reason
        if loose.ignored:
            ignored[place] = loose.ignored
        if loose.segmentation == "unusable":
            spoilt.add(place)
        elif loose.segmentation == "converted":
            converted.add(place)
    return Records(found, errors, spoilt, forms, converted, ignored)


@dataclass(slots=True)
class _Loose:
    """A record that was decoded field by field, and what was done to it."""

    annotation: Annotation
    number_in_another_form: bool = False
    ignored: dict[str, str] = field(default_factory=dict)
    segmentation: str = ""


def _loose(raw: msgspec.Raw) -> _Loose | None:
    """Return a record decoded field by field; None if it is no record, or has neither box nor shape."""
    fields = _decoded(_FIELDS, raw)
    if fields is None:
        return None
    found = _Loose(Annotation())
    annotation = found.annotation
    for name in ("image_id", "category_id", "id"):
        if name in fields and not _take(found, fields[name], name, Id | None):
            if name != "id":
                return None
            found.ignored[name] = _excerpt(fields[name])
    box_stands = _take(found, fields.get("bbox"), "bbox", list[float] | None)
    annotation.segmentation, found.segmentation = _segmentation(fields.get("segmentation"))
    if not box_stands and annotation.segmentation is None:
        return None
    for name, type_ in (("iscrowd", int | bool | None), ("area", float | None)):
        if not _take(found, fields.get(name), name, type_):
            found.ignored[name] = _excerpt(fields[name])
    _take(found, fields.get("aerostat_box_xyxy"), "aerostat_box_xyxy", list[float] | None)
    return found


def _take(found: _Loose, raw: msgspec.Raw | None, name: str, type_: Any) -> bool:
    """Put a field's value into the record; return whether it has one of the type, in any form."""
    if raw is None:
        return True
    for strict in (True, False):
        with contextlib.suppress(*BROKEN):
            value = msgspec.json.decode(raw, type=type_, strict=strict)
            setattr(found.annotation, name, value)
            found.number_in_another_form |= not strict
            return True
    return False


def _excerpt(raw: msgspec.Raw) -> str:
    text = bytes(raw)[:60].decode("utf-8", "replace")
    return shown(text.strip('"'), 20)


def _segmentation(raw: msgspec.Raw | None) -> tuple[list[list[float]] | Rle | None, str]:
    """Return outlines or a mask, and ``converted`` or ``unusable`` if they are not as COCO has them."""
    if raw is None:
        return None, ""
    try:
        value = msgspec.json.decode(raw)
    except BROKEN:  # nested too deeply
        return None, "unusable"
    if not value:  # null, [], {} or an empty text
        return None, ""
    if isinstance(value, dict):
        try:
            return msgspec.convert(value, Rle), ""
        except BROKEN:
            pass
        try:
            return msgspec.convert(value, Rle, strict=False), "converted"
        except BROKEN:
            return None, "unusable"
    outlines = _outlines(value) if isinstance(value, list) else None
    return (None, "unusable") if outlines is None else (outlines, "converted")


_MAX_NESTING = 4


def _outlines(value: list[Any], depth: int = 0) -> list[list[float]] | None:
    """Return the outlines in lists that are nested in another way; None if they hold anything but numbers.

    One outline may be a flat list of numbers, or a list of points. Several may be nested once too often.
    """
    if not any(isinstance(part, list) for part in value):
        numbers = _numbers(value)
        return None if numbers is None else [numbers]
    if depth == _MAX_NESTING or not all(isinstance(part, list) for part in value):
        return None
    if are_points(value):
        numbers = _numbers([number for point in value for number in point])
        return None if numbers is None else [numbers]
    parts = [_outlines(part, depth + 1) for part in value]
    return [outline for part in parts if part is not None for outline in part] if all(parts) else None


def are_points(parts: Sequence[Sequence[Any]]) -> bool:
    """Return whether lists are points of one outline, and no outlines: three or more of two numbers each."""
    return len(parts) >= 3 and all(
        len(part) == 2 and not isinstance(part[0], list) and not isinstance(part[1], list) for part in parts
    )


def _numbers(values: Sequence[Any]) -> list[float] | None:
    try:
        return msgspec.convert(values, list[float], strict=False)
    except BROKEN:
        return None
