"""Checks of an annotation file that are the same for all formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass

from aerostat.datasets.records import OtherClassesError, Problem
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.text import counted, listed, shown

MAX_BROKEN = 100_000
"""Maximum number of unusable records in a file. The report of one takes a hundred times its bytes."""


@dataclass(slots=True)
class BrokenRecords:
    """Counts the records that cannot be used or name no class, and refuses a file with too many.

    Args:
        problems: what is wrong with the file, in which they are found.
        path: the file.
    """

    problems: Sequence[Problem]
    path: AnyPath
    _seen: int = 0
    _broken: int = 0

    def refuse_too_many(self) -> None:
        """Refuse the file once there are more than `MAX_BROKEN`; cheap to call for each record.

        Raises:
            InputError: naming the first.
        """
        if len(self.problems) == self._seen:
            return
        new = self.problems[self._seen :]
        self._broken += sum(problem.kind in ("malformed record", "no class") for problem in new)
        self._seen = len(self.problems)
        if self._broken > MAX_BROKEN:
            first = next(p for p in self.problems if p.kind in ("malformed record", "no class"))
            raise InputError(
                f"{self.path} has more than {MAX_BROKEN} records that cannot be used, first "
                f"{shown(first.file_name)}: {first.detail[:200]}; export it again."
            )


def refuse_without_images(images: Sized, path: AnyPath) -> None:
    """Refuse a file that lists no images.

    Raises:
        InputError: naming the file.
    """
    if not len(images):
        raise InputError(f"{path} lists no images; expected at least one annotated image.")


def refuse_repeated(values: Iterable[Hashable], what: tuple[str, str], path: AnyPath) -> None:
    """Refuse a file that lists a value twice that must be unique.

    Args:
        values: that must differ.
        what: to call one of them, and several.
        path: the file.

    Raises:
        InputError: naming the first value that is listed twice.
    """
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise InputError(
            f"{path} lists {counted(len(twice), *what)} more than once, first {shown(twice[0])}; "
            "keep one entry for each."
        )


def refuse_unlisted(names: Sequence[str], classes: Sequence[str], path: AnyPath) -> None:
    """Refuse a file with objects of classes that were not asked for.

    Args:
        names: classes of the objects that `classes` lacks.
        classes: that were asked for.
        path: the file.

    Raises:
        OtherClassesError: naming both.
    """
    if names:
        raise OtherClassesError(
            f"{path} has objects of the class {listed(map(repr, names))}, which `classes` does not list: "
            f"it lists {listed(map(repr, classes))}; `only_classes` leaves out the objects of other classes."
        )
