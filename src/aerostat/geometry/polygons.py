"""Polygons as (n, 2) float64 arrays of x, y in pixels; the first point may be repeated at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]

ELLIPSE_POINTS = 64
"""Vertices of an ellipse as a polygon; its area is within 0.2 % of the ellipse's."""

_PAIRS_AT_ONCE = 1 << 20
"""Pairs of edges in memory at a time."""
_PAIRS_OF_A_RING = 1 << 18
"""Pairs of edges of one outline that are always compared: 16 ms, and all pairs of an outline drawn by
hand."""
_PAIRS_OF_AN_EDGE = 64
"""Pairs per edge of a longer outline, on average; outlines traced from masks have about ten per column."""
_MAX_PAIRS = 1 << 24
"""Pairs of all outlines together: about a second."""


def area(polygon: Polygon) -> float:
    """Return the area by the shoelace formula; loops of opposite direction cancel.

    Example:
        >>> area(np.asarray([(0.0, 0.0), (4.0, 0.0), (4.0, 3.0)]))
        6.0
    """
    if len(polygon) < 3:
        return 0.0
    # Relative to the first point the last edge adds 0, and coordinates far from the origin lose no digits.
    x, y = (polygon - polygon[0]).T
    return 0.5 * abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])))


def bounds(polygon: Polygon) -> tuple[float, float, float, float]:
    """Return the box (x1, y1, x2, y2) around a polygon of at least one point."""
    (x1, y1), (x2, y2) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
    return x1, y1, x2, y2


def clip(polygon: Polygon, width: float, height: float) -> Polygon:
    """Return the part of a polygon inside [0, width] x [0, height]; shape (0, 2) if it is outside.

    A polygon that is inside is returned itself. Pieces that the rectangle separates stay joined by edges
    along its border, which enclose no area (Sutherland and Hodgman, Reentrant polygon clipping, 1974).
    """
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        inside = sign * (polygon[:, axis] - limit) >= 0
        if not inside.all():
            polygon = _clip_to_half_plane(polygon, inside, axis, limit)
    return polygon


def _clip_to_half_plane(polygon: Polygon, inside: NDArray[np.bool_], axis: int, limit: float) -> Polygon:
    kept: list[NDArray[np.float64]] = []
    for end, end_inside in enumerate(inside):
        start = end - 1  # the edge that arrives at `end`; the first one comes from the last point
        if end_inside != inside[start]:
            a, b = polygon[start], polygon[end]
            border = a + (b - a) * ((limit - a[axis]) / (b[axis] - a[axis]))
            border[axis] = limit  # exactly, so that clipping twice changes nothing
            kept.append(border)
        if end_inside:
            kept.append(polygon[end])
    return np.asarray(kept, np.float64).reshape(-1, 2)


def contains(polygon: Polygon, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each point (k, 2) whether it lies in a polygon, by the even-odd rule.

    Example:
        >>> square = np.asarray([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)])
        >>> contains(square, np.asarray([(1.0, 1.0), (5.0, 1.0)])).tolist()
        [True, False]
    """
    start, end = polygon, np.roll(polygon, -1, axis=0)
    inside = np.zeros(len(points), np.bool_)
    for place, (x, y) in enumerate(points.tolist()):
        crossed = (start[:, 1] <= y) != (end[:, 1] <= y)
        (ax, ay), (bx, by) = start[crossed].T, end[crossed].T
        inside[place] = np.count_nonzero(ax + (y - ay) / (by - ay) * (bx - ax) <= x) % 2
    return inside


def crosses_itself(polygon: Polygon) -> bool:
    """Return whether the outline of one polygon meets itself; see `crossing`."""
    return bool(crossing(polygon, np.asarray([len(polygon)]))[0])


def crossing(points: NDArray[np.float64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each polygon whether its outline meets itself: two edges cross or touch, or one folds back.

    Such a ring is not simple (OGC 06-103r4, section 6.1.11). Repeated points do not count. Only edges whose
    ranges of x overlap are compared. The work is bounded: False may also mean that an outline of hundreds of
    overlapping edges was not checked, or that a second had passed.

    Args:
        points: (n, 2) x, y of all polygons, one after the other.
        stops: (m,) end of each polygon in `points`.

    Returns:
        (m,) bool.
    """
    edges = _Edges.of(points, stops)
    crosses: NDArray[np.bool_] = np.zeros(len(stops), np.bool_)
    crosses[edges.ring[_fold_back(edges)]] = True
    crosses[_rings_with_edges_that_meet(edges, crosses)] = True
    return crosses


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """The edges (e) of many rings, ring by ring, without edges of length 0; rings have at least three.

    Args:
        starts, ends: (e, 2) x, y.
        ring: (e,) number of the ring.
        size: (e,) edges of the ring.
        before: (e,) number of the edge that arrives where this one starts.
    """

    starts: Polygon
    ends: Polygon
    ring: NDArray[np.int64]
    size: NDArray[np.int64]
    before: NDArray[np.int64]

    @classmethod
    def of(cls, points: NDArray[np.float64], stops: NDArray[np.int64]) -> _Edges:
        """Return the edges of polygons, without edges of length 0 and rings of fewer than three edges."""
        ring = np.repeat(np.arange(len(stops)), np.diff(stops, prepend=0))
        after = _next_in_ring(ring)
        moves = (points != points[after]).any(axis=1)  # without repeated points, such as a closing one
        moves &= np.bincount(ring[moves], minlength=len(stops))[ring] >= 3
        starts, ring = points[moves], ring[moves]
        after = _next_in_ring(ring)
        before = np.empty_like(after)
        before[after] = np.arange(len(after))
        return cls(starts, starts[after], ring, np.bincount(ring, minlength=len(stops))[ring], before)


def _next_in_ring(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each point (n,) the number of the next point of its ring."""
    after = np.arange(1, len(ring) + 1)
    last = np.flatnonzero(np.diff(ring, append=-1))
    after[last] = np.append(0, last[:-1] + 1)[: len(last)]
    return after


def _fold_back(edges: _Edges) -> NDArray[np.bool_]:
    """Return (e,) bool: whether an edge returns along the edge before it."""
    moves = edges.ends - edges.starts
    before = moves[edges.before]
    turn = before[:, 0] * moves[:, 1] - before[:, 1] * moves[:, 0]
    back: NDArray[np.bool_] = (turn == 0) & ((before * moves).sum(axis=1) < 0)
    return back


def _rings_with_edges_that_meet(edges: _Edges, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of rings in which two edges that are not neighbours share a point.

    Args:
        edges: of all rings.
        known: (m,) bool, rings that need not be checked.
    """
    starts, ends = edges.starts, edges.ends
    left, right = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
    order = np.lexsort((left, edges.ring))
    ring = edges.ring[order]
    # Sort starts and ends together, to count the edges of a ring that start left of the end of an edge.
    sides, rings = np.concatenate([left[order], right[order]]), np.concatenate([ring, ring])
    is_end = np.repeat([False, True], len(order))
    merged = np.lexsort((is_end, sides, rings))
    begun = np.empty(len(merged), np.int64)
    begun[merged] = np.cumsum(~is_end[merged])
    rank = np.arange(len(order))
    partners = begun[len(order) :] - rank - 1  # edges that start below this one
    pairs = np.bincount(ring, weights=partners, minlength=len(known))
    allowed = np.maximum(_PAIRS_OF_A_RING, _PAIRS_OF_AN_EDGE * np.bincount(ring, minlength=len(known)))
    left_out = known | (pairs > allowed)
    left_out |= np.cumsum(np.where(left_out, 0, pairs)) > _MAX_PAIRS
    partners[left_out[ring]] = 0
    total = np.cumsum(partners)
    met: list[NDArray[np.int64]] = []
    cuts = np.searchsorted(total, np.arange(_PAIRS_AT_ONCE, partners.sum(), _PAIRS_AT_ONCE))
    for ranks in np.split(rank, cuts):
        count = partners[ranks]
        i = np.repeat(ranks, count)
        j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
        i, j = order[i], order[j]
        apart = np.abs(i - j)
        distant = (apart != 1) & (apart != edges.size[i] - 1)
        i, j = i[distant], j[distant]
        met.append(edges.ring[i[_meet(starts[i], ends[i], starts[j], ends[j])]])
    return np.concatenate(met)


def _meet(a: Polygon, b: Polygon, c: Polygon, d: Polygon) -> NDArray[np.bool_]:
    """Return for each row whether the closed segments ab and cd share a point."""
    near = (np.maximum(a, b) >= np.minimum(c, d)).all(axis=1) & (np.maximum(c, d) >= np.minimum(a, b)).all(
        axis=1
    )
    return near & (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0)


def _side(a: Polygon, b: Polygon, point: Polygon) -> NDArray[np.float64]:
    """Return per row the sign of the side of the line ab on which a point lies; 0 on the line."""
    (ux, uy), (vx, vy) = (b - a).T, (point - a).T
    sign: NDArray[np.float64] = np.sign(ux * vy - uy * vx)
    return sign


def ellipse(cx: float, cy: float, rx: float, ry: float, theta: float = 0.0) -> Polygon:
    """Return an ellipse as a polygon whose bounds are the ellipse's own.

    Args:
        cx, cy: centre in pixels.
        rx, ry: half axes in pixels.
        theta: angle in radians from the x axis to the half axis `rx`, clockwise as the picture is seen.
    """
    cos, sin = math.cos(theta), math.sin(theta)
    rightmost, lowest = math.atan2(-ry * sin, rx * cos), math.atan2(ry * cos, rx * sin)
    extremes = np.asarray([rightmost, rightmost + math.pi, lowest, lowest + math.pi])
    steps = np.arange(ELLIPSE_POINTS) * (2 * math.pi / ELLIPSE_POINTS)
    angles = np.unique(np.concatenate([steps, extremes % (2 * math.pi)]))
    x, y = rx * np.cos(angles), ry * np.sin(angles)
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1)
