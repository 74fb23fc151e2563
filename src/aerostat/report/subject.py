"""What chapters about a run need beyond its directory: its detector, its data, and photographs to show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Images, Split
from aerostat.errors import InputError, clause
from aerostat.evaluation.evaluate import detect
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.inference.tta import TTA
from aerostat.results.detections import Detections
from aerostat.runs.directory import Run
from aerostat.text import counted, listed
from aerostat.training.api import choose_splits
from aerostat.training.recipe import Recipe, read_recipe

MAX_IMAGES, MIN_IMAGES = 100, 10
"""Of a split that are looked at for the page, as far as `Subject.affords` them: more takes longer than it
tells. The page says how many."""
CPU_WORK = 3000.0
"""Billions of multiply-adds that a processor is given for each kind of look: a minute or two on two cores."""
_MACS_PER_PARAMETER = 1640.0
"""Of RTMDet at 640 x 640: 1490 to 1660 by the published figures of all sizes."""


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
        return (self.val_split or self.train_split).sample(max(MIN_IMAGES, self.affords(MAX_IMAGES)))

    @cached_property
    def _looked(self) -> tuple[list[tuple[ImageRecord, Detections]], list[str]]:
        unreadable: list[str] = []
        found = detect(
            self.detector,
            self.shown,
            on_unreadable=lambda record, error: unreadable.append(f"{record.file_name} ({clause(error)})"),
        )
        return found, unreadable

    @property
    def found(self) -> list[tuple[ImageRecord, Detections]]:
        """What the detector finds on the images of `shown`; those that cannot be read are left out."""
        return self._looked[0]

    @property
    def unreadable(self) -> str:
        """Say which images of `shown` cannot be read, and why; empty if all can be."""
        names = self._looked[1]
        left_out = "is left out" if len(names) == 1 else "are left out"
        return f"{counted(len(names), 'image')} {left_out}: {listed(names, 3)}." if names else ""

    @cached_property
    def seen(self) -> list[tuple[ImageRecord, Detections]]:
        """What it finds with test-time augmentation, on as many images of `found` as there is time for."""
        views = TTA().plan(self.detector.input_size).views
        width, height = self.detector.input_size
        passes = sum(view.input_size[0] * view.input_size[1] for view in views) / (width * height)
        readable = dataclasses.replace(self.shown, images=Images.of(record for record, _ in self.found))
        some = readable.sample(max(MIN_IMAGES, self.affords(MAX_IMAGES, passes)))
        return detect(self.detector, some, tta=True, on_unreadable=lambda *_: None)

    def affords(self, most: int, passes: float = 1.0) -> int:
        """Return how many things can be done in bounded time, 0 if not even one.

        Reckoned from the network's size, not measured, so that the same run always gives the same page.

        Args:
            most: as many as are wanted; the answer wherever something faster than a processor computes.
            passes: of the network over one image, that each thing takes.
        """
        if self.detector.device.type != "cpu":
            return most
        width, height = self.detector.input_size
        parameters = sum(parameter.numel() for parameter in self.detector.net.parameters())
        work = _MACS_PER_PARAMETER * parameters * (width * height) / 640**2 / 1e9
        return min(most, int(CPU_WORK / (work * passes)))

    def part(self, looked_at: int) -> str:
        """Say which images it was that so many were of."""
        whole = self.val_split or self.train_split
        some = f"{looked_at} of the {len(whole)}" if looked_at < len(whole) else f"{len(whole)}"
        return f"{some} {'image' if len(whole) == 1 else 'images'} of the split {whole.name}"


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
            raise InputError(
                f"{run.path} does not know where its data are; name them: aerostat report RUN DATA."
            )
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
