"""The shapes of COCO's records: outlines, boxes and masks, measured together and fitted one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.clip import Box, box_area, fit_as_they_are, fit_box, fit_polygon
from aerostat.datasets.formats.coco_decode import Annotation, Rle, are_points
from aerostat.datasets.formats.exact_box import stated_box
from aerostat.datasets.instances import Instance
from aerostat.datasets.problems import ProblemKind
from aerostat.errors import InputError
from aerostat.geometry import polygons
from aerostat.geometry.masks import Masks


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
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
        cls, annotations: Sequence[Annotation | None], sizes: NDArray[np.float64], thorough: bool
    ) -> Outlines:
        """Return the outlines of records (m) in images of the `sizes` (m, 2) width, height."""
        stated = [None if a is None else a.segmentation for a in annotations]
        listed = [part if isinstance(part, list) else [] for part in stated]
        unlisted = [part is not None and not isinstance(part, list) for part in stated]
        flat, lengths, owners = _counted(listed)
        if (lengths == 2).any() and any(map(are_points, listed)):
            listed = [[list(chain(*parts))] if are_points(parts) else parts for parts in listed]
            flat, lengths, owners = _counted(listed)
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


def _counted(
    listed: Sequence[Sequence[list[float]]],
) -> tuple[list[list[float]], NDArray[np.int64], NDArray[np.int64]]:
    """Return all outlines, how many numbers each has, and the record of each."""
    flat = list(chain.from_iterable(listed))
    counts = np.fromiter(map(len, listed), np.int64, len(listed))
    lengths = np.fromiter(map(len, flat), np.int64, len(flat))
    return flat, lengths, np.repeat(np.arange(len(listed)), counts)


_NO_NUMBERS = (math.nan,) * 4


def plain_boxes(annotations: Sequence[Annotation | None]) -> NDArray[np.float64]:
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


def stated_areas(annotations: Sequence[Annotation | None]) -> NDArray[np.float64]:
    """Return the areas (m,) that records state; 0 where there is none."""
    return np.asarray([(a.area if a else None) or 0.0 for a in annotations], np.float64)


def fit_without_doubt(
    boxes_xyxy: NDArray[np.float64], areas: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return for each record (m,) whether its box lies in its image and its area is positive and finite."""
    start, end = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    inside = ((start >= 0) & (end <= sizes) & (start < end)).all(axis=1)
    certain: NDArray[np.bool_] = inside & (areas > 0) & (areas < math.inf)
    return certain


def fit_instance(
    annotation: Annotation,
    label: int,
    size: tuple[int, int],
    outlines: Outlines,
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
    box = box_of(annotation)
    fitted, kind = fit_box(box, *size) if box else (None, _NO_BOX)
    if fitted is None:
        around = bounds_of(stated, rle)
        derived, derived_kind = fit_box(around, *size) if around else (None, None)
        if derived is not None:
            found = f"has the box {_numbers(box)} in {size[0]} x {size[1]}" if box else "states no box"
            kinds["derived box"] = f"{found}; the box around its outline or mask counts"
            box, fitted, kind = around, derived, derived_kind
    if fitted is None:
        kinds.clear()  # a mask does not count if the object is dropped
    if kind is not None:
        found = f"has the box {_numbers(box)}" if box else "states no box"
        kinds[kind] = f"{found} in {size[0]} x {size[1]}; {'clipped' if fitted else 'dropped'}"
    if fitted is None:
        return None
    fit = outlines.fits[outlines.places(row)]
    kept = _fit_outlines(stated, fit, size, outlines.thorough, kinds)
    area = annotation.area
    if area is None or not 0 < area < math.inf or "clipped" in kinds:
        area = _area(kept, rle, fitted)
    return Instance(fitted, label, kept, rle, bool(annotation.iscrowd), area)


_NO_BOX: ProblemKind = "malformed record"


def _numbers(box_xyxy: Box) -> str:
    return f"({', '.join(f'{value:g}' for value in box_xyxy)})"


def box_of(annotation: Annotation) -> Box | None:
    """Return the stated box, None if there are not four numbers."""
    if annotation.bbox is None or len(annotation.bbox) != 4:
        return None
    x, y, width, height = annotation.bbox
    return stated_box((x, y, width, height), annotation.aerostat_box_xyxy)


def bounds_of(outlines: Sequence[NDArray[np.float64]], rle: Mapping[str, Any] | None) -> Box | None:
    """Return the box around outlines or a mask; None if there is none, or the mask is broken or empty."""
    if outlines:
        return polygons.bounds(np.concatenate(outlines))
    if rle is None:
        return None
    height, width = rle["size"]
    try:
        x1, y1, x2, y2 = Masks.from_coco([rle], (width, height)).boxes_xyxy()[0].tolist()
    except (InputError, ValueError):
        return None
    return (x1, y1, x2, y2) if x1 < x2 else None


def _mask(
    annotation: Annotation, outlines: int, size: tuple[int, int], kinds: dict[ProblemKind, str]
) -> dict[str, Any] | None:
    """Return the run-length mask, if there is one that fits; a useless segmentation is put into `kinds`."""
    stated = annotation.segmentation
    if isinstance(stated, Rle):
        if stated.size == size[::-1]:
            return {"size": list(stated.size), "counts": stated.counts}
        kinds["unusable mask"] = f"has an RLE of height, width {stated.size}; kept by its box"
    elif stated is not None and outlines < len(stated) and not are_points(stated):
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
