"""Lines that tracks cross and zones that they stay in: plain geometry of points in pixels.

All functions take the points of many tracks at once. A cross product of pixel coordinates decides on which
side of a line a point is, so that points exactly on a line are known to be on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError

Floats = NDArray[np.float64]
Sides = NDArray[np.int8]

Anchor = Literal["centre", "bottom"]
"""The point of a box that crosses lines: its centre, or the middle of its lower edge, where feet are."""

MAX_CORNERS = 1000
"""Corners of a zone; the work of each frame grows with them."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with a direction, from its first point to its second.

    Seen along this direction, a track that crosses from left to right goes in, the other way out.

    Args:
        start_xy, end_xy: its points in pixels.
        name: for files and pictures.

    Raises:
        InputError: a number is not finite, or both points are the same.
    """

    start_xy: tuple[float, float]
    end_xy: tuple[float, float]
    name: str = "line"

    def __post_init__(self) -> None:
        _check_numbers("lines", [*self.start_xy, *self.end_xy])
        if self.start_xy == self.end_xy:
            raise InputError(
                f"Expected two different points in `lines`, found {_point(self.start_xy)} twice."
            )

    def check_inside(self, image_size: tuple[int, int]) -> None:
        """Refuse a line that leaves pictures of (width, height).

        Raises:
            InputError: naming the point that is outside.
        """
        _check_inside("lines", [self.start_xy, self.end_xy], image_size)


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the picture, with its edge.

    Args:
        corners_xy: at least three corners in pixels, in order; where edges cross, the even-odd rule holds.
        name: for files and pictures.

    Raises:
        InputError: there are too few or too many corners, a number is not finite, or the area is 0.
    """

    corners_xy: tuple[tuple[float, float], ...]
    name: str = "zone"

    def __post_init__(self) -> None:
        _check_numbers("zones", [number for corner in self.corners_xy for number in corner])
        if not 3 <= len(self.corners_xy) <= MAX_CORNERS:
            raise InputError(
                f"Expected 3 to {MAX_CORNERS} corners of a zone in `zones`, found {len(self.corners_xy)}."
            )
        corners = np.asarray(self.corners_xy, np.float64)
        if _in_a_row(corners[1:] - corners[0]):
            raise InputError("Expected an area in `zones`, found corners along one line.")

    def check_inside(self, image_size: tuple[int, int]) -> None:
        """Refuse a zone that leaves pictures of (width, height).

        Raises:
            InputError: naming the first corner that is outside.
        """
        _check_inside("zones", self.corners_xy, image_size)

    def contains(self, points_xy: Floats) -> NDArray[np.bool_]:
        """Return for each point (n, 2) whether it is inside or on the edge.

        Example:
            >>> square = Zone(((0, 0), (10, 0), (10, 10), (0, 10)))
            >>> square.contains(np.asarray([[5.0, 5.0], [10.0, 5.0], [10.5, 5.0]])).tolist()
            [True, True, False]
        """
        inside = np.zeros(len(points_xy), bool)
        on_edge = np.zeros(len(points_xy), bool)
        corners = np.asarray(self.corners_xy, np.float64)
        x, y = points_xy[:, 0], points_xy[:, 1]
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
            # An edge counts from its upper end to above its lower end, so that a corner counts once.
            spans = (y1 <= y) != (y2 <= y)
            inside ^= spans & ((side > 0) == (y2 > y1)) & (side != 0)
            on_edge |= (side == 0) & _between(x, x1, x2) & _between(y, y1, y2)
        return inside | on_edge


class Crossings(NamedTuple):
    """What tracks did at a line between two points, and what has to be known for the next step.

    Args:
        ways: (n,) 1 for in, -1 for out, 0 for neither.
        sides: (n,) side of the last point that was not on the line: 1 right, -1 left, 0 unknown.
        met: (n,) whether the path met the line between its ends since then.
    """

    ways: Sides
    sides: Sides
    met: NDArray[np.bool_]


def start_crossings(count: int) -> Crossings:
    """Return what is known of `count` tracks before their first point."""
    return Crossings(np.zeros(count, np.int8), np.zeros(count, np.int8), np.zeros(count, bool))


def cross(line: Line, before_xy: Floats, now_xy: Floats, known: Crossings) -> Crossings:
    """Return how tracks crossed a line on their straight ways from one point to the next.

    A track crosses if it was on one side, is on the other, and its path in between met the line, ends
    included. Touching the line and going back is no crossing. A track that starts on the line has no side
    until it leaves it. Points in between that were not seen lie on the straight way.

    Args:
        line: with its direction.
        before_xy: (n, 2) the last points; for new tracks the same as `now_xy`.
        now_xy: (n, 2).
        known: of the step before, `start_crossings` for new tracks.

    Example:
        >>> line = Line((0, 10), (0, 0))  # upwards
        >>> step = cross(line, np.asarray([[-1.0, 5.0]]), np.asarray([[-1.0, 5.0]]), start_crossings(1))
        >>> cross(line, np.asarray([[-1.0, 5.0]]), np.asarray([[2.0, 5.0]]), step).ways.tolist()
        [1]
    """
    start = np.asarray(line.start_xy, np.float64)
    way = np.asarray(line.end_xy, np.float64) - start
    side_before, side_now = _cross_product(way, before_xy - start), _cross_product(way, now_xy - start)
    along_before, along_now = (before_xy - start) @ way, (now_xy - start) @ way
    length = float(way @ way)
    on_before, on_now = side_before == 0, side_now == 0
    # Where the step passes the line: a weighted mean of both ends, multiplied by the weights' sum.
    weight = np.abs(side_before) + np.abs(side_now)
    passed = np.abs(side_now) * along_before + np.abs(side_before) * along_now
    passes = (np.sign(side_before) * np.sign(side_now) < 0) & (passed >= 0) & (passed <= length * weight)
    reaches = on_now & ~on_before & (along_now >= 0) & (along_now <= length)
    low, high = np.minimum(along_before, along_now), np.maximum(along_before, along_now)
    follows = on_now & on_before & (high >= 0) & (low <= length)
    leaves = on_before & ~on_now & (along_before >= 0) & (along_before <= length)
    met = known.met | passes | reaches | follows | leaves
    sides = np.sign(side_now).astype(np.int8)
    crossed = (known.sides != 0) & (sides == -known.sides) & met
    return Crossings(
        np.where(crossed, sides, 0).astype(np.int8),
        np.where(on_now, known.sides, sides).astype(np.int8),
        met & on_now,
    )


def anchors(boxes_xyxy: NDArray[np.floating], anchor: Anchor = "centre") -> Floats:
    """Return the points (n, 2) of boxes (n, 4) that lines and zones look at.

    Example:
        >>> anchors(np.asarray([[0.0, 0, 10, 20]]), "bottom").tolist()
        [[5.0, 20.0]]
    """
    boxes = boxes_xyxy.astype(np.float64)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.stack([middle[:, 0], boxes[:, 3]], axis=1) if anchor == "bottom" else middle


def parse_line(text: str, name: str) -> Line:
    """Return the line that ``x1,y1,x2,y2`` states, or ``NAME=x1,y1,x2,y2``.

    Args:
        text: as typed.
        name: of a line without a name.

    Raises:
        InputError: there are not four numbers.
    """
    name, numbers = _parse("lines", text, name)
    if len(numbers) != 4:
        raise InputError(f"Expected four numbers x1,y1,x2,y2 in `lines`, found {len(numbers)} in {text!r}.")
    return Line((numbers[0], numbers[1]), (numbers[2], numbers[3]), name)


def parse_zone(text: str, name: str) -> Zone:
    """Return the zone that ``x1,y1,x2,y2,x3,y3,...`` states, or ``NAME=x1,...``.

    Args:
        text: as typed.
        name: of a zone without a name.

    Raises:
        InputError: there are not at least three pairs of numbers.
    """
    name, numbers = _parse("zones", text, name)
    if len(numbers) < 6 or len(numbers) % 2:
        raise InputError(
            f"Expected at least three corners x1,y1,x2,y2,x3,y3 in `zones`, found {len(numbers)} numbers "
            f"in {text!r}."
        )
    return Zone(tuple(zip(numbers[::2], numbers[1::2], strict=True)), name)


def _parse(parameter: str, text: str, name: str) -> tuple[str, list[float]]:
    given, equals, rest = text.rpartition("=")
    words = [word.strip() for word in (rest if equals else text).split(",")]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise InputError(
            f"Expected numbers with commas in `{parameter}`, found {wrong!r} in {text!r}."
        ) from None
    return (given.strip() or name), numbers


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _check_numbers(parameter: str, numbers: Sequence[float]) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise InputError(f"Expected finite coordinates in `{parameter}`, found {number}.")


def _check_inside(
    parameter: str, points_xy: Sequence[tuple[float, float]], image_size: tuple[int, int]
) -> None:
    width, height = image_size
    for x, y in points_xy:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(
                f"Expected `{parameter}` within the picture of {width} x {height} pixels, found the point "
                f"{_point((x, y))} outside."
            )


def _point(point_xy: tuple[float, float]) -> str:
    return f"{point_xy[0]:g},{point_xy[1]:g}"


def _between(values: Floats, one: float, other: float) -> NDArray[np.bool_]:
    return (values >= min(one, other)) & (values <= max(one, other))


def _cross_product(way: Floats, points: Floats) -> Floats:
    """Return where points (n, 2) lie: above 0 to the right of the way, as seen on a picture."""
    side: Floats = way[0] * points[:, 1] - way[1] * points[:, 0]
    return side


def _in_a_row(edges: Floats) -> bool:
    """Return whether all vectors (n, 2) are parallel, or 0."""
    longest = edges[int(np.argmax((edges**2).sum(axis=1)))]
    return not (longest[0] * edges[:, 1] != longest[1] * edges[:, 0]).any()
