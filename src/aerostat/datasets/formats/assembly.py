"""From objects as an annotation file states them to a split: names, sizes, clipping, classes, problems.

A format's parser yields `StatedImage` rows. `assemble` does what is the same for all formats.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box, box_area, fit_as_they_are, fit_box, fit_polygon
from aerostat.datasets.formats.checks import BrokenRecords, refuse_unlisted
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.image_folder import ImageFolder, problem_of_image, upright_size
from aerostat.datasets.instances import Block, Floats, Instance, InstanceBuilder, Ints
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import Images, Problem, Split, whole_numbers
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks
from aerostat.images.location import FilesBelow, Location
from aerostat.images.read import read_size
from aerostat.text import shown

Size = tuple[int, int]

StatedBox = tuple[float | Decimal, float | Decimal, float | Decimal, float | Decimal]
"""Corners x1, y1, x2, y2 in the unit of a file."""


@dataclass(slots=True)
class StatedObject:
    """An object as a file states it.

    Args:
        name: of its class; None if the record names no single class, which is reported.
        record: where it stands in its file, such as ``object 3`` or ``line 7``.
        box_xyxy: corners; None takes the bounds of the outlines or of the mask. They may be `Decimal` where
            they are shares: with 18 digits or more they give back any pixel to the last bit.
        outlines: each (n, 2) x, y.
        rle: run-length mask as COCO has it, ``{"size": [h, w], "counts": ...}``, of the whole image.
        crowd: whether it is a region of many objects.
        difficult: whether it is marked as difficult.
    """

    name: str | None
    record: str
    box_xyxy: StatedBox | None = None
    outlines: Sequence[NDArray[np.float64]] = ()
    rle: Mapping[str, Any] | None = None
    crowd: bool = False
    difficult: bool = False


@dataclass(slots=True)
class StatedImage:
    """An image as a file states it.

    Args:
        file_name: which image it is.
        objects: on it.
        size: (width, height) that the file states, None if it states none.
        unit: the length of both sides in the unit of the coordinates: 1.0 for shares, 100.0 for per cent;
            0.0 for pixels; width and height in pixels of another size than the image has, perhaps.
        location: where the image can be opened, if the annotation file tells more than a name.
        id: a number to keep on output; 0 numbers the images in their order.
    """

    file_name: str
    objects: Sequence[StatedObject]
    size: Size | None = None
    unit: float | Size = 0.0
    location: Location | None = None
    id: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StatedColumns:
    """Objects of many images in columns, as a parser of a million of them gives them.

    Each has a box or one outline. They give the same as `StatedObject` rows would, in a tenth of the time.

    Args:
        names: of classes, which `labels` index.
        images: (n,) places of their images in the list of stated images.
        labels: (n,).
        lines: (n,) where they stand in the file of their image; they sort the objects of an image.
        boxes_xyxy: (n, 4) corners; not looked at where there is an outline.
        outline_lengths: (n,) points of the outline, 0 for a box.
        points: (p, 2) x, y of all outlines, one after the other.
        shares: whether the coordinates are shares of the image's sides, and not pixels.
        boxes_rest, points_rest: what the floats lack of the stated numbers; None if they lack nothing.
    """

    names: Sequence[str]
    images: Ints
    labels: Ints
    lines: Ints
    boxes_xyxy: Floats
    outline_lengths: Ints
    points: Floats
    shares: bool = False
    boxes_rest: Floats | None = None
    points_rest: Floats | None = None


@dataclass(slots=True)
class Findings:
    """What a parser and `assemble` find wrong with a split.

    Args:
        split: name of the split.
        problems: in the order in which they were found.
        unread: how many values of each kind were not read, such as key points.
    """

    split: str
    problems: list[Problem] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    def add(
        self, file_name: str, kind: ProblemKind, detail: str, record: str = "", box_xyxy: Box | None = None
    ) -> None:
        """Report a problem."""
        self.problems.append(Problem(self.split, file_name, kind, detail, record, box_xyxy))


def assemble(
    stated: Sequence[StatedImage],
    files: SplitFiles,
    options: ReadOptions,
    findings: Findings,
    *,
    format_name: str,
    classes: Sequence[str] = (),
    columns: StatedColumns | None = None,
) -> Split:
    """Return the split that stated images make.

    Args:
        stated: in the order of the files.
        files: that they were read from.
        options: of reading.
        findings: what the parser has found wrong; the problems of fitting are added.
        format_name: of the format.
        classes: that the files state, in their order; empty if they only show those in use.
        columns: further objects of the images.

    Raises:
        InputError: there is no image, two rows mean the same image, or an object has an unlisted class.
    """
    if not stated:
        raise InputError(f"{files.annotations} lists no images; expected at least one annotated image.")
    used = dict.fromkeys(o.name for image in stated for o in image.objects if o.name is not None)
    if columns is not None:
        used.update(dict.fromkeys(columns.names[label] for label in np.unique(columns.labels).tolist()))
    if options.classes is not None:
        known = tuple(options.classes)
        refuse_unlisted([name for name in used if name not in set(known)], known, files.annotations)
    else:
        known = (*classes, *sorted(set(used) - set(classes)))
    labels = {name: label for label, name in enumerate(known)}
    folder = ImageFolder.choose(files.image_roots, (image.file_name for image in stated), files.listings)
    broken = BrokenRecords(findings.problems, files.annotations)
    builder = InstanceBuilder()
    names: list[str] = []
    files_found: list[str] = []
    locations: dict[int, Location] = {}
    sizes: list[Size] = []
    ids: list[int] = []
    places = np.full(len(stated), -1)
    objects = _Objects(builder, labels, findings)
    for number, image in enumerate(stated, start=1):
        broken.refuse_too_many()
        found = _locate(image, folder, findings)
        if found is None:
            continue
        file, size = found
        objects.add(len(names), image, size)
        places[number - 1] = len(names)
        names.append(image.file_name)
        files_found.append(file)
        if image.location is not None:
            locations[len(files_found) - 1] = image.location
        sizes.append(size)
        ids.append(image.id or number)
    objects.finish()
    all_sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
    if columns is not None:
        label_of = np.asarray([labels.get(name, -1) for name in columns.names], np.int64)
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers that lie in no image
            _add_columns(builder, columns, places[columns.images], label_of, all_sizes, names, findings)
    problems = [*findings.problems, *folder.note(files.split), *_not_read(findings, files)]
    instances, offsets = builder.finish(len(names))
    where: Sequence[Location] = FilesBelow(folder.root, tuple(files_found))
    if locations:
        where = tuple(locations.get(place, location) for place, location in enumerate(where))
    images = Images(tuple(names), where, all_sizes, whole_numbers(ids), instances, offsets)
    category_ids = tuple(range(1, len(known) + 1))
    return Split(files.split, known, category_ids, images, tuple(problems), format_name)


def _not_read(findings: Findings, files: SplitFiles) -> list[Problem]:
    name = files.annotations.name
    return [
        Problem(findings.split, name, "not read", f"{number} {what}", what)
        for what, number in findings.unread.items()
        if number
    ]


def _locate(image: StatedImage, folder: ImageFolder, findings: Findings) -> tuple[str, Size] | None:
    """Return an image's name below the folder and its size; None if it cannot be used, which is reported."""
    size: Size | Problem
    name: str | None = image.file_name
    if image.location is not None:
        try:
            size = read_size(image.location)
        except InputError as error:
            size = problem_of_image(error, image.file_name, findings.split)
    else:
        name = folder.claim(image.file_name)
        size = upright_size(name, image.file_name, folder, findings.split)
    if isinstance(size, Problem):
        findings.problems.append(size)
        return None
    if image.size is not None and image.size != size:
        kind: ProblemKind = "swapped size" if image.size == size[::-1] else "wrong size"
        said = f"{image.size[0]} x {image.size[1]}"
        findings.add(image.file_name, kind, f"is {size[0]} x {size[1]} upright, the annotations say {said}")
    return name or "", size


_OUTLINES_AT_ONCE = 2000
"""Outlines that are compared with their images together: one at a time takes ten times as long."""


@dataclass(slots=True)
class _Objects:
    """Fits stated objects into their images, many at a time, and adds them to a builder.

    Args:
        builder: gets the objects.
        labels: by the name of the class.
        findings: gets the problems.
    """

    builder: InstanceBuilder
    labels: Mapping[str, int]
    findings: Findings
    _waiting: list[tuple[int, StatedImage, Size]] = field(default_factory=list)
    _outlines: int = 0

    def add(self, place: int, image: StatedImage, size: Size) -> None:
        """Add the objects of an image at a place among those that are kept."""
        self._waiting.append((place, image, size))
        self._outlines += sum(len(stated.outlines) for stated in image.objects)
        if self._outlines >= _OUTLINES_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Add the objects that wait."""
        scales = [_scale(image, size) for _, image, size in self._waiting]
        outlines = [
            [o if scale is None else o * scale for stated in image.objects for o in stated.outlines]
            for (_, image, _), scale in zip(self._waiting, scales, strict=True)
        ]
        sides = [size for (_, _, size), found in zip(self._waiting, outlines, strict=True) for _ in found]
        fits = iter(_fit_as_they_are([o for found in outlines for o in found], sides))
        for (place, image, size), scale, found in zip(self._waiting, scales, outlines, strict=True):
            self._add(place, image, size, scale, list(zip(found, fits, strict=False)))
        self._waiting, self._outlines = [], 0

    def _add(
        self,
        place: int,
        image: StatedImage,
        size: Size,
        scale: tuple[float, float] | None,
        outlines: Sequence[tuple[Floats, bool]],
    ) -> None:
        begin = 0
        for number, stated in enumerate(image.objects):
            own = outlines[begin : begin + len(stated.outlines)]
            begin += len(stated.outlines)
            if stated.name is None:
                detail = f"{stated.record} names no single class; dropped"
                self.findings.add(image.file_name, "no class", detail, stated.record)
                continue
            box = None if stated.box_xyxy is None else _in_pixels(stated.box_xyxy, scale)
            label = self.labels[stated.name]
            found = _fit(stated, box, own, label, image.file_name, size, self.findings)
            if found is not None:
                self.builder.add_one(place, number, found)


def _scale(image: StatedImage, size: Size) -> tuple[float, float] | None:
    """Return the pixels per unit of the stated coordinates in x and y; None for pixels."""
    unit = image.unit if isinstance(image.unit, tuple) else (image.unit, image.unit)
    return (size[0] / unit[0], size[1] / unit[1]) if image.unit and unit != size else None


def _fit_as_they_are(outlines: Sequence[Floats], sides: Sequence[Size]) -> list[bool]:
    """Return for each outline whether it fits into an image of its sides without a change or a report."""
    fits = np.zeros(len(outlines), np.bool_)
    filled = [place for place, outline in enumerate(outlines) if len(outline)]
    if filled:
        stops = np.cumsum([len(outlines[place]) for place in filled])
        points = np.concatenate([outlines[place] for place in filled])
        fits[filled] = fit_as_they_are(points, stops, np.asarray([sides[p] for p in filled], np.float64))
    return fits.tolist()


def _add_columns(
    builder: InstanceBuilder,
    columns: StatedColumns,
    places: Ints,
    label_of: Ints,
    sizes: Ints,
    file_names: Sequence[str],
    findings: Findings,
) -> None:
    """Add objects in columns; those that fit into their image without a change are added together.

    Args:
        builder: gets the objects.
        columns: the objects.
        places: (n,) of their images among those that are kept, -1 for an image that is not.
        label_of: labels by `columns.labels`.
        sizes: (m, 2) width and height of the kept images.
        file_names: (m,) of the kept images.
        findings: gets the problems.
    """
    rows = np.flatnonzero(places >= 0)
    counts = columns.outline_lengths[rows]
    outlined = counts > 0
    kept = np.repeat(places >= 0, columns.outline_lengths)
    places, labels, lines = places[rows], label_of[columns.labels[rows]], columns.lines[rows]
    sides = sizes[places].astype(np.float64)
    boxes, points = columns.boxes_xyxy[rows], columns.points[kept]
    owners = np.repeat(np.arange(len(rows)), counts)
    if columns.shares:
        rest = columns.boxes_rest[rows] if columns.boxes_rest is not None else 0.0
        boxes = _product(boxes, rest, np.tile(sides, 2))
        rest = columns.points_rest[kept] if columns.points_rest is not None else 0.0
        points = _product(points, rest, sides[owners])
    stops = np.cumsum(counts)
    start, end = boxes[:, :2], boxes[:, 2:]
    fits = np.asarray(((start >= 0) & (end <= sides) & (start < end)).all(axis=1), np.bool_)
    fits[outlined] = fit_as_they_are(points, stops[outlined], sides[outlined])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row in np.flatnonzero(outlined & fits).tolist():
        outline = points[stops[row] - counts[row] : stops[row]]
        boxes[row], areas[row] = polygons.bounds(outline), polygons.area(outline)
    plain = np.flatnonzero(fits)
    no = np.zeros(len(plain), np.bool_)
    builder.add(
        Block(
            *(places[plain], lines[plain], boxes[plain], labels[plain], no, areas[plain], no),
            *(outlined[plain].astype(np.int64), counts[plain][outlined[plain]]),
            points[fits[owners]],
        )
    )
    for row in np.flatnonzero(~fits).tolist():
        x1, y1, x2, y2 = boxes[row].tolist()
        outlines = [points[stops[row] - counts[row] : stops[row]]] if counts[row] else []
        box = None if outlines else (x1, y1, x2, y2)
        stated = StatedObject("", f"line {lines[row]}", box, outlines)
        place = int(places[row])
        width, height = sizes[place].tolist()
        own = [(outline, False) for outline in outlines]
        found = _fit(stated, box, own, int(labels[row]), file_names[place], (width, height), findings)
        if found is not None:
            builder.add_one(place, int(lines[row]), found)


_SPLIT_FACTOR = 2.0**27 + 1
"""Cuts a float into two halves (Veltkamp), each of which times an image's side is exact."""


def _product(values: Floats, rest: Floats | float, sides: Floats) -> Floats:
    """Return (values + rest) * sides, rounded once. The sides are whole numbers below 2^26."""
    high = values * _SPLIT_FACTOR
    high -= high - values
    exact: Floats = high * sides + ((values - high) * sides + rest * sides)
    return np.where(np.isfinite(exact), exact, values * sides)


def _fit(
    stated: StatedObject,
    box: Box | None,
    outlines: Sequence[tuple[Floats, bool]],
    label: int,
    file_name: str,
    size: Size,
    findings: Findings,
) -> Instance | None:
    """Return an object fitted into its image, or None if it is dropped; problems are reported.

    Args:
        stated: the object.
        box: the stated one in pixels.
        outlines: in pixels, each with whether it is known to fit as it is.
        label: of its class.
        file_name: of its image.
        size: (width, height) of the image in pixels.
        findings: gets the problems.
    """

    def report(kind: ProblemKind, detail: str) -> None:
        findings.add(file_name, kind, f"{stated.record} {detail}", stated.record, box)

    rle = _usable_mask(stated.rle, size)
    if stated.rle is not None and rle is None:
        report("unusable mask", f"has a mask that is not one of {size[0]} x {size[1]}; kept by its box")
    if box is None:
        box = _bounds([outline for outline, _ in outlines], rle)
    if box is None:
        report("malformed record", "states no box, outline or mask; dropped")
        return None
    fitted, kind = fit_box(box, *size)
    fits: list[tuple[Floats | None, ProblemKind | None]] = []
    if fitted is not None:
        fits = [_fit_outline(outline, known, size) for outline, known in outlines]
    only_outlines = bool(fits) and stated.box_xyxy is None and rle is None
    if only_outlines and all(k == "outside the image" for _, k in fits):
        fitted, kind = None, "outside the image"  # its bounds reach into the image, and it does not
    if kind is not None:
        numbers = ", ".join(f"{value:g}" for value in box)
        outcome = "clipped" if fitted else "dropped"
        report(kind, f"has the box ({numbers}) in {size[0]} x {size[1]}; {outcome}")
    if fitted is None:
        return None
    for _, outline_kind in fits:
        if outline_kind == "self-crossing polygon":
            report(outline_kind, "crosses or touches its own outline; kept with its box")
        elif outline_kind is not None and outline_kind != "clipped":  # the box says that it was clipped
            report("degenerate polygon", "encloses nothing in the image; kept by its box")
    kept = [outline for outline, _ in fits if outline is not None]
    if kept and stated.box_xyxy is None:
        fitted = polygons.bounds(np.concatenate(kept))
    if kept:
        area = sum(map(polygons.area, kept))
    else:
        area = float(Masks.from_coco([rle], size).area()[0]) if rle is not None else box_area(fitted)
    return Instance(fitted, label, tuple(kept), rle, stated.crowd, area, stated.difficult)


def _fit_outline(outline: Floats, known: bool, size: Size) -> tuple[Floats | None, ProblemKind | None]:
    if known:
        return outline, None
    return fit_polygon(outline, *size) if len(outline) else (None, "degenerate polygon")


def _in_pixels(box_xyxy: StatedBox, scale: tuple[float, float] | None) -> Box:
    """Return a box in pixels. Decimal numbers are rounded once, after the product.

    A share as a float and its product are rounded twice, so for some pixels no share gives them back.
    """
    across, down = scale or (1.0, 1.0)
    x1, y1, x2, y2 = (
        float(value * Decimal(side)) if isinstance(value, Decimal) else value * side
        for value, side in zip(box_xyxy, (across, down, across, down), strict=True)
    )
    return x1, y1, x2, y2


def _usable_mask(rle: Mapping[str, Any] | None, size: Size) -> Mapping[str, Any] | None:
    """Return a run-length mask if it is one of an image of this size."""
    if rle is None or list(rle.get("size", ())) != [size[1], size[0]]:
        return None
    try:
        return rle if Masks.from_coco([rle], size).area()[0] > 0 else None
    except (InputError, ValueError, TypeError):
        return None


def _bounds(outlines: Sequence[NDArray[np.float64]], rle: Mapping[str, Any] | None) -> Box | None:
    points = [outline for outline in outlines if len(outline)]
    if points:
        return polygons.bounds(np.concatenate(points))
    if rle is None:
        return None
    height, width = rle["size"]
    x1, y1, x2, y2 = Masks.from_coco([rle], (width, height)).boxes_xyxy()[0].tolist()
    return (x1, y1, x2, y2)


def pixels(value: object) -> float:
    """Return a finite coordinate.

    Raises:
        ValueError: it is no number, or not finite; the text says which.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{shown(value, 30)} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{shown(value, 30)} is not finite")
    return number
