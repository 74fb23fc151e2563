"""RTMDet object detection, lighter than air: train, test, explain and ship a real-time detector.

The public names are imported when they are first used, so that ``import aerostat`` loads neither torch nor
cv2 nor matplotlib.

>>> import aerostat as ae
>>> data = ae.Dataset.read("balloon/", classes=["balloon"])
>>> run = ae.train(data, model="rtmdet-tiny", epochs=40)
>>> detections = ae.load(run.best)("party.jpg")
>>> detections.draw().save("detections.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aerostat.datasets.convert import convert
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import ReadOptions
    from aerostat.errors import AerostatError, InputError
    from aerostat.evaluation.evaluate import evaluate
    from aerostat.explanation.boxam import explain
    from aerostat.explanation.features import feature_maps
    from aerostat.geometry.masks import Masks
    from aerostat.images.frame import Frame
    from aerostat.inference.detector import Detector
    from aerostat.inference.resolve import load
    from aerostat.inference.tta import TTA
    from aerostat.reporting.complete import report
    from aerostat.results.detections import Detections
    from aerostat.runs.directory import Run
    from aerostat.splitting.split import folds, split
    from aerostat.tracking.tracker import Tracker
    from aerostat.training.api import resume, train
    from aerostat.training.recipe import Recipe

_HOMES = {
    "AerostatError": "aerostat.errors",
    "Dataset": "aerostat.datasets.dataset",
    "Detections": "aerostat.results.detections",
    "Detector": "aerostat.inference.detector",
    "Frame": "aerostat.images.frame",
    "InputError": "aerostat.errors",
    "Masks": "aerostat.geometry.masks",
    "ReadOptions": "aerostat.datasets.origin",
    "Recipe": "aerostat.training.recipe",
    "Run": "aerostat.runs.directory",
    "TTA": "aerostat.inference.tta",
    "Tracker": "aerostat.tracking.tracker",
    "convert": "aerostat.datasets.convert",
    "evaluate": "aerostat.evaluation.evaluate",
    "explain": "aerostat.explanation.boxam",
    "feature_maps": "aerostat.explanation.features",
    "folds": "aerostat.splitting.split",
    "load": "aerostat.inference.resolve",
    "report": "aerostat.reporting.complete",
    "resume": "aerostat.training.api",
    "split": "aerostat.splitting.split",
    "train": "aerostat.training.api",
}

__all__ = [
    "TTA",
    "AerostatError",
    "Dataset",
    "Detections",
    "Detector",
    "Frame",
    "InputError",
    "Masks",
    "ReadOptions",
    "Recipe",
    "Run",
    "Tracker",
    "convert",
    "evaluate",
    "explain",
    "feature_maps",
    "folds",
    "load",
    "report",
    "resume",
    "split",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("aerostat")
    try:
        return importlib.import_module(f"aerostat.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"aerostat.{name}":
            raise
    raise AttributeError(f"module 'aerostat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
