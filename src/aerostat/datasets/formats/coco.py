"""COCO's annotation files (https://cocodataset.org/#format-data), `instances_*.json` and Roboflow's alike."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from aerostat.collector import gc_disabled
from aerostat.datasets.annotation_text import AnnotationText, decode, is_utf8, keys_of
from aerostat.datasets.clip import box_area
from aerostat.datasets.formats.checks import (
    BrokenRecords,
    refuse_repeated,
    refuse_unlisted,
    refuse_without_images,
)
from aerostat.datasets.formats.coco_decode import BROKEN, Id, heads_of, records_of
from aerostat.datasets.formats.coco_ids import IdIndex, meaning_of
from aerostat.datasets.formats.coco_records import (
    UNUSABLE,
    AnnotationReader,
    Batches,
    BatchesInMemory,
    BatchesOfFile,
    Targets,
    all_lack,
    categories_in_use,
    where_of,
)
from aerostat.datasets.formats.exact_box import width_and_height
from aerostat.datasets.formats.format import Format, SplitFiles, WriteOptions
from aerostat.datasets.image_folder import ImageFolder, Listings, upright_size
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import ProblemKind
from aerostat.datasets.records import (
    Images,
    Instance,
    Problem,
    Split,
    UnstatedClassError,
    whole_numbers,
)
from aerostat.errors import InputError
from aerostat.files import write_bytes
from aerostat.images.archive import AnyPath
from aerostat.images.location import FilesBelow
from aerostat.progress import track
from aerostat.text import listed, shown

PIXEL_CENTRE = 0.5
"""What the usual balloon converter adds to VIA's whole-numbered vertices: the middle of the pixel."""

CHECKED_IMAGES = 20_000
"""Images up to which headers are read and outlines tested for crossings; for more that takes minutes."""

SILENT_BATCHES = 128
"""Batches of annotations up to which no progress is shown."""


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: Any = None  # any value: a wrong one only costs a look at the header
    height: Any = None


class _Category(msgspec.Struct):
    id: Id
    name: str | int | float
    supercategory: Any = None  # it says nothing that is used


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[msgspec.Raw] | None  # decoded in batches: at once would take several times the memory
    categories: list[_Category] | None = None


class _LooseDocument(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw] | None
    categories: list[msgspec.Raw] | None = None


class _NumberedImage(msgspec.Struct):
    id: Id
    file_name: int | float
    width: Any = None
    height: Any = None


class _IdOf(msgspec.Struct):
    id: Id


_Row = TypeVar("_Row", _Image, _Category)
_IMAGES = msgspec.json.Decoder(list[_Image])
_CATEGORIES = msgspec.json.Decoder(list[_Category])


def read_coco(
    path: AnyPath,
    image_roots: Sequence[AnyPath],
    *,
    split: str,
    classes: Sequence[str] | None = None,
    text: AnnotationText | None = None,
    listings: Listings | None = None,
) -> Split:
    """Return one annotation file of COCO as a split.

    Args:
        path: the annotation file.
        image_roots: folders in which the images may be; the one that has them is taken.
        split: name of the split.
        classes: class names in the order of the labels; by default the categories in the order of the file.
        text: of the file, if the caller has looked at it already; its content is taken.
        listings: of the roots, as an earlier file of the split left them; this file adds its own.

    Raises:
        InputError: the file is no whole COCO file, or names an image, an id or a category twice.
    """
    problems: list[Problem] = []
    file = _read_file(text or AnnotationText(path), split, problems)
    refuse_without_images(file.images, path)
    _refuse_repeated_images(file.images, path)
    _refuse_without_image_ids(file.annotations, path)
    thorough = len(file.images) <= CHECKED_IMAGES
    if not thorough:
        detail = f"headers and crossing outlines are not checked beyond {CHECKED_IMAGES} images"
        problems.append(Problem(split, path.name, "not checked", detail))
    with gc_disabled():
        folder = ImageFolder.choose(image_roots, (image.file_name for image in file.images), listings)
        targets = _find_images(file.images, folder, split, thorough, problems)
        for id_ in file.unusable:
            targets.places.setdefault(id_, UNUSABLE)
        problems += folder.note(split)
        root = folder.root
        del folder  # it holds the names of all files
        file.images = []
        categories = _without_placeholder(file, split, path, problems)
        categories = _without_unused_twins(categories, file.annotations, split, path, problems)
        _refuse_repeated_categories(categories, path)
        known, ids, labels = _number_classes(categories, file.annotations, path, classes)
        with_unstated = _label_of_unstated(labels, known, categories, file.annotations, path)
        reader = AnnotationReader(targets, with_unstated, split, path.name, thorough, problems)
        broken = BrokenRecords(problems, path)
        for batch in _shown(file.annotations, path):
            broken.refuse_too_many()
            reader.add(batch)
        reader.finish()
        targets.places.clear()
        instances, offsets = reader.builder.finish(len(targets.ids))
    images = Images(
        tuple(targets.file_names),
        FilesBelow(root, tuple(targets.names)),
        targets.sizes.array(),
        whole_numbers(targets.ids),
        instances,
        offsets,
    )
    return Split(split, known, ids, images, tuple(problems), "coco")


@dataclass(slots=True)
class _File:
    """Content of a file; `unusable` holds the ids of images whose records are broken and reported."""

    images: list[_Image]
    unusable: Sequence[Id]
    categories: list[_Category]
    annotations: Batches


def _read_file(text: AnnotationText, split: str, problems: list[Problem]) -> _File:
    """Return the content of a file; the annotations of a large file are read when they are used.

    Raises:
        InputError: the file is no whole COCO file, or none of its images' records can be used.
    """
    layout = text.layout()
    if layout is not None and {"images", "annotations"} <= layout.arrays:
        try:
            images = [image for part in layout.texts("images") for image in _IMAGES.decode(part)]
            categories = (
                _CATEGORIES.decode(layout.text("categories")) if "categories" in layout.arrays else []
            )
        except BROKEN:
            pass  # decoding it whole tells which record is broken
        else:
            once = _once(categories, text.path, split, problems)
            return _File(images, (), once, BatchesOfFile(layout, "annotations"))
    document, unusable = _decode(text.take(), text.path, split, problems)
    once = _once(document.categories or [], text.path, split, problems)
    return _File(document.images, unusable, once, BatchesInMemory(document.annotations or []))


def _decode(
    content: bytes, path: AnyPath, split: str, problems: list[Problem]
) -> tuple[_Document, Sequence[Id]]:
    """Return the document, and the ids of images whose records cannot be used; both are reported.

    Raises:
        InputError: the file is no whole COCO file, or none of its images' records can be used.
    """
    try:
        document, unusable = decode(content, _Document, path), list[Id]()
    except InputError as error:
        if not is_utf8(content):
            raise
        loose = decode(content, _LooseDocument, path)
        images, unusable = _usable(loose.images, _Image, "images", path, split, problems)
        categories, _ = _usable(loose.categories or [], _Category, "categories", path, split, problems)
        if not images or (loose.categories and not categories):
            raise error from None
        document = _Document(images, loose.annotations, categories)
    return document, unusable


def _once(categories: list[_Category], path: AnyPath, split: str, problems: list[Problem]) -> list[_Category]:
    """Return the categories without those that are there twice, which are reported."""
    same = Counter((category.id, str(category.name)) for category in categories)
    for (id_, name), times in same.items():
        if times > 1:
            detail = f"category {shown(id_)}, {shown(name)}, is listed {times} times; counted once"
            problems.append(
                Problem(split, path.name, "repeated category", detail, f"category {str(id_)[:60]}")
            )
    return list({(category.id, str(category.name)): category for category in categories}.values())


def _usable(
    rows: Sequence[msgspec.Raw],
    shape: type[_Row],
    what: str,
    path: AnyPath,
    split: str,
    problems: list[Problem],
) -> tuple[list[_Row], list[Id]]:
    """Return the records that can be used, and the ids of the others as far as they have one."""
    usable: list[_Row] = []
    ids: list[Id] = []
    broken = BrokenRecords(problems, path)
    for number, raw in enumerate(rows):
        broken.refuse_too_many()
        where = f"{what}[{number}]"
        try:
            usable.append(msgspec.json.decode(raw, type=shape))
            continue
        except BROKEN as error:
            reason = error
        try:
            usable.append(msgspec.json.decode(raw, type=shape, strict=False))
            detail = f"{where} states a number in another form ({reason}); read as the number that it states"
            problems.append(Problem(split, path.name, "number in another form", detail, where))
            continue
        except BROKEN:
            pass
        try:
            numbered = msgspec.json.decode(raw, type=_NumberedImage) if shape is _Image else None
        except BROKEN:
            numbered = None
        if numbered is not None:
            name = str(numbered.file_name)
            usable.append(shape(numbered.id, name, numbered.width, numbered.height))
            detail = f"{where} states a number as its file name; read as the text {name[:40]!r}"
            problems.append(Problem(split, path.name, "number in another form", detail, where))
        else:
            detail = f"{where} is not a record of its kind ({reason}); left out with its objects"
            problems.append(Problem(split, path.name, "malformed record", detail, where))
            with contextlib.suppress(*BROKEN):
                ids.append(msgspec.json.decode(raw, type=_IdOf).id)
    return usable, ids


def _shown(batches: Batches, path: AnyPath) -> Iterable[bytes]:
    """Return the batches; progress is shown if there are more than `SILENT_BATCHES`."""
    if len(batches) <= SILENT_BATCHES:
        return batches.drain()
    return track(batches.drain(), f"reading {path.name}", total=len(batches))


def _refuse_repeated_images(images: Sequence[_Image], path: AnyPath) -> None:
    refuse_repeated((image.file_name for image in images), ("file name", "file names"), path)
    refuse_repeated((image.id for image in images), ("image id", "image ids"), path)


def _refuse_repeated_categories(categories: Sequence[_Category], path: AnyPath) -> None:
    refuse_repeated((category.id for category in categories), ("category id", "category ids"), path)
    refuse_repeated((str(category.name) for category in categories), ("category", "categories"), path)


def _refuse_without_image_ids(annotations: Batches, path: AnyPath) -> None:
    """Refuse a file none of whose annotations says which image it belongs to.

    Raises:
        InputError: naming the key that is missing.
    """
    if all_lack("image_id", annotations):
        first = _first_record(annotations)
        keys = listed([repr(key[:40]) for key in keys_of(first)], 8)
        raise InputError(
            f"{path} has annotations without the key 'image_id', which says to which image each belongs: "
            f"the first has {keys or 'no keys'}; export it again."
        )


def _first_record(annotations: Batches) -> msgspec.Raw:
    return records_of(next(iter(annotations)))[0]


def _find_images(
    images: Sequence[_Image], folder: ImageFolder, split: str, thorough: bool, problems: list[Problem]
) -> Targets:
    """Return the images that can be used."""
    numbers = [meaning_of(image.id) for image in images]
    numbered = all(isinstance(number, int) for number in numbers) and len(set(numbers)) == len(numbers)
    targets = Targets()
    for position, image in enumerate(images, start=1):
        name = folder.claim(image.file_name)
        stated = _stated_size(image)
        trusted = stated is not None and name is not None and not thorough
        size = stated if trusted else upright_size(name, image.file_name, folder, split)
        if isinstance(size, Problem) or size is None or name is None:
            targets.places[image.id] = UNUSABLE
            if isinstance(size, Problem):
                problems.append(size)
            continue
        if stated != size and not (image.width is None and image.height is None):
            said = stated or (_shortened(image.width), _shortened(image.height))
            detail = f"is {size[0]} x {size[1]} upright, the annotations say {said[0]} x {said[1]}"
            kind: ProblemKind = "swapped size" if stated == size[::-1] else "wrong size"
            problems.append(Problem(split, image.file_name, kind, detail))
        number = int(numbers[position - 1]) if numbered else position
        targets.add(image.id, image.file_name, name, size, number)
    return targets


def _stated_size(image: _Image) -> tuple[int, int] | None:
    """Return the size (width, height) that annotations state, None if they state none that an image has."""
    sides = image.width, image.height
    if not all(type(side) in (int, float) and 0 < side < 2**63 for side in sides):
        return None
    return round(image.width), round(image.height)


def _shortened(value: object) -> str:
    text = str(value) if isinstance(value, (int, float)) else repr(value)
    return text if len(text) <= 20 else f"{text[:20]}..."


def _without_placeholder(file: _File, split: str, path: AnyPath, problems: list[Problem]) -> list[_Category]:
    """Return the categories without Roboflow's category 0, which is above all others and has no objects."""
    placeholder = next((category for category in file.categories if meaning_of(category.id) == 0), None)
    others = [category for category in file.categories if category is not placeholder]
    if placeholder is None or not others or any(c.supercategory != placeholder.name for c in others):
        return file.categories
    if placeholder.id in _used(file.categories, file.annotations):
        return file.categories
    detail = f"category 0, {placeholder.name!r}, has no objects and is above all others; left out"
    problems.append(Problem(split, path.name, "placeholder category", detail))
    return others


def _without_unused_twins(
    categories: list[_Category], annotations: Batches, split: str, path: AnyPath, problems: list[Problem]
) -> list[_Category]:
    """Return the categories without those that have no objects and the name of one that has."""
    names = Counter(str(category.name) for category in categories)
    if max(names.values(), default=0) < 2 or len({c.id for c in categories}) < len(categories):
        return categories
    used = _used(categories, annotations)
    of_used = Counter(str(category.name) for category in categories if category.id in used)
    kept = []
    for category in categories:
        name = str(category.name)
        if category.id in used or names[name] == 1 or of_used[name] != 1:
            kept.append(category)
            continue
        where = f"category {str(category.id)[:60]}"
        detail = f"{where}, {shown(name)}, has no objects and the name of one that has; left out"
        problems.append(Problem(split, path.name, "repeated category", detail, where))
    return kept


def _used(categories: Sequence[_Category], annotations: Batches) -> set[Id]:
    """Return the ids of the categories that have objects, as the list of categories states them."""
    index = IdIndex({category.id: place for place, category in enumerate(categories)})
    found = (index.listed(id_) for id_ in categories_in_use(annotations))
    return {id_ for id_ in found if id_ is not None}


def _number_classes(
    categories: list[_Category],
    annotations: Batches,
    path: AnyPath,
    classes: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[int, ...], dict[Id | None, int]]:
    """Return the class names, their category ids and the label of each category id.

    Categories without objects may be missing from `classes`; a class unknown to the file gets a new id.
    """
    id_of = {str(category.name): category.id for category in categories}
    known = tuple(classes) if classes is not None else tuple(id_of)
    wanted = set(known)
    unlisted = [name for name in id_of if name not in wanted]
    used = _used(categories, annotations) if unlisted else set()
    refuse_unlisted([name for name in unlisted if id_of[name] in used], known, path)
    labels: dict[Id | None, int] = {id_of[name]: label for label, name in enumerate(known) if name in id_of}
    number_of = {name: meaning_of(id_) for name, id_ in id_of.items()}
    taken = [number for number in number_of.values() if isinstance(number, int)]
    if len(set(taken)) < len(id_of):  # ids that are text cannot be kept
        return known, tuple(range(1, len(known) + 1)), labels
    free = iter(range(max(taken, default=0) + 1, max(taken, default=0) + 1 + len(known)))
    ids = tuple(int(number_of[name]) if name in number_of else next(free) for name in known)
    return known, ids, labels


def _label_of_unstated(
    labels: dict[Id | None, int],
    known: Sequence[str],
    categories: Sequence[_Category],
    annotations: Batches,
    path: AnyPath,
) -> dict[Id | None, int]:
    """Return the labels, with one under None if no annotation states a category and there is one class.

    VIA writes its COCO files so if no attribute was chosen for the class. A record without a category beside
    others that have one is left to be reported: nothing tells what it is.

    Raises:
        UnstatedClassError: no annotation states a category, and the file lists none.
    """
    if (len(known) == 1 or not (known or categories)) and all_lack("category_id", annotations):
        if not known:
            first = where_of(heads_of(next(iter(annotations)))[0], 0)
            raise UnstatedClassError(
                f"{path} states no category for its annotations (category_id is null or missing, first "
                f"{first}) and lists none, so it takes one name, `classes=NAME`."
            )
        return {**labels, None: 0}
    return labels


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
                    **({"difficult": 1} if instance.difficult else {}),
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


# --- the format ---

_MARKS = (b'"images"', b'"annotations"', b'"categories"')


def _may_begin(head: bytes) -> bool:
    return head.startswith((b"{", b"[")) and any(mark in head for mark in _MARKS)


def _recognise(text: AnnotationText) -> bool:
    return text.is_json() and {"images", "annotations"} <= text.keys()


def _read(files: SplitFiles, options: ReadOptions) -> Split:
    (text,) = files.texts
    return read_coco(
        files.annotations,
        files.image_roots,
        split=files.split,
        classes=options.classes,
        text=text,
        listings=files.listings,
    )


def _write(split: Split, path: Path, options: WriteOptions) -> Counter[str]:
    if options.area == "box" and options.whole_pixels:  # as the usual balloon converter does
        write_coco(split, path, area="box", ids="from_zero", polygon_offset=PIXEL_CENTRE)
    else:
        write_coco(split, path, area=options.area)
    return Counter()


FORMAT = Format(
    "coco",
    "COCO",
    _may_begin,
    _recognise,
    _read,
    _write,
    states_classes=True,
    keeps_category_ids=True,
    outlines="masks",
    file_prefix="instances",  # COCO ships captions and key points of the same images beside the objects
)
