"""The first samples that a run will learn from in each stage, as pictures, before it runs."""

from __future__ import annotations

import dataclasses
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
from aerostat.runs.commands import PYTHON, Commands
from aerostat.training.loop import build_loader
from aerostat.training.plan import Plan, TrainRequest, choose_splits, plan
from aerostat.training.recipe import Recipe


def plan_to_show(
    data: Dataset, request: TrainRequest, commands: Commands = PYTHON
) -> tuple[Plan | None, str]:
    """Return what `train` would plan for data, and why it would refuse them, empty if it would not.

    Data whose validation split alone is unusable have a plan too: their batches can be looked at.

    Args:
        data: any.
        request: as for `aerostat.training.plan.plan`.
        commands: what to type, as the caller words it.

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
    # A split for validation that is left out here is there in the run, which then holds nothing out.
    asked = request if val_split is None else dataclasses.replace(request, val=0.0)
    return plan(alone, asked, commands), refusal


def first_batches(split: Split, recipe: Recipe, *, samples: int = 16) -> dict[int, tuple[int, list[Batch]]]:
    """Return the batches that a run of a recipe starts each of its stages with.

    They come from the loader that the run itself would build, at the run's own positions. They are what the
    network will see, to the pixel.

    Args:
        split: to learn from.
        recipe: resolved.
        samples: of each stage at least; whole batches are returned.

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
    """Return the first samples of each stage of a run as pictures, with the boxes and masks that it learns.

    Args:
        split: to learn from.
        recipe: resolved.
        limit: samples of each stage at most.

    Raises:
        InputError: the split has no images.
        AerostatError: none of its images can be read.
    """
    return [
        stage_pictures(batches, split.classes, stage=stage, epoch=epoch + 1, limit=limit)
        for stage, (epoch, batches) in first_batches(split, recipe, samples=limit).items()
    ]
