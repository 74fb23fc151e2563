"""A new split of a data set: like images stay together, classes are spread evenly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.splitting.arrangement import Arrangement
from aerostat.splitting.pool import Pool
from aerostat.splitting.similar import SimilarImages, arrange_until_settled
from aerostat.splitting.stratify import GroupCounts, stratify
from aerostat.text import counted

VAL_SHARE = 0.2
"""Share of the images that is held out if nothing else is asked for."""
TEST = "test"


def split(
    data: Dataset, val: float = VAL_SHARE, test: float = 0.0, seed: int = 0, *, pixels: bool = True
) -> Dataset:
    """Return the data with new splits train and val, and test if it is asked for.

    Near-duplicates and photographs of one scene, as lint finds them, are in one split. Each split gets its
    share of the images and of the objects of each class. The same seed gives the same split, in whatever
    order the images are listed. Splits that the data have are pooled first.

    Args:
        data: any.
        val: share of the images in val, above 0.
        test: share of the images in test; 0 for no such split.
        seed: another seed makes another split.
        pixels: compare the pixels of all images. If not, only files of the same bytes are kept together.

    Raises:
        InputError: the shares are impossible, or there are fewer groups of like images than splits.

    Example:
        >>> data = ae.split(ae.Dataset.read("photos/"), val=0.2)  # doctest: +SKIP
        >>> run = ae.train(data)  # doctest: +SKIP
    """
    return arrange(data, val=val, test=test, seed=seed, pixels=pixels).data


def folds(
    data: Dataset, count: int = 5, test: float = 0.0, seed: int = 0, *, pixels: bool = True
) -> list[Dataset]:
    """Return the data split in several ways; each image is in val once.

    Args:
        data: as for `split`.
        count: number of folds.
        test: share of the images that is in test in each of them; 0 for no such split.
        seed: another seed makes other folds.
        pixels: as for `split`.

    Raises:
        InputError: the numbers are impossible, or there are fewer groups of like images than folds.

    Example:
        >>> for part in ae.folds(data, 5):  # doctest: +SKIP
        ...     run = ae.train(part, out=...)
    """
    return [fold.data for fold in arrange_folds(data, count, test=test, seed=seed, pixels=pixels)]


def arrange(
    data: Dataset, *, val: float = VAL_SHARE, test: float = 0.0, seed: int = 0, pixels: bool = True
) -> Arrangement:
    """Return what `split` does, with what was kept together.

    Args:
        data, val, test, seed, pixels: as for `split`.

    Raises:
        InputError: as for `split`.
    """
    require_shares(val, test)
    shares = {"train": 1 - val - test, "val": val, TEST: test}
    pool, groups, parts = _deal(data, {n: s for n, s in shares.items() if s}, seed, pixels=pixels)
    return Arrangement.of(pool, groups, parts, shares)


def arrange_folds(
    data: Dataset, count: int, *, test: float = 0.0, seed: int = 0, pixels: bool = True
) -> list[Arrangement]:
    """Return what `folds` does, with what was kept together.

    Raises:
        InputError: as for `folds`.
    """
    if count < 2:
        raise InputError(f"Expected at least 2 `folds`, found {count}.")
    if not 0 <= test < 1:
        raise InputError(f"Expected `test` to be at least 0 and below 1, found {test:g}.")
    share = (1 - test) / count
    shares = {f"fold{number}": share for number in range(1, count + 1)} | ({TEST: test} if test else {})
    pool, groups, parts = _deal(data, shares, seed, pixels=pixels)
    wanted = {"train": 1 - test - share, "val": share, TEST: test}
    arranged = []
    for fold in range(1, count + 1):
        names = [p if p == TEST else "val" if p == f"fold{fold}" else "train" for p in parts]
        arranged.append(Arrangement.of(pool, groups, names, wanted))
    return arranged


def require_shares(val: float, test: float) -> None:
    """Refuse invalid shares.

    Raises:
        InputError: naming them.
    """
    if not 0 < val < 1:
        raise InputError(f"Expected `val` to be above 0 and below 1, found {val:g}.")
    if not 0 <= test < 1:
        raise InputError(f"Expected `test` to be at least 0 and below 1, found {test:g}.")
    if val + test >= 1 - 1e-9:
        raise InputError(f"Expected `val` and `test` to be below 1 together, found {val:g} + {test:g}.")


def _deal(
    data: Dataset, shares: Mapping[str, float], seed: int, *, pixels: bool
) -> tuple[Pool, NDArray[np.int64], Sequence[str]]:
    """Return the images, the group of each, and the name of the part that each is dealt to."""
    pool = Pool.of(data)
    names = list(shares)
    if len(pool) < len(names):
        raise InputError(
            f"Expected at least as many images as parts of the split ({len(names)}), found "
            f"{counted(len(pool), 'image')}; ask for fewer parts."
        )
    images, labels = pool.objects()
    ranks = _ranks(pool.file_names, seed)

    def deal(groups: NDArray[np.int64]) -> Sequence[str]:
        content = GroupCounts.of(groups, images, labels, len(data.classes))
        first = np.unique(groups, return_index=True)[1]
        part_of = stratify(content, list(shares.values()), ranks[first])
        return [names[part] for part in part_of[groups].tolist()]

    similar = SimilarImages.of(pool, pixels=pixels)
    groups, parts = arrange_until_settled(similar, deal, pixels=pixels)
    return pool, groups, parts


def _ranks(file_names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return a rank (n,) of each image that looks random, and depends on seed and name alone."""
    keys = [
        hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in file_names
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.arange(len(keys))
    return ranks
