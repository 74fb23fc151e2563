"""Which images are nearly the same, and which show the same scene.

Nearly the same: a 63-bit hash of the coarsest waves of the grey image (the perceptual hash of C. Zauner,
Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), checked on a thumbnail. The same
scene from a little aside: like colours find candidates, and local features (SIFT, D. Lowe, IJCV 2004, with
the square roots of R. Arandjelovic and A. Zisserman, CVPR 2012) decide, by how many of them moved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.images.resize import shrink

SIDE = 256
"""Longer side in pixels to which an image is reduced for its signature."""
HASH_DISTANCE = 10
"""Bits of 63 in which hashes of nearly the same image differ at most.

On the 74 balloon photographs: JPEG quality 30, a third of the size, grey, gamma 1.4, shifts and crops of 2 %:
at most 10. Two different photographs: at least 18 (31 +- 4).
"""
THUMBNAIL_CORRELATION = 0.9
"""What thumbnails of nearly the same image have at least; two different balloon photographs 0.84 at most."""
COLOUR_LIKENESS = 0.7
"""Bhattacharyya coefficient of colours above which two images may show the same scene.

The two photographs of one child in train and val of the balloon data have 0.79; of all pairs 0.5 % have more
than the bound.
"""
COMMON_FEATURES = 8
"""Local features that moved together in two views of a scene: 17 in that pair, at most 3 in 2,700 others."""

_FEATURE_SIDE = 640
_FEATURES = 500
_FLAT = 2.0
_BINS = (12, 6, 6)
_BITS_AT_ONCE = 1 << 19


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What an image is recognised by.

    Args:
        hash: 63 bits.
        thumbnail: (256,) float32, of mean 0 and length 1; all 0 for an image without structure.
        colours: (432,) float16, square roots of shares.
    """

    hash: np.uint64
    thumbnail: NDArray[np.float32]
    colours: NDArray[np.float16]

    @property
    def flat(self) -> bool:
        """Whether the image has too little structure to be recognised."""
        return not self.thumbnail.any()


def signature(image_bgr: NDArray[np.uint8]) -> Signature:
    """Return the signature of an image (H, W, 3) uint8 BGR."""
    small = shrink(image_bgr, SIDE)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    square = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(square)[:8, :8].ravel()[1:]  # the first is the mean
    bits = np.append(waves > np.median(waves), False)
    thumbnail = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    thumbnail -= thumbnail.mean()
    thumbnail *= 0.0 if thumbnail.std() < _FLAT else 1 / np.linalg.norm(thumbnail)
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256]).ravel()
    colours = np.sqrt(counts / counts.sum()).astype(np.float16)
    return Signature(np.packbits(bits).view(np.uint64)[0], thumbnail, colours)


def near_pairs(signatures: Sequence[Signature]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of nearly the same images, in order.

    All hashes are compared with all, a block at a time: 100,000 take about ten seconds. Of images with one
    and the same hash each is compared with the first only, so that a thousand alike make a thousand pairs.
    """
    there = np.asarray([k for k, s in enumerate(signatures) if not s.flat], np.int64)
    if len(there) < 2:
        return []
    hashes = np.asarray([signatures[k].hash for k in there], np.uint64)
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[inverse] != np.arange(len(hashes)))
    candidates = [np.stack([first[inverse[repeated]], repeated], axis=1)]
    rows = max(1, _BITS_AT_ONCE // len(unique))
    for start in range(0, len(unique), rows):
        block = unique[start : start + rows, None]
        i, j = np.nonzero(_popcount(block ^ unique[start:]) <= HASH_DISTANCE)
        i, j = i[i < j] + start, j[i < j] + start
        candidates.append(np.stack([first[i], first[j]], axis=1))
    pairs = there[np.sort(np.concatenate(candidates), axis=1)]
    alike = [
        (a, b)
        for a, b in sorted(map(tuple, pairs.tolist()))
        if float(signatures[a].thumbnail @ signatures[b].thumbnail) >= THUMBNAIL_CORRELATION
    ]
    return alike


def _popcount(bits: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return how many bits are set in each number (n, m)."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(bits), np.uint8)
    by_byte = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
    parts = np.ascontiguousarray(bits).view(np.uint8).reshape(*bits.shape, 8)
    return np.asarray(by_byte[parts].sum(axis=2, dtype=np.uint8), np.uint8)


def like_colours(
    signatures: Sequence[Signature], groups: Sequence[int] | None, most: int
) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, of images of different groups with like colours, the likest first.

    Args:
        signatures: of all images.
        groups: a number for each; two images of one group are no pair. None makes each image a group.
        most: maximum number of pairs; an image of a smaller group is in at most four.
    """
    flat = np.asarray([s.flat for s in signatures], bool)
    if flat.all():
        return []
    colours = np.asarray([s.colours for s in signatures], np.float16)
    found: dict[tuple[int, int], float] = {}
    if groups is None:
        there = np.flatnonzero(~flat)
        found.update(_likest(colours, there, there))
    else:
        group = np.asarray(groups)
        order = sorted(set(groups), key=lambda g: int((group == g).sum()))
        for place, small in enumerate(order):
            mine = np.flatnonzero((group == small) & ~flat)
            others = np.flatnonzero(np.isin(group, order[place + 1 :]) & ~flat)
            found.update(_likest(colours, mine, others))
    return sorted(found, key=lambda pair: -found[pair])[:most]


def _likest(
    colours: NDArray[np.float16], mine: NDArray[np.int64], others: NDArray[np.int64]
) -> dict[tuple[int, int], float]:
    """Return the likeness of each of my images and its four likest others, if they are like enough."""
    found: dict[tuple[int, int], float] = {}
    if not len(others):
        return found
    rows = max(1, (1 << 24) // len(others))
    those = colours[others].astype(np.float32).T
    for start in range(0, len(mine), rows):
        part = mine[start : start + rows]
        alike = colours[part].astype(np.float32) @ those
        alike[part[:, None] == others] = -1.0
        best = np.argsort(-alike, axis=1, kind="stable")[:, :4]
        for row, columns in enumerate(best):
            for column in columns[alike[row, columns] >= COLOUR_LIKENESS]:
                pair = sorted((int(part[row]), int(others[column])))
                found[pair[0], pair[1]] = float(alike[row, column])
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Local features of an image.

    Args:
        points: (n, 4) x, y in pixels of the reduced image, log2 of the size, angle in radians.
        descriptors: (n, 128) float32 of length 1.
    """

    points: NDArray[np.float64]
    descriptors: NDArray[np.float32]


def features(image_bgr: NDArray[np.uint8]) -> Features:
    """Return the local features of an image (H, W, 3) uint8 BGR."""
    grey = cv2.cvtColor(shrink(image_bgr, _FEATURE_SIDE), cv2.COLOR_BGR2GRAY)
    sift = cv2.SIFT_create(_FEATURES)  # type: ignore[attr-defined]  # the stubs lack it
    points, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return Features(np.zeros((0, 4)), np.zeros((0, 128), np.float32))
    places = [(*p.pt, np.log2(p.size), np.deg2rad(p.angle)) for p in points]
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9)
    return Features(np.asarray(places, np.float64), np.sqrt(shares).astype(np.float32))


def common_features(a: Features, b: Features) -> int:
    """Return how many features of two images agree on how one moved, grew and turned into the other."""
    if min(len(a.points), len(b.points)) < 2:
        return 0
    alike = a.descriptors @ b.descriptors.T
    best = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[best] == np.arange(len(best))
    distance = 2 - 2 * np.partition(alike, -2, axis=1)[:, -2:]  # of the second best, and of the best
    mine = np.flatnonzero(mutual & (distance[:, 1] < 0.8**2 * distance[:, 0]))
    if not len(mine):
        return 0
    start, end = a.points[mine], b.points[best[mine]]
    grown, turned = end[:, 2] - start[:, 2], end[:, 3] - start[:, 3]
    factor = 2.0**grown * np.exp(1j * turned)  # one match tells where all others should be
    from_, to = start[:, 0] + 1j * start[:, 1], end[:, 0] + 1j * end[:, 1]
    expected = to[:, None] + factor[:, None] * (from_ - from_[:, None])
    agrees = (np.abs(expected - to) < 20) & (np.abs(grown - grown[:, None]) < 0.7)
    return _different_places(agrees[agrees.sum(axis=1).argmax()], start)


def _different_places(agrees: NDArray[np.bool_], points: NDArray[np.float64]) -> int:
    """Count features that agree, those at one place as one."""
    return len(np.unique(np.round(points[agrees, :2]), axis=0))
