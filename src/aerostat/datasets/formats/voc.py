"""Pascal VOC: one XML file per image, as the VOC challenges, LabelImg, Roboflow, CVAT and ImageNet write it.

The form is that of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/. Coordinates are taken as they are
written, and the box of an object is (xmin, ymin, xmax, ymax). The VOC challenges counted pixels from 1 and
included the last one, so their boxes are larger by a pixel to the left and above when they are read so. Most
tools of today write plain coordinates, and no file says which it has. Nothing is subtracted or rounded.

`difficult` is kept. Outlines of Roboflow and rotated boxes of roLabelImg are read, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.clip import Box
from aerostat.datasets.formats.assembly import Findings, StatedImage, StatedObject, assemble
from aerostat.datasets.formats.checks import BrokenRecords, refuse_repeated
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.formats.voc_layout import FOLDERS, find, is_voc, listed_classes, stem_of
from aerostat.datasets.formats.voc_write import write
from aerostat.datasets.image_folder import ImageFolder
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.datasets.xml_text import Element, number, of_text, read_document, side
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries
from aerostat.progress import track
from aerostat.text import counted, shown

_MANY_FILES = 2000
"""Files from which on reading shows its progress."""


def may_begin(head: bytes) -> bool:
    """Return whether a file may be Pascal VOC by its beginning."""
    return is_voc(head)


def recognise(text: AnnotationText) -> bool:
    """Return whether a file is Pascal VOC."""
    return is_voc(text.head())


@dataclass(frozen=True, slots=True)
class _Document:
    """One XML file.

    Args:
        place: its path below the folder of annotations, without suffix.
        root: its content.
    """

    place: str
    root: Element


def read(files: SplitFiles, options: ReadOptions) -> Split:
    """Return the split that XML files describe.

    Raises:
        InputError: one of them is cut off or no VOC, or no image has annotations.
    """
    findings = Findings(files.split)
    texts: Iterable[AnnotationText] = files.texts
    if len(files.texts) >= _MANY_FILES:
        texts = track(texts, f"reading {files.annotations.name}")
    documents = [_document(text.path, files.annotations) for text in texts]
    _note_unlisted(documents, files, findings)
    broken = BrokenRecords(findings.problems, files.annotations)
    stated = []
    for name, document in zip(_image_names(documents, files, findings), documents, strict=True):
        stated.append(_image(name, document.root, findings))
        broken.refuse_too_many()
    if not stated:
        raise InputError(f"No image that {files.annotations} lists has an XML file; annotate them first.")
    refuse_repeated((image.file_name for image in stated), ("image", "images"), files.annotations)
    _note_masks(files, documents, findings)
    used = {o.name for image in stated for o in image.objects if o.name is not None}
    return assemble(
        stated, files, options, findings, format_name=FORMAT.name, classes=listed_classes(files, used)
    )


def _document(path: AnyPath, folder: AnyPath) -> _Document:
    root = read_document(path)
    if root.tag != "annotation":
        raise InputError(f"{path} is no Pascal VOC: expected <annotation>, found {shown(root.tag)}.")
    return _Document(stem_of(path, folder), root)


# ------------------------------------------------------------------------------------ which image


def _image_names(documents: Sequence[_Document], files: SplitFiles, findings: Findings) -> list[str]:
    """Return the name of the image of each file.

    `<filename>` counts if there is such an image and no other file names it. Else the image with the name of
    the XML file counts, because files are copied and renamed without a look at their content.
    """
    stated = [_stated_name(document) for document in documents]
    by_place = [document.place for document in documents]
    folder = ImageFolder.choose(files.image_roots, [name for name in stated if name] or by_place)
    found = [folder.find(name) if name else None for name in stated]
    times: dict[str, int] = {}
    for name in found:
        if name is not None:
            times[name] = times.get(name, 0) + 1
    names, moved = [], []
    for name, there, place in zip(stated, found, by_place, strict=True):
        own = None if there is not None and times[there] == 1 else folder.find(place)
        if own is not None and own != there:
            moved.append((name, own))
        names.append(own if own is not None else name or place)
    wrong = [(name, own) for name, own in moved if name]
    if wrong:
        what = f"{counted(len(wrong), 'image')} found by the name of the XML file"
        detail = f"{what}, first {shown(wrong[0][1])} in place of {shown(wrong[0][0])}"
        findings.add(wrong[0][1], "other name", detail)
    return names


def _stated_name(document: _Document) -> str:
    """Return what `<filename>` says, with the folder of the XML file if it has none itself."""
    name = of_text(document.root.find("filename"))
    above = document.place.rpartition("/")[0]
    if not name or not above or "/" in name or "\\" in name:
        return name
    return f"{above}/{name}"


def _note_unlisted(documents: Sequence[_Document], files: SplitFiles, findings: Findings) -> None:
    """Report the images of a list that have no XML file."""
    there = {document.place for document in documents}
    for name in files.images or ():
        if name not in there:
            detail = f"is in the list of {files.split} and has no XML file in {files.annotations}; left out"
            findings.add(name, "missing image", detail)


def _note_masks(files: SplitFiles, documents: Sequence[_Document], findings: Findings) -> None:
    """Count the pictures of masks that stand beside the annotations."""
    folder = files.annotations.parent / "SegmentationObject"
    if documents and folder.is_dir():
        names = {name.rpartition(".")[0] for name in entries(folder)[1]}
        findings.unread["pictures of masks"] += sum(d.place.rpartition("/")[2] in names for d in documents)


# ------------------------------------------------------------------------------------ content


def _image(name: str, root: Element, findings: Findings) -> StatedImage:
    objects = [
        stated
        for place, element in enumerate(root.findall("object"), start=1)
        for stated in _objects(element, f"object {place}", name, findings)
    ]
    size = root.find("size")
    width, height = (side(of_text(size.find(key))) if size is not None else 0 for key in ("width", "height"))
    return StatedImage(name, objects, (width, height) if width and height else None)


def _objects(element: Element, record: str, file_name: str, findings: Findings) -> list[StatedObject]:
    """Return the objects of an `<object>`: one for each of its boxes."""
    _count_unread(element, findings)
    name = of_text(element.find("name")) or None
    difficult = of_text(element.find("difficult")).lower() in ("1", "true")
    boxes = element.findall("bndbox")
    found = []
    for place, box in enumerate(boxes or [element], start=1):
        where = record if len(boxes) < 2 else f"{record}, box {place}"
        try:
            outlines = _outlines(element) if len(boxes) < 2 else ()
            corners = _corners(box) if boxes else None
        except ValueError as error:
            findings.add(file_name, "malformed record", f"{where} is no object: {error}; dropped", where)
            continue
        found.append(StatedObject(name, where, corners, outlines, difficult=difficult))
    return found


def _corners(box: Element) -> Box:
    x1, y1, x2, y2 = (number(box.findtext(key), key) for key in ("xmin", "ymin", "xmax", "ymax"))
    return x1, y1, x2, y2


def _outlines(element: Element) -> Sequence[NDArray[np.float64]]:
    """Return the outlines of an object: Roboflow's polygons, and the corners of roLabelImg's rotated box."""
    outlines = [_polygon(polygon) for polygon in element.findall("polygon") if len(polygon)]
    rotated = element.find("robndbox")
    return [*outlines, _rotated(rotated)] if rotated is not None else outlines


def _polygon(polygon: Element) -> NDArray[np.float64]:
    """Return the points of `<x1>`, `<y1>`, `<x2>`, `<y2>` and so on."""
    texts = {point.tag: point.text for point in polygon}
    count = len(texts) // 2
    points = [[number(texts.get(f"{axis}{n}"), f"{axis}{n}") for axis in "xy"] for n in range(1, count + 1)]
    return np.asarray(points, np.float64).reshape(-1, 2)


def _rotated(box: Element) -> NDArray[np.float64]:
    """Return the corners of a box that is turned by `<angle>` radians about its centre, clockwise."""
    cx, cy, width, height, angle = (number(box.findtext(key), key) for key in ("cx", "cy", "w", "h", "angle"))
    across = np.asarray((math.cos(angle), math.sin(angle))) * width / 2
    down = np.asarray((-math.sin(angle), math.cos(angle))) * height / 2
    centre = np.asarray((cx, cy))
    return np.stack(
        [centre - across - down, centre + across - down, centre + across + down, centre - across + down]
    )


_UNSTATED = ("", "unspecified", "unknown", "0", "false")
_UNREAD = {"pose": "poses", "truncated": "marks as truncated", "occluded": "marks as occluded"}
_UNREAD_GROUPS = {
    "part": "parts of objects",
    "actions": "lists of actions",
    "attributes": "lists of attributes",
}


def _count_unread(element: Element, findings: Findings) -> None:
    for child in element:
        if child.tag in _UNREAD:
            findings.unread[_UNREAD[child.tag]] += of_text(child).lower() not in _UNSTATED
        elif child.tag in _UNREAD_GROUPS:
            findings.unread[_UNREAD_GROUPS[child.tag]] += 1


FORMAT = Format(
    *("voc", "Pascal VOC", may_begin, recognise, read, write),
    per_image=True,
    suffix=".xml",
    folders=FOLDERS,
    find=find,
)
