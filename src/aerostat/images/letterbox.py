"""The transform of an image into the network's input and back; no other code undoes a resize."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.images.resize import resize_image, scaled_size

PAD_VALUE = 114
"""Grey of the padding in the published pipelines (MMDetection 3.x, RTMDet configs)."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """An image on its way into the network: resized at its aspect ratio, then padded to the input size.

    Sizes are (width, height) in pixels. Points scale by new / old size per axis. Coordinates are pixel edges,
    so the inverse is exact: x = 0 is the left edge of the first pixel, x = width the right edge of the last.

    Args:
        source_size: of the upright image.
        input_size: of the network's input.
        resized_size: of the image after the resize.
        pad_left, pad_top: place of the resized image in the input; the rest is padding.
        pad_value: grey of the padding.

    Example:
        >>> letterbox = Letterbox.fit((200, 100), (64, 64))
        >>> letterbox.resized_size, letterbox.content_box
        ((64, 32), (0, 0, 64, 32))
        >>> letterbox.boxes_to_source(np.asarray([[0.0, 0.0, 32.0, 16.0]])).tolist()
        [[0.0, 0.0, 100.0, 50.0]]
    """

    source_size: tuple[int, int]
    input_size: tuple[int, int]
    resized_size: tuple[int, int]
    pad_left: int = 0
    pad_top: int = 0
    pad_value: int = PAD_VALUE

    def __post_init__(self) -> None:
        for name in ("source_size", "input_size", "resized_size"):
            size = getattr(self, name)
            if len(size) != 2 or min(size) < 1:
                raise InputError(f"Expected {name} as width and height of at least 1 pixel, found {size}.")
        x2, y2 = self.pad_left + self.resized_size[0], self.pad_top + self.resized_size[1]
        if min(self.pad_left, self.pad_top) < 0 or x2 > self.input_size[0] or y2 > self.input_size[1]:
            raise InputError(f"Expected the resized image inside the input {self.input_size}, found {self}.")

    @classmethod
    def fit(
        cls, source_size: tuple[int, int], input_size: tuple[int, int], enlarge: bool = True
    ) -> Letterbox:
        """Return the letterbox that fits an image into the input, padded at the right and below.

        The rounding is that of the published test pipeline (MMDetection 3.x, `Resize(keep_ratio=True)` and
        `Pad`): the new sides are int(side * scale + 0.5).

        Args:
            source_size: (width, height) of the upright image.
            input_size: (width, height) of the network's input.
            enlarge: whether an image smaller than the input grows to fill it.
        """
        scale = min(input_size[0] / source_size[0], input_size[1] / source_size[1])
        if not enlarge:
            scale = min(scale, 1.0)
        return cls(source_size, input_size, scaled_size(source_size, scale))

    @property
    def scale(self) -> tuple[float, float]:
        """Factors from source to input per axis (x, y)."""
        return self.resized_size[0] / self.source_size[0], self.resized_size[1] / self.source_size[1]

    @property
    def content_box(self) -> tuple[int, int, int, int]:
        """Place of the image in the input, xyxy in input pixels; the rest is padding."""
        left, top = self.pad_left, self.pad_top
        return left, top, left + self.resized_size[0], top + self.resized_size[1]

    def apply(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 of `source_size` as the network's input (input_h, input_w, 3)."""
        found = (image_bgr.shape[1], image_bgr.shape[0])
        if found != self.source_size:
            raise InputError(
                f"Expected an image of {self.source_size} (width, height), found one of {found}."
            )
        x1, y1, x2, y2 = self.content_box
        width, height = self.input_size
        canvas = np.full((height, width, 3), self.pad_value, np.uint8)
        canvas[y1:y2, x1:x2] = resize_image(image_bgr, self.resized_size)
        return canvas

    def boxes_to_input(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return boxes (n, 4) of the source in pixels of the input."""
        return np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) * self._factors() + self._offsets()

    def boxes_to_source(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return boxes (n, 4) of the input in pixels of the source; not clipped to it."""
        return (np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) - self._offsets()) / self._factors()

    def map_to_source(self, values: NDArray[Any], *, strided: bool = False) -> NDArray[np.floating]:
        """Return a map over the input plane as a map over the source image.

        The cells under the padding are dropped. The rest is interpolated linearly between the cells' centres,
        as `cv2.resize` does, but correctly also if the image ends within a cell.

        Args:
            values: (h, w) or (h, w, C), over the whole input with its padding, at any resolution, such as
                that of a feature map of stride 8.
            strided: whether strided convolutions made the values. A convolution of kernel 3, padding 1 and
                stride 2 is centred on the first of two pixels. After several of them the value of a cell
                belongs to its first pixel, half a cell to the left of and above its centre, as RTMDet's
                points do.

        Returns:
            (source_h, source_w) or (source_h, source_w, C), in the floating dtype of `values`, else float32.
        """
        if values.ndim not in (2, 3) or 0 in values.shape[:2]:
            raise InputError(f"Expected a map of shape (h, w) or (h, w, C), found {values.shape}.")
        dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float32)
        x1, y1, x2, y2 = self.content_box
        rows = _sampling(self.source_size[1], y1, y2, values.shape[0] / self.input_size[1], strided)
        columns = _sampling(self.source_size[0], x1, x2, values.shape[1] / self.input_size[0], strided)
        return _interpolate(_interpolate(values.astype(dtype, copy=False), *rows, 0), *columns, 1)

    def part_to_source(
        self,
        values: NDArray[np.float32],
        stride: int,
        corner: tuple[int, int],
        part: tuple[int, int, int, int],
        *,
        mirrored: bool = False,
    ) -> NDArray[np.float32]:
        """Return a part of a map over the input plane as a map over a part of the source image.

        The values belong to the centres of the map's cells. They are interpolated linearly between the
        centres; beyond the outermost centres the outermost values are repeated.

        Args:
            values: (h, w), some cells of the map.
            stride: input pixels between neighbouring cells.
            corner: column and row of the first of these cells in the whole map.
            part: x1, y1, x2, y2 in whole pixels of the source image.
            mirrored: whether the input shows the image mirrored, left to right, on the same place.

        Returns:
            (x2 - x1, y2 - y1), column by column.

        Example:
            >>> letterbox = Letterbox.fit((32, 32), (32, 32))
            >>> cells = np.asarray([[0.0, 8.0], [0.0, 8.0]], np.float32)
            >>> letterbox.part_to_source(cells, 8, (0, 0), (4, 6, 8, 7)).tolist()
            [[0.5], [1.5], [2.5], [3.5]]
        """
        x1, y1, x2, y2 = part
        if mirrored:
            x1, x2 = self.source_size[0] - x2, self.source_size[0] - x1
        columns = _weights(self._centres(0, x1, x2) / stride - 0.5 - corner[0], values.shape[1])
        rows = _weights(self._centres(1, y1, y2) / stride - 0.5 - corner[1], values.shape[0])
        # The narrower product first; matrices are faster here than picking values by index.
        spread = np.asarray((columns @ values.T) @ rows.T, np.float32)
        return spread[::-1] if mirrored else spread

    def _centres(self, axis: int, start: int, stop: int) -> NDArray[np.float64]:
        """Return the places in the input of the centres of source pixels along one axis."""
        offset = (self.pad_left, self.pad_top)[axis]
        return np.asarray(offset + (np.arange(start, stop) + 0.5) * self.scale[axis], np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return the letterbox as JSON values."""
        return {
            "source_size": list(self.source_size),
            "input_size": list(self.input_size),
            "resized_size": list(self.resized_size),
            "pad_left": self.pad_left,
            "pad_top": self.pad_top,
            "pad_value": self.pad_value,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Letterbox:
        """Return the letterbox of a dict that `to_dict` returned.

        Raises:
            InputError: a field is missing, unknown or of the wrong kind.
        """
        try:
            fields = {
                k: tuple(map(int, v)) if isinstance(v, list | tuple) else int(v) for k, v in values.items()
            }
            return cls(**fields)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise InputError(f"Expected the fields of a letterbox, found {dict(values)} ({error}).") from None

    def _factors(self) -> NDArray[np.float64]:
        return np.asarray(self.scale * 2, np.float64)

    def _offsets(self) -> NDArray[np.float64]:
        return np.asarray((self.pad_left, self.pad_top) * 2, np.float64)


Sampling = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]


def _sampling(length: int, start: int, stop: int, cells_per_pixel: float, strided: bool) -> Sampling:
    """Return for each of `length` pixel centres the two values around it and the share of the second.

    Args:
        length: pixels of the source along one axis.
        start, stop: of the image in the input, in input pixels.
        cells_per_pixel: resolution of the map relative to the input.
        strided: whether values belong to the first pixels of their cells, not to the centres.
    """
    first = math.floor(start * cells_per_pixel)
    last = max(first, math.ceil(stop * cells_per_pixel) - 1)
    centres = start + (np.arange(length) + 0.5) * ((stop - start) / length)
    place_in_cell = 0.5 * cells_per_pixel if strided else 0.5
    position = np.clip(centres * cells_per_pixel - place_in_cell, first, last)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, last), position - lower


def _weights(positions: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """Return the shares (n, count) of values at whole places in positions (n,) between them."""
    clamped = np.clip(positions, 0, count - 1)
    lower = np.minimum(clamped.astype(np.intp), max(count - 2, 0))
    share = clamped - lower
    weights = np.zeros((len(positions), count), np.float32)
    rows = np.arange(len(positions))
    weights[rows, lower] = 1 - share
    if count > 1:
        weights[rows, lower + 1] = share
    return weights


def _interpolate(
    values: NDArray[Any],
    lower: NDArray[np.intp],
    upper: NDArray[np.intp],
    share: NDArray[np.float64],
    axis: int,
) -> NDArray[Any]:
    shape = [1] * values.ndim
    shape[axis] = -1
    weight = share.astype(values.dtype).reshape(shape)
    blended: NDArray[Any] = (
        np.take(values, lower, axis) * (1 - weight) + np.take(values, upper, axis) * weight
    )
    return blended
