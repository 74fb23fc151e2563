"""What an annotation format is to the rest of aerostat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.image_folder import Listings
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split
from aerostat.images.archive import AnyPath

LEFT_OUT = "crowd regions left out"
"""Objects that `Format.write` counts by this name are not in the file.

Objects that it counts as "outlines", "masks" or "difficult marks" are written without these.
"""


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """Where one split stands.

    Args:
        split: its name.
        annotations: the annotation file, or the folder of annotation files of a format with one per image.
        texts: of the annotation file, or of the files. Several files of a format with one file per split are
            read one by one: equal ones count once, those of different images are joined.
        image_roots: folders in which the images may be, the likeliest first.
        format: name of the format, if it is known; empty if the content of the texts has to tell.
        images: names of the split's images below the first of the roots, if a list says which they are; None
            if the annotations name them.
        classes: names that a list beside the annotations gives to the classes, in the order of their numbers.
        subset: what the annotations call the split, if one file holds several; None to read the whole file.
        listing: the file or folder that lists the splits and their images; None if no file does.
        listings: of the folders of images. The files of a split share them, so that each of ten thousand
            does not list ten thousand images.
    """

    split: str
    annotations: AnyPath
    texts: tuple[AnnotationText, ...]
    image_roots: tuple[AnyPath, ...]
    format: str = ""
    images: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    subset: str | None = None
    listing: AnyPath | None = None
    listings: Listings = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of writing annotations.

    Args:
        area: whether the area of an object is its own or that of its box, where the format states areas.
        whole_pixels: whether the coordinates come from a format that counts whole pixels; see `Format`.
        scores: (n,) confidence of all objects of the split in their order, if a model has found them. Formats
            that tell predictions from annotations write predictions.
        model: name of that model.
    """

    area: Literal["polygon", "box"] = "polygon"
    whole_pixels: bool = False
    scores: Sequence[float] | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """An annotation format. To add one, write a module that makes one of these, and list it in `FORMATS`.

    Args:
        name: by which callers name it, such as ``coco``.
        title: by which people call it, such as ``COCO``.
        may_begin: says of the beginning of a file whether the format may begin so. The beginning has at most
            64 KiB, is UTF-8 and has no white space before it. The answer must be quick: all files beside
            images are asked.
        recognise: says of a whole file whether it is of the format.
        read: reads one split.
        write: writes a split to a file, or for a format with one file per image into a folder. It returns
            how many objects were written as less than they are, by what was lost.
        per_image: whether there is one annotation file per image, and not one per split.
        suffix: of written files.
        states_classes: whether its files state all classes, and not only show those in use.
        keeps_category_ids: whether its categories have ids of their own, which are kept on output.
        outlines: what of an object's extent it states beside the box: nothing (``box``), one outline at most
            (``one``), several outlines (``several``), or run lengths, too (``masks``).
        whole_pixels: whether tools write coordinates as numbers of pixels, so that the middle of a pixel is
            half a pixel further.
        folders: names of folders beside the images in which its files may be, such as ``labels``.
        file_prefix: with which the name of the right file begins, where several describe one split.
        find: returns the splits of a folder in a layout that only this format has, such as one with a file
            that lists images and classes; nothing if the folder has another layout. It gets a file, too, if
            that file was given as the data. The second argument is the folder of the images, if it was given.
        image_places: says where the images of a split belong if they are brought along: for each its path in
            the written folder, with slashes. None puts them below ``images``, or beside annotation files of
            their own.
        write_all: writes all splits into one folder, for a format with a file about all of them and their
            classes. It returns what `write` does, by split.
    """

    name: str
    title: str
    may_begin: Callable[[bytes], bool]
    recognise: Callable[[AnnotationText], bool]
    read: Callable[[SplitFiles, ReadOptions], Split]
    write: Callable[[Split, Path, WriteOptions], Counter[str]]
    per_image: bool = False
    suffix: str = ".json"
    states_classes: bool = False
    keeps_category_ids: bool = False
    outlines: Literal["box", "one", "several", "masks"] = "box"
    whole_pixels: bool = False
    folders: tuple[str, ...] = ()
    file_prefix: str = ""
    find: Callable[[AnyPath, AnyPath | None], list[SplitFiles]] | None = None
    image_places: Callable[[Split], Sequence[str]] | None = None
    write_all: Callable[[Mapping[str, Split], Path, WriteOptions], Mapping[str, Counter[str]]] | None = None
