"""How verbs read annotated images, and what they say about them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerostat.cli.options import Read, given_options
from aerostat.cli.recipes import is_config
from aerostat.cli.refusals import refuse

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.records import Split

_log = logging.getLogger(__name__)


def read(data: Path, options: Read, **changes: Any) -> Dataset:
    """Return the data set at a path, read as the options ask for; `changes` beat them.

    The path may be a config of OpenMMLab, which names annotations, images and classes itself.
    """
    from aerostat.datasets.dataset import read_dataset

    if is_config(data):
        from aerostat.migration.data import data_of, read_data
        from aerostat.openmmlab.config import read_config

        strict = options.chosen(**changes).strict
        given = {name: value for name, value in given_options(options).items() if name != "--strict"}
        refuse(given, "cannot go with a config, which states them")
        return read_data(data_of(read_config(data)), strict=strict)
    return read_dataset(data, options.chosen(**changes))


def read_for(known: tuple[str, ...], data: Path, options: Read) -> Dataset:
    """Return data for a detector of the classes `known`; these are the classes of data that state none."""
    from aerostat.datasets.records import OtherClassesError

    asked = options.chosen()
    if asked.classes or asked.only_classes or asked.merge_classes:
        return read(data, options)
    try:
        return read(data, options, classes=known)
    except OtherClassesError:  # the classes are compared with the detector's later
        return read(data, options, classes=None)


def split_to_evaluate(dataset: Dataset, name: str | None) -> Split:
    """Return the split that was asked for; without a name val, else test, else the only one there is."""
    from aerostat.datasets.records import ONLY_SPLIT

    if name is not None or "val" in dataset.splits:
        return dataset.split(name or "val")
    only = list(dataset.splits) if len(dataset.splits) == 1 else []
    chosen = "test" if "test" in dataset.splits else only[0] if only else "val"
    part = dataset.split(chosen)
    if chosen != ONLY_SPLIT:
        _log.info("there is no val split: evaluating on %s", chosen)
    return part


def held_out_apart(dataset: Dataset, weights: str) -> Dataset:
    """Return data with the images in val that a run held out of them; other data stay as they are.

    They are the run's data if they have one split of as many images, with all that were held out.

    Args:
        dataset: any.
        weights: a run, a file in one, or anything else.
    """
    from aerostat.runs.directory import Run
    from aerostat.splitting.holdout import hold_out_again, read_holdout

    path = Path(weights)
    held = read_holdout(Run(path if path.is_dir() else path.parent).holdout) if path.exists() else None
    if held is None or len(dataset.splits) > 1:
        return dataset
    (whole,) = dataset.splits.values()
    if len(whole) != held.images or not set(held.file_names) <= set(whole.images.file_names):
        return dataset
    _log.info(f"evaluating on the {len(held.file_names)} images that {weights} held out")
    return hold_out_again(dataset, whole, held.file_names)


def tell_losses(dataset: Dataset, part: Split) -> None:
    """Say what the figures of a split leave out, so that they are not compared with those of the whole."""
    from aerostat.datasets.problems import LOSSES
    from aerostat.datasets.summary import data_card

    for card in data_card(dataset).splits:
        for problem in card.problems:
            if card.name == part.name and problem.kind in LOSSES:
                first = problem.first[0]
                _log.warning(
                    f"{part.name}: {problem.kind} ({problem.count}), {problem.consequence}; "
                    f"first {first.file_name}: {first.detail}"
                )


def name_of(data: Path) -> str:
    """Return the name of a data set, for the folder of what is made from it."""
    named = data.resolve()  # `.` and `..` have names too
    return named.stem if named.is_file() else named.name
