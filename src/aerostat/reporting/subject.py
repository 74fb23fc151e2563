"""A run with its detector, its data, and the images that chapters show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import Origin
from aerostat.datasets.records import ImageRecord, Images, Split
from aerostat.errors import InputError, clause
from aerostat.evaluation.evaluate import detect, validation_slices
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.inference.tta import TTA
from aerostat.results.detections import Detections
from aerostat.runs.commands import PYTHON, Commands
from aerostat.runs.directory import Run
from aerostat.splitting.holdout import read_holdout
from aerostat.text import counted, listed
from aerostat.training.plan import choose_splits, with_held_out
from aerostat.training.recipe import Recipe, read_recipe
from aerostat.training.runner import read_again

MAX_IMAGES, MIN_IMAGES = 100, 10
"""Images of a split that a page is about, as far as `Subject.affords` them. The page says how many."""
CPU_WORK = 3000.0
"""Billions of multiply-adds for each kind of look: a minute or two on two cores."""
_MACS_PER_PARAMETER = 1640.0
"""Multiply-adds of RTMDet at 640 x 640: 1490 to 1660 by the published figures of all sizes."""


@dataclass(frozen=True)
class Subject:
    """A run with its detector and data.

    Args:
        run: its directory.
        detector: with its best weights.
        recipe: resolved.
        data: what it was trained on.
        train_split: what it learned from.
        val_split: what it was validated on; None if it was not.
        commands: what to type next, as the caller words it.
    """

    run: Run
    detector: Detector
    recipe: Recipe
    data: Dataset
    train_split: Split
    val_split: Split | None
    commands: Commands = PYTHON

    @cached_property
    def shown(self) -> Split:
        """The images that the page is about: of the validation split, or else of the training split."""
        return (self.val_split or self.train_split).sample(max(MIN_IMAGES, self.affords(MAX_IMAGES)))

    @cached_property
    def _looked(self) -> tuple[list[tuple[ImageRecord, Detections]], list[str]]:
        unreadable: list[str] = []
        found = detect(
            self.detector,
            self.shown,
            slices=validation_slices(self.detector),
            on_unreadable=lambda record, error: unreadable.append(f"{record.file_name} ({clause(error)})"),
        )
        return found, unreadable

    @property
    def found(self) -> list[tuple[ImageRecord, Detections]]:
        """Detections on the images of `shown`, without images that cannot be read."""
        return self._looked[0]

    @property
    def unreadable(self) -> str:
        """A sentence about the images of `shown` that cannot be read; empty if all can be."""
        names = self._looked[1]
        left_out = "is left out" if len(names) == 1 else "are left out"
        return f"{counted(len(names), 'image')} {left_out}: {listed(names, 3)}." if names else ""

    @cached_property
    def seen(self) -> list[tuple[ImageRecord, Detections]]:
        """Detections with test-time augmentation, on as many images of `found` as there is time for."""
        views = TTA().plan(self.detector.input_size).views
        width, height = self.detector.input_size
        passes = sum(view.input_size[0] * view.input_size[1] for view in views) / (width * height)
        readable = dataclasses.replace(self.shown, images=Images.of(record for record, _ in self.found))
        some = readable.sample(max(MIN_IMAGES, self.affords(MAX_IMAGES, passes)))
        slices = validation_slices(self.detector)
        return detect(self.detector, some, tta=True, slices=slices, on_unreadable=lambda *_: None)

    def affords(self, most: int, passes: float = 1.0) -> int:
        """Return how many things can be done in a minute or two, 0 if not even one.

        The time follows from the size of the network. It is not measured, so that the same run always gives
        the same page.

        Args:
            most: how many are wanted; returned as it is on a GPU.
            passes: of the network over one image, for each thing.
        """
        if self.detector.device.type != "cpu":
            return most
        width, height = self.detector.input_size
        parameters = sum(parameter.numel() for parameter in self.detector.net.parameters())
        work = _MACS_PER_PARAMETER * parameters * (width * height) / 640**2 / 1e9
        return min(most, int(CPU_WORK / (work * passes)))

    def part(self, looked_at: int) -> str:
        """Return which images `looked_at` images are a part of, such as ``10 of the 50 images ...``."""
        whole = self.val_split or self.train_split
        some = f"{looked_at} of the {len(whole)}" if looked_at < len(whole) else f"{len(whole)}"
        return f"{some} {'image' if len(whole) == 1 else 'images'} of the split {whole.name}"


def read_subject(run: Run, data: Dataset | None = None, commands: Commands = PYTHON) -> Subject:
    """Return a run with its detector and data.

    Args:
        run: its directory.
        data: what it was trained on; read again from where it was if None.
        commands: what to type next, as the caller words it.

    Raises:
        InputError: there are no weights, the data are gone, or they have other classes.
    """
    detector = load(run.path)
    data = read_again(recorded_source(run), run) if data is None else data
    if data.classes != detector.classes:
        raise InputError(
            f"{run.path} was trained on {listed(detector.classes)}, but the data have "
            f"{listed(data.classes)}; name the data that it was trained on."
        )
    holdout = read_holdout(run.holdout)
    data = with_held_out(data, holdout.file_names if holdout else ())
    train_split, val_split = choose_splits(data)
    return Subject(run, detector, read_recipe(run.recipe), data, train_split, val_split, commands)


def recorded_source(run: Run) -> Mapping[str, Any]:
    """Return how a run's data were read, as `Origin.to_dict` has it; empty if it was not recorded."""
    try:
        known = json.loads(run.environment.read_text("utf-8")).get("data", {})
        origin = Origin.from_dict(known) if isinstance(known, Mapping) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return {} if origin is None else {key: value for key, value in origin.to_dict().items() if value}
