"""COCO's annotation files (https://cocodataset.org/#format-data), `instances_*.json` and Roboflow's alike."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerostat.data import polygons
from aerostat.data.annotation_file import decode, read_content
from aerostat.data.dataset import ImageRecord, Instance, Problem, ProblemKind, Split
from aerostat.data.fitting import Box, box_area, fit_box, fit_polygon
from aerostat.data.formats.exact_box import stated_box, width_and_height
from aerostat.data.formats.refusals import refuse_repeated, refuse_unlisted, refuse_without_images
from aerostat.data.image_folder import ImageFolder, upright_size
from aerostat.files import write_bytes

CHECKED_IMAGES = 20_000
"""Up to so many images, headers are read and outlines tested for crossings; beyond, that takes minutes."""

Id = int | str


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: int | float | None = None
    height: int | float | None = None


class _Category(msgspec.Struct):
    id: Id
    name: str | int
    supercategory: str | None = None


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw]  # decoded one by one: all at once would take several times the memory
    categories: list[_Category] = []


class _Annotation(msgspec.Struct):
    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: list[float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    iscrowd: int | bool = 0
    area: float | None = None
    aerostat_box_xyxy: list[float] | None = None


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


class _CategoryOf(msgspec.Struct):
    category_id: Id


_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_ANNOTATION = msgspec.json.Decoder(_Annotation)
_SEGMENTATION = msgspec.json.Decoder(list[list[float]] | _Rle | None)


@dataclass(slots=True)
class _Target:
    """An image on its way into the split: where its annotations are collected."""

    path: Path
    file_name: str
    width: int
    height: int
    id: int
    instances: list[Instance] = field(default_factory=list)


def read_coco(
    path: Path,
    image_roots: Sequence[Path],
    *,
    split: str,
    classes: Sequence[str] | None = None,
    content: bytes | None = None,
) -> Split:
    """Read one annotation file of COCO.

    Args:
        path: the annotation file.
        image_roots: folders in which the images may be; the one that has them is taken.
        split: name of the split.
        classes: class names in the order of the labels; by default the categories in the order of the file.
        content: the file's bytes, where the caller has them already.

    Raises:
        InputError: the file is no whole COCO file, or names an image, an id or a category twice.
    """
    document = decode(content if content is not None else read_content(path), _Document, path)
    del content
    refuse_without_images(document.images, path)
    _refuse_duplicates(document, path)
    problems: list[Problem] = []
    thorough = len(document.images) <= CHECKED_IMAGES
    if not thorough:
        detail = f"headers and crossing outlines are not checked beyond {CHECKED_IMAGES} images"
        problems.append(Problem(split, path.name, "not checked", detail))
    with _without_garbage_collection():
        folder = ImageFolder.choose(image_roots, (image.file_name for image in document.images))
        targets = _find_images(document.images, folder, split, thorough, problems)
        used = _used_categories(document.annotations)
        categories = _without_placeholder(document.categories, used, split, path, problems)
        known, ids, labels = _number_classes(categories, used, path, classes)
        reader = _AnnotationReader(targets, labels, split, path.name, thorough, problems)
        for position, raw in enumerate(document.annotations):
            reader.add(position, raw)
        records = tuple(
            ImageRecord(t.path, t.file_name, t.width, t.height, tuple(t.instances), t.id)
            for t in targets.values()
            if t is not None
        )
    return Split(split, known, ids, records, tuple(problems), "coco")


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the collector from walking millions of new objects again and again; none of them form circles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _refuse_duplicates(document: _Document, path: Path) -> None:
    images, categories = document.images, document.categories
    refuse_repeated((image.file_name for image in images), ("file name", "file names"), path)
    refuse_repeated((image.id for image in images), ("image id", "image ids"), path)
    refuse_repeated((category.id for category in categories), ("category id", "category ids"), path)
    refuse_repeated((str(category.name) for category in categories), ("category", "categories"), path)


def _find_images(
    images: Sequence[_Image], folder: ImageFolder, split: str, thorough: bool, problems: list[Problem]
) -> dict[Id, _Target | None]:
    """Return where each image's annotations go by image id; None for an image that is not usable."""
    numbered = all(isinstance(image.id, int) for image in images)
    targets: dict[Id, _Target | None] = {}
    for position, image in enumerate(images, start=1):
        path = folder.claim(image.file_name)
        stated = _stated_size(image)
        trusted = stated is not None and path is not None and not thorough
        size = stated if trusted else upright_size(path, image.file_name, folder, split)
        if isinstance(size, Problem) or size is None or path is None:
            targets[image.id] = None
            if isinstance(size, Problem):
                problems.append(size)
            continue
        if stated is not None and stated != size:
            detail = f"is {size[0]} x {size[1]} upright, the annotations say {stated[0]} x {stated[1]}"
            problems.append(Problem(split, image.file_name, "wrong size", detail))
        number = int(image.id) if numbered else position
        targets[image.id] = _Target(path, image.file_name, *size, number)
    return targets


def _stated_size(image: _Image) -> tuple[int, int] | None:
    if not image.width or not image.height or image.width < 0 or image.height < 0:
        return None
    return round(image.width), round(image.height)


def _used_categories(annotations: Sequence[msgspec.Raw]) -> Counter[Id]:
    """Count the annotations of each category id; broken records are reported when they are read."""
    decoder = msgspec.json.Decoder(_CategoryOf)
    used: Counter[Id] = Counter()
    for raw in annotations:
        with suppress(*_BROKEN):
            used[decoder.decode(raw).category_id] += 1
    return used


def _without_placeholder(
    categories: list[_Category], used: Counter[Id], split: str, path: Path, problems: list[Problem]
) -> list[_Category]:
    """Leave out the category 0 that Roboflow puts above all others, which no object has."""
    placeholder = next((c for c in categories if c.id == 0 and not used[0]), None)
    others = [category for category in categories if category is not placeholder]
    if placeholder is None or not others or any(c.supercategory != placeholder.name for c in others):
        return categories
    detail = f"category 0, {placeholder.name!r}, has no objects and stands above all others; left out"
    problems.append(Problem(split, path.name, "placeholder category", detail))
    return others


def _number_classes(
    categories: list[_Category], used: Counter[Id], path: Path, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[int, ...], dict[Id, int]]:
    """Return the class names, their category ids and the label of each category id.

    Categories without objects may be missing from `classes`; a class unknown to the file gets a new id.
    """
    id_of = {str(category.name): category.id for category in categories}
    known = tuple(classes) if classes is not None else tuple(id_of)
    refuse_unlisted([name for name, id_ in id_of.items() if name not in known and used[id_]], known, path)
    labels = {id_of[name]: label for label, name in enumerate(known) if name in id_of}
    taken = [id_ for id_ in id_of.values() if isinstance(id_, int)]
    if len(taken) < len(id_of):  # ids that are text cannot be kept
        return known, tuple(range(1, len(known) + 1)), labels
    free = iter(range(max(taken, default=0) + 1, max(taken, default=0) + 1 + len(known)))
    ids = tuple(int(id_of[name]) if name in id_of else next(free) for name in known)
    return known, ids, labels


@dataclass(slots=True)
class _AnnotationReader:
    """Puts annotations to their images and keeps account of what is wrong with them."""

    targets: Mapping[Id, _Target | None]
    labels: Mapping[Id, int]
    split: str
    source: str
    thorough: bool
    problems: list[Problem]

    def add(self, position: int, raw: msgspec.Raw) -> None:
        """Read one record of `annotations`."""
        try:
            annotation = _ANNOTATION.decode(raw)
        except _BROKEN as error:
            detail = f"annotations[{position}] is no annotation ({error}); dropped"
            self.problems.append(Problem(self.split, self.source, "malformed record", detail))
            return
        where = f"annotations[{position}]" if annotation.id is None else f"annotation {annotation.id}"
        if annotation.image_id not in self.targets:
            detail = f"{where} names the image id {annotation.image_id!r}, which no image has; dropped"
            self.problems.append(Problem(self.split, self.source, "unknown image", detail))
            return
        target = self.targets[annotation.image_id]
        if target is None:  # the image is missing or unreadable, and reported
            return
        label = self.labels.get(annotation.category_id)
        if label is None:
            detail = f"{where} has the category id {annotation.category_id!r}, which no category has; dropped"
            self.problems.append(Problem(self.split, target.file_name, "unknown category", detail))
            return
        instance = self._instance(annotation, label, target, where)
        if instance is not None:
            target.instances.append(instance)

    def _instance(self, annotation: _Annotation, label: int, target: _Target, where: str) -> Instance | None:
        kinds: dict[ProblemKind, str] = {}
        outlines, rle = self._segmentation(annotation, target, kinds)
        box = _box(annotation, outlines)
        fitted, kind = fit_box(box, target.width, target.height) if box else (None, "malformed record")
        if kind is not None:
            found = f"has the box ({', '.join(f'{value:g}' for value in box)})" if box else "states no box"
            outcome = "clipped" if fitted else "dropped"
            kinds[kind] = f"{found} in {target.width} x {target.height}; {outcome}"
        if fitted is None:
            kinds = {kind: kinds[kind]} if kind else {}
            result = None
        else:
            kept = self._fit_outlines(outlines, target, kinds)
            area = annotation.area
            if area is None or not 0 < area < float("inf") or "clipped" in kinds:
                area = _area(kept, rle, fitted)
            result = Instance(fitted, label, kept, rle, bool(annotation.iscrowd), area)
        for kind, detail in kinds.items():
            self.problems.append(Problem(self.split, target.file_name, kind, f"{where} {detail}"))
        return result

    def _segmentation(
        self, annotation: _Annotation, target: _Target, kinds: dict[ProblemKind, str]
    ) -> tuple[list[NDArray[np.float64]], dict[str, Any] | None]:
        """Return the outlines as they are stated and the run-length mask, either of which may be absent."""
        try:
            segmentation = _SEGMENTATION.decode(annotation.segmentation)
        except _BROKEN:
            kinds["unusable mask"] = "has a segmentation that is neither polygons nor RLE; kept by its box"
            return [], None
        if isinstance(segmentation, _Rle):
            if segmentation.size == (target.height, target.width):
                return [], {"size": list(segmentation.size), "counts": segmentation.counts}
            kinds["unusable mask"] = f"has an RLE of height, width {segmentation.size}; kept by its box"
            return [], None
        outlines = [_outline(flat) for flat in segmentation or () if flat and len(flat) % 2 == 0]
        if len(outlines) < len(segmentation or ()):
            kinds["degenerate polygon"] = "has an outline of no point or half a point; left out"
        return outlines, None

    def _fit_outlines(
        self, outlines: list[NDArray[np.float64]], target: _Target, kinds: dict[ProblemKind, str]
    ) -> tuple[NDArray[np.float64], ...]:
        kept = []
        for outline in outlines:
            fitted, kind = fit_polygon(outline, target.width, target.height, self.thorough)
            if fitted is not None:
                kept.append(fitted)
            if kind == "self-crossing polygon":
                kinds[kind] = "crosses or touches its own outline; kept with its box"
            elif kind == "clipped":
                kinds.setdefault(kind, "has an outline beyond the border; clipped")
            elif kind is not None:
                kinds["degenerate polygon"] = "has an outline that encloses nothing; left out"
        return tuple(kept)


def _outline(flat: list[float]) -> NDArray[np.float64]:
    return np.asarray(flat, np.float64).reshape(-1, 2).copy()  # a view would keep a second array object alive


def _box(annotation: _Annotation, outlines: list[NDArray[np.float64]]) -> Box | None:
    """Return the stated box, or the one around the outlines where none is stated."""
    if annotation.bbox is not None and len(annotation.bbox) == 4:
        x, y, width, height = annotation.bbox
        return stated_box((x, y, width, height), annotation.aerostat_box_xyxy)
    return polygons.bounds(np.concatenate(outlines)) if annotation.bbox is None and outlines else None


def _area(outlines: Sequence[NDArray[np.float64]], rle: Mapping[str, Any] | None, box_xyxy: Box) -> float:
    """Return the area of what is annotated where the file states none that holds."""
    if outlines:
        return sum(polygons.area(outline) for outline in outlines)
    return float(rle_area(rle["counts"])) or box_area(box_xyxy) if rle else box_area(box_xyxy)


def rle_area(counts: str | Sequence[int]) -> int:
    """Return the number of pixels in a run-length mask, plain or compressed as in COCO's maskApi."""
    runs = _decompress(counts) if isinstance(counts, str) else counts
    return sum(runs[1::2])


def _decompress(text: str) -> list[int]:
    """Return the runs of a compressed mask: six-bit digits, lowest first, each run less the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:  # more digits follow
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def write_coco(
    split: Split,
    path: Path,
    *,
    area: Literal["polygon", "box"] = "polygon",
    ids: Literal["kept", "from_zero"] = "kept",
    polygon_offset: float = 0.0,
) -> None:
    """Write a split as a COCO file that pycocotools loads.

    Args:
        split: what to write; file names as they are.
        path: the JSON file, replaced whole.
        area: ``polygon`` writes each object's own area, ``box`` the area of its box.
        ids: ``kept`` writes the split's image and category ids and numbers the annotations from 1, because
            COCO's evaluation takes the annotation id 0 for none; ``from_zero`` numbers all of them from 0.
        polygon_offset: pixels added to every coordinate of the outlines.
    """
    kept = ids == "kept"
    category_ids = split.category_ids if kept else tuple(range(len(split.classes)))
    numbers = count(1 if kept else 0)
    images, annotations = [], []
    for position, image in enumerate(split.images):
        image_id = image.id if kept else position
        images.append(
            {"id": image_id, "file_name": image.file_name, "height": image.height, "width": image.width}
        )
        for instance in image.instances:
            (width, height), extra = width_and_height(instance.box_xyxy)
            annotations.append(
                {
                    "image_id": image_id,
                    "id": next(numbers),
                    "category_id": category_ids[instance.label],
                    "bbox": [*instance.box_xyxy[:2], width, height],
                    "area": instance.area if area == "polygon" else box_area(instance.box_xyxy),
                    "segmentation": _written_segmentation(instance, polygon_offset),
                    "iscrowd": int(instance.crowd),
                    **extra,
                }
            )
    categories = [{"id": id_, "name": name} for id_, name in zip(category_ids, split.classes, strict=True)]
    info = {"description": "written by aerostat"}
    document = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_bytes(path, msgspec.json.encode(document))


def _written_segmentation(instance: Instance, offset: float) -> Any:
    if instance.rle is not None:
        return instance.rle
    return [(polygon + offset if offset else polygon).ravel().tolist() for polygon in instance.polygons]
