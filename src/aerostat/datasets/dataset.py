"""The one in-memory form of annotated images; every format reads into it and writes from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aerostat.datasets import formats
from aerostat.datasets.crowd import settle_crowd_marks
from aerostat.datasets.discover import Refusal, read_split, read_splits, refuse_unusable
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import Origin, ReadOptions
from aerostat.datasets.records import ONLY_SPLIT, OtherClassesError, Problem, Split, split_name
from aerostat.datasets.summary import data_card
from aerostat.errors import InputError
from aerostat.text import counted, listed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Dataset:
    """The splits of a data set, whose labels all index the same classes.

    Args:
        classes: class names.
        splits: by name, ``train`` before ``val`` before ``test``.
        origin: where the data were read from and how; None for data that were made in memory.
        left_out: splits that cannot be read and that training does not need, such as ``test``.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    origin: Origin | None = field(default=None, compare=False)
    left_out: tuple[Refusal, ...] = field(default=(), compare=False)

    @staticmethod
    def read(
        path: Path | str,
        classes: Sequence[str] | None = None,
        *,
        class_attribute: str | None = None,
        images: Path | str | None = None,
        strict: bool = False,
        from_format: str | None = None,
        splits: Mapping[str, Path | str] | None = None,
        options: ReadOptions | None = None,
    ) -> Dataset:
        """Return the data set at `path`, in any supported format; see `aerostat.datasets.layout`.

        Args:
            path: a folder with split folders, a folder with ``annotations/``, one split's folder, one
                annotation file, or a zip archive of any of these.
            classes: class names in the order of the labels; by default those of the data.
            class_attribute: the VIA region attribute that holds the class, where there are several.
            images: image folder; None searches beside the annotations.
            strict: refuse data if an image or an object would have to be dropped.
            from_format: the format of the annotations, such as ``coco``; None recognises it.
            splits: the annotations of each split by its name, where the folder does not tell.
            options: all options of reading at once; those above beat it.

        Raises:
            InputError: nothing usable is at `path`; the sentence names the file and the record.

        Example:
            ``Dataset.read("street", options=ReadOptions(only_classes=["car"]))``
        """
        given = {
            "classes": classes,
            "class_attribute": class_attribute,
            "images": images,
            "strict": strict or None,
            "from_format": from_format,
            "splits": splits,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return read_dataset(Path(path), replace(options or ReadOptions(), **changes))

    @staticmethod
    def read_again(origin: Origin) -> Dataset:
        """Return the data set read again from where it was, with the same options.

        Raises:
            InputError: nothing usable is at that path any more.
        """
        return read_dataset(origin.path, origin.options)

    def split(self, name: str) -> Split:
        """Return a split by name; the only split of a data set without names answers to any.

        Raises:
            InputError: there is no such split.
        """
        found = self.splits.get(split_name(name)) or self.splits.get(name)
        if found is None and list(self.splits) == [ONLY_SPLIT]:
            found = self.splits[ONLY_SPLIT]
        if found is None:
            for refusal in self.left_out:
                if refusal.split in (name, split_name(name)):
                    raise InputError(refusal.sentence)
            raise InputError(
                f"Expected a split named {name!r}, but the data set has only {', '.join(self.splits)}."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the data card as JSON can hold it: what is in each split, and what is wrong with it."""
        return data_card(self).to_dict()

    def __repr__(self) -> str:
        splits = [
            f"{name}: {counted(len(split), 'image')}, {counted(len(split.images.instances), 'object')}"
            for name, split in self.splits.items()
        ]
        classes = f"{counted(len(self.classes), 'class', 'classes')}: {listed(self.classes)}"
        return f"Dataset({'; '.join([classes, *splits])})"

    def _repr_html_(self) -> str:
        """Return the data card and some labelled images for a notebook."""
        from aerostat.datasets.notebook import dataset_html

        return dataset_html(self)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong in any split."""
        return tuple(problem for split in self.splits.values() for problem in split.problems)


def read_dataset(path: Path, options: ReadOptions) -> Dataset:
    """Return the data set at `path`, as `Dataset.read` does.

    Raises:
        InputError: nothing usable is at `path`; the sentence names the file and the record.
    """
    splits, left_out = read_splits(path, options)
    for refusal in left_out:
        _log.warning("The split %r is left out: %s", refusal.split, refusal.sentence)
    classes = next(iter(splits.values())).classes
    return Dataset(classes, splits, Origin.of(path, options), left_out)


def read_what_can_be_read(path: Path, options: ReadOptions) -> tuple[list[Dataset], list[Refusal]]:
    """Return one data set where `Dataset.read` does, else each split that can be read by itself.

    Raises:
        InputError: nothing at the path can be data, the classes must be named, or there is no such format.
    """
    if options.from_format is not None:
        formats.named(options.from_format)  # a slip in an option is no fault of the data
    try:
        data = read_dataset(path, options)
        return [data], list(data.left_out)
    except OtherClassesError:
        raise
    except InputError as error:
        why = error
    parts: list[Dataset] = []
    refusals: list[Refusal] = []
    for files in find_splits(path, options):
        try:
            split = read_split(files, options)
            if split.images:
                (split,) = settle_crowd_marks([split], options.crowd)
                parts.append(Dataset(split.classes, {split.name: split}, Origin.of(path, options)))
            else:
                refuse_unusable(split, files, strict=False)
        except InputError as error:
            refusals.append(Refusal(files.split, files.annotations, str(error)))
    if not refusals:  # each split is sound by itself
        refusals.append(Refusal(", ".join(name for part in parts for name in part.splits), path, str(why)))
    return parts, refusals
