"""RTMDet object detection, lighter than air: train, test, explain and ship a real-time detector.

The public names are imported when they are first used, so that ``import aerostat`` loads neither torch nor
cv2 nor matplotlib.

>>> import aerostat as ae
>>> data = ae.Dataset.read("balloon/", classes=["balloon"])
>>> run = ae.train(data, model="rtmdet-tiny", epochs=40)
>>> found = ae.load(run.best).predict("party.jpg")
>>> found.draw().save("found.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aerostat.data.convert import convert
    from aerostat.data.dataset import Dataset
    from aerostat.detections import Detections
    from aerostat.errors import AerostatError, InputError
    from aerostat.evaluation.evaluate import evaluate
    from aerostat.explanation.boxam import explain
    from aerostat.explanation.features import feature_maps
    from aerostat.predict import Detector, load
    from aerostat.training.recipe import Recipe
    from aerostat.training.run import Run
    from aerostat.training.train import resume, train
    from aerostat.tta import TTA

_HOMES = {
    "AerostatError": "aerostat.errors",
    "Dataset": "aerostat.data.dataset",
    "Detections": "aerostat.detections",
    "Detector": "aerostat.predict",
    "InputError": "aerostat.errors",
    "Recipe": "aerostat.training.recipe",
    "Run": "aerostat.training.run",
    "TTA": "aerostat.tta",
    "convert": "aerostat.data.convert",
    "evaluate": "aerostat.evaluation.evaluate",
    "explain": "aerostat.explanation.boxam",
    "feature_maps": "aerostat.explanation.features",
    "load": "aerostat.predict",
    "resume": "aerostat.training.train",
    "train": "aerostat.training.train",
}

__all__ = [
    "TTA",
    "AerostatError",
    "Dataset",
    "Detections",
    "Detector",
    "InputError",
    "Recipe",
    "Run",
    "convert",
    "evaluate",
    "explain",
    "feature_maps",
    "load",
    "resume",
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
