"""Feature maps: outputs of layers over the original photograph."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.draw.boxes import draw_boxes
from aerostat.draw.grid import image_grid
from aerostat.draw.heatmap import captioned, contact_sheet, outline_boxes, overlay_heat
from aerostat.draw.saving import save_image
from aerostat.errors import AerostatError, InputError, nearest
from aerostat.explanation.forwarded import image_and_path
from aerostat.explanation.named_layers import find_layer, private_copy, record
from aerostat.files import replacing, require_folder
from aerostat.images.letterbox import Letterbox
from aerostat.images.resize import resize_image, scaled_size
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.model import RTMDet, normalise
from aerostat.model.head import RTMDetSepBNHead
from aerostat.results.detections import Detections, Picture
from aerostat.text import counted, listed

Reduction = Literal["squeeze_mean", "select_max", "pca"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
"""Ways from many channels to one: their mean, the channel with the largest sum of activations (both as in
MMYOLO's tools), and the first principal component over the cells."""
DEFAULT_LAYERS = ("backbone", "neck")
MAX_DRAWN_SIDE, MIN_DRAWN_SIDE = 2048, 480
"""Maximum and minimum longer side of a drawn photograph in pixels."""
SHEET_CELL, SHEET_GRID = 420, 840
"""Longer side of a photograph on the contact sheet in pixels, and of several channels together."""
MAX_SHEET_HEIGHT = 30_000
"""Maximum height of the contact sheet in pixels; a JPEG has at most 65535."""
_MAX_STEM_BYTES = 120
"""Bytes of the photograph's name in the pictures' names; a file name has at most 255."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane from the channels of a map.

    Args:
        values: (h, w) over the whole input of the network including its padding.
        title: description, such as ``mean of 64 channels``.
        low, high: minimum and maximum on the photograph without the padding.
        channel: number of the channel, counted from 0; None if the plane is from all channels.
    """

    values: NDArray[np.float32]
    title: str
    low: float
    high: float
    channel: int | None = None

    def __repr__(self) -> str:
        """Return the plane in one line."""
        return f"Plane({self.title}, {self.low:.3g} to {self.high:.3g})"

    def heat(self, letterbox: Letterbox) -> NDArray[np.float32]:
        """Return the plane over the photograph (H, W), from 0 at `low` to 1 at `high`; 0 if they are equal.

        Args:
            letterbox: letterbox of the photograph; another `source_size` draws it at another size.
        """
        span = self.high - self.low
        if not span > 0:
            width, height = letterbox.source_size
            return np.zeros((height, width), np.float32)
        scaled = (self.values - np.float32(self.low)) / np.float32(span)
        heat = letterbox.map_to_source(scaled, strided=True)
        return np.asarray(np.clip(heat, 0, 1), np.float32)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Output of one layer at one pyramid level.

    Args:
        layer: OpenMMLab's name.
        part: ``cls`` or ``reg`` of the whole head, else empty.
        stride: pixels of the network's input from cell to cell.
        alone: whether this is the layer's only output.
        activation: (C, h, w) over the whole input of the network including its padding.
        planes: planes that are drawn: one, or the strongest channels.
        title: description of the planes.
    """

    layer: str
    part: str
    stride: int
    alone: bool
    activation: NDArray[np.float32]
    planes: tuple[Plane, ...]
    title: str

    @property
    def row(self) -> str:
        """The layer, and the part of the whole head."""
        return f"{self.layer} {self.part}".strip()

    @property
    def key(self) -> str:
        """The layer, with part and stride if it has several outputs: ``neck/stride8``."""
        return self.layer if self.alone else "/".join(filter(None, (self.layer, self.part, self._stride(0))))

    @property
    def file_stem(self) -> str:
        """The key as a file name for every system, sorted by stride."""
        name = re.sub(r"\[(\d+)\]", r"-\1", self.layer)
        return name if self.alone else "-".join(filter(None, (name, self.part, self._stride(2))))

    def __repr__(self) -> str:
        """Return the map in one line."""
        shape = " x ".join(map(str, self.activation.shape))
        return f"FeatureMap({self.row}, stride {self.stride}, {shape})"

    def _stride(self, digits: int) -> str:
        return f"stride{self.stride:0{digits}d}"

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON values, without the arrays."""
        channels, height, width = self.activation.shape
        return {
            "layer": self.layer,
            "part": self.part or None,
            "key": self.key,
            "stride": self.stride,
            "channels": channels,
            "size": [width, height],
            "planes": [
                {"title": p.title, "channel": p.channel, "low": p.low, "high": p.high} for p in self.planes
            ],
        }


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Feature maps of one photograph, by layer and pyramid level.

    A notebook shows the contact sheet.

    Args:
        maps: at least one map.
        image_bgr: photograph (H, W, 3) uint8.
        letterbox: resize and padding of the photograph.
        arrange: rows and columns of several planes of a map.
        detections: detections that are drawn over the maps, or None.
        path: path of the photograph, if known.
        shared: layers that several pyramid levels share; they have a map for each level.
    """

    maps: tuple[FeatureMap, ...]
    image_bgr: NDArray[np.uint8]
    letterbox: Letterbox
    arrange: tuple[int, int]
    detections: Detections | None = None
    path: Path | None = None
    shared: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[FeatureMap]:
        return iter(self.maps)

    def __repr__(self) -> str:
        """Return the layers in one line."""
        layers = listed(dict.fromkeys(m.row for m in self.maps))
        return f"FeatureMaps({counted(len(self), 'map')} of {layers} on {self.path or 'an image'})"

    def _repr_png_(self) -> bytes:
        """Return the contact sheet for a notebook."""
        return self.draw()._repr_png_()

    def draw(self) -> Picture:
        """Return the contact sheet: a row for each layer and a column for each stride."""
        rows = list(dict.fromkeys(m.row for m in self.maps))
        strides = sorted({m.stride for m in self.maps})
        cells: list[list[NDArray[np.uint8] | None]] = [[None] * len(strides) for _ in rows]
        longest = SHEET_CELL if self.arrange == (1, 1) else SHEET_GRID
        high, wide = self._small(self.maps[0], longest).shape[:2]
        shrink = min(1.0, MAX_SHEET_HEIGHT / (high * len(rows)))
        cell = max(1, int(wide * shrink)), max(1, int(high * shrink))
        for feature_map in self.maps:
            drawn = self._small(feature_map, longest)
            cells[rows.index(feature_map.row)][strides.index(feature_map.stride)] = drawn
        return Picture(contact_sheet(cells, rows, [f"stride {s}" for s in strides], cell=cell))

    def draw_map(self, feature_map: FeatureMap) -> Picture:
        """Return one map over the photograph, at its top left corner, with a caption below.

        The longer side of the photograph, or of several planes together, has 480 to 2048 pixels.
        """
        lines = [f"{feature_map.row}, stride {feature_map.stride}", feature_map.title]
        if len(feature_map.planes) == 1:
            return Picture(self._captioned(feature_map.planes[0], MAX_DRAWN_SIDE, lines))
        longest = MAX_DRAWN_SIDE // max(self.arrange)
        drawn = [self._captioned(plane, longest, [plane.title]) for plane in feature_map.planes]
        return Picture(captioned(self._grid(drawn, gap=8), lines))

    def _captioned(self, plane: Plane, longest: int, lines: Sequence[str]) -> NDArray[np.uint8]:
        """Return a plane over the photograph with its detections, and a caption with the scale."""
        image_bgr, letterbox = self._over_photograph(plane, longest)
        if self.detections is not None:
            image_bgr = draw_boxes(
                image_bgr,
                self._drawn_boxes(letterbox),
                self.detections.labels,
                self.detections.classes,
                self.detections.scores,
            )
        if plane.high > plane.low:
            return captioned(image_bgr, lines, (f"{plane.low:.3g}", f"{plane.high:.3g}"))
        return captioned(image_bgr, [*lines, f"{plane.low:.3g} everywhere, so there is no heat"])

    def _small(self, feature_map: FeatureMap, longest: int) -> NDArray[np.uint8]:
        """Return each plane of a map over the photograph, for the contact sheet."""
        drawn = []
        for plane in feature_map.planes:
            image_bgr, letterbox = self._over_photograph(plane, longest // max(self.arrange))
            drawn.append(outline_boxes(image_bgr, self._drawn_boxes(letterbox)))
        return drawn[0] if self.arrange == (1, 1) else self._grid(drawn, gap=2)

    def _grid(self, drawn: Sequence[NDArray[np.uint8]], gap: int) -> NDArray[np.uint8]:
        high, wide = drawn[0].shape[:2]
        return image_grid(drawn, columns=self.arrange[1], cell=(wide, high), gap=gap)

    def _drawn_boxes(self, letterbox: Letterbox) -> NDArray[np.float64]:
        """Return the boxes (n, 4) of the detections in pixels of the drawn photograph."""
        if self.detections is None:
            return np.zeros((0, 4))
        scale = np.asarray(letterbox.source_size * 2, np.float64) / (self.letterbox.source_size * 2)
        return self.detections.boxes_xyxy * scale

    def _over_photograph(self, plane: Plane, longest: int) -> tuple[NDArray[np.uint8], Letterbox]:
        image_bgr, letterbox = self._drawn_photograph(longest)
        return overlay_heat(image_bgr, plane.heat(letterbox), grey=True), letterbox

    def _drawn_photograph(self, longest: int) -> tuple[NDArray[np.uint8], Letterbox]:
        """Return the drawn photograph, and the letterbox for its size."""
        side = max(self.letterbox.source_size)
        size = scaled_size(self.letterbox.source_size, min(max(side, MIN_DRAWN_SIDE), longest) / side)
        return _resized(self._of_screen_size, size), replace(self.letterbox, source_size=size)

    @cached_property
    def _of_screen_size(self) -> NDArray[np.uint8]:
        """The photograph, not larger than any picture, because it is resized for each plane."""
        scale = min(1.0, MAX_DRAWN_SIDE / max(self.letterbox.source_size))
        return _resized(self.image_bgr, scaled_size(self.letterbox.source_size, scale))

    def save(self, folder: Path | str, *, arrays: bool = False) -> list[Path]:
        """Write a picture of each map, the contact sheet, and the arrays if asked; return the paths.

        The names begin with the photograph's name. The arrays are float32 (C, h, w) over the whole input of
        the network, under the maps' keys. ``letterbox`` is the JSON text that `Letterbox.from_dict` takes.

        Args:
            folder: folder for the files; it is made if it is missing.
            arrays: whether the arrays are written.

        Raises:
            InputError: the folder cannot be made, or a picture would replace the photograph.
        """
        folder = Path(folder)
        require_folder(folder)
        stem = _file_stem(self.path)
        pictures = [folder / f"{stem}-{m.file_stem}.jpg" for m in self.maps]
        sheet, data = folder / f"{stem}-features.jpg", folder / f"{stem}-features.npz"
        if self.path is not None and self.path.resolve() in {p.resolve() for p in (*pictures, sheet)}:
            raise InputError(f"The pictures would replace the photograph {self.path}; choose another folder.")
        for feature_map, path in zip(self.maps, pictures, strict=True):
            self.draw_map(feature_map).save(path)
        save_image(sheet, self.draw().image_bgr)
        if arrays:
            self._save_arrays(data)
        return [*pictures, sheet, *([data] if arrays else [])]

    def _save_arrays(self, path: Path) -> None:
        content: dict[str, Any] = {m.key: m.activation for m in self.maps}
        content["letterbox"] = np.asarray(json.dumps(self.letterbox.to_dict()))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **content)

    def remarks(self) -> list[str]:
        """Return remarks on the pictures: shared layers, and a photograph that is drawn smaller."""
        remarks = [f"{name} is shared by several levels, which have a picture each" for name in self.shared]
        width, height = self.letterbox.source_size
        if max(width, height) > MAX_DRAWN_SIDE:
            remarks.append(
                f"the photograph of {width} x {height} px is drawn smaller, "
                f"its longer side {MAX_DRAWN_SIDE} px"
            )
        return remarks

    def lines(self) -> list[str]:
        """Return a line for each map, and the number of detections."""
        width = max(len(m.row) for m in self.maps)
        lines = [f"{m.row:{width}}  stride {m.stride:2}  {m.title}" for m in self.maps]
        if self.detections is not None:
            lines.append(f"{counted(len(self.detections), 'detection')} drawn over the maps")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the maps as JSON values, without the arrays."""
        return {
            "file": None if self.path is None else self.path.as_posix(),
            "letterbox": self.letterbox.to_dict(),
            "maps": [m.to_dict() for m in self.maps],
            "remarks": self.remarks(),
            "detections": None if self.detections is None else self.detections.to_dict()["detections"],
        }


def feature_maps(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    layers: str | Sequence[str] = DEFAULT_LAYERS,
    *,
    reduce: Reduction = "squeeze_mean",
    topk: int | None = None,
    arrange: tuple[int, int] | None = None,
    detections: bool = False,
    score: float = SHOW_SCORE,
) -> FeatureMaps:
    """Return the outputs of layers for a photograph, to be drawn over it.

    The detector stays as it is: a private copy of its network is run in evaluation mode. Reductions only use
    the cells on the photograph, not the padding.

    Args:
        detector: from `aerostat.load`.
        image: path, or image (H, W, 3) uint8 BGR.
        layers: OpenMMLab's names, such as ``neck`` or ``backbone.stage4``; `layer_tree` lists them.
        reduce: ``squeeze_mean`` for the mean of the channels, ``select_max`` for the channel with the largest
            sum of activations, ``pca`` for the first principal component over the cells, with the sign that
            makes it grow with the magnitude of the activations.
        topk: number of channels with the largest sums that are drawn instead of `reduce`, each in its own
            range.
        arrange: (rows, columns) for `topk`; None is nearly square.
        detections: whether the detections are drawn over the maps.
        score: detections need a higher score.

    Raises:
        InputError: an unreadable image, an unknown layer or reduction, a layer that gives no map, or more
            channels than the layer or the arrangement has.
        AerostatError: the network's outputs are not finite.

    Example:
        ``ae.feature_maps(model, "party.jpg", "neck", topk=4).save("features")``
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    grid = check_request(reduce, topk, arrange)
    copy = private_copy(detector.net)
    found = list(dict.fromkeys(find_layer(copy, name).name for name in names))
    if not found:
        raise InputError(f"Expected at least one layer, such as {' or '.join(DEFAULT_LAYERS)}, found none.")
    image_bgr, path = image_and_path(image)
    letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), detector.input_size)
    planes = torch.from_numpy(np.ascontiguousarray(letterbox.apply(image_bgr).transpose(2, 0, 1)))
    with torch.inference_mode():
        outputs = record(copy, found, normalise(planes[None].to(detector.device)))
    maps = [
        _feature_map(name, part, len(levels) == 1, level, letterbox, reduce, topk)
        for name, levels in outputs.items()
        for part, level in zip(_parts(copy, name, len(levels)), levels, strict=True)
    ]
    seen = None
    if detections:
        seen = replace(detector, engine=TorchEngine(copy)).predict(image_bgr, score=score, slices="off")
        seen = replace(seen, path=path)
    return FeatureMaps(tuple(maps), image_bgr, letterbox, grid, seen, path, _shared(copy, outputs))


def check_request(reduce: str, topk: int | None, arrange: tuple[int, int] | None) -> tuple[int, int]:
    """Return rows and columns of the planes of a map; see `feature_maps`.

    Raises:
        InputError: an unknown reduction, or an arrangement that does not fit the number of channels.
    """
    if reduce not in REDUCTIONS:
        raise InputError(
            f"Expected a reduction ({', '.join(REDUCTIONS)}), found {reduce!r}.{nearest(reduce, REDUCTIONS)}"
        )
    if topk is None:
        if arrange is not None:
            raise InputError("`arrange` is for the strongest channels; choose their number with `topk`.")
        return 1, 1
    if topk < 1:
        raise InputError(f"Expected `topk` as a number of channels, at least 1, found {topk}.")
    if arrange is None:
        columns = math.ceil(math.sqrt(topk))
        return math.ceil(topk / columns), columns
    rows, columns = arrange
    if rows < 1 or columns < 1 or rows * columns < topk:
        raise InputError(
            f"Expected an arrangement with room for {counted(topk, 'channel')}, found {rows} x {columns} "
            "(rows x columns); name more rows or columns."
        )
    return rows, columns


def _parts(net: RTMDet, layer: str, count: int) -> list[str]:
    """Return the part of each output of a layer: classes and distances of the whole head, else empty."""
    if isinstance(find_layer(net, layer).module, RTMDetSepBNHead):
        return ["cls"] * (count // 2) + ["reg"] * (count // 2)
    return [""] * count


def _shared(net: RTMDet, outputs: Mapping[str, Sequence[torch.Tensor]]) -> tuple[str, ...]:
    """Return the layers that several pyramid levels share; they have several names."""
    modules = [module for _, module in net.named_modules(remove_duplicate=False)]
    return tuple(name for name in outputs if modules.count(find_layer(net, name).module) > 1)


def _feature_map(
    layer: str,
    part: str,
    alone: bool,
    level: torch.Tensor,  # (1, C, h, w)
    letterbox: Letterbox,
    reduce: Reduction,
    topk: int | None,
) -> FeatureMap:
    activation: NDArray[np.float32] = level[0].float().cpu().numpy()
    if not np.isfinite(activation).all():
        raise AerostatError(
            f"The outputs of {layer} are not numbers; the weights are damaged, or were trained until they "
            "diverged."
        )
    stride = round(letterbox.input_size[0] / activation.shape[2])
    rows, columns = content_cells(letterbox, activation.shape[1:])
    content = activation[:, rows, columns]
    channels = len(activation)
    if topk is None:
        planes: tuple[Plane, ...] = (_reduced(activation, content, reduce, rows, columns),)
        title = planes[0].title
    else:
        if topk > channels:
            raise InputError(
                f"Expected `topk` of at most the number of channels, found {topk} for {layer} {part}".rstrip()
                + f" at stride {stride}, which has {channels}."
            )
        planes = tuple(_channel(activation, content, c) for c in _strongest(content, topk))
        title = f"the {topk} of {counted(channels, 'channel')} with the largest sums, each in its own range"
        title = title if topk > 1 else f"{planes[0].title} of {channels}, the one with the largest sum"
    return FeatureMap(layer, part, stride, alone, activation, planes, title)


def content_cells(letterbox: Letterbox, size: Sequence[int]) -> tuple[slice, slice]:
    """Return the rows and columns of a map of (h, w) cells over the input that lie on the photograph."""
    x1, y1, x2, y2 = letterbox.content_box
    width, height = letterbox.input_size

    def cells(start: int, stop: int, side: int, count: int) -> slice:
        return slice(start * count // side, max(start * count // side + 1, -(-stop * count // side)))

    return cells(y1, y2, height, size[0]), cells(x1, x2, width, size[1])


def _reduced(
    activation: NDArray[np.float32],
    content: NDArray[np.float32],
    reduce: Reduction,
    rows: slice,
    columns: slice,
) -> Plane:
    channels = len(activation)
    if channels == 1:
        return replace(_channel(activation, content, 0), title="its only channel")
    if reduce == "select_max":
        plane = _channel(activation, content, _strongest(content, 1)[0])
        return replace(plane, title=f"{plane.title} of {channels}, the one with the largest sum")
    if reduce == "squeeze_mean":
        values, title = activation.mean(axis=0), f"mean of {channels} channels"
    else:
        values, share = _principal_component(activation, content)
        title = f"first principal component of {channels} channels, {share:.0%} of their variance"
    inside = values[rows, columns]
    return Plane(values, title, float(inside.min()), float(inside.max()))


def _strongest(content: NDArray[np.float32], count: int) -> list[int]:
    """Return the channels with the largest sums, the strongest first."""
    sums = content.sum(axis=(1, 2), dtype=np.float64)
    return [int(channel) for channel in np.argsort(-sums, kind="stable")[:count]]


def _channel(activation: NDArray[np.float32], content: NDArray[np.float32], channel: int) -> Plane:
    low, high = float(content[channel].min()), float(content[channel].max())
    return Plane(activation[channel], f"channel {channel}", low, high, channel)


def _principal_component(
    activation: NDArray[np.float32], content: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Return the first principal component (h, w) over the cells of the content, and its share of variance.

    A component has no sign. It gets the sign that makes it grow with the magnitude of the activations.
    """
    cells = content.reshape(len(content), -1).T.astype(np.float64)  # (cells, C)
    mean = cells.mean(axis=0)
    centred = cells - mean
    variance = float((centred**2).sum())
    if not variance > 0:
        return np.zeros(activation.shape[1:], np.float32), 0.0
    if cells.shape[0] < cells.shape[1]:  # the smaller of the two matrices has the same eigenvalues
        values, vectors = np.linalg.eigh(centred @ centred.T)
        axis = centred.T @ vectors[:, -1]
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        axis = vectors[:, -1]
    axis /= np.linalg.norm(axis)
    projected = centred @ axis
    magnitude = np.linalg.norm(cells, axis=1)
    agreement = projected @ (magnitude - magnitude.mean())
    if agreement < 0 or (agreement == 0 and axis[np.abs(axis).argmax()] < 0):
        axis = -axis
    component = np.tensordot(axis, activation, axes=1) - mean @ axis
    return component.astype(np.float32), float(values[-1]) / variance


def _resized(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image at `size` = (width, height), averaged if it shrinks."""
    if size[0] >= image_bgr.shape[1]:
        return resize_image(image_bgr, size)
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)


def _file_stem(path: Path | None) -> str:
    """Return the photograph's name as the beginning of file names on every system."""
    stem = "image" if path is None else re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", path.stem).strip(". ")
    return stem.encode("utf-8", "replace")[:_MAX_STEM_BYTES].decode("utf-8", "ignore") or "image"
