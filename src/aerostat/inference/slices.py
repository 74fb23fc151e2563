"""Slices of large photographs: which windows are looked at, and when that is chosen automatically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from aerostat.errors import InputError
from aerostat.geometry.postprocess import Candidates
from aerostat.geometry.window_merge import OVERVIEW, WindowBoxes, merge_windows
from aerostat.geometry.windows import WindowGrid
from aerostat.inference.instance_masks import PATCHES
from aerostat.text import counted

SliceSide = int | Literal["auto", "off"]
"""Side of the windows in pixels of the photograph, ``auto`` or ``off``."""

OVERLAP = 0.2
"""Share of a window's side that neighbours have in common."""
MAX_OVERLAP = 0.9
"""Largest overlap: each pixel is then seen a hundred times."""
MIN_SIDE, MAX_SIDE = 32, 1 << 14
"""Limits of a window's side in pixels."""
MAX_WINDOWS = 250_000
"""Windows of one photograph; some million would be looked at for days, most likely by a typing error."""
LARGE = 4.0
"""A photograph is large if its longer side is more than this many times that of the input."""
SMALL_OBJECT = 16.0
"""Side in input pixels below which a training object is hard to find."""


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What a network was trained on, as far as its weights file says.

    Args:
        object_side: median of the square roots of its boxes' areas, in pixels of their photographs.
        slices: side of the windows that it was trained on; 0 for whole photographs.
    """

    object_side: float = 0.0
    slices: int = 0


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """How large photographs are looked at.

    Args:
        side: (width, height) of the windows in pixels of the photograph.
        overlap: share of the side that neighbours have in common, at least.
        input_size: (width, height) of the network's input.
        is_chosen: whether nobody asked, so that it depends on the photograph.
        trained_on: what the choice depends on.
    """

    side: tuple[int, int]
    overlap: float
    input_size: tuple[int, int]
    is_chosen: bool = False
    trained_on: TrainedOn = TrainedOn()

    @property
    def never(self) -> bool:
        """Whether no photograph is ever sliced: nobody asked, and the training objects are unknown."""
        return self.is_chosen and self.trained_on == TrainedOn()

    def grid(self, image_size: tuple[int, int]) -> WindowGrid | None:
        """Return the windows of a photograph; None if it is looked at as a whole only.

        Raises:
            InputError: there are too many.
        """
        if self.is_chosen and not self._reason(image_size):
            return None
        if image_size[0] <= self.side[0] and image_size[1] <= self.side[1]:
            return None
        grid = WindowGrid.cover(image_size, self.side, self.overlap)
        if len(grid) > MAX_WINDOWS:
            raise InputError(
                f"Expected at most {MAX_WINDOWS} windows, found {len(grid)} of {self.side[0]} px on a "
                f"photograph of {image_size[0]} x {image_size[1]} px; name larger `slices` or a smaller "
                "`overlap`."
            )
        return grid

    def sentence(self, name: str, image_size: tuple[int, int], grid: WindowGrid | None) -> str:
        """Return what happens to a photograph, and why; empty if there is nothing to say.

        Args:
            name: of the photograph.
            image_size: its width and height.
            grid: its windows.
        """
        width, height = image_size
        if grid is None:
            if self.is_chosen:
                return ""
            return (
                f"{name} has {width} x {height} px, no more than slices of {self.side[0]} px: it is looked "
                "at as a whole."
            )
        shrunk = min(own / side for own, side in zip(self.input_size, grid.side, strict=True))
        scale = "" if abs(shrunk - 1) < 0.01 else f", seen at {shrunk:.2g} times their size"
        text = (
            f"{name} has {width} x {height} px: {counted(len(grid), 'window')} of {grid.side[0]} x "
            f"{grid.side[1]} px{scale}, and the whole"
        )
        if self.is_chosen:
            text += f", because {self._reason(image_size)} (`slices='off'` looks at the whole only)"
        return f"{text}."

    def _reason(self, image_size: tuple[int, int]) -> str:
        if self.trained_on.slices:
            is_larger = any(own > side for own, side in zip(image_size, self.side, strict=True))
            return f"the network was trained on windows of {self.trained_on.slices} px" if is_larger else ""
        times = max(image_size) / max(self.input_size)
        scale = min(own / side for own, side in zip(self.input_size, image_size, strict=True))
        seen = self.trained_on.object_side * scale
        if not self.trained_on.object_side or times <= LARGE or seen >= SMALL_OBJECT:
            return ""
        return (
            f"half of the training objects are below {self.trained_on.object_side:.0f} px, which would "
            f"shrink to {seen:.1f} px"
        )


def plan_slices(
    slices: Any, overlap: float, input_size: tuple[int, int], trained_on: TrainedOn | None
) -> SlicePlan | None:
    """Return how large photographs are looked at; None for as a whole only.

    Args:
        slices: side of the windows in pixels, ``auto`` or ``off``.
        overlap: share of a side.
        input_size: (width, height) of the network's input.
        trained_on: what the network was trained on; None if it is not known.

    Raises:
        InputError: a value is out of range.
    """
    if isinstance(overlap, bool) or not isinstance(overlap, int | float) or not 0 <= overlap <= MAX_OVERLAP:
        raise InputError(f"Expected `overlap` from 0 to {MAX_OVERLAP:g}, found {overlap}.")
    if slices == "off" or slices is False or slices is None:
        return None
    if slices == "auto":
        known = trained_on or TrainedOn()
        side = (known.slices, known.slices) if known.slices else input_size
        return SlicePlan(side, float(overlap), input_size, True, known)
    if isinstance(slices, bool) or not isinstance(slices, int | np.integer):
        raise InputError(f"Expected `slices` as pixels, auto or off, found {slices!r}.")
    if not MIN_SIDE <= slices <= MAX_SIDE:
        raise InputError(f"Expected `slices` from {MIN_SIDE} to {MAX_SIDE} pixels, found {slices}.")
    return SlicePlan((int(slices), int(slices)), float(overlap), input_size)


@dataclass(frozen=True, slots=True)
class Slice:
    """One view of a large photograph.

    Args:
        number: of the window in its grid, `OVERVIEW` for the whole.
        box: x1, y1, x2, y2 in pixels of the photograph.
    """

    number: int
    box: tuple[int, int, int, int]
    path: Any = None


def slices_of(grid: WindowGrid, path: Any = None) -> list[Slice]:
    """Return the view of the whole, and then all windows."""
    whole = Slice(OVERVIEW, (0, 0, *grid.image_size), path)
    return [whole, *(Slice(number, grid.box(number), path) for number in range(len(grid)))]


def in_photograph(boxes: Candidates, origin: tuple[int, int]) -> Candidates:
    """Return boxes of a window in pixels of the photograph, in which it begins at `origin`."""
    if origin == (0, 0):
        return boxes
    moved = boxes.with_boxes(boxes.boxes_xyxy + np.asarray(origin * 2, np.float32))
    if PATCHES not in boxes.columns:
        return moved
    patches = np.empty(len(boxes), object)
    for row, views in enumerate(boxes.columns[PATCHES]):
        patches[row] = tuple(patch.moved(origin) for patch in views)
    return replace(moved, columns={**boxes.columns, PATCHES: patches})


def merge_slices(
    slices: Sequence[Slice],
    found: Sequence[Candidates],
    grid: WindowGrid,
    input_size: tuple[int, int],
    max_detections: int | None,
) -> Candidates:
    """Return one box for each object that the views of a photograph have found, best score first.

    Args:
        slices: the views.
        found: what each has found, in pixels of the photograph.
        grid: the windows.
        input_size: (width, height) of the network's input.
        max_detections: how many of the best are kept; None keeps all.
    """
    together = Candidates.concatenate(found)
    numbers = np.repeat([view.number for view in slices], [len(boxes) for boxes in found])
    pixels = tuple(
        max(side / own for side, own in zip(size, input_size, strict=True))
        for size in (grid.side, grid.image_size)
    )
    merged = merge_windows(
        WindowBoxes(
            together.boxes_xyxy, together.scores, together.labels, numbers, grid, (pixels[0], pixels[1])
        )
    )
    rows = replace(
        together.take(merged.best).with_boxes(merged.boxes_xyxy), scores=merged.scores.astype(np.float32)
    )
    if PATCHES in together.columns:
        patches = np.empty(len(rows), object)
        for row, parts in enumerate(merged.parts):
            patches[row] = sum((together.columns[PATCHES][part] for part in parts), ())
        rows = replace(rows, columns={**rows.columns, PATCHES: patches})
    return rows.take(slice(max_detections))
