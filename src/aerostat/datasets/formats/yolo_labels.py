"""The lines of YOLO's label files: a class and a box, or a class and an outline, in shares of the image.

Decimals with more digits than a float has are read with what the float lacks, so that what aerostat writes
comes back to the last bit.
"""

from __future__ import annotations

import codecs
import math
from array import array
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.annotation_text import is_utf8
from aerostat.datasets.formats.assembly import Findings, StatedColumns
from aerostat.datasets.formats.checks import BrokenRecords
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.text import counted, shown

_DECIMALS = 15
_SHORT = len("0.") + _DECIMALS
"""Characters of a decimal that can be told from its float: no other one as short has the same float."""
_EXACT = Context(prec=150)
_MAX_SHARE = 2.0
"""No share is beyond it, and nearly every number of pixels is."""


class LabelRows:
    """Objects of many label files, as their lines state them.

    Args:
        findings: gets what is wrong with a line.
        source: the folder of the label files, for messages.
        has_key_points: whether key points follow each box.
    """

    def __init__(self, findings: Findings, source: AnyPath, has_key_points: bool = False) -> None:
        self._findings = findings
        self._source = source
        self._has_key_points = has_key_points
        self._broken = BrokenRecords(findings.problems, source)
        self._images = array("q")
        self._lines = array("q")
        self._classes = array("d")
        self._lengths = array("q")  # points of the outline, 0 for a box
        self._numbers = array("d")
        self._rests: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, content: bytes, image: int, file_name: str) -> bool:
        """Add the lines of the label file of one image; return False if it is no text.

        Args:
            content: of the file.
            image: place of the image.
            file_name: of the image.

        Raises:
            InputError: there have been too many broken lines.
        """
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            content = content.decode("utf-16", "replace").encode()
        content = content.removeprefix(codecs.BOM_UTF8)
        rows, numbers = len(self._lines), len(self._numbers)
        is_text = False
        content = content.replace(b"_", b"_,")  # float() takes 1_000 for a number
        for number, line in enumerate(content.splitlines(), start=1):
            words = line.split()
            if words and (fault := self._add_line(words, image, number)):
                is_text = is_text or is_utf8(content)
                if not is_text:  # its lines are not reported one by one
                    self._take_back(rows, numbers)
                    return False
                where = f"line {number}"
                self._findings.add(file_name, "malformed record", f"{where} {fault}; dropped", where)
                self._broken.refuse_too_many()
        return True

    def _take_back(self, rows: int, numbers: int) -> None:
        """Remove what was added after a state that had these lengths."""
        for column in (self._images, self._lines, self._classes, self._lengths):
            del column[rows:]
        del self._numbers[numbers:]
        self._rests = {place: rest for place, rest in self._rests.items() if place < numbers}

    def _add_line(self, words: list[bytes], image: int, number: int) -> str:
        """Add one line; return what is wrong with it, a clause, or an empty text."""
        try:
            values = [float(word) for word in words]
        except ValueError:
            return f"has {_no_number(words)} among its numbers"
        kept = 5 if len(words) == 5 else self._kept(values)
        if not kept:
            found = counted(len(words), "column")
            return f"has {found}, expected a class with the 4 numbers of a box or with 3 points or more"
        if not all(map(math.isfinite, values)):
            return "has a number that is not finite"
        if not values[0].is_integer():
            return f"has the class {values[0]:g}, expected a whole number"
        if len(max(words, key=len)) > _SHORT:
            self._keep_rests(words[1:kept], values[1:kept])
        self._images.append(image)
        self._lines.append(number)
        self._classes.append(values[0])
        self._lengths.append(0 if kept == 5 else kept // 2)
        self._numbers.extend(values[1:kept])
        return ""

    def _kept(self, values: Sequence[float]) -> int:
        """Return how many numbers of a line are its class with its box or outline; 0 if it has neither."""
        count, unread = len(values), self._findings.unread
        if count < 5:
            return 0
        if self._has_key_points or _ends_with_key_points(values):
            unread["objects with key points"] += 1
            return 5
        if count % 2 == 0:
            unread["scores"] += 1
            count -= 1
        return count

    def _keep_rests(self, words: Sequence[bytes], values: Sequence[float]) -> None:
        """Keep what floats lack of the decimals that they were read from."""
        for place, (word, value) in enumerate(zip(words, values, strict=True), start=len(self._numbers)):
            if len(word) > _SHORT:
                self._rests[place] = float(
                    _EXACT.subtract(_EXACT.create_decimal(word.decode()), Decimal(value))
                )

    @property
    def last_class(self) -> int:
        """The highest number of a class; -1 without objects."""
        return int(max(self._classes, default=-1.0))

    def columns(self, names: Sequence[str], file_names: Sequence[str]) -> StatedColumns:
        """Return the objects of known classes; the others are reported.

        Args:
            names: of the classes by their numbers; empty for a number without a name.
            file_names: of the images by their places.

        Raises:
            InputError: the numbers are pixels, or no object has a known class.
        """
        classes = np.asarray(self._classes, np.float64)
        lengths = np.asarray(self._lengths, np.int64)
        numbers = np.asarray(self._numbers, np.float64)
        counts = np.where(lengths > 0, 2 * lengths, 4)
        owners = np.repeat(np.arange(len(counts)), counts)
        self._refuse_pixels(numbers, owners)
        named = np.asarray([bool(name) for name in names], np.bool_)
        known = (classes >= 0) & (classes < len(names))
        known[known] = named[classes[known].astype(np.int64)]
        self._report_unknown(np.flatnonzero(~known), names, file_names)
        rests = _rests(numbers)
        rests[list(self._rests)] = list(self._rests.values())
        is_box = np.repeat(lengths == 0, counts)
        kept = np.repeat(known, counts)
        boxes = np.zeros((len(counts), 4))
        boxes_rest = np.zeros((len(counts), 4))
        boxes[lengths == 0] = numbers[is_box].reshape(-1, 4)
        boxes_rest[lengths == 0] = rests[is_box].reshape(-1, 4)
        corners, corners_rest = _corners(boxes[known], boxes_rest[known])
        return StatedColumns(
            names=tuple(names),
            images=np.asarray(self._images, np.int64)[known],
            labels=classes[known].astype(np.int64),
            lines=np.asarray(self._lines, np.int64)[known],
            boxes_xyxy=corners,
            outline_lengths=lengths[known],
            points=numbers[kept & ~is_box].reshape(-1, 2),
            shares=True,
            boxes_rest=corners_rest,
            points_rest=rests[kept & ~is_box].reshape(-1, 2),
        )

    def _refuse_pixels(self, numbers: NDArray[np.float64], owners: NDArray[np.int64]) -> None:
        beyond = np.unique(owners[np.abs(numbers) > _MAX_SHARE])
        if 2 * len(beyond) > len(self._lines):
            row = int(beyond[0])
            value = float(numbers[owners == row].max())
            raise InputError(
                f"The labels in {self._source} state pixels, such as {value:g}, where YOLO has shares of the "
                "image between 0 and 1; export them again, or divide them by the sizes of the images."
            )

    def _report_unknown(
        self, rows: NDArray[np.int64], names: Sequence[str], file_names: Sequence[str]
    ) -> None:
        if not len(rows):
            return
        numbers = sorted({int(self._classes[row]) for row in rows})
        some = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        if len(rows) == len(self._lines):
            raise InputError(
                f"No object of {self._source} has a class with a name: the labels have the numbers {some}, "
                f"and {counted(len(names), 'class', 'classes')} from 0 on have names; correct the names."
            )
        for row in rows.tolist():
            where = f"line {self._lines[row]}"
            detail = f"{where} has the class {self._classes[row]:.0f}, which has no name; dropped"
            self._findings.add(file_names[self._images[row]], "unknown category", detail, where)


def _no_number(words: Sequence[bytes]) -> str:
    for word in words:
        try:
            float(word)
        except ValueError:
            return shown(word[:30].replace(b"_,", b"_").decode("utf-8", "replace"), 40)
    return "text"


def _ends_with_key_points(values: Sequence[float]) -> bool:
    """Return whether what follows a box can only be key points: each third number says how visible one is.

    An outline has no point at 2, where visible key points have their mark.
    """
    marks = values[7::3]
    return len(values) % 3 == 2 and len(values) > 5 and 2.0 in marks and {0.0, 1.0, 2.0}.issuperset(marks)


def _rests(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what floats lack of the decimals with up to 15 digits behind the point that they stand for.

    ``0.3`` is read as a float below 0.3. The product with 10^15 and its rounding error are exact (Dekker, A
    floating-point technique for extending the available precision, 1971).
    """
    scale = 10.0**_DECIMALS
    with np.errstate(over="ignore", invalid="ignore"):  # of values that are no shares
        product = values * scale
        whole = np.rint(product)
        (a, b), (c, d) = _halves(values), _halves(np.float64(scale))
        error = ((a * c - product) + a * d + b * c) + b * d
        rests = ((whole - product) - error) / scale
        found: NDArray[np.float64] = np.where(whole / scale == values, rests, 0.0)
    return found


def _halves(values: Any) -> tuple[Any, Any]:
    """Return two parts of floats with half of their bits each (Veltkamp)."""
    large = values * (2.0**27 + 1)
    high = large - (large - values)
    return high, values - high


def _corners(
    boxes: NDArray[np.float64], rests: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return corners (n, 4) of boxes with centres and sides, and what the floats lack of them.

    The sum of two floats is a float and a rest that is a float, too (Knuth, TAOCP 2, 4.2.2, theorem B).
    """
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    lacking, half_lacking = rests[:, :2], rests[:, 2:] / 2
    found, left = [], []
    for side, side_lacking in ((-half, -half_lacking), (half, half_lacking)):
        total = centre + side
        part = total - centre
        left.append((centre - (total - part)) + (side - part) + (lacking + side_lacking))
        found.append(total)
    return np.concatenate(found, axis=1), np.concatenate(left, axis=1)
