"""CVAT for images 1.1 and CVAT for video 1.1: one XML file for a task, a job or a project.

The form is that of https://docs.cvat.ai/docs/other/xml_format/. Read are boxes, polygons, polylines (the
outline that they draw), ellipses, masks and cuboids (the box around them). A rotation is in degrees about the
centre of the shape. Points have no extent and are dropped. Skeletons, tags, attributes and marks as occluded
are counted.

Polygons of one label and one `group_id` on an image are parts of one object, as in CVAT's own COCO export. A
single box in such a group is the object's box. A mask may stand in place of the polygons.

The subsets of a project are splits. `cvat_tracks` says how videos are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats.assembly import Findings, StatedImage, assemble
from aerostat.datasets.formats.checks import BrokenRecords, refuse_repeated
from aerostat.datasets.formats.cvat_meta import DEFAULT_SUBSET, Meta, parse_meta, read_meta
from aerostat.datasets.formats.cvat_parts import count_unread, objects_of, part_of
from aerostat.datasets.formats.cvat_shapes import (
    FREE_STEPS,
    KINDS,
    STEPS_PER_BYTE,
    MaskBudget,
    parse_shape,
)
from aerostat.datasets.formats.cvat_tracks import Track, images_of_frames, parse_track, shapes_by_frame
from aerostat.datasets.formats.cvat_write import write
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split, split_name
from aerostat.datasets.xml_text import Element, records, root_tag, side
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.images.folders import entries, length_of

_MAX_LOOKED_AT = 20
"""XML files of a folder that are looked at for a project's."""


def may_begin(head: bytes) -> bool:
    """Return whether a file may be CVAT's by its beginning."""
    return root_tag(head) == "annotations"


def recognise(text: AnnotationText) -> bool:
    """Return whether a file is CVAT's."""
    head = text.head()
    return root_tag(head) == "annotations" and any(
        mark in head for mark in (b"<version", b"<meta", b"<image", b"<track")
    )


def find(path: AnyPath, images: AnyPath | None) -> list[SplitFiles]:
    """Return the splits of a project whose tasks are in several subsets; nothing for any other file.

    Args:
        path: the file, or a folder with one file of CVAT.
        images: folder of the images, if it was given.
    """
    if path.is_dir():
        names = sorted(name for name in entries(path)[1] if name.lower().endswith(".xml"))
        paths: list[AnyPath] = [path / name for name in names[:_MAX_LOOKED_AT]]
    else:
        paths = [path] if path.suffix.lower() == ".xml" else []
    texts = [text for text in map(AnnotationText, paths) if recognise(text)]
    if len(texts) != 1:
        return []
    (text,) = texts
    subsets = read_meta(text.path).subsets
    if len(subsets) < 2:
        return []
    root = images or text.path.parent
    return [
        SplitFiles(split_name(name), text.path, (text,), _roots(root, name), "cvat", subset=name)
        for name in subsets
    ]


def _roots(root: AnyPath, subset: str) -> tuple[AnyPath, ...]:
    folders = (root / "images" / subset, root / subset, root / "images")
    return (*(folder for folder in folders if folder.is_dir()), root)


# ------------------------------------------------------------------------------------ reading


@dataclass(slots=True)
class _Content:
    """What is gathered from a file.

    Args:
        meta: what it states before the annotations.
        images: of CVAT for images.
        tracks: of CVAT for video.
        tasks: ids of the tasks that the tracks belong to.
    """

    meta: Meta = field(default_factory=Meta)
    images: list[StatedImage] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    tasks: set[str] = field(default_factory=set)


def read(files: SplitFiles, options: ReadOptions) -> Split:
    """Return the split that a file, or one subset of it, describes.

    Raises:
        InputError: the file is cut off or malformed, names an image twice, or has frames of several videos.
    """
    path = files.texts[0].path
    findings = Findings(files.split)
    budget = MaskBudget(path, FREE_STEPS + STEPS_PER_BYTE * length_of(path))
    content = _content(files, findings, budget)
    if content.tracks and content.images:
        findings.unread["tracks beside images"] += len(content.tracks)
    elif content.tracks:
        content.images = _frames(content, files, findings, budget)
    refuse_repeated((image.file_name for image in content.images), ("image", "images"), path)
    return assemble(
        content.images, files, options, findings, format_name=FORMAT.name, classes=content.meta.classes
    )


def _content(files: SplitFiles, findings: Findings, budget: MaskBudget) -> _Content:
    path = files.texts[0].path
    content = _Content()
    broken = BrokenRecords(findings.problems, path)
    for number, element in enumerate(records(path)):
        if element.tag == "meta":
            content.meta = parse_meta(element)
            continue
        if element.tag not in ("image", "track"):
            continue
        if files.subset is not None and (element.get("subset") or DEFAULT_SUBSET) != files.subset:
            continue
        if element.tag == "track":
            content.tracks.append(parse_track(element, path.name, findings))
            content.tasks.add(element.get("task_id", ""))
        elif name := element.get("name"):
            content.images.append(_image(name, element, findings, budget))
        else:
            findings.add(
                path.name, "malformed record", f"element {number} is an image without name; left out"
            )
        broken.refuse_too_many()
    return content


def _image(name: str, element: Element, findings: Findings, budget: MaskBudget) -> StatedImage:
    width, height = side(element.get("width")), side(element.get("height"))
    size = (width, height) if width and height else None
    parts = []
    for place, shape in enumerate((part for part in element if part.tag in KINDS), start=1):
        if shape.tag == "skeleton":
            findings.unread["skeletons"] += 1
            continue
        count_unread(shape, findings)
        record = f"{shape.tag} {place}"
        try:
            label, group = shape.get("label") or None, shape.get("group_id", "")
            parts.append(part_of(parse_shape(shape), label, record, size, budget, group))
        except ValueError as error:
            findings.add(name, "malformed record", f"{record} is no object: {error}; dropped", record)
    findings.unread["tags of images"] += len(element.findall("tag"))
    return StatedImage(name, objects_of(parts), size)


def _frames(
    content: _Content, files: SplitFiles, findings: Findings, budget: MaskBudget
) -> list[StatedImage]:
    """Return the images of the frames of a video, also of those without objects.

    Raises:
        InputError: the tracks are those of several videos, whose frames have the same numbers.
    """
    path = files.texts[0].path
    if len(content.tasks) > 1:
        raise InputError(
            f"{path} has tracks of {len(content.tasks)} tasks, whose frames have the same numbers; export "
            "each task by itself, or as CVAT for images."
        )
    frames = content.meta.frames_of(files.subset)
    used = {s.frame for track in content.tracks for s in track.shapes if not s.outside}
    named = images_of_frames(files.image_roots, frames, used)
    stated = []
    for frame, shapes in shapes_by_frame(content.tracks, named, frames, path).items():
        name = named.get(frame, f"frame_{frame:06d}.png")
        objects = []
        for track, shape in shapes:
            record = track.record
            try:
                part = part_of(shape, track.name, record, frames.image_size, budget)
            except ValueError as error:
                findings.add(name, "malformed record", f"{record} is no object: {error}; dropped", record)
                continue
            objects += objects_of([part])
        stated.append(StatedImage(name, objects, frames.image_size))
    return stated


FORMAT = Format(
    "cvat", "CVAT", may_begin, recognise, read, write, suffix=".xml", outlines="several", find=find
)
