"""What a run will feed to its network, before it runs: the first samples of each stage, as pictures."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import cast

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.datasets.summary import require_usable
from aerostat.errors import InputError, clause
from aerostat.inspection.pictures import StagePictures, stage_pictures
from aerostat.pipeline.loader import Batch
from aerostat.training.api import Plan, Values, choose_splits, plan
from aerostat.training.loop import build_loader
from aerostat.training.recipe import Recipe


def plan_to_show(
    data: Dataset, *, model: str | None, weights: str | None, preset: str, values: Values
) -> tuple[Plan | None, str]:
    """Return what `train` would plan for data, and what it would refuse them for, an empty text if nothing.

    Where only the validation split is wanting there is a plan all the same: its batches can be looked at.

    Args:
        data: any.
        model, weights, preset, values: as for `aerostat.training.api.plan`.

    Raises:
        InputError: the request itself does not fit, whatever the data.
    """
    try:
        train_split, val_split = choose_splits(data)
    except InputError as error:
        return None, clause(error)
    refusal = ""
    try:
        require_usable(data, [split.name for split in (train_split, val_split) if split])
    except InputError as error:
        refusal = clause(error)
    if not train_split.box_count:
        return None, refusal
    alone = Dataset(data.classes, {train_split.name: train_split})
    return plan(alone, model=model, weights=weights, preset=preset, values=values), refusal


def first_batches(split: Split, recipe: Recipe, *, samples: int = 16) -> dict[int, tuple[int, list[Batch]]]:
    """Return the batches that a run of a recipe starts each of its stages with.

    They come from the loader that the run itself would build, at the positions where the run would ask for
    them, so they are what the network will see, to the pixel.

    Args:
        split: to learn from.
        recipe: resolved.
        samples: so many of each stage are wanted; whole batches are returned.

    Returns:
        For each stage that the run has, 1 or 2, its first epoch counted from 0 and the batches.

    Raises:
        InputError: the split has no images.
    """
    loader = build_loader(split, recipe)
    epochs, second = recipe.schedule.epochs, recipe.schedule.stage2_epoch
    starts = {1: 0, 2: second} if 0 < second < epochs else {2: 0} if second == 0 else {1: 0}
    wanted = math.ceil(samples / loader.batch_size)
    found = {}
    for stage, epoch in starts.items():
        with closing(cast(Generator[Batch], loader.epoch(epoch, stage))) as batches:
            found[stage] = (epoch, list(islice(batches, wanted)))
    return found


def preview_pictures(split: Split, recipe: Recipe, *, limit: int = 16) -> list[StagePictures]:
    """Return what the network of a run will see first, stage by stage, as pictures with their boxes.

    Args:
        split: to learn from.
        recipe: resolved.
        limit: at most so many samples of each stage.

    Raises:
        InputError: the split has no images.
        AerostatError: none of its images can be read.
    """
    return [
        stage_pictures(batches, split.classes, stage=stage, epoch=epoch + 1, limit=limit)
        for stage, (epoch, batches) in first_batches(split, recipe, samples=limit).items()
    ]
