"""What is refused in an annotation file whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence, Sized
from pathlib import Path

from aerostat.data.dataset import OtherClassesError
from aerostat.errors import InputError
from aerostat.wording import counted, listed


def refuse_without_images(images: Sized, path: Path) -> None:
    """Refuse a file that lists no images.

    Raises:
        InputError: naming the file.
    """
    if not len(images):
        raise InputError(f"{path} lists no images; expected at least one annotated image.")


def refuse_repeated(values: Iterable[Hashable], what: tuple[str, str], path: Path) -> None:
    """Refuse a file that lists something twice of which there can be only one.

    Args:
        values: that must differ.
        what: to call one of them, and several.
        path: the file.

    Raises:
        InputError: naming the first that stands there twice.
    """
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise InputError(
            f"{path} lists {counted(len(twice), *what)} more than once, first {twice[0]!r}; "
            "keep one entry for each."
        )


def refuse_unlisted(names: Sequence[str], classes: Sequence[str], path: Path) -> None:
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
            f"{path} has objects of the class {listed(map(repr, names))}, which --classes does not list: "
            f"it lists {listed(map(repr, classes))}."
        )
