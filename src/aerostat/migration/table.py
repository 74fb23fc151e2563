"""The table of a migration: what became of each setting of a config."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from aerostat.errors import InputError, clause
from aerostat.text import plain, shown
from aerostat.training.recipe import Recipe

Group = Literal["taken over", "adapted", "unsupported", "without effect"]
GROUPS: tuple[Group, ...] = get_args(Group)
TITLES = {
    "taken over": "taken over",
    "adapted": "adapted",
    "unsupported": "unsupported, left out",
    "without effect": "without effect in the original",
}
WIDTH = 80
"""Columns of a terminal."""
_INDENT = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of a config.

    Args:
        group: what became of it.
        original: its key in the config.
        value: as the config states it, a short text.
        here: the recipe field with its value; empty if it has none.
        why: reason in a clause; empty where a value was taken over as it is.
    """

    group: Group
    original: str
    value: str
    here: str = ""
    why: str = ""

    def lines(self) -> list[str]:
        """Return the row for a terminal of `WIDTH` columns."""
        left = f"  {self.original}" + (f" = {self.value}" if self.value else "")
        left, here = plain(left), plain(self.here)
        if here and len(left) <= 40 and len(here) <= WIDTH - 42:
            found = [f"{left:<41} {here}"]
        else:
            found = _wrapped(left, 4) + (_wrapped(f"{' ' * _INDENT}-> {here}", _INDENT + 3) if here else [])
        return found + (_wrapped(" " * _INDENT + plain(self.why), _INDENT) if self.why else [])


def _wrapped(text: str, indent: int) -> list[str]:
    lead = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(), WIDTH, initial_indent=lead, subsequent_indent=" " * indent, break_on_hyphens=False
    ) or [lead]


@dataclass
class Draft:
    """A recipe while it is made from a config, with the rows of its table.

    Args:
        values: recipe fields, section -> key -> value.
        rows: of the table, in the order in which they are found.
        train_images: number of training images; None if it is unknown.
    """

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    train_images: int | None = None

    def take(self, here: str, value: Any, original: str, stated: Any = None, why: str = "") -> bool:
        """Set a recipe field, and add its row; return whether the recipe allows the value.

        Args:
            here: the field, such as ``optim.lr``.
            value: for the recipe.
            original: key in the config.
            stated: value in the config; `value` if None. An empty text shows none.
            why: reason if it was adapted; without one it was taken over.
        """
        section, _, key = here.partition(".")
        text = "" if stated == "" else shown(value if stated is None else stated, 40)
        try:
            Recipe().override({section: {key: value}})
        except InputError as error:
            self.leave(original, value if stated is None else stated, clause(error))
            return False
        self.values.setdefault(section, {})[key] = value
        self.rows.append(
            Row("adapted" if why else "taken over", original, text, f"{here} = {_text(value)}", why)
        )
        return True

    def adapt(self, original: str, stated: Any, why: str, here: str = "") -> None:
        """Add a row for a setting that is done in another way."""
        self.rows.append(Row("adapted", original, _stated(stated), here, why))

    def leave(self, original: str, stated: Any, why: str) -> None:
        """Add a row for a setting that aerostat does not have."""
        self.rows.append(Row("unsupported", original, _stated(stated), "", why))

    def set(self, here: str, value: Any) -> None:
        """Set a recipe field without a row of its own."""
        section, _, key = here.partition(".")
        self.values.setdefault(section, {})[key] = value


def _stated(value: Any) -> str:
    return "" if value is None or value == "" else shown(value, 40)


def _text(value: Any) -> str:
    """Return a value of a recipe in a row; long numbers are rounded."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return shown(value, 60)


def render(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table, a paragraph for each group.

    >>> render([Row("taken over", "train_cfg.max_epochs", "40", "schedule.epochs = 40")])[1]
    '  train_cfg.max_epochs = 40               schedule.epochs = 40'
    """
    lines: list[str] = []
    for group in GROUPS:
        chosen = [row for row in rows if row.group == group]
        if chosen:
            lines.append(f"{TITLES[group]} ({len(chosen)})")
            lines += [line for row in chosen for line in row.lines()]
    return lines


def to_dict(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the rows for JSON."""
    return [asdict(row) for row in rows]
