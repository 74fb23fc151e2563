"""The outlines of masks, traced along the edges of pixels, exactly or simplified.

Where two pixels touch at a corner alone, the outline goes around each of them: pixels of one part share
sides. Each edge along a row is found from the spans of the columns; edges meet where their ends lie on one
vertical line (O'Rourke, Uniqueness of orthogonal connect-the-dots, 1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.mask_columns import ColumnSpans, Ints
from aerostat.geometry.polygons import Polygon

_MAX_DEPTH = 40
"""Halvings of an outline that is simplified. It is a bound of the work; outlines need about twenty."""
_MAX_BRIDGES = 1024
"""Points among which the shortest bridge to a hole is looked for; a longer bridge is right, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """The closed outlines (m,) of n masks, sorted by mask.

    Outer rings run clockwise as the picture is seen, holes the other way: the mask lies to the right.

    Args:
        points: (p, 2) float64, x, y of all rings in pixel edges, one ring after the other. A ring does not
            repeat its first point.
        offsets: (m + 1,) where each ring begins.
        mask: (m,) the mask of each ring.
        owner: (m,) number of the outer ring that a hole lies in; an outer ring has its own number.
    """

    points: Polygon
    offsets: Ints
    mask: Ints
    owner: Ints

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def hole(self) -> NDArray[np.bool_]:
        """Whether each ring (m,) goes around a hole."""
        holes: NDArray[np.bool_] = self.owner != np.arange(len(self))
        return holes

    def ring(self, number: int) -> Polygon:
        """Return one ring (k, 2)."""
        return self.points[self.offsets[number] : self.offsets[number + 1]]


def trace(spans: ColumnSpans) -> Rings:
    """Return the outlines of masks along the edges of their pixels.

    The work follows the length of the outlines.
    """
    edges = _Edges.of(spans)
    ring, order = _cycles(edges.after())
    sizes = np.bincount(ring)
    offsets = np.concatenate([[0], np.cumsum(2 * sizes)]).astype(np.int64)
    points = np.empty((2 * len(order), 2), np.float64)
    points[::2, 0], points[1::2, 0] = edges.start_x[order], edges.end_x[order]
    points[:, 1] = np.repeat(edges.row[order], 2)
    first = order[offsets[:-1] // 2]
    return Rings(points, offsets, edges.mask[first], _owners(edges, ring, spans))


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """The longest edges (e,) along rows, with the mask on their right.

    Args:
        mask: (e,) of each edge.
        down: (e,) 1 where the mask lies below the edge, else -1.
        row: (e,) y.
        left, right: (e,) x of the ends.
        of_top: (s,) the edge above each span.
    """

    mask: Ints
    down: Ints
    row: Ints
    left: Ints
    right: Ints
    of_top: Ints

    @classmethod
    def of(cls, spans: ColumnSpans) -> _Edges:
        """Return the edges above and below spans; those of neighbouring columns are joined."""
        count = len(spans.mask)
        mask, column = np.tile(spans.mask, 2), np.tile(spans.column, 2)
        row = np.concatenate([spans.top, spans.bottom])
        down = np.repeat([1, -1], count)
        order = np.lexsort((column, row, -down, mask))
        mask, column, row, down = mask[order], column[order], row[order], down[order]
        joins = (np.diff(mask) == 0) & (np.diff(down) == 0) & (np.diff(row) == 0) & (np.diff(column) == 1)
        begins = np.concatenate([[True], ~joins])[: len(order)]
        first = np.flatnonzero(begins)
        last = np.concatenate([first[1:] - 1, [len(order) - 1]])[: len(first)]
        edge_of = np.empty(len(order), np.int64)
        edge_of[order] = np.cumsum(begins) - 1
        return cls(mask[first], down[first], row[first], column[first], column[last] + 1, edge_of[:count])

    @property
    def start_x(self) -> Ints:
        """Where each edge starts: the mask lies to its right."""
        return np.where(self.down > 0, self.left, self.right)

    @property
    def end_x(self) -> Ints:
        """Where each edge ends."""
        return np.where(self.down > 0, self.right, self.left)

    def after(self) -> Ints:
        """Return for each edge the one that begins where the vertical edge from its end leads to."""
        count = len(self.mask)
        edge = np.tile(np.arange(count), 2)
        x = np.concatenate([self.start_x, self.end_x])
        is_end = np.repeat([False, True], count)
        # At a corner between two pixels that touch there alone, the edge below the upper pixel comes first.
        order = np.lexsort((self.down[edge], self.row[edge], x, self.mask[edge]))
        pairs, ends = edge[order].reshape(-1, 2), is_end[order].reshape(-1, 2)
        after = np.empty(count, np.int64)
        after[pairs[ends]] = pairs[~ends]
        return after


def _cycles(after: Ints) -> tuple[Ints, Ints]:
    """Return the cycle of each edge (e,), and all edges (e,) cycle by cycle in the order of walking."""
    following = after.tolist()
    cycle, order = [-1] * len(following), []
    found = 0
    for first in range(len(following)):
        if cycle[first] >= 0:
            continue
        edge = first
        while cycle[edge] < 0:
            cycle[edge] = found
            order.append(edge)
            edge = following[edge]
        found += 1
    return np.asarray(cycle, np.int64), np.asarray(order, np.int64)


def _owners(edges: _Edges, ring: Ints, spans: ColumnSpans) -> Ints:
    """Return for each ring (m,) the outer ring that it lies in, or itself.

    Left of the leftmost pixel of a hole is a pixel of its part. The ring above that pixel is the outer one,
    or that of a hole further to the left, whose owner is the same.
    """
    signed = np.bincount(ring, -edges.down * edges.row * (edges.right - edges.left).astype(np.float64))
    owner = np.arange(len(signed))
    upper = np.flatnonzero((signed[ring] < 0) & (edges.down < 0))  # edges above holes
    upper = upper[np.lexsort((edges.row[upper], edges.left[upper], ring[upper]))]
    holes, first = np.unique(ring[upper], return_index=True)
    upper = upper[first]
    beside = spans.span_at(edges.mask[upper], edges.left[upper] - 1, edges.row[upper])
    above = ring[edges.of_top[beside]]
    for place in np.argsort(edges.left[upper], kind="stable").tolist():
        owner[holes[place]] = owner[above[place]]
    return owner


def simplified(rings: Rings, tolerance: float) -> Rings:
    """Return rings of fewer points, none further from the outline than `tolerance` pixels.

    The points that stay are those of Douglas and Peucker (1973). A ring that would enclose nothing stays as
    it is. Simplified rings of different parts may cross.

    Args:
        rings: outlines.
        tolerance: distance in pixels; 0 changes nothing.
    """
    if tolerance <= 0 or not len(rings):
        return rings
    keep = _kept(rings, tolerance)
    ring = np.repeat(np.arange(len(rings)), np.diff(rings.offsets))
    points, owner = rings.points[keep], ring[keep]
    after = np.arange(1, len(points) + 1)
    last = np.flatnonzero(np.diff(owner, append=-1))
    after[last] = np.concatenate([[0], last[:-1] + 1])
    cross = points[:, 0] * points[after, 1] - points[after, 0] * points[:, 1]
    signed = np.bincount(owner, cross, len(rings))
    flat = (np.bincount(owner, minlength=len(rings)) < 3) | ((signed > 0) == rings.hole) | (signed == 0)
    keep |= flat[ring]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(ring[keep], minlength=len(rings)))])
    return Rings(rings.points[keep], offsets.astype(np.int64), rings.mask, rings.owner)


def _kept(rings: Rings, tolerance: float) -> NDArray[np.bool_]:
    """Return which points (p,) stay. All rings are halved at once, again and again."""
    count = len(rings)
    ring = np.repeat(np.arange(count), np.diff(rings.offsets))
    starts = rings.offsets[:-1]
    # Each ring closed by its first point, so that its last stretch has an end.
    place = np.insert(np.arange(len(ring)), rings.offsets[1:], starts)
    owner = np.insert(ring, rings.offsets[1:], np.arange(count))
    points = rings.points[place]
    first = starts + np.arange(count)
    last = rings.offsets[1:] + np.arange(count)
    keep = np.zeros(len(points), np.bool_)
    keep[first] = keep[last] = True
    away = np.linalg.norm(points - points[first][owner], axis=1)
    keep[_farthest(away, first)] = True
    live = np.flatnonzero(~keep)
    for _ in range(_MAX_DEPTH):
        if not len(live):
            break
        chosen = np.flatnonzero(keep)
        stretch = (np.cumsum(keep) - 1)[live]
        distance = _distance(points[live], points[chosen[stretch]], points[chosen[stretch + 1]])
        begins = np.flatnonzero(np.diff(stretch, prepend=-1))
        farthest = _farthest(distance, begins)
        split = distance[farthest] > tolerance
        keep[live[farthest[split]]] = True
        live = live[np.repeat(split, np.diff(np.append(begins, len(live))))]
        live = live[~keep[live]]
    keep[live] = True
    kept = np.ones(len(points), np.bool_)
    kept[last] = False
    found: NDArray[np.bool_] = keep[kept]
    return found


def _farthest(distance: NDArray[np.float64], starts: Ints) -> Ints:
    """Return the first place of the largest distance in each stretch; stretches begin at `starts`."""
    largest = np.repeat(np.maximum.reduceat(distance, starts), np.diff(np.append(starts, len(distance))))
    places = np.flatnonzero(distance == largest)
    stretch = np.searchsorted(starts, places, "right")
    return places[np.unique(stretch, return_index=True)[1]]


def _distance(points: Polygon, a: Polygon, b: Polygon) -> NDArray[np.float64]:
    """Return the distance (p,) of each point from the segment between its a and its b."""
    along = b - a
    length = (along * along).sum(axis=1)
    share = ((points - a) * along).sum(axis=1) / np.where(length > 0, length, 1.0)
    nearest = a + np.clip(share, 0.0, 1.0)[:, None] * along
    distance: NDArray[np.float64] = np.linalg.norm(points - nearest, axis=1)
    return distance


def polygons_of(rings: Rings, count: int, *, single: bool = False) -> list[list[Polygon]]:
    """Return for each of `count` masks its polygons, which fill it by the even-odd rule.

    A hole is joined to its outer ring by a bridge without width, that is walked there and back.

    Args:
        rings: outlines.
        count: number of masks.
        single: whether to join the parts of a mask by bridges, too, such that it has one polygon at most.
    """
    found: list[list[Polygon]] = [[] for _ in range(count)]
    family = rings.mask if single else rings.owner
    order = np.argsort(family, kind="stable")
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(family[order])) + 1, [len(order)]])
    for begin, end in pairwise(bounds):
        if begin < end:
            members = order[begin:end].tolist()
            found[int(rings.mask[members[0]])].append(_bridged([rings.ring(member) for member in members]))
    return found


def _bridged(rings: Sequence[Polygon]) -> Polygon:
    """Return rings as one, joined by bridges, from the leftmost ring to the right."""
    if len(rings) == 1:
        return rings[0]
    leftmost = [int(np.lexsort((ring[:, 1], ring[:, 0]))[0]) for ring in rings]
    turned = [np.roll(ring, -first, axis=0) for ring, first in zip(rings, leftmost, strict=True)]
    turned.sort(key=lambda ring: (ring[0, 0], ring[0, 1]))
    sizes = [len(ring) for ring in turned]
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    points = np.concatenate(turned)
    bridges: dict[int, list[int]] = {}
    for number in range(1, len(turned)):
        near = max(0, starts[number] - _MAX_BRIDGES)
        away = np.abs(points[near : starts[number]] - points[starts[number]]).sum(axis=1)
        bridges.setdefault(near + int(np.argmin(away)), []).append(number)
    walk: list[int] = []
    stack: list[tuple[int, int]] = [(place, 1) for place in range(sizes[0] - 1, -1, -1)]
    while stack:  # (place, 1) walks to a point and across its bridges; (place, 0) returns to it
        place, crosses = stack.pop()
        walk.append(place)
        for number in bridges.get(place, []) if crosses else []:
            stack.append((place, 0))
            stack.append((starts[number], 0))
            stack += [(inner, 1) for inner in range(starts[number + 1] - 1, starts[number] - 1, -1)]
    return points[walk]
