"""Changes to JSON documents that keep them documents: other values, other containers, twice the same key."""

from __future__ import annotations

import json
import random
from typing import Any

from scripts.fuzz.bytes_and_text import NAMES, NUMBERS


class Raw(str):
    """Text that is written as it stands: what `json.dumps` would refuse to write."""

    __slots__ = ()


class Pairs(list[Any]):
    """An object as a list of [key, value]; several may have the same key."""

    __slots__ = ()


def parse(text: str | bytes) -> Any:
    """Return a document as lists, `Pairs` and plain values."""
    return json.loads(text, object_pairs_hook=lambda pairs: Pairs([key, value] for key, value in pairs))


def dump(node: Any) -> str:
    """Return the text of a document."""
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{dump(value)}" for key, value in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(dump, node)) + "]"
    return json.dumps(node)


def change(document: Any, dice: random.Random) -> Any:
    """Return a parsed document, which may be altered itself, with one to four changes."""
    holder = [document]
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _change_somewhere(holder, dice)
    return holder[0]


def _change_somewhere(holder: list[Any], dice: random.Random) -> None:
    places = list(_places(holder))
    container, index = dice.choice(places)
    dice.choice((_replace, _replace, _remove, _repeat, _copy_from_elsewhere, _wrap))(
        container, index, places, dice
    )


Place = tuple[list[Any], int]

_MANY_PLACES = 5_000
"""Values of a document from which on nothing is repeated often: 3,000 times 3,000 take minutes to write."""


def _places(container: list[Any]) -> Any:
    """Yield where each value stands: its container and index, or its [key, value] pair and 0 or 1."""
    for index, item in enumerate(container):
        if isinstance(container, Pairs):
            yield item, 0
            yield item, 1
            if isinstance(item[1], list):
                yield from _places(item[1])
        else:
            yield container, index
            if isinstance(item, list):
                yield from _places(item)


def _replace(container: list[Any], index: int, places: list[Place], dice: random.Random) -> None:
    value = hostile(dice)
    is_key = isinstance(container[index], str) and len(container) == 2 and index == 0
    container[index] = (
        (value if isinstance(value, str) and not isinstance(value, Raw) else "x") if is_key else value
    )


def _remove(container: list[Any], index: int, places: list[Place], dice: random.Random) -> None:
    if isinstance(container[index], list):
        container[index][:] = []
    else:
        container[index] = "" if index == 0 else None


def _repeat(container: list[Any], index: int, places: list[Place], dice: random.Random) -> None:
    value = container[index]
    if isinstance(value, list) and value:
        repeated, times = dice.choice(value), dice.choice((1, 2, 50, 3000))
        value.extend([repeated] * (times if len(places) < _MANY_PLACES else min(times, 2)))
    elif isinstance(value, str) and not isinstance(value, Raw):
        times = dice.choice((2, 1000))
        container[index] = value * (times if len(places) < _MANY_PLACES else 2)


def _copy_from_elsewhere(container: list[Any], index: int, places: list[Place], dice: random.Random) -> None:
    other, at = dice.choice(places)
    value = other[at]
    if not isinstance(value, list) and (index or not isinstance(container[index], str)):
        container[index] = value


def _wrap(container: list[Any], index: int, places: list[Place], dice: random.Random) -> None:
    value = container[index]
    if index == 0 and isinstance(value, str):
        return
    container[index] = dice.choice(([value], Pairs([["x", value]]), [value, value], [[[value]]]))


def hostile(dice: random.Random) -> Any:
    """Return a value that a reader may not expect."""
    match dice.randrange(10):
        case 0 | 1 | 2:
            return Raw(dice.choice(NUMBERS))
        case 3 | 4:
            return dice.choice(NAMES)
        case 5:
            depth = dice.choice((5, 100, 1100, 50_000))
            opening, closing = dice.choice((("[", "]"), ('{"a":', "}")))
            return Raw(opening * depth + "1" + closing * depth)
        case 6:
            return Raw(
                dice.choice(('"\\ud800"', '"\\u0000"', "true", "false", "null", '"\x01"', "tru", "'a'", ""))
            )
        case 7:
            return Raw(_many(dice.choice(("{}", "[]", "0", '""', "null", "[0]", '{"a":0}')), dice))
        case 8:
            return dice.choice(([], Pairs(), [None], [[]], [Pairs()], Pairs([["", ""]]), [1, "1"]))
        case _:
            return dice.choice(
                ("1", "true", "polygon", "circle", "1e5", "on", "0", "point", "é", "x" * 100_000)
            )


def _many(item: str, dice: random.Random) -> str:
    count = dice.choice((3, 1000, 30_000))
    return "[" + ",".join([item] * count) + "]"
