"""Checks of annotations: problems of reading, doubtful boxes, and classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, count, islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.classes import alike
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import format_of
from aerostat.datasets.problems import LOSSES, TYPE_OF_KIND, Severity
from aerostat.datasets.records import ImageRecord, Problem
from aerostat.lint.files import ImageFile
from aerostat.lint.listing import Finding, box_text, finding, of_object
from aerostat.text import counted, listed

MAX_NUMBER = 2**31
"""No image is that wide, and tools with 32-bit numbers cannot hold more."""

SLACK = 0.5
"""Pixels by which a box may leave a picture and still lie in it, as for `clip`."""

COVERING = 0.99
"""Share of the image from which a box counts as covering it."""


def check_problems(data: Dataset, files: Sequence[ImageFile]) -> list[Finding]:
    """Return the problems of reading, with what the images' headers add to them."""
    turned = {
        (file.split, file.record.file_name): (file.header.stored_size, file.record)
        for file in files
        if file.header is not None and file.header.orientation >= 5
    }
    sides = _sides(data, turned)
    of_split = {split: {side for place, side in sides.items() if place[0] == split} for split in data.splits}
    found = []
    other_way: set[tuple[str, str]] = set()
    for problem in data.problems:
        place = problem.split, problem.file_name
        if place in turned and place not in other_way:
            stored_size, _ = turned[place]
            # Boxes that fit both ways are drawn like the others of their file.
            side = sides.get(place) or (of_split[problem.split] == {"upright"} and "upright") or "stored"
            is_size = problem.kind == "swapped size"
            if (is_size and side == "stored") or _fits_stored(problem, stored_size):
                other_way.add(place)
                said = "the stated size is" if is_size else f"{problem.record} fits"
                wrong = f"is turned by its EXIF orientation, but {said} that of the stored pixels"
                found.append(finding("image-boxes-other-orientation", *place, wrong, record=problem.record))
        found.append(_of_problem(problem))
    return found


_Side = Literal["upright", "stored"]


def _sides(
    data: Dataset, turned: Mapping[tuple[str, str], tuple[tuple[int, int], ImageRecord]]
) -> dict[tuple[str, str], _Side]:
    """Return on which picture the boxes of turned images lie, upright or stored, where they tell."""
    sides: dict[tuple[str, str], _Side] = {}
    for place, ((width, height), record) in turned.items():
        boxes = [instance.box_xyxy for instance in record.instances]
        if any(box[2] > width + SLACK or box[3] > height + SLACK for box in boxes):
            sides[place] = "upright"
    for problem in data.problems:  # a box that fits the stored picture only has been cut or dropped
        place = problem.split, problem.file_name
        if place in turned and _fits_stored(problem, turned[place][0]):
            sides[place] = "stored"
    return sides


def _fits_stored(problem: Problem, stored_size: tuple[int, int]) -> bool:
    """Return whether a box that leaves the upright image lies in the stored one."""
    if problem.kind not in ("clipped", "outside the image") or problem.box_xyxy is None:
        return False
    x1, y1, x2, y2 = problem.box_xyxy
    return 0 <= x1 < x2 <= stored_size[0] and 0 <= y1 < y2 <= stored_size[1]


def _of_problem(problem: Problem) -> Finding:
    code = TYPE_OF_KIND[problem.kind].code
    box = problem.box_xyxy
    if problem.kind == "unreadable image" and "empty file" in problem.detail:
        code = "image-empty"
    if problem.kind == "derived box":  # whatever the stated box is, it does not count
        box = None
    if box is not None and not all(map(math.isfinite, box)):
        code = "number-not-finite" if problem.kind == "malformed record" else code
    elif box is not None and max(map(abs, box)) > MAX_NUMBER:
        code = "number-too-large"
    elif box is not None and problem.kind == "degenerate box" and (box[2] < box[0] or box[3] < box[1]):
        code = "box-swapped-corners"
    # The sentence names the file with its whole path; here the file is named already.
    detail = problem.detail
    if problem.kind in ("unreadable image", "unsupported image"):
        name = re.escape(problem.file_name.replace("\\", "/").rpartition("/")[2])
        detail = re.sub(rf": [^;]*{name}(?=;|$)", "", detail)
    severity: Severity | None = None if code != "number-too-large" or problem.kind in LOSSES else "warning"
    return finding(code, problem.split, problem.file_name, detail, record=problem.record, severity=severity)


def check_boxes(data: Dataset) -> list[Finding]:
    """Return boxes that are annotated twice, and boxes that cover their image."""
    found = []
    for split in data.splits.values():
        objects, image = split.images.instances, split.images.places
        boxes, labels, crowd = objects.boxes_xyxy, objects.labels, objects.crowd
        sizes = split.images.sizes[image].astype(np.float64)
        rows = np.concatenate([image[:, None], np.rint(4 * boxes).astype(np.int64)], axis=1)
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        first_of = first[inverse.reshape(-1)]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        for at in np.flatnonzero((first_of != np.arange(len(first_of))) & ~crowd).tolist():
            if crowd[first_of[at]]:
                continue
            names = [split.classes[labels[k]] for k in (first_of[at], at)]
            wrong = f"has two objects in one box {box_text(boxes[at])}: {names[0]} and {names[1]}"
            found.append(of_object(split, at, "box-duplicate", wrong))
        for at in np.flatnonzero((area >= COVERING * sizes.prod(axis=1)) & ~crowd).tolist():
            wrong = f"{split.classes[labels[at]]} covers the whole image, {box_text(boxes[at])}"
            found.append(of_object(split, at, "box-covers-image", wrong))
    return found


def check_shared_images(data: Dataset) -> list[Finding]:
    """Return pairs of splits that name the same files."""
    names = {
        split.name: [location.name for location in split.images.locations] for split in data.splits.values()
    }
    found = []
    for one, other in combinations(data.splits, 2):
        there = set(names[one])
        places = [place for place, name in enumerate(names[other]) if name in there]
        if places:
            first = data.splits[other].images.file_names[places[0]]
            wrong = f"{counted(len(places), 'file')} of {one} and of {other}: each split names the same file"
            found.append(finding("image-in-several-splits", other, first, wrong))
    return found


def check_classes(data: Dataset) -> list[Finding]:
    """Return classes that cannot be learned or measured, and unusual category ids."""
    found = []
    counts: dict[str, NDArray[np.int64]] = {
        split.name: np.bincount(
            split.images.instances.labels[~split.images.instances.crowd], minlength=len(data.classes)
        )
        for split in data.splits.values()
    }
    every = ", ".join(counts)
    for names in alike(data.classes):
        objects_of = [sum(int(row[data.classes.index(name)]) for row in counts.values()) for name in names]
        shown = [f"{name!r} ({count})" for name, count in zip(names, objects_of, strict=True)]
        wrong = f"{' and '.join(shown)} look like one class; `merge_classes` joins them"
        found.append(finding("classes-alike", every, "", wrong, record=names[0]))
    for label, name in enumerate(data.classes):
        there = [split for split, objects in counts.items() if objects[label]]
        if not there:
            wrong = f"{name!r} has no object in {every}"
            found.append(finding("class-without-objects", every, "", wrong, record=name))
        elif len(there) == 1 and len(counts) > 1:
            rest = listed(split for split in counts if split not in there)
            wrong = f"{name!r} has {counts[there[0]][label]} in {there[0]} and none in {rest}"
            found.append(finding("class-in-one-split", there[0], "", wrong, record=name))
    for split in data.splits.values():
        known = set(split.category_ids)
        ids = sorted(known)
        found_in = format_of(split)
        if found_in is None or not found_in.keeps_category_ids or not ids:
            continue
        if ids[-1] - ids[0] >= len(ids):
            holes = ids[-1] - ids[0] + 1 - len(ids)
            first = islice((id_ for id_ in count(ids[0]) if id_ not in known), min(holes, 5))
            more = f" and {holes - 5} more" if holes > 5 else ""
            wrong = f"ids from {ids[0]} to {ids[-1]} without {', '.join(map(str, first))}{more}"
            found.append(finding("category-ids-with-holes", split.name, "", wrong))
        for id_, name in zip(split.category_ids, split.classes, strict=True):
            if abs(id_) >= MAX_NUMBER:
                wrong = f"{name!r} has the id {id_}"
                found.append(finding("category-id-too-large", split.name, "", wrong, record=name))
    return found
