"""Masks of detections: drawn for those that are kept, each within a window of cells around its box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry import run_lengths
from aerostat.geometry.mask_kernels import MASK_STRIDE, mask_logits
from aerostat.geometry.masks import Masks, masks_between
from aerostat.geometry.postprocess import STRIDES, Candidates
from aerostat.images.letterbox import Letterbox

PATCHES = "patches"
"""Column of `Candidates` with a tuple of `MaskPatch` for each box: one from each view that has found it."""
MASK_LOGITS = "mask_logits"
"""Column of `Candidates` with masks that the graph has drawn itself: (n, h, w) logits of stride 8."""
MARGIN = 0.25
"""Share of a box's sides by which a mask may reach beyond it, on each side, and at least one cell. On the
balloon photographs AP of masks is the same to the digit as without a limit (benchmarks/balloon.md)."""
PIXELS_AT_ONCE = 1 << 20
"""Pixels of one mask in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPatch:
    """The mask of one detection as one view has it, as logits of stride 8.

    Args:
        logits: (h, w) float32.
        corner: column and row of the first cell in the map of the whole input.
        letterbox: how the photograph went into the network.
        flip: whether the network saw it mirrored, left to right.
        bounds: x1, y1, x2, y2 in whole pixels of the photograph, outside of which there is no mask.
        origin: x, y of the window that the view shows, in pixels of the photograph.
    """

    logits: NDArray[np.float32]
    corner: tuple[int, int]
    letterbox: Letterbox
    flip: bool
    bounds: tuple[int, int, int, int]
    origin: tuple[int, int] = (0, 0)

    def moved(self, origin: tuple[int, int]) -> MaskPatch:
        """Return the patch of a window in pixels of the photograph in which it begins at `origin`."""
        (x, y), (x1, y1, x2, y2) = origin, self.bounds
        return replace(self, bounds=(x1 + x, y1 + y, x2 + x, y2 + y), origin=origin)

    def logits_in(self, part: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """Return the logits (w, h), column by column, of x1, y1, x2, y2 in pixels of the photograph."""
        (x, y), (x1, y1, x2, y2) = self.origin, part
        within = (x1 - x, y1 - y, x2 - x, y2 - y)
        return self.letterbox.part_to_source(
            self.logits, MASK_STRIDE, self.corner, within, mirrored=self.flip
        )


def with_patches(
    candidates: Candidates, letterbox: Letterbox, *, flip: bool, margin: float | None
) -> Candidates:
    """Return kept candidates of one view with the patches of their masks in a column.

    Args:
        candidates: in input pixels, of a network with masks.
        letterbox: how the photograph went into the network.
        flip: whether the network saw it mirrored.
        margin: share of a box's sides by which its mask may reach beyond it. None draws each mask over the
            whole photograph, as the reference does.
    """
    cells = letterbox.input_size[0] // MASK_STRIDE, letterbox.input_size[1] // MASK_STRIDE
    windows = [_window(box, cells, margin) for box in candidates.boxes_xyxy.tolist()]
    drawn = candidates.columns.get(MASK_LOGITS)
    if drawn is not None:
        logits = [mask[y1:y2, x1:x2] for mask, (x1, y1, x2, y2) in zip(drawn, windows, strict=True)]
    else:
        logits = _drawn(candidates, letterbox.input_size[0], windows)
    patches = np.empty(len(candidates), object)
    for row, (values, window) in enumerate(zip(logits, windows, strict=True)):
        bounds = _bounds(candidates.boxes_xyxy[row], letterbox, flip, margin)
        patches[row] = (MaskPatch(values, window[:2], letterbox, flip, bounds),)
    kept = {name: values for name, values in candidates.columns.items() if name != MASK_LOGITS}
    return replace(candidates, columns={**kept, PATCHES: patches}, mask_maps=None)


def _drawn(
    candidates: Candidates, width: int, windows: Sequence[tuple[int, int, int, int]]
) -> list[NDArray[np.float32]]:
    """Return the logits of each candidate's mask on its window."""
    assert candidates.mask_maps is not None
    levels, points = candidates.origin()
    kernels = candidates.mask_maps.kernels(levels, points)
    features = candidates.mask_maps.features()
    drawn = []
    for kernel, level, point, window in zip(kernels, levels.tolist(), points.tolist(), windows, strict=True):
        stride = STRIDES[level]
        row, column = divmod(point, width // stride)
        drawn.append(mask_logits(kernel, (column * stride, row * stride), stride, features, window))
    return drawn


def _window(box: Sequence[float], cells: tuple[int, int], margin: float | None) -> tuple[int, int, int, int]:
    """Return the cells x1, y1, x2, y2 that the pixels of a box and its margin are interpolated from."""
    if margin is None:
        return 0, 0, *cells
    starts, stops = [], []
    for axis in (0, 1):
        low, high = _widened(box[axis], box[axis + 2], margin)
        starts.append(min(max(math.floor(low / MASK_STRIDE - 0.5), 0), cells[axis] - 1))
        stops.append(max(min(math.ceil(high / MASK_STRIDE + 0.5), cells[axis]), starts[axis] + 1))
    return starts[0], starts[1], stops[0], stops[1]


def _widened(low: float, high: float, margin: float) -> tuple[float, float]:
    room = max(margin * (high - low), float(MASK_STRIDE))
    return low - room, high + room


def _bounds(
    box: NDArray[np.float32], letterbox: Letterbox, flip: bool, margin: float | None
) -> tuple[int, int, int, int]:
    """Return the pixels of the photograph that may belong to a mask."""
    width, height = letterbox.source_size
    if margin is None:
        return 0, 0, width, height
    wide = [_widened(float(box[axis]), float(box[axis + 2]), margin) for axis in (0, 1)]
    corners = np.asarray([[wide[0][0], wide[1][0], wide[0][1], wide[1][1]]])
    x1, y1, x2, y2 = letterbox.boxes_to_source(corners)[0].tolist()
    if flip:
        x1, x2 = width - x2, width - x1
    return (
        min(max(math.floor(x1), 0), width),
        min(max(math.floor(y1), 0), height),
        max(min(math.ceil(x2), width), 0),
        max(min(math.ceil(y2), height), 0),
    )


def joined_patches(patches: NDArray[Any], clusters: NDArray[np.int64], count: int) -> NDArray[Any]:
    """Return for each of `count` fused boxes the patches of all its members.

    Args:
        patches: (n,) of the members, each a tuple.
        clusters: (n,) the fused box of each member.
        count: of fused boxes.
    """
    joined = np.empty(count, object)
    joined[:] = [()] * count
    for row, cluster in zip(patches, clusters.tolist(), strict=True):
        joined[cluster] = joined[cluster] + row
    return joined


def masks_of(candidates: Candidates, image_size: tuple[int, int], threshold: float) -> Masks:
    """Return the masks of detections in pixels of a photograph.

    A mask that several views have found is the mean of their probabilities. Of several windows that show
    parts of an object a pixel belongs to its mask if it does in any of them.

    Args:
        candidates: with patches.
        image_size: (width, height) of the photograph.
        threshold: probability above which a pixel belongs to a mask, in (0, 1).
    """
    boundaries = [_boundaries(patches, image_size, threshold) for patches in candidates.columns[PATCHES]]
    return masks_between(boundaries, image_size)


def _boundaries(
    patches: Sequence[MaskPatch], image_size: tuple[int, int], threshold: float
) -> NDArray[np.int64]:
    windows = dict.fromkeys(patch.origin for patch in patches)
    if len(windows) > 1:
        parts = [
            _boundaries([p for p in patches if p.origin == own], image_size, threshold) for own in windows
        ]
        pixels = image_size[0] * image_size[1]
        union = run_lengths.union([run_lengths.counts_between(part, pixels) for part in parts], pixels)
        return np.cumsum(union[:-1], dtype=np.int64)
    x1, y1 = (min(patch.bounds[axis] for patch in patches) for axis in (0, 1))
    x2, y2 = (max(patch.bounds[axis] for patch in patches) for axis in (2, 3))
    found = [np.zeros(0, np.int64)]
    step = max(1, PIXELS_AT_ONCE // max(y2 - y1, 1))
    for start in range(x1, x2, step):
        part = (start, y1, min(start + step, x2), y2)
        found.append(run_lengths.boundaries_of(_inside(patches, part, threshold), (start, y1), image_size))
    return np.concatenate(found)


def _inside(
    patches: Sequence[MaskPatch], part: tuple[int, int, int, int], threshold: float
) -> NDArray[np.bool_]:
    """Return (w, h) which pixels of a part of the photograph belong to a mask."""
    if len(patches) == 1:
        return patches[0].logits_in(part) > math.log(threshold / (1 - threshold))
    total = np.zeros((part[2] - part[0], part[3] - part[1]), np.float32)
    for patch in patches:
        bx1, by1, bx2, by2 = patch.bounds
        x1, y1, x2, y2 = max(bx1, part[0]), max(by1, part[1]), min(bx2, part[2]), min(by2, part[3])
        if x1 < x2 and y1 < y2:
            probability = 1 / (1 + np.exp(-np.clip(patch.logits_in((x1, y1, x2, y2)), -80, 80)))
            total[x1 - part[0] : x2 - part[0], y1 - part[1] : y2 - part[1]] += probability
    return total > threshold * len(patches)
