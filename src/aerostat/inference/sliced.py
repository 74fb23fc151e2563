"""Large photographs on their way through a detector, one view after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.postprocess import Candidates
from aerostat.geometry.window_merge import OVERVIEW
from aerostat.geometry.windows import WindowGrid
from aerostat.images.frame import Frame
from aerostat.images.location import Location
from aerostat.images.prefetch import read_file
from aerostat.images.read import read_size
from aerostat.images.regions import ArrayRegions, Regions
from aerostat.images.tiled import open_tiled
from aerostat.inference.slices import Slice, SlicePlan, in_photograph, slices_of
from aerostat.inference.views import SeenImage, see

_log = logging.getLogger(__name__)

Prepare = Callable[[Slice, NDArray[np.uint8]], list[SeenImage]]
Look = Callable[
    [Sequence[Slice], Callable[[Slice], NDArray[np.uint8]], Prepare], Iterator[tuple[Slice, Candidates]]
]
"""Yields what a network finds in views, given what reads their pixels and what makes inputs of them."""


class Slicer:
    """Decides for one photograph after the other whether it is looked at by windows.

    What is decided is logged once for each kind of decision.

    Args:
        plan: how large photographs are looked at.
    """

    def __init__(self, plan: SlicePlan) -> None:
        self.plan = plan
        self._said = set[bool]()

    def grid(self, image: Any) -> WindowGrid | None:
        """Return the windows of a photograph; None to look at it as a whole only.

        An image whose header is broken has none: whoever reads it reports it.

        Raises:
            InputError: it would have too many windows.
        """
        try:
            size = _size_of(image)
        except InputError:
            return None
        grid = self.plan.grid(size)
        if (grid is None) not in self._said:
            text = self.plan.sentence(str(getattr(image, "path", None) or image.name), size, grid)
            if text:
                _log.info(text)
                self._said.add(grid is None)
        return grid


def look_at_slices(
    look: Look, image: Any, grid: WindowGrid, plan: Any
) -> tuple[list[Slice], list[Candidates]]:
    """Return the views of a photograph, and what each has found, in pixels of the photograph.

    Args:
        look: runs the network.
        image: a frame, or an object with a path.
        grid: the windows.
        plan: the views of each window.

    Raises:
        InputError: the photograph cannot be read.
    """
    views = plan.views.views
    largest = tuple(max(view.input_size[axis] for view in views) for axis in (0, 1))
    with ExitStack() as stack:
        regions = _open(image, stack)
        size = regions.size
        if size != grid.image_size:
            raise InputError(f"Expected an image of {grid.image_size} px, found one of {size}.")

        def read(view: Slice) -> NDArray[np.uint8]:
            is_whole = view.number == OVERVIEW
            return regions.reduced((largest[0], largest[1])) if is_whole else regions.read(view.box)

        def prepare(view: Slice, image_bgr: NDArray[np.uint8]) -> list[SeenImage]:
            return see(image_bgr, views, size if view.number == OVERVIEW else None)

        slices, found = [], []
        for view, boxes in look(slices_of(grid, getattr(image, "path", None)), read, prepare):
            slices.append(view)
            origin = (0, 0) if view.number == OVERVIEW else view.box[:2]
            found.append(in_photograph(boxes, origin))
    return slices, found


def _size_of(image: Any) -> tuple[int, int]:
    if isinstance(image, Frame) and image.image_bgr is not None:
        return image.image_bgr.shape[1], image.image_bgr.shape[0]
    with open_tiled(_location_of(image)) as tiled:
        return read_size(_location_of(image)) if tiled is None else tiled.size


def _location_of(image: Any) -> Any:
    location = getattr(image, "location", None)  # of a frame it is a text
    return location if isinstance(location, Location) else image.path


def _open(image: Any, stack: ExitStack) -> Regions:
    if isinstance(image, Frame) and image.image_bgr is not None:
        return ArrayRegions(image.image_bgr)
    tiled = stack.enter_context(open_tiled(_location_of(image)))
    if tiled is not None:
        return tiled
    return ArrayRegions(image.read() if isinstance(image, Frame) else read_file(image))
