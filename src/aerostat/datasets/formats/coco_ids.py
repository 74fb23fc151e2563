"""Ids that are written as a number here and as a text there, as ``0`` and ``"0"``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aerostat.datasets.formats.coco_decode import Id

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.0{0,9})?")


def meaning_of(id_: Id) -> Id:
    """Return the number that an id states, or its text without white space around it.

    >>> meaning_of(" 07"), meaning_of("7.0"), meaning_of("a 7 ")
    (7, 7, 'a 7')
    """
    if isinstance(id_, int):
        return id_
    text = id_.strip()
    return int(text.partition(".")[0]) if _WHOLE_NUMBER.fullmatch(text) else text


@dataclass(slots=True)
class IdIndex:
    """Finds what an id means, also if it is written in another form.

    Args:
        values: of the ids that are listed. Labels and places are whole numbers.
        matched: how many ids were found in another form.
        first: the first of them, and the listed id that it means.
    """

    values: Mapping[Id | None, int]
    matched: int = 0
    first: tuple[Id, Id] | None = None
    _listed: dict[Id, Id | None] | None = field(default=None, repr=False)

    def in_another_form(self, id_: Id) -> int | None:
        """Return the value of the one listed id that an id means; None if there is not exactly one."""
        listed = self.listed(id_)
        if listed is None:
            return None
        self.matched += 1
        self.first = self.first or (id_, listed)
        return self.values[listed]

    def listed(self, id_: Id) -> Id | None:
        """Return the one listed id that an id means; None if there is not exactly one."""
        if id_ in self.values:
            return id_
        if self._listed is None:
            self._listed = {}
            for listed in self.values:
                if listed is None:
                    continue
                meaning = meaning_of(listed)
                self._listed[meaning] = None if meaning in self._listed else listed
        return self._listed.get(meaning_of(id_))
