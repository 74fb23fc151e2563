"""VGG Image Annotator (VIA): JSON of versions 1 and 2, project files and CSV exports.

The shapes are those of https://www.robots.ox.ac.uk/~vgg/software/via/: polygon, polyline, rect, circle and
ellipse (`theta` in radians). A polyline is read as the outline that it draws. A point has no extent and is
dropped.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.annotation_text import (
    HEAD_BYTES,
    AnnotationText,
    csv_rows,
    decode,
    is_utf8,
    keys_of,
    read_content,
)
from aerostat.datasets.clip import Box
from aerostat.datasets.formats.assembly import Findings, StatedImage, StatedObject, assemble
from aerostat.datasets.formats.checks import (
    BrokenRecords,
    refuse_repeated,
    refuse_unlisted,
    refuse_without_images,
)
from aerostat.datasets.formats.exact_box import CORNERS_KEY, stated_box, width_and_height
from aerostat.datasets.formats.format import LEFT_OUT, Format, SplitFiles, WriteOptions
from aerostat.datasets.image_folder import Listings
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import Instance, Problem, Split, UnstatedClassError
from aerostat.errors import InputError, clause
from aerostat.files import write_bytes
from aerostat.geometry import polygons
from aerostat.images.archive import AnyPath
from aerostat.images.location import path_of
from aerostat.text import listed

T = TypeVar("T")

CLASS_ATTRIBUTE = "class"
"""The region attribute that written files use."""

CSV_COLUMN = "region_shape_attributes"
"""The column by which a CSV export is known."""


class _Region(msgspec.Struct):
    shape_attributes: dict[str, Any] | None = None  # an empty one each would take ten times its text
    region_attributes: dict[str, Any] | None = None


class _Entry(msgspec.Struct):
    filename: str
    regions: dict[str, _Region] | list[_Region] | None = None
    file_attributes: Any = None


class _RawEntry(msgspec.Struct):
    filename: str
    regions: msgspec.Raw = msgspec.Raw(b"null")
    file_attributes: Any = None


class _Project(msgspec.Struct):
    metadata: dict[str, _Entry] = msgspec.field(name="_via_img_metadata")


class _RawProject(msgspec.Struct):
    metadata: dict[str, msgspec.Raw] = msgspec.field(name="_via_img_metadata")


_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors that decoding a part of a document can raise."""


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One entry of the file: a file name and its regions, with the name or number of each.

    `attributes` is the number of file attributes that have a value.
    """

    file_name: str
    names: Sequence[str | int]
    regions: Sequence[_Region]
    attributes: int = 0


def read_via(
    path: AnyPath,
    image_roots: Sequence[AnyPath],
    *,
    split: str,
    classes: Sequence[str] | None = None,
    class_attribute: str | None = None,
    content: bytes | None = None,
    listings: Listings | None = None,
) -> Split:
    """Read one annotation file of VIA.

    Args:
        path: the annotation file.
        image_roots: folders in which the images may be; the one that has them is taken.
        split: name of the split.
        classes: class names in the order of the labels; by default the names in use, sorted.
        class_attribute: the region attribute that holds the class, where there are several.
        content: the file's bytes, where the caller has them already.
        listings: of the roots, as an earlier file of the split left them; this file adds its own.

    Raises:
        InputError: the file is no whole VIA file, names an image twice, or leaves the class open.
    """
    findings = Findings(split)
    read = content if content is not None else read_content(path)
    photographs = _parse(read, path, split, findings.problems)
    refuse_without_images(photographs, path)
    refuse_repeated((p.file_name for p in photographs), ("file name", "file names"), path)
    holders = _class_attributes(photographs, path, classes, class_attribute)
    if len(holders) > 1:
        detail = f"the attributes {listed(map(repr, holders))} have equal values; {holders[0]!r} is the class"
        findings.add(path.name, "equal attributes", detail, "region_attributes")
    findings.unread["file attributes"] = sum(p.attributes for p in photographs)
    broken = BrokenRecords(findings.problems, path)
    stated, shown_classes = [], dict[str, None]()
    for photograph in photographs:
        objects = []
        for name, region in zip(photograph.names, photograph.regions, strict=True):
            broken.refuse_too_many()
            ticked = list(classes or ()) if not holders else _class_of(region, holders)
            shown_classes |= dict.fromkeys(ticked)
            findings.unread["attributes"] += _further_attributes(region, holders)
            found = _stated(region, f"region {name}", ticked, photograph.file_name, findings)
            if found is not None:
                objects.append(found)
        stated.append(StatedImage(photograph.file_name, objects))
    if classes is not None:
        refuse_unlisted([name for name in sorted(shown_classes) if name not in classes], classes, path)
    files = SplitFiles(split, path, (), tuple(image_roots), listings={} if listings is None else listings)
    options = ReadOptions(classes)
    return assemble(stated, files, options, findings, format_name="via", classes=tuple(sorted(shown_classes)))


def _parse(content: bytes, path: AnyPath, split: str, problems: list[Problem]) -> list[_Photograph]:
    if not content.lstrip().startswith(b"{"):
        return _parse_csv(content, path, split, problems)
    keys = decode(content, dict[str, msgspec.Raw], path)
    is_project = "_via_img_metadata" in keys
    try:
        if is_project:
            entries = decode(content, _Project, path).metadata
        else:
            entries = decode(content, dict[str, _Entry], path)
    except InputError:
        if not is_utf8(content):
            raise
        parts = decode(content, _RawProject, path).metadata if is_project else keys
        photographs = _usable(parts, split, path, problems)
        if not photographs:
            raise
        return photographs
    return [
        _Photograph(entry.filename, *_named(entry.regions), _values(entry.file_attributes))
        for entry in entries.values()
    ]


def _values(attributes: Any) -> int:
    """Return how many attributes have a value."""
    return sum(bool(_ticked(value)) for value in attributes.values()) if isinstance(attributes, dict) else 0


def _named(regions: dict[str, T] | list[T] | None) -> tuple[Sequence[str | int], Sequence[T]]:
    """Return what regions are called, and the regions."""
    if isinstance(regions, dict):
        return list(regions), list(regions.values())
    return range(len(regions or ())), regions or ()


def _usable(
    parts: Mapping[str, msgspec.Raw], split: str, path: AnyPath, problems: list[Problem]
) -> list[_Photograph]:
    """Return the usable part of entries, and report the broken ones."""
    photographs = []
    broken = BrokenRecords(problems, path)
    for key, raw in parts.items():
        broken.refuse_too_many()
        try:
            entry = msgspec.json.decode(raw, type=_RawEntry)
        except _BROKEN as error:
            detail = f"the entry {key[:60]!r} is no image ({error}); left out with its objects"
            problems.append(Problem(split, path.name, "malformed record", detail, f"entry {key[:60]}"))
            continue
        try:
            shape = dict[str, msgspec.Raw] | list[msgspec.Raw] | None
            names, stated = _named(msgspec.json.decode(entry.regions, type=shape))
        except _BROKEN as error:
            detail = f"has no list of regions ({error}); kept without objects"
            problems.append(Problem(split, entry.filename, "malformed record", detail, "regions"))
            names, stated = (), ()
        regions: dict[str | int, _Region] = {}
        for name, part in zip(names, stated, strict=True):
            try:
                regions[name] = msgspec.json.decode(part, type=_Region)
            except _BROKEN as error:
                detail = f"region {name} is no region ({error}); dropped"
                problems.append(Problem(split, entry.filename, "malformed record", detail, f"region {name}"))
                broken.refuse_too_many()
        attributes = _values(entry.file_attributes)
        photographs.append(_Photograph(entry.filename, list(regions), list(regions.values()), attributes))
    return photographs


_CSV_COLUMNS = (CSV_COLUMN, "region_attributes")


def _parse_csv(content: bytes, path: AnyPath, split: str, problems: list[Problem]) -> list[_Photograph]:
    files: dict[tuple[str, str], list[_Region]] = {}
    file_attributes = Counter[tuple[str, str]]()
    broken = BrokenRecords(problems, path)
    for line, row in csv_rows(content, path):
        broken.refuse_too_many()
        lacking = [column for column in ("filename", *_CSV_COLUMNS) if column not in row]
        if lacking:
            raise InputError(
                f"{path} lacks the column {lacking[0]!r} of a CSV export of VIA; export it again."
            )
        file = row["filename"], row.get("file_size", "")
        if file not in files and row.get("file_attributes", "{}") not in ("", "{}"):
            with contextlib.suppress(*_BROKEN):
                file_attributes[file] = _values(msgspec.json.decode(row["file_attributes"]))
        regions = files.setdefault(file, [])
        try:
            shape, attributes = (
                decode(row[column].encode() or b"{}", dict[str, Any], f"{path}, line {line}, {column}")
                for column in _CSV_COLUMNS
            )
        except InputError as error:
            reason = f"is no region ({clause(error)}); dropped"
            problems.append(
                Problem(split, row["filename"], "malformed record", f"line {line} {reason}", f"line {line}")
            )
            continue
        if shape:  # an image without regions has one row with an empty shape
            regions.append(_Region(shape, attributes))
    return [
        _Photograph(file[0], range(len(regions)), regions, file_attributes[file])
        for file, regions in files.items()
    ]


def _class_attributes(
    photographs: list[_Photograph], path: AnyPath, classes: Sequence[str] | None, asked: str | None
) -> tuple[str, ...]:
    """Return the region attributes that hold the class, which never disagree.

    None of them holds it where `classes` names that of every region.

    Raises:
        InputError: there are several, and they disagree; or the one that was asked for is not in use.
        UnstatedClassError: no attribute is in use, and `classes` is not one name.
    """
    regions = [region for p in photographs for region in p.regions]
    in_use = sorted(
        {k for r in regions for k, value in (r.region_attributes or {}).items() if _ticked(value)}
    )
    names = listed(map(repr, in_use), 10)
    if asked is not None:
        if regions and asked not in in_use:
            has = f"only {names}" if in_use else "none in use"
            error = InputError if in_use else UnstatedClassError
            raise error(
                f"{path} has no region attribute {asked!r}, which `class_attribute` asks for: it has {has}."
            )
        return (asked,)
    if len(in_use) > 1 and not _agree(regions, in_use):
        raise InputError(
            f"{path} has several region attributes ({names}); name the one that holds the class "
            "with `class_attribute=NAME`."
        )
    if in_use:
        return tuple(in_use)
    if regions and (classes is None or len(classes) != 1):
        given = f"`classes` gives {len(classes)} ({listed(classes)})" if classes else "none was given"
        raise UnstatedClassError(
            f"{path} states no class for its regions, so it takes one name, `classes=NAME`, but {given}."
        )
    return ()


def _agree(regions: Sequence[_Region], attributes: Sequence[str]) -> bool:
    """Return whether attributes have the same value on each region that has them, and all meet on one."""
    met = False
    for region in regions:
        stated = region.region_attributes or {}
        values = [value for name in attributes if (value := tuple(_ticked(stated.get(name))))]
        if len(set(values)) > 1:
            return False
        met |= len(values) == len(attributes)
    return met


def _class_of(region: _Region, holders: Sequence[str]) -> Sequence[str]:
    """Return the names that the first attribute with a value states."""
    stated = region.region_attributes or {}
    return next((names for holder in holders if (names := _ticked(stated.get(holder)))), ())


def _further_attributes(region: _Region, holders: Sequence[str]) -> int:
    """Return how many attributes with a value do not hold the class."""
    stated = (region.region_attributes or {}).items()
    return sum(bool(_ticked(value)) for name, value in stated if name not in holders)


def _ticked(value: Any) -> Sequence[str]:
    """Return the names in an attribute's value: its text, or the boxes that are ticked."""
    if isinstance(value, dict):  # a checkbox; some exports write "true" as text
        return [name for name, on in value.items() if on is True or on == "true"]
    if value is None or isinstance(value, (list, bool)):
        return ()
    return (text,) if (text := str(value).strip()) else ()


def _stated(
    region: _Region, record: str, ticked: Sequence[str], file_name: str, findings: Findings
) -> StatedObject | None:
    """Return the object of a region, None for a shape that cannot be used, which is reported."""
    shape = region.shape_attributes or {}
    name = ticked[0] if len(ticked) == 1 else None
    if name is None:
        return StatedObject(None, record)

    def report(kind: ProblemKind, detail: str) -> None:
        findings.add(file_name, kind, f"{record} {detail}", record)

    if shape.get("name") == "point":
        report("malformed record", "is a point, which has no extent; dropped, draw a rect or a polygon")
        return None
    try:
        outline = _outline(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        report("malformed record", f"is no shape ({_reason(error)}); dropped")
        return None
    if (text := _first_text(shape)) is not None and np.isfinite(outline).all():
        form = f"states a number in another form (the text {text[:20]!r})"
        report("number in another form", f"{form}; read as the number that it states")
    if isinstance(outline, tuple):
        return StatedObject(name, record, outline)
    return StatedObject(name, record, outlines=(outline,))


_NUMBERS = frozenset(
    ("all_points_x", "all_points_y", "x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "theta")
)


def _first_text(shape: Mapping[str, Any]) -> str | None:
    """Return the first text that stands where a shape has numbers."""
    numbers = (value for key, value in shape.items() if key in _NUMBERS)
    flat = (n for value in numbers for n in (value if isinstance(value, list) else [value]))
    return next((number for number in flat if isinstance(number, str)), None)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)[:80]


def _outline(shape: Mapping[str, Any]) -> Box | NDArray[np.float64]:
    """Return a rect's box or another shape's polygon.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: the shape is unknown or not as its name asks.
    """
    match shape["name"]:
        case "polygon" | "polyline":
            xs, ys = (np.asarray(shape[key], np.float64) for key in ("all_points_x", "all_points_y"))
            if xs.shape != ys.shape or xs.ndim != 1 or not len(xs):
                raise ValueError(f"{xs.size} x and {ys.size} y coordinates")
            return np.stack([xs, ys], axis=1)
        case "rect":
            x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
            return stated_box((x, y, width, height), shape.get(CORNERS_KEY))
        case "circle":
            cx, cy, r = (float(shape[key]) for key in ("cx", "cy", "r"))
            return polygons.ellipse(cx, cy, r, r)
        case "ellipse":
            cx, cy, rx, ry = (float(shape[key]) for key in ("cx", "cy", "rx", "ry"))
            return polygons.ellipse(cx, cy, rx, ry, float(shape.get("theta", 0.0)))
        case name:
            raise ValueError(f"unknown shape {name!r}")


def write_via(split: Split, path: Path, *, version: Literal[1, 2] = 2) -> Counter[str]:
    """Write a split as JSON that VIA imports, with the region attribute ``class``.

    VIA holds one outline per object: an object with several or with a mask becomes a rect, and a crowd
    region, which is no object, is left out.

    Args:
        split: what to write; file names as they are.
        path: the JSON file, replaced whole.
        version: 2 writes `regions` as a list, 1 as an object.

    Returns:
        How many objects were written as less than they are, by what was lost.
    """
    lost: Counter[str] = Counter()
    document = {}
    for image in split.images:
        regions = [_region(instance, split.classes, lost) for instance in image.instances]
        regions = [region for region in regions if region]
        file = path_of(image.location)
        try:
            size = -1 if file is None else file.stat().st_size
        except OSError:
            size = -1  # VIA writes this if it does not know the size
        document[f"{image.file_name}{size}"] = {
            "filename": image.file_name,
            "size": size,
            "regions": regions if version == 2 else {str(number): r for number, r in enumerate(regions)},
            "file_attributes": {},
        }
    lost = +lost  # `+` drops counts of 0
    write_bytes(
        path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    )
    return lost


def _region(instance: Instance, classes: tuple[str, ...], lost: Counter[str]) -> dict[str, Any] | None:
    if instance.crowd:
        lost[LEFT_OUT] += 1
        return None
    lost["difficult marks"] += instance.difficult
    x1, y1, _, _ = instance.box_xyxy
    shape: dict[str, Any]
    if _is_outlined(instance):
        xs, ys = instance.polygons[0].T.tolist()
        shape = {"name": "polygon", "all_points_x": _whole(xs), "all_points_y": _whole(ys)}
    else:
        if instance.polygons or instance.rle:
            lost["objects of several outlines or a mask written as a rect"] += 1
        (width, height), extra = width_and_height(instance.box_xyxy)
        x, y, width, height = _whole([x1, y1, width, height])
        shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height, **extra}
    return {"shape_attributes": shape, "region_attributes": {CLASS_ATTRIBUTE: classes[instance.label]}}


def _is_outlined(instance: Instance) -> bool:
    """Return whether one polygon holds the object: its bounds are the box but for another tool's rounding."""
    if len(instance.polygons) != 1 or instance.rle:
        return False
    return bool(np.abs(np.subtract(polygons.bounds(instance.polygons[0]), instance.box_xyxy)).max() <= 1)


def _whole(numbers: list[float]) -> list[float]:
    """Return the numbers with whole ones as integers, as VIA writes them."""
    return [int(number) if float(number).is_integer() else number for number in numbers]


# --- the format ---

_MARKS = (b'"regions"', b'"shape_attributes"', b'"_via_')


def _may_begin(head: bytes) -> bool:
    if head.startswith((b"{", b"[")):
        return any(mark in head for mark in _MARKS)
    return _is_csv(head)


def _is_csv(head: bytes) -> bool:
    return CSV_COLUMN.encode() in head.partition(b"\n")[0]


def _recognise(text: AnnotationText) -> bool:
    if not text.is_json():
        return _is_csv(text.content()[:HEAD_BYTES].lstrip())
    document = text.document()
    if isinstance(document, list):
        return False
    if "_via_img_metadata" in document or not document:
        return True
    return {"filename", "regions"} <= set(keys_of(next(iter(document.values()))))


def _read(files: SplitFiles, options: ReadOptions) -> Split:
    (text,) = files.texts
    return read_via(
        files.annotations,
        files.image_roots,
        split=files.split,
        classes=options.classes,
        class_attribute=options.class_attribute,
        content=text.take(),
        listings=files.listings,
    )


def _write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    return write_via(split, path)


FORMAT = Format("via", "VIA", _may_begin, _recognise, _read, _write, outlines="one", whole_pixels=True)
