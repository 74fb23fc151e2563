"""LabelMe: one JSON file for each image, https://github.com/wkentaro/labelme.

Rectangles, polygons, circles and masks are objects; a line strip is read as the outline that it draws. A
point or a line has no extent and is dropped. Shapes of one label and one `group_id` are one object, as in
LabelMe's own converters. Shapes labelled ``__ignore__`` or ``_background_`` are no objects. Lines of a file
``labels.txt`` beside the annotations give the order of the classes.

The image is the file that `imagePath` names. If it is not there, it is the one with the name of the JSON
file, then the picture that `imageData` holds.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from aerostat.datasets.annotation_text import AnnotationText, decode, refuse_other_encoding
from aerostat.datasets.formats.assembly import Findings, Size, StatedImage, assemble
from aerostat.datasets.formats.checks import BrokenRecords
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.formats.labelme_shapes import NO_OBJECTS, objects_of
from aerostat.datasets.formats.labelme_write import LABELS_FILE, write_labelme
from aerostat.datasets.image_folder import ImageFolder
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import length_of
from aerostat.progress import track
from aerostat.text import counted, shown

_MAX_LABELS_BYTES = 1 << 20
_MANY = 2000
"""Files from which on progress is shown."""


class _Document(msgspec.Struct):
    shapes: msgspec.Raw
    imagePath: Any = None  # noqa: N815 - the names of the keys
    imageData: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815
    imageHeight: Any = None  # noqa: N815
    imageWidth: Any = None  # noqa: N815
    flags: Any = None


class _Embedded(msgspec.Struct):
    imageData: str  # noqa: N815


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """The location of an image that a LabelMe file holds as base64 text; it is decoded on opening.

    >>> EmbeddedImage(Path("a.json")).name
    'a.json#imageData'

    Args:
        path: of the JSON file.
    """

    path: AnyPath

    @property
    def name(self) -> str:
        """The path of the file, and the key in it."""
        return f"{self.path}#imageData"

    def open(self) -> BinaryIO:
        """Return the bytes of the image as a stream.

        Raises:
            OSError: the file cannot be read, or holds no image as text.
        """
        try:
            text = msgspec.json.decode(self.path.read_bytes(), type=_Embedded).imageData
            return io.BytesIO(base64.b64decode(text.rpartition(",")[2]))  # some begin as a data URL
        except (msgspec.MsgspecError, ValueError, binascii.Error):
            raise OSError(5, "imageData is not base64", str(self.path)) from None


@dataclass(slots=True)
class _File:
    """One file: its path, what it holds, and the names of its image."""

    path: AnyPath
    document: _Document
    shapes: list[Any]
    name: str
    own_name: str
    location: EmbeddedImage | None = None
    size: Size | None = None


def read_labelme(files: SplitFiles, options: ReadOptions) -> Split:
    """Read a split of LabelMe files.

    Args:
        files: where they stand.
        options: of reading.

    Raises:
        InputError: a file is cut off or no JSON, or two files contradict each other about one image.
    """
    findings = Findings(files.split)
    broken = BrokenRecords(findings.problems, files.annotations)
    texts: Iterable[AnnotationText] = files.texts
    if len(files.texts) > _MANY:
        texts = track(files.texts, f"reading {files.annotations.name}")
    parsed = _one_for_each_image(
        _with_images([_parse(text, files, findings) for text in texts], files, findings), findings
    )
    stated = []
    for file in parsed:
        broken.refuse_too_many()
        objects = objects_of(file.shapes, file.size, file.name, findings)
        stated.append(StatedImage(file.name, objects, file.size, location=file.location))
    used = {o.name for image in stated for o in image.objects}
    classes = files.classes or _listed_classes(files, used)
    return assemble(stated, files, options, findings, format_name="labelme", classes=classes)


def _parse(text: AnnotationText, files: SplitFiles, findings: Findings) -> _File:
    path = text.path
    document = decode(text.take(), _Document, path)
    roots = [_text_of(root) for root in files.image_roots]
    own = _below(_text_of(path.parent / path.stem), roots) or path.stem
    stated = document.imagePath if isinstance(document.imagePath, str) else ""
    name = _image_name(stated, path.parent, roots) or own
    try:
        shapes = msgspec.json.decode(document.shapes)
        if not isinstance(shapes, list):
            raise TypeError(f"found {shown(shapes)}")
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        refuse_other_encoding(document.shapes, path)
        detail = f"{path.name} has no list of shapes ({error}); kept without objects"
        findings.add(name, "malformed record", detail, "shapes")
        shapes = []
    if isinstance(document.flags, dict):
        findings.unread["flags of images"] += sum(map(bool, document.flags.values()))
    size = document.imageWidth, document.imageHeight
    known = all(type(side) is int and 0 < side < 1 << 31 for side in size) and size[0] * size[1] < 1 << 32
    embedded = len(document.imageData) > 4
    return _File(
        *(path, document, shapes, name, own),
        location=EmbeddedImage(path) if embedded else None,
        size=size if known else None,
    )


def _text_of(path: AnyPath) -> str:
    return str(path.absolute()).replace(os.sep, "/")


def _below(place: str, roots: Sequence[str]) -> str | None:
    """Return a path relative to the first root that it is below."""
    return next((place[len(root) + 1 :] for root in roots if place.startswith(f"{root}/")), None)


def _image_name(stated: str, folder: AnyPath, roots: Sequence[str]) -> str:
    """Return the name of an image below a root, from a path beside its JSON file.

    Args:
        stated: the path, perhaps one of Windows.
        folder: of the JSON file.
        roots: folders of images.
    """
    name = stated.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name):
        return _below(posixpath.normpath(name), roots) or name
    place = posixpath.normpath(f"{_text_of(folder)}/{name}") if name else ""
    name = posixpath.normpath(name) if name else ""
    return _below(place, roots) or re.sub(r"^(\.\./)+", "", name)


def _with_images(parsed: list[_File], files: SplitFiles, findings: Findings) -> list[_File]:
    """Decide for each file which image it is about."""
    folder = ImageFolder.choose(files.image_roots, (file.name for file in parsed))
    stems = {file.own_name for file in parsed}
    renamed = []
    for file in parsed:
        found = folder.find(file.name)
        stem = posixpath.splitext(file.name)[0]
        if found is None or (stem != file.own_name and stem in stems):
            own = folder.find(file.own_name)  # without a suffix: the only image of this name
            if own is not None and own != found:
                renamed.append((file, own))
                found = file.name = own
        if found is not None:
            file.location = None
    if renamed:
        file, own = renamed[0]
        stated = shown(file.document.imagePath)
        detail = (
            f"{counted(len(renamed), 'file')} with a stale imagePath, first {file.path.name}, which names "
            f"{stated}; taken for {shown(own)}"
        )
        findings.add(own, "other name", detail)
    return parsed


def _one_for_each_image(parsed: list[_File], findings: Findings) -> list[_File]:
    """Return one file for each image.

    Raises:
        InputError: two files with different shapes are about one image.
    """
    kept: dict[str, _File] = {}
    for file in parsed:
        other = kept.setdefault(file.name, file)
        if other is file:
            continue
        if other.shapes != file.shapes:
            raise InputError(
                f"{other.path} and {file.path} have different shapes for one image, {shown(file.name)}; keep "
                "one of them, or correct imagePath."
            )
        detail = f"has the same annotations as {other.path.name}"
        findings.add(file.path.name, "same annotations", detail)
    return list(kept.values())


def _listed_classes(files: SplitFiles, used: set[str | None]) -> tuple[str, ...]:
    """Return the classes that ``labels.txt`` beside the files lists, if it lists one that is used."""
    first = files.texts[0].path.parent
    for folder in dict.fromkeys((first, files.annotations, files.annotations.parent, first.parent)):
        path = folder / LABELS_FILE
        try:
            content = path.read_bytes() if length_of(path) <= _MAX_LABELS_BYTES else b""
            lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
        except (OSError, ValueError):
            continue
        names = tuple(dict.fromkeys(line for line in lines if line and line not in NO_OBJECTS))
        if used & set(names) or (names and not used):
            return names
    return ()


# --- the format ---


def _may_begin(head: bytes) -> bool:
    return head.startswith(b"{") and any(
        mark in head for mark in (b'"shapes"', b'"imagePath"', b'"imageData"')
    )


def _recognise(text: AnnotationText) -> bool:
    return text.is_json() and {"shapes", "imagePath"} <= text.keys()


FORMAT = Format(
    *("labelme", "LabelMe", _may_begin, _recognise, read_labelme, write_labelme),
    per_image=True,
    outlines="several",
    folders=("json", "annotations", "labels"),
)
