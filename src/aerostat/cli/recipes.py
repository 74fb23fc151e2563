"""From the options of a verb to the values of a recipe."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aerostat.cli.options import FIELDS, Fields, Recipe
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.migration import Migration
    from aerostat.training.plan import TrainRequest

_log = logging.getLogger(__name__)

Values = dict[str, dict[str, Any]]


def is_config(path: Path | str) -> bool:
    """Return whether a path is that of a config of OpenMMLab."""
    return Path(path).suffix == ".py" and not Path(path).is_dir()


def training_request(
    options: Recipe,
    fields: Fields = FIELDS,
    migration: Migration | None = None,
    devices: int | None = None,
) -> TrainRequest:
    """Return what is asked of a training.

    Args:
        options, fields: as typed. --recipe may be a config of OpenMMLab.
        migration: of the config that was given as the data; its recipe counts unless --recipe names another.
        devices: as typed.

    Raises:
        InputError: see `recipe_values`.
    """
    from aerostat.training.plan import TrainRequest

    if is_config(options.recipe):
        from aerostat.migration import migrate

        migration = migrate(options.recipe)
        tell_migration(migration)
        options = replace(options, recipe="auto")
    preset, values = recipe_values(options, fields)
    if devices is not None:
        values.setdefault("run", {})["devices"] = devices
    recipe = migration.recipe if migration is not None and options.recipe == "auto" else None
    return TrainRequest(options.model, options.weights, preset, recipe, values)


def tell_migration(migration: Migration) -> None:
    """Log what became of the settings of a config, without those that were taken over as they are."""
    from aerostat.cli.commands import command
    from aerostat.migration.table import render

    taken = [row for row in migration.rows if row.group == "taken over"]
    path = migration.config.path
    _log.info(f"{path}: {len(taken)} settings taken over, {command('migrate', path)} lists them")
    for line in render([row for row in migration.rows if row.group != "taken over"]):
        _log.info(line)


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
            raise InputError(
                f"Unknown recipe {preset!r}; expected one of {known}, a TOML file, or a config of OpenMMLab."
            )
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
        ("model", "masks", fields.masks),
        ("data", "slices", fields.slices),
        ("data", "overlap", fields.overlap),
    ]
