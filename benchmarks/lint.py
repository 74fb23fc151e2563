"""How fast lint is: headers of 10,000 images, pixels, and the comparison of 100,000 signatures.

The images are JPEG files of 640 x 480 clouds with a long EXIF block, each of its own content and length.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.lint.lint import lint
from aerostat.lint.similarity import Signature, near_pairs
from benchmarks.case import Case

WIDTH, HEIGHT = 640, 480
KINDS = 50
"""Different pictures; the files differ in what follows them."""


def cases(quick: bool) -> Iterator[Case]:
    """Yield the measurements of lint."""
    count = 500 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder), count)
        yield Case(
            f"lint, headers and annotations of {count:,} images, 70,000 objects",
            "s",
            {"two threads": _lint(images, pixels=False, threads=2), "one": _lint(images, False, 1)},
            baseline="one",
            rounds=2,
            goal="" if quick else "at most 20 s on two cores",
            predicted="3 s: 0.2 ms a header, which holds Python's lock, and a sixth of that to open a file",
        )
        some = images[:: max(1, count // 1000)]
        yield Case(
            f"lint, pixels of {len(some):,} images of {WIDTH} x {HEIGHT}",
            "images/s",
            {
                "two threads": _rate(len(some), _lint(some, pixels=True, threads=2)),
                "one": _rate(len(some), _lint(some, pixels=True, threads=1)),
            },
            baseline="one",
            higher_is_better=True,
            rounds=2,
            predicted="200 a second and core: decoding 2.5 ms, hashes of the pixels and the signature 2 ms",
        )
    size = 10_000 if quick else 100_000
    signatures = draw_signatures(size)
    yield Case(
        f"compare {size:,} signatures, all with all",
        "s",
        {"blocks": _seconds(lambda: near_pairs(signatures))},
        rounds=1,
        goal="" if quick else "at most 20 s",
        predicted="10 s: 5e9 pairs at 2 ns",
    )


def write_images(folder: Path, count: int, seed: int = 0) -> list[ImageRecord]:
    """Write `count` files and return them as images with seven objects each."""
    rng = np.random.default_rng(seed)
    kinds = []
    for _ in range(KINDS):
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[0x010E] = "x" * 5000
        stream = BytesIO()
        picture = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        picture.save(stream, "JPEG", quality=90, exif=exif)
        kinds.append(stream.getvalue())
    records = []
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        content = kinds[number % KINDS]
        path.write_bytes(content + bytes(number // KINDS))  # decoders end at the end marker
        starts = rng.uniform(0, [WIDTH - 100, HEIGHT - 100], (7, 2))
        boxes = np.concatenate([starts, starts + rng.uniform(10, 100, (7, 2))], axis=1).tolist()
        instances = tuple(Instance((b[0], b[1], b[2], b[3]), k) for k, b in enumerate(boxes))
        records.append(ImageRecord(path, path.name, WIDTH, HEIGHT, instances, number))
    return records


def draw_signatures(count: int, seed: int = 0) -> list[Signature]:
    """Return signatures with hashes at random."""
    rng = np.random.default_rng(seed)
    thumbnail = np.full(256, 1 / 16, np.float32)
    colours = np.zeros(432, np.float16)
    return [Signature(h, thumbnail, colours) for h in rng.integers(0, 2**63, count).astype(np.uint64)]


def _lint(images: list[ImageRecord], pixels: bool, threads: int) -> Callable[[], float]:
    classes = tuple(map(str, range(7)))
    data = Dataset(classes, {"train": Split("train", classes, tuple(range(1, 8)), tuple(images))})
    return _seconds(lambda: lint(data, pixels=pixels, threads=threads))


def _seconds(work: Callable[[], object]) -> Callable[[], float]:
    def one() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return one


def _rate(count: int, seconds: Callable[[], float]) -> Callable[[], float]:
    return lambda: count / seconds()
