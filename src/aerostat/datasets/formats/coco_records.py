"""COCO's annotation records, a batch at a time: decoded, measured and fitted into their images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, compress, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box, box_area, fit_as_they_are, fit_box, fit_polygon
from aerostat.datasets.formats.exact_box import stated_box
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import ImageRecord, Instance, Problem
from aerostat.geometry import polygons
from aerostat.text import shown

Id = int | str

BATCH = 512
"""Records that are decoded and measured together: enough for numpy to pay, few enough for a core's own cache.

860,000 records took 8.3 s in batches of 512, 8.5 s of 1024, 10.1 s of 2048 and 12.0 s of 8192.
"""

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a record can raise."""


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(msgspec.Struct):
    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: list[float] | None = None
    segmentation: list[list[float]] | _Rle | None = None
    iscrowd: int | bool = 0
    area: float | None = None
    aerostat_box_xyxy: list[float] | None = None


class _CategoryOf(msgspec.Struct):
    category_id: Id


_ONE = msgspec.json.Decoder(_Annotation)
_ONE_IN_ANY_FORM = msgspec.json.Decoder(_Annotation, strict=False)
_ALL = msgspec.json.Decoder(list[_Annotation])
_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CATEGORY = msgspec.json.Decoder(_CategoryOf)


def batches(records: Sequence[msgspec.Raw]) -> list[bytes]:
    """Return the records as JSON arrays of `BATCH` each, which hold no other text of the file in memory."""
    starts = range(0, len(records), BATCH)
    return [b"[" + b",".join(records[start : start + BATCH]) + b"]" for start in starts]


def categories_in_use(records: Sequence[msgspec.Raw]) -> set[Id]:
    """Return the category ids that records have; broken ones are reported when they are read."""
    used: set[Id] = set()
    for raw in records:
        try:
            used.add(_CATEGORY.decode(raw).category_id)
        except BROKEN:
            continue
    return used


@dataclass(slots=True)
class Target:
    """An image on its way into the split: where its annotations are collected."""

    path: Path
    file_name: str
    width: int
    height: int
    id: int
    instances: list[Instance] = field(default_factory=list)

    def record(self) -> ImageRecord:
        """Return the image with what has been collected."""
        return ImageRecord(self.path, self.file_name, self.width, self.height, tuple(self.instances), self.id)


_NOWHERE = Target(Path(), "", 0, 0, 0)
"""Stands for an image that the file does not list."""


@dataclass(slots=True)
class AnnotationReader:
    """Puts annotations to their images and keeps account of what is wrong with them.

    Args:
        targets: by image id; None for an image that is not usable, and reported.
        labels: by category id.
        split: name of the split.
        source: name of the annotation file.
        thorough: whether outlines are tested for crossing themselves.
        problems: to which is added what is wrong.
    """

    targets: Mapping[Id, Target | None]
    labels: Mapping[Id, int]
    split: str
    source: str
    thorough: bool
    problems: list[Problem]

    def add(self, first: int, batch: bytes) -> None:
        """Read a JSON array of records, the first of which is number `first` of the file."""
        records = _decode(batch)
        targets = [_NOWHERE if a is None else self.targets.get(a.image_id, _NOWHERE) for a in records.found]
        sizes = np.asarray([(t.width, t.height) if t else (0, 0) for t in targets], np.float64).reshape(-1, 2)
        outlines = _Outlines.of(records.found, sizes, self.thorough)
        boxes = _plain_boxes(records.found)
        plain = outlines.plain & _fit_without_doubt(boxes, records.found, sizes)
        plain[[*records.spoilt, *records.forms]] = False
        rows = zip(records.found, targets, map(tuple, boxes.tolist()), plain.tolist(), strict=True)
        for place, (annotation, target, box, is_plain) in enumerate(rows):
            if annotation is None:
                where = f"annotations[{first + place}]"
                detail = f"{where} is no annotation ({records.errors[place]}); dropped"
                self.problems.append(Problem(self.split, self.source, "malformed record", detail, where))
            elif target is None:
                continue
            elif target is _NOWHERE or (label := self.labels.get(annotation.category_id)) is None:
                self._report_stray(annotation, target, first + place)
            elif is_plain:
                kept, area = tuple(outlines.of_record(place)), annotation.area or 0.0
                instance = Instance(box, label, kept, None, bool(annotation.iscrowd), area)
                target.instances.append(instance)
            else:
                kinds: dict[ProblemKind, str] = {}
                if place in records.spoilt:
                    kinds["unusable mask"] = _UNUSABLE
                if place in records.forms:
                    form = f"states a number in another form ({records.forms[place]})"
                    kinds["number in another form"] = f"{form}; read as the number that it says"
                careful = _instance(annotation, label, target, outlines, place, kinds)
                if careful is not None:
                    target.instances.append(careful)
                where = _where(annotation, first + place)
                stated = _box(annotation, outlines.of_record(place)) if kinds else None
                for kind, detail in kinds.items():
                    self.problems.append(
                        Problem(self.split, target.file_name, kind, f"{where} {detail}", where, stated)
                    )

    def _report_stray(self, annotation: _Annotation, target: Target, number: int) -> None:
        where = _where(annotation, number)
        if target is _NOWHERE:
            detail = f"{where} names the image id {shown(annotation.image_id)}, which no image has; dropped"
            self.problems.append(Problem(self.split, self.source, "unknown image", detail, where))
        else:
            detail = (
                f"{where} has the category id {shown(annotation.category_id)}, which no category has; dropped"
            )
            self.problems.append(Problem(self.split, target.file_name, "unknown category", detail, where))


_UNUSABLE = "has a segmentation that is neither polygons nor RLE; kept by its box"


@dataclass(frozen=True, slots=True)
class _Records:
    """Decoded records.

    Args:
        found: in the order of the file; None for one that is no annotation.
        errors: why, by place.
        spoilt: places of those whose segmentation cannot be used.
        forms: why, by place, those are no plain records whose numbers are texts, or whole ones as decimals.
    """

    found: Sequence[_Annotation | None]
    errors: Mapping[int, Exception]
    spoilt: Set[int]
    forms: Mapping[int, Exception]


def _decode(batch: bytes) -> _Records:
    """Return the records of a JSON array."""
    with contextlib.suppress(*BROKEN):
        return _Records(_ALL.decode(batch), {}, frozenset(), {})
    found: list[_Annotation | None] = []  # one of them at least is broken: each is looked at by itself
    errors: dict[int, Exception] = {}
    spoilt: set[int] = set()
    forms: dict[int, Exception] = {}
    for place, raw in enumerate(_RECORDS.decode(batch)):
        annotation, error = _decode_strictly_or_not(raw)
        if annotation is None:
            try:
                annotation, error = _decode_strictly_or_not(_without_segmentation(raw))
                spoilt.add(place)
            except BROKEN as other:  # not even an object
                error = other
        found.append(annotation)
        if error is not None:
            (errors if annotation is None else forms)[place] = error
    return _Records(found, errors, spoilt - errors.keys(), forms)


def _decode_strictly_or_not(raw: msgspec.Raw) -> tuple[_Annotation | None, Exception | None]:
    """Return a record, None if it is none whatever is let pass, and what is wrong with it."""
    try:
        return _ONE.decode(raw), None
    except BROKEN as error:
        with contextlib.suppress(*BROKEN):
            return _ONE_IN_ANY_FORM.decode(raw), error
        return None, error


def _without_segmentation(raw: msgspec.Raw) -> msgspec.Raw:
    """Return a record as if it stated none."""
    fields = _FIELDS.decode(raw)
    fields["segmentation"] = msgspec.Raw(b"null")
    return msgspec.Raw(msgspec.json.encode(fields))


def _where(annotation: _Annotation, number: int) -> str:
    return f"annotations[{number}]" if annotation.id is None else f"annotation {str(annotation.id)[:60]}"


@dataclass(frozen=True, slots=True, eq=False)
class _Outlines:
    """The outlines of a batch of records, measured together.

    Args:
        polygons: each (n, 2), as it is stated; neighbours are parts of one array.
        fits: whether nothing has to be done about it.
        ends: where the outlines of each record end in `polygons`.
        plain: (records,) whether all of a record's segmentation can stay as it is stated.
        thorough: whether they are tested for crossing themselves.
    """

    polygons: Sequence[NDArray[np.float64]]
    fits: Sequence[bool]
    ends: Sequence[int]
    plain: NDArray[np.bool_]
    thorough: bool

    @classmethod
    def of(
        cls, annotations: Sequence[_Annotation | None], sizes: NDArray[np.float64], thorough: bool
    ) -> _Outlines:
        """Return the outlines of records (m) in images of the `sizes` (m, 2) width, height."""
        stated = [None if a is None else a.segmentation for a in annotations]
        listed = [part if isinstance(part, list) else [] for part in stated]
        unlisted = [part is not None and not isinstance(part, list) for part in stated]
        flat = list(chain.from_iterable(listed))
        counts = np.fromiter(map(len, listed), np.int64, len(listed))
        lengths = np.fromiter(map(len, flat), np.int64, len(flat))
        owners = np.repeat(np.arange(len(listed)), counts)
        whole = (lengths > 0) & (lengths % 2 == 0)
        misfits = np.asarray(unlisted, np.int64) + np.bincount(owners[~whole], minlength=len(listed))
        if not whole.all():
            flat, lengths, owners = list(compress(flat, whole)), lengths[whole], owners[whole]
        points = np.fromiter(chain.from_iterable(flat), np.float64, int(lengths.sum())).reshape(-1, 2)
        stops = np.cumsum(lengths // 2)
        fits = fit_as_they_are(points, stops, sizes[owners], check_crossing=thorough)
        misfits += np.bincount(owners[~fits], minlength=len(listed))
        ends = np.searchsorted(owners, np.arange(len(listed)), side="right")
        parts = [points[a:b] for a, b in pairwise([0, *stops.tolist()])]
        return cls(parts, fits.tolist(), ends.tolist(), misfits == 0, thorough)

    def places(self, record: int) -> slice:
        """Return where the outlines of a record stand."""
        return slice(self.ends[record - 1] if record else 0, self.ends[record])

    def of_record(self, record: int) -> Sequence[NDArray[np.float64]]:
        """Return the outlines of a record."""
        return self.polygons[self.places(record)]


_NO_NUMBERS = (math.nan,) * 4


def _plain_boxes(annotations: Sequence[_Annotation | None]) -> NDArray[np.float64]:
    """Return the corners (m, 4) of the records' boxes; NaN where no box of four numbers stands alone."""
    stated = [
        _NO_NUMBERS
        if a is None or a.bbox is None or len(a.bbox) != 4 or a.aerostat_box_xyxy is not None
        else a.bbox
        for a in annotations
    ]
    boxes = np.fromiter(chain.from_iterable(stated), np.float64, 4 * len(stated)).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _fit_without_doubt(
    boxes_xyxy: NDArray[np.float64], annotations: Sequence[_Annotation | None], sizes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say for each record (m,) whether its box lies in an image of its size and its area is one."""
    areas = np.asarray([(a.area if a else None) or 0.0 for a in annotations], np.float64)
    start, end = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    inside = ((start >= 0) & (end <= sizes) & (start < end)).all(axis=1)
    certain: NDArray[np.bool_] = inside & (areas > 0) & (areas < math.inf)
    return certain


def _instance(
    annotation: _Annotation,
    label: int,
    target: Target,
    outlines: _Outlines,
    place: int,
    kinds: dict[ProblemKind, str],
) -> Instance | None:
    """Return the object, None if it is dropped; `kinds` becomes what had to be done, with the details.

    Args:
        annotation: the record.
        label: of its category.
        target: its image.
        outlines: of its batch.
        place: its own in the batch.
        kinds: holds what is known to be wrong already.
    """
    stated = outlines.of_record(place)
    rle = _mask(annotation, len(stated), target, kinds)
    box = _box(annotation, stated)
    fitted, kind = fit_box(box, target.width, target.height) if box else (None, _NO_BOX)
    if fitted is None:
        kinds.clear()  # nobody asks for the mask of what is not there
    if kind is not None:
        found = f"has the box ({', '.join(f'{value:g}' for value in box)})" if box else "states no box"
        outcome = "clipped" if fitted else "dropped"
        kinds[kind] = f"{found} in {target.width} x {target.height}; {outcome}"
    if fitted is None:
        return None
    fit = outlines.fits[outlines.places(place)]
    kept = _fit_outlines(stated, fit, target, outlines.thorough, kinds)
    area = annotation.area
    if area is None or not 0 < area < math.inf or "clipped" in kinds:
        area = _area(kept, rle, fitted)
    return Instance(fitted, label, kept, rle, bool(annotation.iscrowd), area)


_NO_BOX: ProblemKind = "malformed record"


def _box(annotation: _Annotation, outlines: Sequence[NDArray[np.float64]]) -> Box | None:
    """Return the stated box, or the one around the outlines where none is stated."""
    if annotation.bbox is not None and len(annotation.bbox) == 4:
        x, y, width, height = annotation.bbox
        return stated_box((x, y, width, height), annotation.aerostat_box_xyxy)
    return polygons.bounds(np.concatenate(outlines)) if annotation.bbox is None and outlines else None


def _mask(
    annotation: _Annotation, outlines: int, target: Target, kinds: dict[ProblemKind, str]
) -> dict[str, Any] | None:
    """Return the run-length mask, if there is one that fits; say what of a segmentation is of no use."""
    stated = annotation.segmentation
    if isinstance(stated, _Rle):
        if stated.size == (target.height, target.width):
            return {"size": list(stated.size), "counts": stated.counts}
        kinds["unusable mask"] = f"has an RLE of height, width {stated.size}; kept by its box"
    elif stated is not None and outlines < len(stated):
        kinds["degenerate polygon"] = "has an outline of no point or half a point; left out"
    return None


def _fit_outlines(
    outlines: Sequence[NDArray[np.float64]],
    fit: Sequence[bool],
    target: Target,
    thorough: bool,
    kinds: dict[ProblemKind, str],
) -> tuple[NDArray[np.float64], ...]:
    """Return what is left of outlines in their image; `fit` tells those that stay as they are."""
    kept = []
    for outline, fits in zip(outlines, fit, strict=True):
        if fits:
            kept.append(outline)
            continue
        fitted, kind = fit_polygon(outline, target.width, target.height, thorough)
        if fitted is not None:
            kept.append(fitted)
        if kind == "self-crossing polygon":
            kinds[kind] = "crosses or touches its own outline; kept with its box"
        elif kind == "clipped":
            kinds.setdefault(kind, "has an outline beyond the border; clipped")
        elif kind is not None:
            kinds["degenerate polygon"] = "has an outline that encloses nothing; left out"
    return tuple(kept)


def _area(outlines: Sequence[NDArray[np.float64]], rle: Mapping[str, Any] | None, box_xyxy: Box) -> float:
    """Return the area of what is annotated where the file states none that holds."""
    if outlines:
        return sum(polygons.area(outline) for outline in outlines)
    if rle is None:
        return box_area(box_xyxy)
    height, width = rle["size"]
    pixels = rle_area(rle["counts"])
    return float(pixels) if 0 < pixels <= height * width else box_area(box_xyxy)


def rle_area(counts: str | Sequence[int]) -> int:
    """Return the number of pixels in a run-length mask, plain or compressed as in COCO's maskApi.

    Nonsense has a nonsensical number, and a compressed mask with a run beyond 2^60 has none: 0.
    """
    runs = _decompress(counts) if isinstance(counts, str) else counts
    return sum(runs[1::2])


_MAX_BITS = 60


def _decompress(text: str) -> list[int]:
    """Return the runs of a compressed mask: six-bit digits, lowest first, each run less the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if shift > _MAX_BITS:  # a number without an end grows with each digit
            return []
        if digit & 0x20:  # more digits follow
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
