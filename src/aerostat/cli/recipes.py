"""From the options of a verb to the values of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerostat.cli.options import FIELDS, Fields, Recipe
from aerostat.errors import InputError

Values = dict[str, dict[str, Any]]


def recipe_values(options: Recipe, fields: Fields = FIELDS) -> tuple[str, Values]:
    """Return the preset to start from and the fields that override it.

    A recipe file is overridden by --set, and that by the options that have a field.

    Raises:
        InputError: a key or value does not belong to a recipe. It is raised before the data are read, which
            may take long.
    """
    from aerostat.training.presets import PRESETS
    from aerostat.training.recipe import Recipe as RecipeOfRun
    from aerostat.training.recipe import parse_assignments, read_values

    preset, values = options.recipe, Values()
    if preset not in PRESETS:
        if not preset.endswith(".toml") and not Path(preset).is_file():
            known = ", ".join(PRESETS)
            raise InputError(f"Unknown recipe {preset!r}; expected one of {known}, or a TOML file.")
        preset, values = "auto", read_values(Path(preset))
    for section, assigned in parse_assignments(options.set_ or []).items():
        values.setdefault(section, {}).update(assigned)
    for section, key, value in _fields(options, fields):
        if value is not None:
            values.setdefault(section, {})[key] = value
    if options.model is not None:
        values.get("model", {}).pop("size", None)  # like every option, --model beats the recipe file
    RecipeOfRun().override(values)
    return preset, values


def _fields(options: Recipe, fields: Fields) -> list[tuple[str, str, Any]]:
    """Return section, key and value of each option with a field; the value is None if it was not given."""
    return [
        ("schedule", "epochs", fields.epochs),
        ("optim", "batch_size", fields.batch_size),
        ("data", "input_size", options.input_size),
        ("optim", "lr", fields.lr),
        ("run", "seed", options.seed),
        ("run", "device", fields.device),
        ("optim", "precision", fields.precision),
        ("model", "freeze", "backbone" if fields.freeze_backbone else None),
    ]
