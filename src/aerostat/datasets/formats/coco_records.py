"""COCO's annotation records, a batch at a time: decoded, measured and fitted into their images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box, box_area, fit_as_they_are, fit_box, fit_polygon
from aerostat.datasets.formats.exact_box import stated_box
from aerostat.datasets.instances import Block, GrowingArray, Instance, InstanceBuilder
from aerostat.datasets.json_stream import JsonFile
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import Problem
from aerostat.geometry import polygons
from aerostat.text import shown

Id = int | str

BATCH = 512
"""Records that are decoded and measured together. They fit into a core's own cache.

860,000 records took 8.3 s in batches of 512, 8.5 s of 1024, 10.1 s of 2048 and 12.0 s of 8192.
"""

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors that decoding a record can raise."""


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
_CATEGORIES = msgspec.json.Decoder(list[_CategoryOf])


class Batches(Protocol):
    """Records as JSON arrays of at most `BATCH` each, which can be gone over again and again."""

    def __len__(self) -> int:
        """Return how many arrays there are."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield them."""

    def drain(self) -> Iterator[bytes]:
        """Yield them for the last time: none is kept once it has been used."""


class BatchesInMemory:
    """Batches of records whose text is at hand.

    Args:
        records: in the order of the file.
    """

    def __init__(self, records: Sequence[msgspec.Raw]) -> None:
        starts = range(0, len(records), BATCH)
        self._parts = [_array(records[start : start + BATCH]) for start in starts]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def drain(self) -> Iterator[bytes]:
        """Yield the batches, and release each."""
        for place in range(len(self._parts)):
            part, self._parts[place] = self._parts[place], b""
            yield part


class BatchesOfFile:
    """Batches of records that are read from their file each time.

    Args:
        file: that has the records under `key`.
        key: of an array.
    """

    def __init__(self, file: JsonFile, key: str) -> None:
        self._file, self._key = file, key

    def __len__(self) -> int:
        return sum(-(-part.count // BATCH) for part in self._file.values[self._key])

    def __iter__(self) -> Iterator[bytes]:
        for records in self._file.elements(self._key):
            for start in range(0, len(records), BATCH):
                yield _array(records[start : start + BATCH])

    drain = __iter__


def _array(records: Sequence[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(records) + b"]"


def categories_in_use(batches: Iterable[bytes]) -> set[Id]:
    """Return the category ids that records have; broken ones are reported when they are read.

    Args:
        batches: JSON arrays of records.
    """
    used: set[Id] = set()
    for batch in batches:
        try:
            used.update(row.category_id for row in _CATEGORIES.decode(batch))
            continue
        except BROKEN:  # one of them at least
            pass
        for raw in _RECORDS.decode(batch):
            with contextlib.suppress(*BROKEN):
                used.add(_CATEGORY.decode(raw).category_id)
    return used


UNUSABLE, NOWHERE = -1, -2
"""Places of an unusable image, which is reported, and of an image that the file does not list."""


@dataclass(slots=True)
class Targets:
    """The images that annotations belong to, in columns.

    Args:
        places: of the images by their id; `UNUSABLE` for an image that is reported.
        file_names: as they are stated.
        names: of the files, relative to the folder of the images.
        sizes: width and height.
        ids: numbers of the images.
    """

    places: dict[Id, int] = field(default_factory=dict)
    file_names: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: GrowingArray = field(default_factory=lambda: GrowingArray(np.int64, 2))
    ids: list[int] = field(default_factory=list)

    def add(self, id_: Id, file_name: str, name: str, size: tuple[int, int], number: int) -> None:
        """Add an image that can be used."""
        self.places[id_] = len(self.ids)
        self.file_names.append(file_name)
        self.names.append(name)
        self.sizes.extend([size])
        self.ids.append(number)


@dataclass(slots=True)
class AnnotationReader:
    """Adds annotations to their images and collects the problems.

    Args:
        targets: the images.
        labels: by category id.
        split: name of the split.
        source: name of the annotation file.
        thorough: whether outlines are tested for crossing themselves.
        problems: problems are added to it.
        builder: objects are added to it.
    """

    targets: Targets
    labels: Mapping[Id, int]
    split: str
    source: str
    thorough: bool
    problems: list[Problem]
    builder: InstanceBuilder = field(default_factory=InstanceBuilder)
    _sizes: NDArray[np.float64] = field(init=False)
    _read: int = 0

    def __post_init__(self) -> None:
        # The last two rows are those of `UNUSABLE` and `NOWHERE`.
        self._sizes = np.concatenate([self.targets.sizes.array(), np.zeros((2, 2))])

    def add(self, batch: bytes) -> None:
        """Read a JSON array of records, which follow those that were added before."""
        records = _decode(batch)
        first = self._read
        self._read += len(records.found)
        find, count = self.targets.places.get, len(records.found)
        places = np.fromiter(
            (NOWHERE if a is None else find(a.image_id, NOWHERE) for a in records.found), np.int64, count
        )
        labels = np.fromiter(
            (-1 if a is None else self.labels.get(a.category_id, -1) for a in records.found), np.int64, count
        )
        sizes = self._sizes[places]
        outlines = _Outlines.of(records.found, sizes, self.thorough)
        boxes, areas = _plain_boxes(records.found), _stated_areas(records.found)
        plain = outlines.plain & _fit_without_doubt(boxes, areas, sizes) & (places >= 0) & (labels >= 0)
        plain[[*records.spoilt, *records.forms]] = False
        rows = np.flatnonzero(plain)
        counts, lengths, points = outlines.chosen(plain)
        crowd = np.fromiter((bool(a and a.iscrowd) for a in records.found), np.bool_, count)
        self.builder.add(
            Block(
                *(places[rows], first + rows, boxes[rows], labels[rows], crowd[rows], areas[rows]),
                np.zeros(len(rows), np.bool_),
                counts,
                lengths,
                points,
            )
        )
        for row in np.flatnonzero(~plain & (places != UNUSABLE)).tolist():
            self._add_carefully(records, outlines, row, first + row, int(places[row]), int(labels[row]))

    def _add_carefully(
        self, records: _Records, outlines: _Outlines, row: int, number: int, place: int, label: int
    ) -> None:
        """Add one record that needs a change or a report.

        Args:
            records: of the batch.
            outlines: of the batch.
            row: of the record in the batch.
            number: of the record in the file.
            place: of its image.
            label: of its category, -1 for none.
        """
        annotation = records.found[row]
        if annotation is None:
            where = f"annotations[{number}]"
            detail = f"{where} is no annotation ({records.errors[row]}); dropped"
            self.problems.append(Problem(self.split, self.source, "malformed record", detail, where))
            return
        if place == NOWHERE or label < 0:
            self._report_stray(annotation, place, number)
            return
        kinds: dict[ProblemKind, str] = {}
        if row in records.spoilt:
            kinds["unusable mask"] = _UNUSABLE
        if row in records.forms:
            form = f"states a number in another form ({records.forms[row]})"
            kinds["number in another form"] = f"{form}; read as the number that it states"
        width, height = self.targets.sizes.array()[place].tolist()
        instance = _instance(annotation, label, (width, height), outlines, row, kinds)
        if instance is not None:
            self.builder.add_one(place, number, instance)
        where = _where(annotation, number)
        stated = _box(annotation, outlines.of_record(row)) if kinds else None
        file_name = self.targets.file_names[place]
        for kind, detail in kinds.items():
            self.problems.append(Problem(self.split, file_name, kind, f"{where} {detail}", where, stated))

    def _report_stray(self, annotation: _Annotation, place: int, number: int) -> None:
        where = _where(annotation, number)
        if place == NOWHERE:
            detail = f"{where} names the image id {shown(annotation.image_id)}, but no image has it; dropped"
            self.problems.append(Problem(self.split, self.source, "unknown image", detail, where))
        else:
            category = shown(annotation.category_id)
            detail = f"{where} has the category id {category}, but no category has it; dropped"
            file_name = self.targets.file_names[place]
            self.problems.append(Problem(self.split, file_name, "unknown category", detail, where))


_UNUSABLE = "has a segmentation that is neither polygons nor RLE; kept by its box"


@dataclass(frozen=True, slots=True)
class _Records:
    """Decoded records.

    Args:
        found: in the order of the file; None for one that is no annotation.
        errors: why, by place.
        spoilt: places of those whose segmentation cannot be used.
        forms: errors of strict decoding, by place, of records whose numbers are texts or decimals.
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
    """Return (record, error). Decode strictly, then leniently."""
    try:
        return _ONE.decode(raw), None
    except BROKEN as error:
        with contextlib.suppress(*BROKEN):
            return _ONE_IN_ANY_FORM.decode(raw), error
        return None, error


def _without_segmentation(raw: msgspec.Raw) -> msgspec.Raw:
    """Return a record without its segmentation."""
    fields = _FIELDS.decode(raw)
    fields["segmentation"] = msgspec.Raw(b"null")
    return msgspec.Raw(msgspec.json.encode(fields))


def _where(annotation: _Annotation, number: int) -> str:
    return f"annotations[{number}]" if annotation.id is None else f"annotation {str(annotation.id)[:60]}"


@dataclass(frozen=True, slots=True, eq=False)
class _Outlines:
    """The outlines of a batch of records, measured together.

    Args:
        points: (p, 2) x, y of all outlines as they are stated, one after the other.
        lengths: (m,) points of each outline.
        owners: (m,) the record that each outline belongs to, in ascending order.
        fits: (m,) whether nothing has to be done about it.
        plain: (records,) whether all of a record's segmentation can stay as it is stated.
        thorough: whether they are tested for crossing themselves.
    """

    points: NDArray[np.float64]
    lengths: NDArray[np.int64]
    owners: NDArray[np.int64]
    fits: NDArray[np.bool_]
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
        lengths = lengths // 2
        fits = fit_as_they_are(points, np.cumsum(lengths), sizes[owners], check_crossing=thorough)
        misfits += np.bincount(owners[~fits], minlength=len(listed))
        return cls(points, lengths, owners, fits, misfits == 0, thorough)

    def chosen(
        self, records: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the outlines of some records: how many each has, their lengths and their points."""
        counts = np.bincount(self.owners, minlength=len(records))[records]
        if records.all():
            return counts, self.lengths, self.points
        kept = records[self.owners]
        return counts, self.lengths[kept], self.points[np.repeat(kept, self.lengths)]

    def places(self, record: int) -> slice:
        """Return where the outlines of a record stand."""
        first = self.owners.searchsorted(record)
        return slice(int(first), int(self.owners.searchsorted(record + 1)))

    def of_record(self, record: int) -> Sequence[NDArray[np.float64]]:
        """Return the outlines of a record, each (n, 2)."""
        places = self.places(record)
        if places.start == places.stop:
            return ()
        start = int(self.lengths[: places.start].sum())
        stops = start + np.cumsum(self.lengths[places])
        return [self.points[stop - n : stop] for stop, n in zip(stops, self.lengths[places], strict=True)]


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


def _stated_areas(annotations: Sequence[_Annotation | None]) -> NDArray[np.float64]:
    """Return the areas (m,) that records state; 0 where there is none."""
    return np.asarray([(a.area if a else None) or 0.0 for a in annotations], np.float64)


def _fit_without_doubt(
    boxes_xyxy: NDArray[np.float64], areas: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return for each record (m,) whether its box lies in its image and its area is positive and finite."""
    start, end = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    inside = ((start >= 0) & (end <= sizes) & (start < end)).all(axis=1)
    certain: NDArray[np.bool_] = inside & (areas > 0) & (areas < math.inf)
    return certain


def _instance(
    annotation: _Annotation,
    label: int,
    size: tuple[int, int],
    outlines: _Outlines,
    row: int,
    kinds: dict[ProblemKind, str],
) -> Instance | None:
    """Return the object, None if it is dropped; its problems are put into `kinds`, with the details.

    Args:
        annotation: the record.
        label: of its category.
        size: width and height of its image.
        outlines: of its batch.
        row: its own in the batch.
        kinds: problems that are known already.
    """
    stated = outlines.of_record(row)
    rle = _mask(annotation, len(stated), size, kinds)
    box = _box(annotation, stated)
    fitted, kind = fit_box(box, *size) if box else (None, _NO_BOX)
    if fitted is None:
        kinds.clear()  # a mask does not count if the object is dropped
    if kind is not None:
        found = f"has the box ({', '.join(f'{value:g}' for value in box)})" if box else "states no box"
        outcome = "clipped" if fitted else "dropped"
        kinds[kind] = f"{found} in {size[0]} x {size[1]}; {outcome}"
    if fitted is None:
        return None
    fit = outlines.fits[outlines.places(row)]
    kept = _fit_outlines(stated, fit, size, outlines.thorough, kinds)
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
    annotation: _Annotation, outlines: int, size: tuple[int, int], kinds: dict[ProblemKind, str]
) -> dict[str, Any] | None:
    """Return the run-length mask, if there is one that fits; a useless segmentation is put into `kinds`."""
    stated = annotation.segmentation
    if isinstance(stated, _Rle):
        if stated.size == size[::-1]:
            return {"size": list(stated.size), "counts": stated.counts}
        kinds["unusable mask"] = f"has an RLE of height, width {stated.size}; kept by its box"
    elif stated is not None and outlines < len(stated):
        kinds["degenerate polygon"] = "has an outline of no point or half a point; left out"
    return None


def _fit_outlines(
    outlines: Sequence[NDArray[np.float64]],
    fit: NDArray[np.bool_],
    size: tuple[int, int],
    thorough: bool,
    kinds: dict[ProblemKind, str],
) -> tuple[NDArray[np.float64], ...]:
    """Return the outlines as far as they are in their image; those that `fit` stay as they are."""
    kept = []
    for outline, fits in zip(outlines, fit.tolist(), strict=True):
        if fits:
            kept.append(outline)
            continue
        fitted, kind = fit_polygon(outline, *size, thorough)
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
    """Return the area of an object if the file states none that can be used."""
    if outlines:
        return sum(polygons.area(outline) for outline in outlines)
    if rle is None:
        return box_area(box_xyxy)
    height, width = rle["size"]
    pixels = rle_area(rle["counts"])
    return float(pixels) if 0 < pixels <= height * width else box_area(box_xyxy)


def rle_area(counts: str | Sequence[int]) -> int:
    """Return the number of pixels in a run-length mask, plain or compressed as in COCO's maskApi.

    A broken mask may give any number. A compressed mask with a run beyond 2^60 gives 0.
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
