"""How fast each annotation format is read: 5,000 images with 40,000 objects.

The objects are drawn at random: boxes of any size in 80 classes. Each format gets the files that aerostat
writes. The images are JPEG and PNG files; all names are hard links to two of them. Parsing alone is the time
of reading while no header is read: all images count as of one size.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from aerostat.datasets import formats
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import Format, WriteOptions
from aerostat.datasets.instances import Block, InstanceBuilder
from aerostat.datasets.records import Images, Split
from aerostat.images.location import FilesBelow
from aerostat.progress import progress_shown
from benchmarks.case import Case

WIDTH, HEIGHT = 640, 480
CLASSES = tuple(f"class {number:02d}" for number in range(80))
FULL, QUICK = (5_000, 40_000), (250, 2_000)
_NAMES_OF_A_FILE = 40_000


def cases(quick: bool) -> Iterator[Case]:
    """Yield the measurements of each format."""
    goal = "" if quick else "parsing in 2 s, with image headers in 4 s"
    with tempfile.TemporaryDirectory() as folder:
        split = draw(Path(folder) / "images", *(QUICK if quick else FULL))
        for format_ in formats.FORMATS:
            place = Path(folder) / format_.name / f"train{'' if format_.per_image else format_.suffix}"
            # Flushing 5,000 files to the disk takes longer than all else.
            with progress_shown(False), mock.patch("os.fsync"):
                format_.write(split, place, WriteOptions())
            yield reading(format_, place, split, goal)
            shutil.rmtree(place.parent)


def draw(folder: Path, images: int, objects: int) -> Split:
    """Write images and return a split of them with objects drawn at random.

    Args:
        folder: of the images.
        images, objects: how many.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    noise = rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    picture = Image.fromarray(noise).resize((WIDTH, HEIGHT))
    names = [f"{number:012d}.{'png' if number % 4 == 3 else 'jpg'}" for number in range(images)]
    for number, name in enumerate(names):
        # A file may have 65,000 names on ext4.
        first = names[number - number % _NAMES_OF_A_FILE + (3 if number % 4 == 3 else 0)]
        if name == first:
            picture.save(folder / first)
        else:
            os.link(folder / first, folder / name)
    owners = np.sort(rng.integers(0, images, objects))
    centre = rng.uniform([20, 20], [WIDTH - 20, HEIGHT - 20], (objects, 2))
    reach = np.exp(rng.uniform(np.log(4), np.log(200), (objects, 2)))
    corners = np.concatenate([centre - reach / 2, centre + reach / 2], axis=1)
    boxes = np.round(np.clip(corners, 0, [WIDTH, HEIGHT] * 2), 2)
    no, none = np.zeros(objects, np.bool_), np.zeros(objects, np.int64)
    builder = InstanceBuilder()
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    labels = rng.integers(0, len(CLASSES), objects)
    numbers = np.arange(objects)
    builder.add(Block(owners, numbers, boxes, labels, no, areas, no, none, none[:0], np.zeros((0, 2))))
    instances, offsets = builder.finish(images)
    sizes = np.tile([WIDTH, HEIGHT], (images, 1))
    rows = Images(
        tuple(names), FilesBelow(folder, tuple(names)), sizes, np.arange(images) + 1, instances, offsets
    )
    return Split("train", CLASSES, tuple(range(1, len(CLASSES) + 1)), rows)


def reading(format_: Format, place: Path, split: Split, goal: str) -> Case:
    """Return the measurement of reading a split.

    Args:
        format_: of the files.
        place: of the file, or of the folder.
        split: that they describe.
        goal: what is aimed at.
    """
    counts = f"{len(split):,} images, {len(split.images.instances):,} objects"
    return Case(
        f"read {counts} in {format_.title}{f', {len(split):,} files' if format_.per_image else ''}",
        "s",
        {
            "parsing": _read(place, split, headers=False),
            "with image headers": _read(place, split, headers=True),
        },
        goal=goal,
        rounds=1,
        note="parsing: no image is opened; with image headers: each is opened for its size",
    )


def _read(place: Path, split: Split, headers: bool) -> Callable[[], float]:
    """Return a function that reads a data set and returns the seconds."""

    def one() -> float:
        started = time.perf_counter()
        with progress_shown(False):
            data = Dataset.read(place, CLASSES, images=Path(split.images.locations[0].name).parent)
        seconds = time.perf_counter() - started
        (read,) = data.splits.values()
        if len(read) != len(split) or len(read.images.instances) != len(split.images.instances):
            raise RuntimeError(f"{read} was read, {split} was written")
        return seconds

    def without_headers() -> float:
        with (
            mock.patch("aerostat.datasets.image_folder.read_size", lambda location: (WIDTH, HEIGHT)),
            mock.patch("aerostat.datasets.formats.assembly.read_size", lambda location: (WIDTH, HEIGHT)),
        ):
            return one()

    return one if headers else without_headers
