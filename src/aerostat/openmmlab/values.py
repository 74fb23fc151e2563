"""Values of a config: their limits, and how a config is merged into its base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.text import shown

DELETE = "_delete_"
"""Key with which a dictionary replaces that of the base (MMEngine)."""

MAX_VALUES = 100_000
"""Values in one config, nested ones included. Dumped configs of 80 classes have some thousand."""
MAX_DEPTH = 60
"""Nested containers. Published configs have ten."""
MAX_TEXT = 1 << 18
"""Characters of one text."""


class Inherited(dict[str, Any]):
    """A dictionary of a base. Its `update` merges nested dictionaries, as MMEngine's own type does."""

    __slots__ = ()


class ClassName(str):
    """The name of an imported class or function. It stands for itself: nothing is imported."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file.

    Args:
        file: path of the config.
        line: counted from 1.
    """

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"

    def refusal(self, why: str) -> InputError:
        """Return an error that names the place and ends with `why`."""
        return InputError(f"{self}: {why}.")


def measure(value: Any, place: Place) -> int:
    """Return how many values a value holds, itself included; what is shared counts each time.

    Raises:
        InputError: it holds too many, or is nested too deeply.
    """
    count, waiting = 0, [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise place.refusal("this value is too large or nested too deeply for a config; shorten it")
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += [(inner, depth + 1) for inner in value]
    return count


def copied(value: Any, place: Place, *, inherited: bool = False) -> Any:
    """Return a copy that shares no dictionary and no list with the value.

    Args:
        value: of a config.
        place: for a refusal.
        inherited: whether the dictionaries of the copy are those of a base.
    """
    measure(value, place)
    return _copied(value, inherited)


def _copied(value: Any, inherited: bool) -> Any:
    if isinstance(value, dict):
        items = {key: _copied(inner, inherited) for key, inner in value.items()}
        return Inherited(items) if inherited else items
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner, inherited) for inner in value)
    return value


def merged(child: dict[str, Any], base: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return the dictionary of a config that inherits from a base, as MMEngine merges them.

    Dictionaries are merged key by key; everything else of the child replaces what the base has. A dictionary
    with ``_delete_=True`` replaces, too. Neither argument is changed.

    Raises:
        InputError: a dictionary would be merged into something else.

    >>> here = Place(Path("config.py"), 1)
    >>> merged({"a": {"x": 1}, "b": [2]}, {"a": {"y": 2}, "b": [1, 1]}, here)
    {'a': {'y': 2, 'x': 1}, 'b': [2]}
    """
    result = dict(base)
    for key, value in child.items():
        if key == DELETE:
            continue
        if not isinstance(value, dict):
            result[key] = value
        elif key not in base or value.get(DELETE):
            result[key] = merged(value, {}, place)
        elif not isinstance(base[key], dict):
            raise place.refusal(
                f"{shown(key)} is a dictionary here and {type(base[key]).__name__} in the base; "
                f"write {DELETE}=True into it to replace that"
            )
        else:
            result[key] = merged(value, base[key], place)
    return result


def type_name(value: Any) -> str:
    """Return the name of a class in a ``type=`` without its scope or module; empty for no name.

    >>> type_name("mmdet.RandomFlip"), type_name("mmdet.models.detectors.rtmdet.RTMDet"), type_name(None)
    ('RandomFlip', 'RTMDet', '')
    """
    return value.rpartition(".")[2] if isinstance(value, str) else ""
