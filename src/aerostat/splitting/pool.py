"""The images of all splits in one order that does not depend on the order of the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Images, Problem, Split


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The images of a data set in one row.

    Args:
        data: the data set.
        places: (n, 2) number of the split, and place of the image in it, sorted by name, split and size.
    """

    data: Dataset
    places: tuple[tuple[int, int], ...]

    @staticmethod
    def of(data: Dataset) -> Pool:
        """Return the images of all splits of a data set."""
        keyed = []
        for number, split in enumerate(data.splits.values()):
            sizes = split.images.sizes.tolist()
            for place, name in enumerate(split.images.file_names):
                keyed.append((name, split.name, sizes[place], number, place))
        keyed.sort(key=lambda entry: entry[:3])
        return Pool(data, tuple((number, place) for *_, number, place in keyed))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits of the data."""
        return tuple(self.data.splits.values())

    @property
    def file_names(self) -> list[str]:
        """The name (n) of each image as its annotations state it."""
        return [self.splits[number].images.file_names[place] for number, place in self.places]

    @property
    def split_names(self) -> list[str]:
        """The split (n) that each image is in."""
        return [self.splits[number].name for number, _ in self.places]

    def objects(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return image (k,) and label (k,) of each object that is no crowd region."""
        images, labels = [], []
        rows = [np.zeros(len(split), np.int64) for split in self.splits]
        for row, (number, place) in enumerate(self.places):
            rows[number][place] = row
        for split, row_of in zip(self.splits, rows, strict=True):
            objects = split.images.instances
            images.append(row_of[split.images.places[~objects.crowd]])
            labels.append(objects.labels[~objects.crowd])
        return np.concatenate(images), np.concatenate(labels).astype(np.int64)

    def arranged(self, part_of: Sequence[str]) -> Dataset:
        """Return the data set with each image in the split that `part_of` (n) names.

        Images keep the order in which the data have them. Ids that two splits share are given out again.
        """
        chosen: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (number, place), name in zip(self.places, part_of, strict=True):
            chosen[name][number].append(place)
        ids = [id_ for split in self.splits for id_ in split.images.ids.tolist()]
        renumbered = len(set(ids)) < len(ids)
        splits, number_from = {}, 1
        for name in sorted(chosen, key=_rank):
            split = _joined(name, self.splits, chosen[name])
            if renumbered:
                new = np.arange(number_from, number_from + len(split), dtype=np.int64)
                split = replace(split, images=replace(split.images, ids=new))
                number_from += len(split)
            splits[name] = split
        return Dataset(self.data.classes, _with_problems(splits, self.splits, self.data.problems))


def _rank(name: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(name) if name in known else len(known), name)


def _joined(name: str, splits: Sequence[Split], places: Mapping[int, Iterable[int]]) -> Split:
    """Return a split of images of several splits."""
    parts = [splits[number].chosen(sorted(places[number])) for number in sorted(places)]
    first = splits[min(places)]
    if len(parts) == 1:
        return replace(parts[0], name=name)
    formats = {split.source_format for split in splits}
    return Split(
        name,
        first.classes,
        first.category_ids,
        Images.of(record for part in parts for record in part.images),
        source_format=formats.pop() if len(formats) == 1 else "",
    )


def _with_problems(
    splits: Mapping[str, Split], before: Sequence[Split], problems: Sequence[Problem]
) -> dict[str, Split]:
    """Return splits with the problems of their images; those of images left out stand in the first split."""
    home = {(old.name, file): old.name for old in before for file in old.images.file_names}
    now: dict[str, list[str]] = defaultdict(list)
    for split in splits.values():
        for file in split.images.file_names:
            now[file].append(split.name)
    first = next(iter(splits))
    found: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        names = now.get(problem.file_name, []) if (problem.split, problem.file_name) in home else []
        # If two splits have an image of this name, the problem is stated for the first of them.
        name = problem.split if problem.split in names else names[0] if names else first
        found[name].append(replace(problem, split=name))
    return {name: replace(split, problems=tuple(found[name])) for name, split in splits.items()}
