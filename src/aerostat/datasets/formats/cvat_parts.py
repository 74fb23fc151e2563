"""From the shapes of CVAT to objects: an object may have several shapes of one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aerostat.datasets.clip import Box
from aerostat.datasets.formats.assembly import Findings, StatedObject
from aerostat.datasets.formats.cvat_shapes import (
    Floats,
    MaskBudget,
    Shape,
    bounds_of,
    box_of,
    coco_mask,
    outline_of,
)
from aerostat.datasets.xml_text import Element

_NO_GROUP = ("", "0")


@dataclass(frozen=True, slots=True)
class Part:
    """A shape of an object.

    Args:
        name: of the class; None if it names none.
        record: what messages call it.
        kind: of the shape.
        group: CVAT's `group_id`; empty for none.
        box_xyxy: of a box, or of a mask that cannot be placed.
        outline: (n, 2) of a polygon and the like.
        rle: of a mask.
    """

    name: str | None
    record: str
    kind: str
    group: str = ""
    box_xyxy: Box | None = None
    outline: Floats | None = None
    rle: Mapping[str, Any] | None = None


def part_of(
    shape: Shape,
    name: str | None,
    record: str,
    size: tuple[int, int] | None,
    budget: MaskBudget,
    group: str = "",
) -> Part:
    """Return the part that a shape is.

    Args:
        shape: of it.
        name: of its class; None if it names none.
        record: what messages call it.
        size: (width, height) of the image; None if it is not known, and a mask is then taken by its box.
        budget: of the masks of the file.
        group: CVAT's `group_id`; empty for none.

    Raises:
        ValueError: the shape is none; the text says why.
    """
    group = "" if group in _NO_GROUP else group
    if shape.mask is None:
        return Part(name, record, shape.kind, group, box_of(shape), outline_of(shape))
    if size is not None:
        return Part(name, record, shape.kind, group, rle=coco_mask(shape.mask, size, budget))
    box = bounds_of(shape.mask)
    if box is None:
        raise ValueError("the mask has no pixels")
    return Part(name, record, shape.kind, group, box)


def objects_of(parts: Sequence[Part]) -> list[StatedObject]:
    """Return the objects of an image, each where its first part stands.

    Polygons of one class and one group are one object, and so is one mask. The group may have one box, which
    is the box of the object. Any other group says no more than that objects belong together.
    """
    groups: dict[tuple[object, ...], list[Part]] = {}
    for place, part in enumerate(parts):
        groups.setdefault((part.group, part.name) if part.group else (place,), []).append(part)
    return [stated for group in groups.values() for stated in _objects_of_group(group)]


def _objects_of_group(group: Sequence[Part]) -> list[StatedObject]:
    kinds = [part.kind for part in group]
    others = len(group) - kinds.count("box")
    joined = kinds.count("box") <= 1 and others in (kinds.count("polygon"), min(kinds.count("mask"), 1))
    if not joined or any(part.kind == "box" and part.box_xyxy is None for part in group):
        return [stated for part in group for stated in [_object_of([part])]]
    return [_object_of(group)]


def _object_of(parts: Sequence[Part]) -> StatedObject:
    return StatedObject(
        parts[0].name,
        parts[0].record,
        next((part.box_xyxy for part in parts if part.box_xyxy is not None), None),
        [part.outline for part in parts if part.outline is not None],
        next((part.rle for part in parts if part.rle is not None), None),
    )


def count_unread(element: Element, findings: Findings) -> None:
    """Count what an element states beside its shape."""
    findings.unread["marks as occluded"] += element.get("occluded") == "1"
    findings.unread["attributes"] += len(element.findall("attribute"))
