"""From the records of a run to the names and values that trackers show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aerostat.runs.metrics import is_number
from aerostat.training.recipe import Recipe

MAX_CLASSES = 100
"""Classes whose AP is logged; of data with more classes the report has them."""

_PLACE = {"kind", "epoch", "batch", "iteration"}


def figures_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of an iteration or a validation by name; empty for other records.

    A validation's figures that are undefined (-1) and those that are not finite are left out.

    >>> figures_of({"kind": "train", "epoch": 1, "iteration": 3, "loss": 0.5, "lr": 0.1})
    {'train/loss': 0.5, 'train/lr': 0.1}
    >>> figures_of({"kind": "val", "epoch": 1, "ap": 0.5, "ap_small": -1, "per_class": {"a/b": 0.25}})
    {'val/ap': 0.5, 'val_class_ap/a_b': 0.25}
    """
    kind = record.get("kind")
    if kind not in ("train", "val"):
        return {}
    least = 0.0 if kind == "val" else float("-inf")
    figures = {
        f"{kind}/{key}": float(value)
        for key, value in record.items()
        if key not in _PLACE and is_number(value) and value >= least
    }
    of_classes = record.get("per_class")
    if kind == "val" and isinstance(of_classes, Mapping) and len(of_classes) <= MAX_CLASSES:
        for name, ap in of_classes.items():
            if is_number(ap) and ap >= 0:
                figures[f"val_class_ap/{plain_name(str(name))}"] = float(ap)
    return figures


def plain_name(text: str, most: int = 80) -> str:
    """Return a text as a name that every tracker and every file system takes.

    >>> plain_name("../größe: 1"), plain_name("")
    ('_größe_ 1', '_')
    """
    kept = re.sub(r"[^\w \-.]+", "_", text).lstrip(".").strip()[:most].rstrip(". ")
    return kept or "_"


def parameters_of(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """Return the fields of a recipe by ``section.key``; lists become texts.

    >>> parameters_of(Recipe())["optim.weight_decay"]
    0.05
    """
    return {
        f"{section}.{key}": value if isinstance(value, str | int | float | bool) else str(value)
        for section, fields in recipe.to_dict().items()
        for key, value in fields.items()
    }
