"""COCO's annotation records, a batch at a time: decoded, measured and fitted into their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.formats.coco_decode import Annotation, Heads, Id, RecordDecoder, Records, heads_of
from aerostat.datasets.formats.coco_ids import IdIndex
from aerostat.datasets.formats.coco_shapes import (
    Outlines,
    bounds_of,
    box_of,
    fit_instance,
    fit_without_doubt,
    plain_boxes,
    stated_areas,
)
from aerostat.datasets.instances import Block, GrowingArray, InstanceBuilder
from aerostat.datasets.json_stream import JsonFile
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import Problem
from aerostat.text import counted, shown

BATCH = 512
"""Records that are decoded and measured together. They fit into a core's own cache.

860,000 records took 8.3 s in batches of 512, 8.5 s of 1024, 10.1 s of 2048 and 12.0 s of 8192.
"""


class Batches(Protocol):
    """Records as JSON arrays of at most `BATCH` each, which can be gone over again and again."""

    def __len__(self) -> int:
        """Return how many arrays there are."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield them."""

    def drain(self) -> Iterator[bytes]:
        """Yield the batches for the last time; each is released after its use."""


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
    return {
        head.category_id
        for batch in batches
        for head in heads_of(batch)
        if isinstance(head.category_id, (int, str)) and not isinstance(head.category_id, bool)
    }


def all_lack(key: Literal["image_id", "category_id"], batches: Iterable[bytes]) -> bool:
    """Return whether there are records, and the id is null, empty or missing in all of them.

    Reading stops at the first record that has it, which usually is the first of all.
    """
    count = 0
    for batch in batches:
        found = heads_of(batch)
        if any(getattr(head, key) not in (None, "") for head in found):
            return False
        count += len(found)
    return count > 0


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

    places: dict[Id | None, int] = field(default_factory=dict)
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
class _Tally:
    """Counts what is the same for many objects of a file, to report it once."""

    counts: Counter[tuple[ProblemKind, str, str]] = field(default_factory=Counter)
    first: dict[tuple[ProblemKind, str, str], str] = field(default_factory=dict)

    def add(self, kind: ProblemKind, what: str, outcome: str, where: str) -> None:
        """Count one object.

        Args:
            kind: of problem.
            what: is wrong, such as ``without a box``.
            outcome: what was done.
            where: the record.
        """
        self.counts[kind, what, outcome] += 1
        self.first.setdefault((kind, what, outcome), where)

    def problems(self, split: str, source: str) -> list[Problem]:
        """Return one problem for each kind of thing."""
        found = []
        for key, number in self.counts.items():
            kind, what, outcome = key
            detail = f"{counted(number, 'object')} {what}, first {self.first[key]}; {outcome}"
            found.append(Problem(split, source, kind, detail, what))
        return found


@dataclass(slots=True)
class AnnotationReader:
    """Adds annotations to their images and collects the problems.

    Args:
        targets: the images.
        labels: by category id; the key None is the label of objects that state no category.
        split: name of the split.
        source: name of the annotation file.
        thorough: whether outlines are tested for crossing themselves.
        problems: problems are added to it.
        builder: objects are added to it.
    """

    targets: Targets
    labels: Mapping[Id | None, int]
    split: str
    source: str
    thorough: bool
    problems: list[Problem]
    builder: InstanceBuilder = field(default_factory=InstanceBuilder)
    _sizes: NDArray[np.float64] = field(init=False)
    _image_ids: IdIndex = field(init=False)
    _category_ids: IdIndex = field(init=False)
    _decoder: RecordDecoder = field(default_factory=RecordDecoder)
    _tally: _Tally = field(default_factory=_Tally)
    _unread: Counter[str] = field(default_factory=Counter)
    _read: int = 0

    def __post_init__(self) -> None:
        # The last two rows are those of `UNUSABLE` and `NOWHERE`.
        self._sizes = np.concatenate([self.targets.sizes.array(), np.zeros((2, 2))])
        self._image_ids = IdIndex(self.targets.places)
        self._category_ids = IdIndex(self.labels)

    def add(self, batch: bytes) -> None:
        """Read a JSON array of records, which follow those that were added before."""
        records = self._decoder.decode(batch)
        self._unread.update(records.unread)
        first = self._read
        count = len(records.found)
        self._read += count
        places, labels = self._places(records), self._labels(records, first)
        sizes = self._sizes[places]
        outlines = Outlines.of(records.found, sizes, self.thorough)
        boxes, areas = plain_boxes(records.found), stated_areas(records.found)
        plain = outlines.plain & fit_without_doubt(boxes, areas, sizes) & (places >= 0) & (labels >= 0)
        plain[[*records.spoilt, *records.forms]] = False
        self._count_forms(records, first, (places >= 0) & (labels >= 0))
        rows = np.flatnonzero(plain)
        counts, lengths, points = outlines.chosen(plain)
        crowd = np.fromiter((bool(a and a.iscrowd) for a in records.found), np.bool_, count)
        difficult = np.zeros(count, np.bool_) if records.difficult is None else records.difficult
        self.builder.add(
            Block(
                *(places[rows], first + rows, boxes[rows], labels[rows], crowd[rows], areas[rows]),
                difficult[rows],
                counts,
                lengths,
                points,
            )
        )
        for row in np.flatnonzero(~plain & (places != UNUSABLE)).tolist():
            self._add_carefully(records, outlines, row, first + row, int(places[row]), int(labels[row]))

    def finish(self) -> None:
        """Report what is the same for many records, and what was not read."""
        for what, index in (("image", self._image_ids), ("category", self._category_ids)):
            if index.first is not None:
                stated, listed = map(shown, index.first)
                detail = (
                    f"{counted(index.matched, 'object')} with the {what} id in another form than the list, "
                    f"first {stated} for {listed}; taken for the same id"
                )
                record = f"{what} id {stated}"
                self.problems.append(Problem(self.split, self.source, "id in another form", detail, record))
        self.problems += self._tally.problems(self.split, self.source)
        self.problems += [
            Problem(self.split, self.source, "not read", f"{number} {what}", what)
            for what, number in self._unread.items()
            if number
        ]

    def _places(self, records: Records) -> NDArray[np.int64]:
        """Return the place of each record's image."""
        find, found = self.targets.places.get, records.found
        places = np.fromiter(
            (find(a.image_id, NOWHERE) if a else NOWHERE for a in found), np.int64, len(found)
        )
        for row in np.flatnonzero(places == NOWHERE).tolist():
            annotation = found[row]
            if annotation is not None and annotation.image_id is not None:
                place = self._image_ids.in_another_form(annotation.image_id)
                places[row] = NOWHERE if place is None else place
        return places

    def _labels(self, records: Records, first: int) -> NDArray[np.int64]:
        """Return the label of each record's category, -1 for none."""
        found, unstated = records.found, self.labels.get(None, -1)
        labels = np.fromiter(
            (-1 if a is None else self.labels.get(a.category_id, -1) for a in found), np.int64, len(found)
        )
        for row in np.flatnonzero(labels == -1).tolist():
            annotation = found[row]
            if annotation is not None and annotation.category_id is not None:
                label = self._category_ids.in_another_form(annotation.category_id)
                labels[row] = (unstated if annotation.category_id == "" else -1) if label is None else label
        if unstated >= 0:
            for row, annotation in enumerate(found):
                if annotation is not None and annotation.category_id in (None, ""):
                    where = where_of(annotation, first + row)
                    outcome = "taken for the only class"
                    self._tally.add("class not stated", "without a category", outcome, where)
        return labels

    def _add_carefully(
        self, records: Records, outlines: Outlines, row: int, number: int, place: int, label: int
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
            self._report_stray(annotation, place, label, number)
            return
        kinds: dict[ProblemKind, str] = {}
        if row in records.spoilt:
            kinds["unusable mask"] = _UNUSABLE
        if row in records.forms:
            form = f"states a number in another form ({records.forms[row]})"
            kinds["number in another form"] = f"{form}; read as the number that it states"
        width, height = self.targets.sizes.array()[place].tolist()
        instance = fit_instance(annotation, label, (width, height), outlines, row, kinds)
        where = where_of(annotation, number)
        if instance is not None:
            if records.difficult is not None and records.difficult[row]:
                instance = replace(instance, difficult=True)
            self.builder.add_one(place, number, instance)
            if not annotation.bbox and kinds.pop("derived box", ""):
                outcome = "the box around the outline or mask counts"
                self._tally.add("derived box", "without a box", outcome, where)
        stated = box_of(annotation) if kinds else None
        if stated is None and kinds:
            stated = bounds_of(outlines.of_record(row), None)
        file_name = self.targets.file_names[place]
        for kind, detail in kinds.items():
            self.problems.append(Problem(self.split, file_name, kind, f"{where} {detail}", where, stated))

    def _count_forms(self, records: Records, first: int, used: NDArray[np.bool_]) -> None:
        """Count records with shapes in another form, and with fields that are ignored.

        Args:
            records: of a batch.
            first: number of the first of them in the file.
            used: (n,) whether each has an image and a class.
        """
        for row in sorted({*records.outlines_converted, *records.ignored}):
            annotation = records.found[row]
            if annotation is None or not used[row]:
                continue
            where = where_of(annotation, first + row)
            if row in records.outlines_converted:
                what = "with outlines or a mask in another form, such as one flat list"
                self._tally.add("shape in another form", what, "read as what it states", where)
            for name, value in records.ignored.get(row, {}).items():
                outcome = _OUTCOMES.get(name, "ignored")
                self._tally.add("ignored field", f"with an unusable {name!r}", outcome, f"{value} of {where}")

    def _report_stray(self, annotation: Annotation, place: int, label: int, number: int) -> None:
        """Report a record of no image or no category."""
        where = where_of(annotation, number)
        source, kind = self.source, "malformed record"
        if place == NOWHERE and annotation.image_id is None:
            where = f"annotations[{number}]"
            detail = f"{where} states no image (image_id is null or missing); dropped"
        elif label < 0 and annotation.category_id in (None, ""):
            where = f"annotations[{number}]"
            detail = f"{where} states no category (category_id is null or missing); dropped"
        elif place == NOWHERE:
            kind = "unknown image"
            detail = f"{where} names the image id {shown(annotation.image_id)}, but no image has it; dropped"
        else:
            kind, source = "unknown category", self.targets.file_names[place]
            category = shown(annotation.category_id)
            detail = f"{where} has the category id {category}, but no category has it; dropped"
        self.problems.append(Problem(self.split, source, kind, detail, where))


_UNUSABLE = "has a segmentation that is neither polygons nor RLE; kept by its box"
_OUTCOMES = {"area": "worked out from the shape", "iscrowd": "taken for no crowd region"}


def where_of(annotation: Annotation | Heads, number: int) -> str:
    """Return what a record is called: its id, or its place in the file."""
    return f"annotations[{number}]" if annotation.id is None else f"annotation {str(annotation.id)[:60]}"
