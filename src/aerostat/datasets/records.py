"""Annotated images: rows and columns of them, splits, and what was wrong on reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.instances import Instance as Instance
from aerostat.datasets.instances import InstanceBuilder, Instances, same_rows
from aerostat.datasets.problems import Problem as Problem
from aerostat.datasets.summary import card_of
from aerostat.errors import InputError
from aerostat.images.location import AnyLocation, FilesBelow, Location, location_of, path_of
from aerostat.text import counted, listed

SPLIT_NAMES = ("train", "val", "test")
"""Splits in the order in which people name them; ``valid`` and ``validation`` are read as ``val``."""


ONLY_SPLIT = "all"
"""Name of the one split of a data set whose folder or file names none."""


class OtherClassesError(InputError):
    """The data have other classes than those that were asked for; they can be read without asking."""


class UnstatedClassError(OtherClassesError):
    """An annotation file states no class for its objects, and no one class was asked for."""


def split_name(name: str) -> str:
    """Return the name by which a split called `name` is known: ``Valid`` and ``validation`` are ``val``."""
    lower = name.lower()
    return "val" if lower in ("valid", "validation") else lower if lower in SPLIT_NAMES else name


@dataclass(frozen=True, slots=True, init=False)
class ImageRecord:
    """One image and what is annotated on it.

    >>> record = ImageRecord("photos/a.jpg", "a.jpg", 640, 480, (Instance((5, 5, 20, 15), 0),))
    >>> record.instances.boxes_xyxy.tolist()
    [[5.0, 5.0, 20.0, 15.0]]

    Args:
        location: where it can be opened; the path of a file will do.
        file_name: its name as the annotation file states it.
        width, height: of the upright image, in pixels.
        instances: what is on it; empty for an image without objects.
        id: COCO's image id, kept on output.
    """

    location: Location
    file_name: str
    width: int
    height: int
    instances: Instances
    id: int

    def __init__(
        self,
        location: AnyLocation,
        file_name: str,
        width: int,
        height: int,
        instances: Iterable[Instance] = (),
        id: int = 0,
    ) -> None:
        put = object.__setattr__
        put(self, "location", location_of(location))
        put(self, "file_name", file_name)
        put(self, "width", width)
        put(self, "height", height)
        put(self, "instances", Instances.of(instances))
        put(self, "id", id)

    @property
    def path(self) -> Path:
        """The file that holds the image; the name of the location if the image is anywhere else."""
        return path_of(self.location) or Path(self.location.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the image and its objects as JSON can hold them."""
        return {
            "location": self.location.name,
            "file_name": self.file_name,
            "width": self.width,
            "height": self.height,
            "id": self.id,
            "instances": [instance.to_dict() for instance in self.instances],
        }

    def boxes_xyxy(self, crowd: bool = False) -> NDArray[np.float32]:
        """Return the boxes (n, 4), without crowd regions unless `crowd`."""
        boxes = self.instances.boxes_xyxy
        return (boxes if crowd else boxes[~self.instances.crowd]).astype(np.float32)

    def labels(self, crowd: bool = False) -> NDArray[np.int64]:
        """Return the labels (n,) in the order of `boxes_xyxy`."""
        labels = self.instances.labels
        return labels.copy() if crowd else labels[~self.instances.crowd]


@dataclass(frozen=True, slots=True, eq=False)
class Images(Sequence[ImageRecord]):
    """Images in columns, with their objects. Indexing gives one as an `ImageRecord`, a view of the columns.

    Args:
        file_names: (n,) as the annotation file states them.
        locations: (n,) where they can be opened.
        sizes: (n, 2) width and height of the upright images in pixels.
        ids: (n,) COCO's image ids.
        instances: the objects of all images, image by image.
        offsets: (n + 1,) where the objects of each image begin in `instances`.
    """

    file_names: tuple[str, ...]
    locations: Sequence[Location]
    sizes: NDArray[np.int64]
    ids: NDArray[Any]
    instances: Instances
    offsets: NDArray[np.int64]

    @staticmethod
    def of(rows: Iterable[ImageRecord]) -> Images:
        """Return rows in columns; columns stay as they are."""
        if isinstance(rows, Images):
            return rows
        rows = tuple(rows)
        builder = InstanceBuilder()
        for place, row in enumerate(rows):
            if len(row.instances):
                builder.add_all(place, row.instances)
        instances, offsets = builder.finish(len(rows))
        return Images(
            tuple(row.file_name for row in rows),
            tuple(row.location for row in rows),
            np.asarray([(row.width, row.height) for row in rows], np.int64).reshape(-1, 2),
            whole_numbers([row.id for row in rows]),
            instances,
            offsets,
        )

    @property
    def instance_counts(self) -> NDArray[np.int64]:
        """Number of objects (n,) on each image, crowd regions included."""
        return np.diff(self.offsets)

    @property
    def places(self) -> NDArray[np.int64]:
        """The image (m,) that each object of `instances` is on."""
        return np.repeat(np.arange(len(self)), self.instance_counts)

    def __len__(self) -> int:
        return len(self.file_names)

    @overload
    def __getitem__(self, place: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Images: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return self.chosen(range(len(self))[place])
        place = range(len(self))[place]  # refuses what lies outside
        start, stop = self.offsets[place : place + 2].tolist()
        width, height = self.sizes[place].tolist()
        return ImageRecord(
            self.locations[place],
            self.file_names[place],
            width,
            height,
            self.instances[start:stop],
            int(self.ids[place]),
        )

    def __eq__(self, other: object) -> bool:
        return same_rows(self, other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Images({len(self)} with {counted(len(self.instances), 'object')})"

    def chosen(self, places: Iterable[int]) -> Images:
        """Return the images at these places, in this order, with their objects."""
        rows = np.fromiter(places, np.int64)
        counts = self.instance_counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        listed = rows.tolist()
        return Images(
            tuple(self.file_names[row] for row in listed),
            self.locations.chosen(listed)
            if isinstance(self.locations, FilesBelow)
            else tuple(self.locations[row] for row in listed),
            self.sizes[rows],
            self.ids[rows],
            self.instances.chosen(np.repeat(self.offsets[:-1][rows], counts) + within),
            offsets,
        )


def whole_numbers(values: Sequence[int]) -> NDArray[Any]:
    """Return whole numbers (n,) as int64, or as objects where one does not fit into 64 bits."""
    try:
        return np.asarray(values, np.int64)
    except OverflowError:
        return np.asarray(values, object)


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """The images of one split, with the classes that their labels index.

    >>> record = ImageRecord("a.jpg", "a.jpg", 640, 480, (Instance((5, 5, 20, 15), 0),))
    >>> Split("train", ("kite",), (1,), Images.of([record]))
    Split('train', 1 image, 1 object of 1 class: kite)

    Args:
        name: ``train``, ``val``, ``test``, or what the source calls it.
        classes: class names.
        category_ids: original category ids, parallel to `classes`, restored on output.
        images: in the order of the source; a list of `ImageRecord` will do.
        problems: problems found on reading; each names its file.
        source_format: the format it was read from; empty if it was made in memory.
    """

    name: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: Images
    problems: tuple[Problem, ...] = field(default=())
    source_format: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", Images.of(self.images))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        objects = counted(len(self.images.instances), "object")
        classes = f"{counted(len(self.classes), 'class', 'classes')}: {listed(self.classes, 5)}"
        return f"Split({self.name!r}, {counted(len(self), 'image')}, {objects} of {classes})"

    def to_dict(self) -> dict[str, Any]:
        """Return the card of the split as JSON can hold it: what is in it, and what is wrong with it."""
        return asdict(card_of(self))

    def _repr_html_(self) -> str:
        """Return the card of the split and some labelled images for a notebook."""
        from aerostat.datasets.notebook import split_html

        return split_html(self)

    def sample(self, most: int) -> Split:
        """Return a split of at most `most` images, spread evenly over the whole."""
        if len(self) <= most:
            return self
        return self.chosen(np.linspace(0, len(self) - 1, most).round().astype(int))

    def chosen(self, places: Iterable[int]) -> Split:
        """Return a split of the images at these places, in this order, without the problems of reading."""
        return replace(self, images=self.images.chosen(places), problems=())

    def relabelled(self, classes: tuple[str, ...], category_ids: tuple[int, ...]) -> Split:
        """Return the split with other classes; labels follow the names.

        `classes` must contain every class name of this split.
        """
        place = {name: label for label, name in enumerate(classes)}
        label_of = np.asarray([place[name] for name in self.classes], np.int64)
        instances = self.images.instances
        images = replace(self.images, instances=instances.relabelled(label_of[instances.labels]))
        return replace(self, classes=classes, category_ids=category_ids, images=images)

    @property
    def box_count(self) -> int:
        """Number of boxes that training can use (crowd regions left out)."""
        return int((~self.images.instances.crowd).sum())
