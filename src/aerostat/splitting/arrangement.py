"""What a split looks like: its data set, the table about it, and what was kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.splitting.pool import Pool
from aerostat.text import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_DEVIATION = 0.25
"""Relative deviation of a part from the size that was asked for, above which there is a warning."""
MAX_CLASSES = 12
"""Classes that the table has a row for; the others are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement:
    """A data set with new splits.

    Args:
        data: with the splits.
        groups: number of groups of like images that were kept together.
        grouped: number of images in them.
        largest: number of images in the largest of them; 0 if there is no group.
        warnings: what could not be done as it was asked for, a sentence each.
    """

    data: Dataset
    groups: int
    grouped: int
    largest: int
    warnings: tuple[str, ...]

    @staticmethod
    def of(
        pool: Pool, group_of: NDArray[np.int64], part_of: Sequence[str], shares: Mapping[str, float]
    ) -> Arrangement:
        """Return the arrangement of a pool.

        Args:
            pool: the images.
            group_of: (n,) group of each image.
            part_of: (n,) name of the split of each image.
            shares: that were asked for, by the name of the split; a split of 0 is not expected.
        """
        sizes = np.bincount(group_of)
        several = sizes[sizes > 1]
        data = pool.arranged(part_of)
        largest = int(several.max(initial=0))
        warnings = _warnings(data, shares, largest)
        return Arrangement(data, len(several), int(several.sum()), largest, tuple(warnings))

    def to_dict(self) -> dict[str, Any]:
        """Return the arrangement as JSON can hold it."""
        return {
            "classes": list(self.data.classes),
            "splits": {name: _numbers(split) for name, split in self.data.splits.items()},
            "groups": {"count": self.groups, "images": self.grouped, "largest": self.largest},
            "warnings": list(self.warnings),
        }

    def together(self) -> str:
        """Return a sentence about what was kept together.

        >>> Arrangement(Dataset((), {}), 2, 5, 3, ()).together()
        '2 groups of like images (5 images, at most 3 in one) stay together.'
        """
        if not self.groups:
            return "No like images were found, so each image is by itself."
        stay = "stays" if self.groups == 1 else "stay"
        return (
            f"{counted(self.groups, 'group')} of like images ({counted(self.grouped, 'image')}, at most "
            f"{self.largest} in one) {stay} together."
        )

    def render(self) -> RenderableType:
        """Return the table of splits, with images, objects and the share of each class."""
        return split_table(self.data)


def split_table(data: Dataset) -> RenderableType:
    """Return a table of splits: images, images without objects, objects, and the share of each class."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for name in data.splits:
        table.add_column(Text(name), justify="right")
    rows = [_numbers(split) for split in data.splits.values()]
    _add(table, "images", [row["images"] for row in rows])
    _add(table, "without objects", [row["images_without_objects"] for row in rows])
    _add(table, "objects", [row["objects"] for row in rows])
    shown = list(data.classes)[:MAX_CLASSES]
    for name in shown if len(data.classes) > 1 else []:
        _add(table, name, [row["objects_by_class"][name] for row in rows])
    if len(data.classes) > MAX_CLASSES:
        table.add_row(Text(f"and {counted(len(data.classes) - MAX_CLASSES, 'more class', 'more classes')}"))
    return table


def _add(table: Any, title: str, numbers: Sequence[int]) -> None:
    """Add a row with each number and its share of their sum."""
    from rich.text import Text

    total = sum(numbers) or 1
    table.add_row(Text(title), *(f"{number} ({100 * number / total:.0f} %)" for number in numbers))


def _numbers(split: Split) -> dict[str, Any]:
    objects = split.images.instances
    counts = np.bincount(objects.labels[~objects.crowd], minlength=len(split.classes)).tolist()
    there = np.unique(split.images.places[~objects.crowd])
    return {
        "images": len(split),
        "images_without_objects": len(split) - len(there),
        "objects": split.box_count,
        "objects_by_class": dict(zip(split.classes, counts, strict=True)),
    }


def _warnings(data: Dataset, shares: Mapping[str, float], largest: int) -> list[str]:
    total = sum(len(split) for split in data.splits.values())
    found = []
    for name, share in shares.items():
        got = len(data.splits[name]) if name in data.splits else 0
        wanted = share * total
        if share and abs(got - wanted) > max(1.0, MAX_DEVIATION * wanted):
            why = f"; the largest group of like images has {largest} of {total}" * (largest > 1)
            found.append(
                f"{name} has {got} of {counted(total, 'image')} ({got / total:.0%}) where {share:.0%} were "
                f"asked for{why}."
            )
    for label, name in enumerate(data.classes):
        holders = [
            split.name
            for split in data.splits.values()
            if (split.images.instances.labels[~split.images.instances.crowd] == label).any()
        ]
        if holders and "train" not in holders:
            found.append(f"All objects of {name!r} are in {holders[0]}, so it cannot be learned.")
    return found
