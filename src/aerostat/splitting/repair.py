"""The fewest moves of images after which no group of like images crosses the splits of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.splitting.arrangement import Arrangement
from aerostat.splitting.pool import Pool
from aerostat.splitting.similar import SimilarImages, arrange_until_settled
from aerostat.text import counted


@dataclass(frozen=True, slots=True)
class Move:
    """An image that goes to another split, and an image there that it is like."""

    file_name: str
    before: str
    after: str
    like: str

    def line(self) -> str:
        """Return the move as a person reads it.

        >>> Move("a.jpg", "val", "train", "b.jpg").line()
        'val/a.jpg -> train, like b.jpg'
        """
        return f"{self.before}/{self.file_name} -> {self.after}, like {self.like}"


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """Moves that keep like images in one split.

    Args:
        moves: by the split that an image leaves, then by name.
        crossing: number of groups of like images that crossed the splits.
        sizes_before: images of each split.
        arrangement: the data after the moves.
    """

    moves: tuple[Move, ...]
    crossing: int
    sizes_before: dict[str, int]
    arrangement: Arrangement

    def to_dict(self) -> dict[str, Any]:
        """Return the repair as JSON can hold it."""
        return {
            "crossing_groups": self.crossing,
            "moves": [
                {"file_name": m.file_name, "from": m.before, "to": m.after, "like": m.like}
                for m in self.moves
            ],
            "images_before": self.sizes_before,
            **self.arrangement.to_dict(),
        }

    def summary(self) -> str:
        """Return a sentence: how many groups crossed, and what the moves do to the splits."""
        if not self.moves:
            return "No group of like images crosses the splits, so nothing has to be moved."
        after = {name: len(split) for name, split in self.arrangement.data.splits.items()}
        sizes = ", ".join(f"{name} {old} -> {after.get(name, 0)}" for name, old in self.sizes_before.items())
        crosses = "crosses" if self.crossing == 1 else "cross"
        return (
            f"{counted(self.crossing, 'group')} of like images {crosses} the splits; "
            f"{counted(len(self.moves), 'move')} would mend that (images: {sizes})."
        )


def repair(data: Dataset) -> Repair:
    """Return the moves after which no group of like images crosses the splits of a data set.

    First val and test keep their sizes as well as possible, then the fewest images are moved.

    Args:
        data: with at least two splits; the pixels of all images are looked at.

    Raises:
        InputError: there is one split only.

    Example:
        >>> repair(ae.Dataset.read("photos/")).moves  # doctest: +SKIP
    """
    if len(data.splits) < 2:
        raise InputError(
            f"Expected data with two splits or more for `repair`, found {', '.join(data.splits)} alone; "
            "split them first."
        )
    pool = Pool.of(data)
    before = pool.split_names
    names = list(data.splits)
    number = {name: place for place, name in enumerate(names)}
    split_of = np.asarray([number[name] for name in before], np.int64)
    similar = SimilarImages.of(pool)
    similar.add_across(before)

    def mend(groups: NDArray[np.int64]) -> Sequence[str]:
        home = homes(_members(groups, split_of, len(names)))
        return [names[place] for place in home[groups].tolist()]

    groups, after = arrange_until_settled(similar, mend)
    crossing = int(((_members(groups, split_of, len(names)) > 0).sum(axis=1) > 1).sum())
    moves = _moves(pool.file_names, before, after, groups)
    sizes = {name: len(split) for name, split in data.splits.items()}
    return Repair(moves, crossing, sizes, Arrangement.of(pool, groups, after, {}))


def _members(groups: NDArray[np.int64], split_of: NDArray[np.int64], splits: int) -> NDArray[np.int64]:
    """Return how many images (g, s) of each group are in each split."""
    members = np.zeros((int(groups.max(initial=-1)) + 1, splits), np.int64)
    np.add.at(members, (groups, split_of), 1)
    return members


def homes(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the split (g,) that each group goes to as a whole.

    Each group first goes to the split that has most of it, which moves the fewest images. Then groups are
    sent elsewhere while that brings the sizes of the splits nearer to what they were; those come first that
    gain most for each further image that is moved.

    Args:
        members: (g, s) number of images of each group in each split; a group goes where it has one.

    >>> homes(np.array([[3, 1], [3, 1], [3, 1], [0, 4]])).tolist()
    [1, 0, 0, 1]
    """
    wanted = members.sum(axis=0)
    sizes = members.sum(axis=1)
    home = members.argmax(axis=1) if len(members) else np.zeros(0, np.int64)
    crossing = np.flatnonzero((members > 0).sum(axis=1) > 1)
    size, part = sizes[crossing], members[crossing]
    here = np.arange(len(crossing))
    while len(crossing):
        now = np.bincount(home, sizes, members.shape[1])
        off = now - wanted
        old = home[crossing]
        # Change of the summed deviation if a group of this size leaves its split for another.
        leaving = np.abs(off[old] - size) - np.abs(off[old])
        entering = np.abs(off[None] + size[:, None]) - np.abs(off[None])
        gain = -(leaving[:, None] + entering)
        gain[here, old] = 0
        gain[part == 0] = 0
        cost = part[here, old][:, None] - part  # more images moved than now; fewer if negative
        worth = np.where(gain > 0, gain / (np.maximum(cost, 0) + 0.5), 0.0)
        best = int(worth.argmax())
        if worth.flat[best] <= 0:
            break
        group, split = divmod(best, members.shape[1])
        home[crossing[group]] = split
    return home


def _moves(
    names: Sequence[str], before: Sequence[str], after: Sequence[str], groups: NDArray[np.int64]
) -> tuple[Move, ...]:
    there: dict[int, str] = {}
    for name, old, new, group in zip(names, before, after, groups.tolist(), strict=True):
        if old == new:
            there.setdefault(group, name)
    moves = [
        Move(name, old, new, there.get(group, ""))
        for name, old, new, group in zip(names, before, after, groups.tolist(), strict=True)
        if old != new
    ]
    return tuple(sorted(moves, key=lambda move: (move.before, move.file_name)))
