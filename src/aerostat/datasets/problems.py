"""The one table of what can be wrong with annotated images: code, severity, loss and consequence of each.

Reading, the data card, strictness, `aerostat lint` and ``docs/lint.md`` all take their texts from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""`error`: an image or object is lost, or figures or boxes are wrong. `warning`: it is kept but probably not
what was meant. `note`: worth knowing."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

Lost = Literal["image", "object", "nothing"]

ProblemKind = str
"""What reading calls a problem, such as ``clipped``: a key of `CONSEQUENCES`."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of the table.

    Args:
        code: by which lint calls it; it stays the same between versions.
        severity: what it costs.
        lost: what is left out because of it.
        meaning: what it is, a clause.
        consequence: what training does about it, a clause.
        kinds: what reading calls it, with a shorter consequence for the data card; empty if lint finds it.
    """

    code: str
    severity: Severity
    lost: Lost
    meaning: str
    consequence: str
    kinds: Mapping[ProblemKind, str] = field(default_factory=dict)


_IMAGE_LEFT_OUT = "the image is left out with its objects"
_OBJECT_DROPPED = "the object is dropped, the image and its other objects stay"

PROBLEM_TYPES: tuple[ProblemType, ...] = (
    # files of images
    ProblemType(
        *("image-missing", "error", "image", "named by the annotations and not there", _IMAGE_LEFT_OUT),
        {"missing image": "left out with its objects"},
    ),
    ProblemType("image-empty", "error", "image", "a file of 0 bytes", _IMAGE_LEFT_OUT),
    ProblemType(
        *("image-unreadable", "error", "image"),
        "no image: a Git LFS pointer, a web page, an archive, or no header that is known",
        _IMAGE_LEFT_OUT,
        {"unreadable image": "left out with its objects"},
    ),
    ProblemType(
        *("image-unsupported", "error", "image"),
        "whole, but of a kind that is not read: 32-bit or floating-point pixels, raw files, clips",
        _IMAGE_LEFT_OUT,
        {"unsupported image": "left out with its objects"},
    ),
    ProblemType(
        "image-truncated",
        "error",
        "image",
        "a sound header, but the pixels end or break behind it",
        "another image is shown in its place; evaluation leaves it out with its objects",
    ),
    ProblemType(
        "image-boxes-other-orientation",
        "error",
        "nothing",
        "EXIF turns the image, but the boxes are those of the stored pixels, or may be by the stated size",
        "the image is turned upright and the boxes stay as they are, so they may be wrong",
    ),
    ProblemType(
        "image-size",
        "warning",
        "nothing",
        "the annotations state another size",
        "the size in the image file counts, not the stated one",
        {
            "wrong size": "the size in the image file counts",
            "swapped size": "the image is turned upright, its boxes stay as they are",
        },
    ),
    ProblemType(
        *("image-bits-unused", "warning", "nothing"),
        "16 bits per channel, and the values use a quarter or less of them, or are negative",
        "only the high byte is read, so the image is dark or flat",
    ),
    ProblemType(
        *("image-misnamed", "warning", "nothing", "a PNG called .jpg, and the like"),
        "the image is read as what it is",
    ),
    ProblemType(
        *("image-unreferenced", "warning", "nothing"),
        "stands among the images, and no annotations name it",
        "the image is not used",
    ),
    ProblemType(
        *("image-other-name", "note", "nothing", "found under another name than the annotations state"),
        "the file that was found is used",
        {"other name": "the file that was found is used"},
    ),
    ProblemType(
        *("image-rotated", "note", "nothing", "EXIF orientation other than 1"),
        "the image is turned upright, as in evaluation and prediction",
    ),
    # images that are alike
    ProblemType(
        *("duplicate-across-splits", "error", "nothing", "the same bytes or the same pixels in two splits"),
        "it is learned and then measured, so the figures are too good",
    ),
    ProblemType(
        *("duplicate-in-split", "warning", "nothing", "the same in one split"),
        "it counts as often as it is there",
    ),
    ProblemType(
        *("near-duplicate-across-splits", "warning", "nothing"),
        "nearly the same: compressed, resized, grey, cropped by a little",
        "nearly the same image is learned and then measured",
    ),
    ProblemType("near-duplicate-in-split", "note", "nothing", "the same in one split", "both are used"),
    ProblemType(
        *("same-scene-across-splits", "warning", "nothing"),
        "another photograph of the same scene: local features that moved together",
        "the same scene may be learned and then measured",
    ),
    # objects
    ProblemType(
        "object-unreadable",
        "error",
        "object",
        "a record of another form: text for a box, no category, a VIA point",
        "the record is left out, the image and its other objects stay",
        {"malformed record": "left out"},
    ),
    ProblemType(
        *("object-without-class", "error", "object", "a VIA region with no class, or several"),
        _OBJECT_DROPPED,
        {"no class": "object dropped"},
    ),
    ProblemType(
        *("image-unknown", "error", "object", "an annotation of an image that the file does not list"),
        "the object is dropped",
        {"unknown image": "object dropped"},
    ),
    ProblemType(
        *("category-unknown", "error", "object", "a category id that the file does not list"),
        _OBJECT_DROPPED,
        {"unknown category": "object dropped"},
    ),
    ProblemType("number-not-finite", "error", "object", "NaN or infinity in a box", _OBJECT_DROPPED),
    ProblemType(
        *("number-too-large", "error", "object", "beyond 2^31 in a box"),
        "the box is cut at the border, or dropped where it lies beyond",
    ),
    ProblemType(
        *("number-as-text", "warning", "nothing", '`"12"` for `12`, `7.0` for `7`'),
        "it is read as the number that it states",
        {"number in another form": "read as the number that it states"},
    ),
    ProblemType(
        *("box-outside", "error", "object", "nothing of it in the image", _OBJECT_DROPPED),
        {"outside the image": "object dropped"},
    ),
    ProblemType(
        *("box-empty", "error", "object", "no width or no height", _OBJECT_DROPPED),
        {"degenerate box": "object dropped"},
    ),
    ProblemType("box-swapped-corners", "error", "object", "a negative width or height", _OBJECT_DROPPED),
    ProblemType(
        *("box-derived", "note", "nothing", "no box, or one that cannot be used, but an outline or a mask"),
        "the box around the outline or mask counts",
        {"derived box": "the box around the outline or mask counts"},
    ),
    ProblemType(
        *("box-units", "error", "nothing"),
        "boxes in other units than pixels: all within 0 to 1, or within 0 to 100 of larger images",
        "they are learned as they stand, tiny and in a corner of the image",
    ),
    ProblemType(
        *("box-of-corners", "error", "nothing", "two corners where x, y, width and height are expected"),
        "they are learned as they stand, too large and cut at the border",
    ),
    ProblemType(
        *("box-other-than-outline", "warning", "nothing"),
        "the box lies elsewhere than the outline or mask of its object",
        "the box is learned as it stands",
    ),
    ProblemType(
        *("box-clipped", "warning", "nothing", "reaches out of the image by more than half a pixel"),
        "the box is cut at the border of the image",
        {"clipped": "kept, cut at the border of the image"},
    ),
    ProblemType(
        *("box-duplicate", "warning", "nothing", "two objects in one box, to a quarter of a pixel"),
        "both are learned",
    ),
    ProblemType(
        *("box-covers-image", "warning", "nothing", "99 % of the image or more"),
        "it is learned like any other",
    ),
    ProblemType(
        *("polygon-self-crossing", "warning", "nothing", "the outline crosses or touches itself"),
        "the object is kept; its mask leaves out what the outline encloses twice",
        {"self-crossing polygon": "kept, its box is sound"},
    ),
    ProblemType(
        *("polygon-degenerate", "warning", "nothing", "an outline that encloses nothing, or half a point"),
        "the object is kept by its box, without this outline",
        {"degenerate polygon": "kept by its box"},
    ),
    ProblemType(
        *("mask-unusable", "warning", "nothing"),
        "neither polygons nor RLE of the image's size, or RLE that is broken or empty",
        "the object is kept by its box",
        {"unusable mask": "kept by its box"},
    ),
    ProblemType(
        *("outline-within-outline", "warning", "nothing"),
        "an outline inside another one of its object, as if it were a hole",
        "it is filled; only a run-length mask can have holes",
    ),
    ProblemType("mask-with-holes", "note", "nothing", "a run-length mask with holes", "holes are background"),
    ProblemType(
        *("outline-tiny-part", "note", "nothing", "a part below 4 pixels beside a larger part of an object"),
        "it is learned like the rest of the object",
    ),
    ProblemType(
        *("shape-in-another-form", "note", "nothing", "one flat list for an outline, a list of points"),
        "it is read as what it states",
        {"shape in another form": "read as what it states"},
    ),
    ProblemType(
        *("crowd-marks-as-objects", "warning", "nothing"),
        "every object with an outline or mask is marked as a crowd region, as some tools write it",
        "they are learned and measured like other objects",
        {"crowd marks": "taken for plain objects"},
    ),
    ProblemType(
        *("crowd-marks-doubtful", "warning", "nothing"),
        "many objects with an outline or mask are marked as crowd regions, but not all",
        "what is marked is not learned, and matched softly in evaluation",
    ),
    ProblemType(
        *("field-ignored", "note", "nothing", "text for an area, and other values that are not needed"),
        "the object is kept without the value",
        {"ignored field": "kept without the value"},
    ),
    ProblemType(
        *("class-not-stated", "note", "nothing", "an object without a class where there is only one"),
        "it is taken for an object of this class",
        {"class not stated": "taken for the only class"},
    ),
    ProblemType(
        *("object-left-out", "note", "nothing", "of a class that was not asked for"),
        "the object is left out, the image and its other objects stay",
        {"class left out": "object left out, as asked for"},
    ),
    ProblemType(
        *("object-part-not-read", "note", "nothing", "key points, attributes, scores and the like"),
        "boxes, classes and outlines are read, the rest is not",
        {"not read": "boxes, classes and outlines are read"},
    ),
    # classes and whole files
    ProblemType(
        *("annotations-refused", "error", "nothing"),
        "cannot be read whole: cut off, an id or a file name twice, splits with different classes",
        "training refuses the data",
    ),
    ProblemType(
        *("category-repeated", "warning", "nothing", "the same id and name twice", "it is counted once"),
        {"repeated category": "counted once"},
    ),
    ProblemType(
        *("category-placeholder", "note", "nothing", "Roboflow's category 0 above all others"),
        "it is left out of the classes",
        {"placeholder category": "left out of the classes"},
    ),
    ProblemType(
        *("id-in-another-form", "note", "nothing", '`"7"` for `7` as the id of an image or a category'),
        "both are taken for the same id",
        {"id in another form": "taken for the same id"},
    ),
    ProblemType(
        *("attributes-equal", "note", "nothing", "several VIA attributes with the same values"),
        "the first of them is the class",
        {"equal attributes": "the first is the class"},
    ),
    ProblemType(
        *("category-ids-with-holes", "note", "nothing", "1, 2, 4"),
        "labels count from 0 without holes; the ids are kept on output",
    ),
    ProblemType(
        *("category-id-too-large", "note", "nothing", "from 2^31 on"),
        "it is kept; tools with 32-bit ids cannot hold it",
    ),
    ProblemType(
        *("annotations-repeated", "note", "nothing", "two files with the same annotations"),
        "they count once",
        {"same annotations": "counted once"},
    ),
    ProblemType(
        *("class-without-objects", "warning", "nothing", "in no split"),
        "nothing of it can be learned or measured",
    ),
    ProblemType(
        *("class-in-one-split", "warning", "nothing", "in one split and in no other"),
        "it is learned and never measured, or measured and never learned",
    ),
    ProblemType(
        *("classes-alike", "warning", "nothing"),
        "names that differ in case, blanks, hyphens or a plural s only",
        "each is a class of its own",
    ),
    ProblemType(
        *("image-in-several-splits", "error", "nothing", "two splits name the same file"),
        "it is learned and then measured, so the figures are too good",
    ),
    ProblemType(
        *("not-looked-at", "note", "nothing", "pixels or headers that were left out, and how many"),
        "a problem there is found when the image is used, and logged",
        {"not checked": "trusted as stated"},
    ),
)
"""All types of problem, in the order in which lint and its page list them."""


TYPE_OF_CODE: Mapping[str, ProblemType] = {row.code: row for row in PROBLEM_TYPES}

TYPE_OF_KIND: Mapping[ProblemKind, ProblemType] = {kind: row for row in PROBLEM_TYPES for kind in row.kinds}

PROBLEM_KINDS: tuple[ProblemKind, ...] = tuple(
    sorted(TYPE_OF_KIND, key=lambda kind: TYPE_OF_KIND[kind].lost == "nothing")
)
"""Kinds of problem that reading meets; those that lose an image or an object come first."""

CONSEQUENCES: Mapping[ProblemKind, str] = {kind: TYPE_OF_KIND[kind].kinds[kind] for kind in PROBLEM_KINDS}
"""What reading does about each kind of problem, for the data card."""

LOSSES: frozenset[ProblemKind] = frozenset(k for k, row in TYPE_OF_KIND.items() if row.lost != "nothing")
"""Kinds of problem that lose an image or an object; strict reading refuses them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem is an annotation that was dropped, clipped, or kept although doubtful.

    Args:
        split: name of the split.
        file_name: the image concerned.
        kind: what happened, a key of `CONSEQUENCES`.
        detail: one clause for a person: which record, what was found, what was done.
        record: the annotation or region concerned; empty if it is the image or the file.
        box_xyxy: the box as it is stated, where the problem is about one.
    """

    split: str
    file_name: str
    kind: ProblemKind
    detail: str
    record: str = ""
    box_xyxy: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in CONSEQUENCES:
            raise ValueError(f"{self.kind!r} is not in the table of problems; add a row for it")
