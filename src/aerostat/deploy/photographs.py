"""Photographs for an export: to compare on, and to choose the ranges of INT8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import Split
from aerostat.errors import InputError
from aerostat.images.read import list_images, read_image
from aerostat.scenes import draw_scene
from aerostat.text import counted

T = TypeVar("T")

COMPARED = 8
"""Photographs that an export is compared on."""
CALIBRATED = 64
"""Photographs that choose the ranges of INT8; more hardly change them (benchmarks/int8.md)."""
DRAWN_SIZE = (640, 480)
"""Width and height of drawn scenes in pixels."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs for an export.

    Args:
        what: description, such as ``on images of the split val``.
        compared_bgr: (H, W, 3) uint8 each, to compare on.
        calibration_bgr: (H, W, 3) uint8 each, to choose the ranges of INT8; empty for drawn scenes.
        split: annotated images to measure AP on; None if there are none.
        about: a sentence about each split of the data, for the model card.
    """

    what: str
    compared_bgr: Sequence[NDArray[np.uint8]]
    calibration_bgr: Sequence[NDArray[np.uint8]] = ()
    split: Split | None = None
    about: tuple[str, ...] = ()


def of_data(data: Dataset) -> Photographs:
    """Return photographs of annotated data: validation images to compare on, training images for ranges."""
    splits = data.splits
    named = [splits[name] for name in ("val", "test") if name in splits]
    held_out = named[0] if named else next(iter(splits.values()))
    train = splits.get("train", held_out)
    compared = [read_image(record.location) for record in _spread(held_out.images, COMPARED)]
    calibration = [read_image(record.location) for record in _spread(train.images, CALIBRATED)]
    about = tuple(
        f"{name}: {counted(len(split), 'image')}, {counted(len(split.images.instances), 'object')}"
        for name, split in splits.items()
    )
    what = f"on images of the split {held_out.name}"
    return Photographs(what, compared, calibration, held_out, about)


def of_files(paths: Sequence[Path]) -> Photographs:
    """Return photographs of files and folders of files.

    Raises:
        InputError: there is no image, or one cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        files += list_images(path, recursive=True) if path.is_dir() else [path]
    if not files:
        raise InputError(f"There are no images in {', '.join(map(str, paths))}.")
    pictures = [read_image(path) for path in _spread(files, CALIBRATED)]
    return Photographs(f"on {counted(len(files), 'file')}", _spread(pictures, COMPARED), pictures)


def drawn() -> Photographs:
    """Return drawn scenes, if there are no photographs."""
    width, height = DRAWN_SIZE
    scenes = [draw_scene(np.random.default_rng(seed), width, height)[0] for seed in range(COMPARED // 2)]
    return Photographs("on drawn scenes, because no photographs were named", scenes)


def _spread(values: Sequence[T], count: int) -> list[T]:
    """Return at most `count` values, spread evenly over all."""
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [values[i] for i in places]
