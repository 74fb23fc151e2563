"""From an RTMDet config of MMDetection 3 or MMYOLO to a recipe, with what became of each setting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.migration.augmentation import map_augmentation
from aerostat.migration.data import ConfigData, data_of, map_data
from aerostat.migration.effects import map_effects
from aerostat.migration.network import map_network, map_test, require_rtmdet
from aerostat.migration.schedule import map_schedule
from aerostat.migration.table import GROUPS, Draft, Row, render, to_dict
from aerostat.openmmlab.config import Config, read_config
from aerostat.training.recipe import Recipe


@dataclass(frozen=True)
class Migration:
    """A config as aerostat trains it.

    Args:
        config: parsed.
        recipe: that trains like the config.
        data: annotation files, image folders and classes.
        rows: what became of each setting.
    """

    config: Config
    recipe: Recipe
    data: ConfigData
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return recipe, data and rows as JSON can hold them."""
        return {
            "config": str(self.config.path),
            "files": [str(path) for path in self.config.files],
            "published_bases": list(self.config.published),
            "recipe": self.recipe.to_dict(),
            "data": self.data.to_dict(),
            "rows": to_dict(self.rows),
            "counts": {group: sum(row.group == group for row in self.rows) for group in GROUPS},
        }

    def render(self) -> list[str]:
        """Return the lines of the table."""
        return render(self.rows)

    def to_toml(self) -> str:
        """Return the recipe as TOML. Comments name the data, for which a recipe has no fields."""
        lines = [f"# Migrated from {_comment(self.config.path)}"]
        for name, sources in self.data.to_dict()["splits"].items():
            for source in sources:
                where = f"{source['annotations']}, images in {source['images']}"
                lines.append(f"# {name}: {_comment(where)}")
        if self.data.classes:
            lines.append(f"# classes: {_comment(', '.join(self.data.classes))}")
        return "\n".join(lines) + "\n\n" + self.recipe.to_toml()


def _comment(value: object) -> str:
    """Return a text that stays within one comment line."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))[:500]


def migrate(config: Config | Path | str, *, train_images: int | None = None) -> Migration:
    """Return the recipe of a config, its data, and what became of each setting.

    Args:
        config: an RTMDet config of MMDetection 3 or MMYOLO; a file is parsed, never executed.
        train_images: number of training images. Lengths that are stated in iterations or epochs can then
            be converted.

    Raises:
        InputError: the file is no config, or its model is not RTMDet for boxes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "my.py"
        >>> _ = path.write_text("_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'")
        >>> migrate(path).recipe.model.size
        's'
    """
    if not isinstance(config, Config):
        config = read_config(config)
    require_rtmdet(config)
    draft = Draft(train_images=train_images)
    map_data(config, draft)
    map_network(config, draft)
    map_augmentation(config, draft)
    map_schedule(config, draft)
    map_test(config, draft)
    map_effects(config, draft)
    try:
        recipe = Recipe().override(draft.values, source=str(config.path))
    except InputError as error:
        raise InputError(f"{config.path} cannot be migrated: {str(error).removesuffix('.')}.") from None
    return Migration(config, recipe, data_of(config), tuple(draft.rows))
