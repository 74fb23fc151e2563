"""Images that a training holds out for validation where its data have no validation images."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.splitting.pool import Pool
from aerostat.splitting.split import VAL_SHARE, arrange
from aerostat.text import counted

MIN_IMAGES = 10
"""Images below which nothing is held out unless it is asked for: AP of one image says nothing."""
MAX_COMPARED = 20_000
"""Images up to which pixels are compared before a training, which takes half a minute on two cores."""
SEED = 0
"""Seed of the held-out images. It is not that of the run, so that runs of other seeds can be compared."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """The images that a run holds out.

    Args:
        share: that was asked for.
        file_names: of the held-out images, as the annotations name them.
        images: of the data before.
        together: a sentence about what was kept together.
        warnings: what could not be done as it was asked for, a sentence each.
    """

    share: float
    file_names: tuple[str, ...]
    images: int
    together: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the record that a run keeps."""
        record: dict[str, Any] = {
            "share": self.share,
            "images": self.images,
            "held_out": len(self.file_names),
            "file_names": list(self.file_names),
        }
        return json.dumps(record, indent=2)


def hold_out(data: Dataset, train_split: Split, share: float | None) -> tuple[Dataset, Holdout]:
    """Return data whose images are split into train and val, and the images in val.

    Args:
        data: whose `train_split` has no validation images beside it.
        train_split: one of its splits.
        share: of the images that is held out, above 0; None holds a fifth out, or nothing of a few images.

    Raises:
        InputError: the share is impossible.
    """
    asked = VAL_SHARE if share is None else share
    images = len(train_split)
    none = Holdout(asked, (), images)
    if share is None and images < MIN_IMAGES:
        few = f"there are only {counted(images, 'image')}, so none is held out for validation"
        return data, replace(none, warnings=(few,))
    pixels = images <= MAX_COMPARED
    alone = Dataset(data.classes, {train_split.name: train_split})
    try:
        done = arrange(alone, val=asked, seed=SEED, pixels=pixels)
    except InputError:
        if share is not None:
            raise
        alike = f"all {images} images are like one another, so none is held out for validation"
        return data, replace(none, warnings=(alike,))
    parts = done.data.splits
    if not all(parts[name].box_count for name in ("train", "val")):
        lacking = "objects for both training and validation are missing, so nothing is held out"
        return data, replace(none, warnings=(lacking,))
    together = done.together()
    if not pixels:
        together = (
            f"Of more than {MAX_COMPARED} images only files of the same bytes are kept together; "
            "split the data before to compare their pixels."
        )
    others = {name: split for name, split in data.splits.items() if split is not train_split}
    held = Holdout(asked, parts["val"].images.file_names, images, together, done.warnings)
    return replace(data, splits={**parts, **others}), held


def hold_out_again(data: Dataset, train_split: Split, file_names: Collection[str]) -> Dataset:
    """Return data with the images of these names in val, and the others of a split in train.

    Args:
        data: any.
        train_split: the split of it that was learned from and held out of.
        file_names: of the held-out images.
    """
    names = frozenset(file_names)
    alone = Pool.of(Dataset(data.classes, {train_split.name: train_split}))
    parts = alone.arranged(["val" if name in names else "train" for name in alone.file_names]).splits
    others = {name: split for name, split in data.splits.items() if split is not train_split}
    return replace(data, splits={**parts, **others})


def read_holdout(path: Path) -> Holdout | None:
    """Return which images a run held out, from its record; None if there is no record.

    Raises:
        InputError: the record cannot be read.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        names, share, images = record["file_names"], float(record["share"]), int(record["images"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its file names are no list of texts")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is no readable record of held-out images: {error}.") from None
    return Holdout(share, tuple(names), images)
