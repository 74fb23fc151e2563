"""Groups of images dealt to the parts of a split, so that each part gets its share of each class.

This is the iterative stratification of K. Sechidis, G. Tsoumakas and I. Vlahavas, On the Stratification of
Multi-Label Data (ECML PKDD 2011). There one example has labels; here one group of images has numbers of
objects. What is scarce is dealt first, each time to the part that lacks most of it. Of a few images some have
many times the objects of others, so groups are swapped in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.text import counted

MAX_SWAPPED = 2000
"""Groups up to which parts are evened out by swaps. Of more the shares are within 1 % without them."""
MAX_SWAPS = 100
"""Maximum number of swaps between two parts; a few are usual."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupCounts:
    """What each group of images holds.

    Args:
        sizes: (g,) number of images in each group.
        groups: (m,) group of each count, rising.
        labels: (m,) label of each count; no pair of group and label is there twice.
        counts: (m,) number of objects, or of images without objects, all above 0.
        label_count: number of labels.
    """

    sizes: NDArray[np.int64]
    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    label_count: int

    @staticmethod
    def of(
        group_of: NDArray[np.int64], images: NDArray[np.int64], labels: NDArray[np.int64], classes: int
    ) -> GroupCounts:
        """Return the counts of groups of images; images without objects count as one more label.

        Args:
            group_of: (n,) group of each image; each group from 0 has an image.
            images: (k,) image of each object.
            labels: (k,) class of each object.
            classes: number of classes.
        """
        empty = np.flatnonzero(np.bincount(images, minlength=len(group_of)) == 0)
        rows = group_of[np.concatenate([images, empty])]
        columns = np.concatenate([labels, np.full(len(empty), classes)])
        width = classes + 1
        cells, counts = np.unique(rows * width + columns, return_counts=True)
        return GroupCounts(np.bincount(group_of), cells // width, cells % width, counts, width)


def stratify(
    content: GroupCounts, shares: Sequence[float], order: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the part (g,) that each group is dealt to.

    The label in the fewest groups is dealt first. Of its groups the largest come first, and then those that
    are first in `order`. A part gets a group if it lacks most objects of the label, then if it lacks most
    images. A part that has room for less than half of a group is passed over. Then groups of one size are
    swapped while that brings the shares of the labels nearer to those that were asked for.

    Args:
        content: what each group holds.
        shares: of each part, above 0, together 1.
        order: (g,) rank of each group among groups of one size; by default the order of the groups.

    Raises:
        InputError: there are fewer groups than parts.

    >>> one_each = np.arange(4)
    >>> stratify(GroupCounts.of(one_each, one_each, np.array([0, 0, 1, 1]), 2), (0.5, 0.5)).tolist()
    [0, 1, 0, 1]
    """
    groups, parts = len(content.sizes), len(shares)
    if groups < parts:
        raise InputError(
            f"Expected at least as many groups of like images as parts of the split ({parts}), found "
            f"{counted(groups, 'group')}; ask for fewer parts, add other images, or tell apart what is only "
            "nearly the same with `pixels=False`."
        )
    share = np.asarray(shares, np.float64)
    total = np.bincount(content.labels, content.counts, content.label_count)
    lacking = np.outer(share, total)
    # Each part gets at least one image.
    room = np.maximum(share * content.sizes.sum(), 1.0)
    left = np.bincount(content.labels, minlength=content.label_count)
    starts = np.searchsorted(content.groups, np.arange(groups + 1))
    holders = _groups_by_label(content, np.arange(groups) if order is None else order)
    part_of = np.full(groups, -1, np.int64)
    while left.any():
        label = int(np.lexsort((total, np.where(left > 0, left, groups + 1)))[0])
        for group in holders[label]:
            if part_of[group] >= 0:
                continue
            part = _neediest(lacking[:, label], room, int(content.sizes[group]))
            part_of[group] = part
            mine = slice(starts[group], starts[group + 1])
            lacking[part, content.labels[mine]] -= content.counts[mine]
            room[part] -= content.sizes[group]
            left[content.labels[mine]] -= 1
    part_of = _without_empty_parts(part_of, content.sizes, parts)
    return part_of if groups > MAX_SWAPPED else _evened_out(part_of, content, share)


def _evened_out(
    part_of: NDArray[np.int64], content: GroupCounts, share: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Swap groups of one size between two parts while that lowers the squared deviations of the shares."""
    there = np.bincount(content.labels, content.counts, content.label_count)
    used = np.flatnonzero(there)
    amounts = np.zeros((len(part_of), content.label_count))
    amounts[content.groups, content.labels] = content.counts
    amounts = amounts[:, used] / there[used]
    part_of = part_of.copy()
    for a, b in combinations(range(len(share)), 2):
        for _ in range(MAX_SWAPS):
            mine, theirs = np.flatnonzero(part_of == a), np.flatnonzero(part_of == b)
            excess = (amounts[mine].sum(axis=0) - share[a]) - (amounts[theirs].sum(axis=0) - share[b])
            gives, gets = amounts[mine], amounts[theirs]
            # Half the change of |excess of a|^2 + |excess of b|^2 that each swap would make.
            change = (gets @ excess)[None] - (gives @ excess)[:, None] - 2 * gives @ gets.T
            change += (gives**2).sum(axis=1)[:, None] + (gets**2).sum(axis=1)[None]
            change[content.sizes[mine][:, None] != content.sizes[theirs][None]] = 0.0
            best = np.round(change, 12).argmin()
            if change.flat[best] > -1e-9:
                break
            one, other = divmod(int(best), len(theirs))
            part_of[mine[one]], part_of[theirs[other]] = b, a
    return part_of


def _groups_by_label(content: GroupCounts, order: NDArray[np.int64]) -> list[list[int]]:
    """Return the groups that hold each label, the largest first."""
    sequence = np.lexsort((order[content.groups], -content.sizes[content.groups], content.labels))
    ends = np.cumsum(np.bincount(content.labels, minlength=content.label_count))
    return [found.tolist() for found in np.split(content.groups[sequence], ends[:-1])]


def _neediest(lacking: NDArray[np.float64], room: NDArray[np.float64], size: int) -> int:
    """Return the part that lacks most of a label among those with room; ties go to the one with most room."""
    fits = room >= size / 2
    if not fits.any():
        return int(room.argmax())
    # Without the rounding, errors of floats would decide between parts that lack the same.
    need = np.where(fits, np.round(lacking, 6), -np.inf)
    return int(np.where(need == need.max(), np.round(room, 6), -np.inf).argmax())


def _without_empty_parts(
    part_of: NDArray[np.int64], sizes: NDArray[np.int64], parts: int
) -> NDArray[np.int64]:
    """Give each part without a group the smallest one of the part with most groups."""
    for part in range(parts):
        counts = np.bincount(part_of, minlength=parts)
        if not counts[part]:
            mine = np.flatnonzero(part_of == counts.argmax())
            part_of[mine[sizes[mine].argmin()]] = part
    return part_of
