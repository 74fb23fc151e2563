"""Groups of images that must stay on one side of a split, as `aerostat.lint` finds them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aerostat.lint.duplicates import SceneMemory, find_similar, join
from aerostat.lint.files import ImageFile, look_at_headers, look_at_pixels, reading_threads
from aerostat.splitting.pool import Pool

_log = logging.getLogger(__name__)

MAX_ROUNDS = 10
"""Maximum number of times that a split is checked for like images across its parts and made again."""


@dataclass(slots=True)
class SimilarImages:
    """Which images of a pool are alike, with the pairs found so far.

    Args:
        files: of the pool, in its order.
        pairs: places of two images that are alike, in order.
        memory: details of images that were compared.
    """

    files: list[ImageFile]
    pairs: list[tuple[int, int]] = field(default_factory=list)
    memory: SceneMemory = field(default_factory=SceneMemory)

    @staticmethod
    def of(pool: Pool, *, pixels: bool = True) -> SimilarImages:
        """Return which images of a pool have the same name, bytes or pixels, or nearly the same pixels.

        Args:
            pool: the images.
            pixels: decode them. If not, only files of the same bytes are found.
        """
        threads = reading_threads()
        files = [
            ImageFile(name, pool.splits[number].images[place])
            for (number, place), name in zip(pool.places, pool.split_names, strict=True)
        ]
        if pixels:
            look_at_pixels(files, threads)
        else:
            look_at_headers(files, threads)
        found = SimilarImages(files)
        found.pairs += _of_one_name(pool)
        found.pairs += find_similar(files, "all" if pixels else "none", found.memory).pairs()
        return found

    def groups(self) -> NDArray[np.int64]:
        """Return the group (n,) of each image, numbered from 0 in the order of their first images."""
        first = join(len(self.files), self.pairs)
        return np.unique(np.asarray(first, np.int64), return_inverse=True)[1].reshape(-1)

    def add_across(self, part_of: Sequence[str]) -> bool:
        """Look for like images across the parts of a split, and return whether there is a new pair of them.

        This is what lint finds for the split. It looks closer than the search among all images, which
        compares each with its four likest ones.

        Args:
            part_of: (n,) name of the part of each image.
        """
        for file, name in zip(self.files, part_of, strict=True):
            file.split = name
        group = join(len(self.files), self.pairs)
        new = [
            (a, b)
            for a, b in find_similar(self.files, "across splits", self.memory).pairs()
            if group[a] != group[b]
        ]
        self.pairs += new
        return bool(new)


def _of_one_name(pool: Pool) -> list[tuple[int, int]]:
    """Return images of one split that have the same name, so that a name says which side an image is on."""
    first: dict[tuple[str, str], int] = {}
    keys = zip(pool.split_names, pool.file_names, strict=True)
    return [(first[key], place) for place, key in enumerate(keys) if first.setdefault(key, place) != place]


def arrange_until_settled(
    similar: SimilarImages, arrange: Callable[[NDArray[np.int64]], Sequence[str]], *, pixels: bool = True
) -> tuple[NDArray[np.int64], Sequence[str]]:
    """Return the groups of like images, and parts that none of them crosses.

    Args:
        similar: the images; pairs that are found on the way are added.
        arrange: returns the part (n,) of each image for the group (n,) of each.
        pixels: whether the pixels were looked at.
    """
    for _ in range(MAX_ROUNDS if pixels else 1):
        groups = similar.groups()
        parts = arrange(groups)
        if not pixels or not similar.add_across(parts):
            return groups, parts
    _log.warning(f"after {MAX_ROUNDS} rounds there may be like images in two parts of the split")
    groups = similar.groups()
    return groups, arrange(groups)
