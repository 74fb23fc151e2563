"""What chapters about a run need beyond its directory: its detector, its data, and photographs to show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aerostat.data.dataset import Dataset, ImageRecord, Split
from aerostat.detections import Detections
from aerostat.errors import InputError
from aerostat.evaluation.evaluate import detect
from aerostat.predict import Detector, load
from aerostat.training.recipe import Recipe, read_recipe
from aerostat.training.run import Run
from aerostat.training.train import choose_splits

MOST_IMAGES = 100
"""Of a split that are looked at for the page: more takes longer than it tells. The page says how many."""


@dataclass(frozen=True)
class Subject:
    """A run that can be asked, not only told about.

    Args:
        run: its directory.
        detector: with its best weights.
        recipe: resolved.
        data: what it was trained on.
        train_split: what it learned from.
        val_split: what it was validated on, if anything.
    """

    run: Run
    detector: Detector
    recipe: Recipe
    data: Dataset
    train_split: Split
    val_split: Split | None

    @cached_property
    def shown(self) -> Split:
        """The images that the page is about: of the validation split, or else of the training split."""
        return sample(self.val_split or self.train_split, MOST_IMAGES)

    @cached_property
    def found(self) -> list[tuple[ImageRecord, Detections]]:
        """What the detector finds on the images of `shown`; those that cannot be read are left out."""
        return detect(self.detector, self.shown, on_unreadable=lambda *_: None)

    @cached_property
    def seen(self) -> list[tuple[ImageRecord, Detections]]:
        """The same with test-time augmentation."""
        return detect(self.detector, self.shown, tta=True, on_unreadable=lambda *_: None)

    @property
    def part(self) -> str:
        """Say which images `shown` are."""
        whole = self.val_split or self.train_split
        some = f"{len(self.shown)} of the {len(whole)}" if len(self.shown) < len(whole) else f"{len(whole)}"
        return f"{some} images of the split {whole.name}"


def read_subject(run: Run, data: Dataset | None = None) -> Subject:
    """Return a run with its detector and data.

    Args:
        run: its directory.
        data: what it was trained on; read again from where it was if None.

    Raises:
        InputError: there are no weights, the data are gone, or they have other classes.
    """
    detector = load(run.path)
    if data is None:
        source = recorded_source(run)
        if not source.get("path"):
            raise InputError(f"{run.path} does not know where its data are; name them.")
        data = Dataset.read(**source)
    if data.classes != detector.classes:
        raise InputError(f"{run.path} was trained on other classes than these data have; name its own.")
    train_split, val_split = choose_splits(data)
    return Subject(run, detector, read_recipe(run.recipe), data, train_split, val_split)


def recorded_source(run: Run) -> Mapping[str, Any]:
    """Return how a run's data were read, as arguments of `Dataset.read`; empty if that was not recorded."""
    try:
        known = json.loads(run.environment.read_text("utf-8")).get("data", {})
    except (OSError, ValueError, AttributeError):
        return {}
    names = ("path", "classes", "class_attribute", "images", "strict")
    return {name: known[name] for name in names if known.get(name)} if isinstance(known, Mapping) else {}


def sample(split: Split, most: int) -> Split:
    """Return a split of at most so many of the images, spread evenly over the whole."""
    if len(split) <= most:
        return split
    places = np.linspace(0, len(split) - 1, most).round().astype(int)
    return dataclasses.replace(split, images=tuple(split.images[i] for i in places))
