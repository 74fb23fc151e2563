"""A data set in which about everything is wrong that can be, and what is wrong in it."""

import json
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64
CATEGORIES = [
    {"id": 3, "name": "kite"},
    {"id": 7, "name": "disc"},
    {"id": 2**31, "name": "ring"},
]
KITE, DISC, RING = (category["id"] for category in CATEGORIES)
BOX = [10, 10, 30, 20]


def picture(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Return coloured clouds, as different from others as two photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_: str = "JPEG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def turned(seed: int, orientation: int = 6) -> bytes:
    """Return a JPEG stored as 96 x 64 that is seen as 64 x 96."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(seed), exif=exif)


def files() -> dict[str, dict[str, bytes]]:
    """Return the content of all image files by split and name."""
    good = encoded(picture(0))
    train = {
        "good.jpg": good,
        "boxes.jpg": encoded(picture(1)),
        "truncated.jpg": encoded(picture(2), quality=95)[:-900],
        "truncated.png": encoded(picture(3), "PNG")[:-3000],
        "empty.jpg": b"",
        "text.jpg": b"this is no image",
        "png.jpg": encoded(picture(4), "PNG"),
        "turned.jpg": turned(5),
        "turned_and_stated.jpg": turned(6),
        "size.jpg": encoded(picture(7)),
        "unreferenced.jpg": encoded(picture(8)),
        "copy.jpg": good,
        "pixels.png": encoded(picture(9), "PNG", compress_level=1),
        "pixels_again.png": encoded(picture(9), "PNG", compress_level=9),
        "near.jpg": encoded(picture(10), quality=95),
        "near_again.jpg": encoded(picture(10), quality=40),
    }
    val = {
        "leaked.jpg": train["boxes.jpg"],
        "nearly_leaked.jpg": encoded(picture(4), quality=60),
        "fine.jpg": encoded(picture(20)),
        "truncated.jpg": encoded(picture(21), quality=95)[:-900],
    }
    return {"train": train, "val": val}


STATED = {"size.jpg": (500, 10), "turned_and_stated.jpg": (HEIGHT, WIDTH)}
"""Sizes that annotations state; of all other images that of the stored pixels."""

RECORDS: dict[int, dict[str, Any]] = {
    101: {"bbox": [-20, 5, 40, 30]},  # reaches out
    102: {"bbox": [200, 5, 40, 30]},  # outside
    103: {"bbox": [5, 5, 0, 30]},
    104: {"bbox": [40, 40, -20, -10]},
    105: {"bbox": [0, 0, WIDTH, HEIGHT]},
    106: {"bbox": BOX},
    107: {"bbox": BOX},  # the same again
    108: {"bbox": BOX, "category_id": DISC},  # and as another class
    109: {"bbox": [math.nan, 1, 2, 3]},
    110: {"bbox": [1, 1, math.inf, 3]},
    111: {"bbox": ["50", "30", 20.0, "10"]},
    112: {"bbox": [1, 1, 2.0**33, 3]},
    113: {"bbox": [2.0**33, 1, 5, 3]},
    114: {"bbox": BOX, "category_id": 99},
    115: {"bbox": BOX, "image_id": 9999},
    116: {"bbox": [60, 10, 20, 20], "segmentation": [[60, 10, 80, 30, 80, 10, 60, 26]]},
    117: {"bbox": [60, 40, 20, 20], "segmentation": [[60, 40, 80, 60]]},
    118: {"bbox": [60, 40, 10, 10], "segmentation": "what"},
    119: {"bbox": "none"},
}
"""Annotations of `boxes.jpg` by id; its place in the file is the id less 100, the first having 1."""


def write(root: Path) -> Path:
    """Write the data set in COCO's form and return its folder."""
    for split, contents in files().items():
        folder = root / split
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        names = [name for name in contents if name != "unreferenced.jpg"]
        names += ["missing.jpg"] if split == "train" else []
        document = _document(names, RECORDS if split == "train" else {})
        (folder / "_annotations.coco.json").write_text(json.dumps(document), "utf-8")  # NaN as Python has it
    return root


def _document(names: Sequence[str], records: dict[int, dict[str, Any]]) -> dict[str, Any]:
    images, annotations = [], []
    for number, name in enumerate(names, 1):
        width, height = STATED.get(name, (WIDTH, HEIGHT))
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if name != "boxes.jpg":
            plain = {"bbox": [5, 5, 30, 40], "category_id": KITE}
            annotations.append({"id": number, "image_id": number, **plain})
    place = names.index("boxes.jpg") + 1 if "boxes.jpg" in names else 0
    annotations += [
        {"id": id_, "image_id": place, "category_id": KITE, **record} for id_, record in records.items()
    ]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}
