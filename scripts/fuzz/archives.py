"""Zip archives of annotated images: good ones, and changes of their bytes, names and headers."""

from __future__ import annotations

import codecs
import io
import json
import random
import stat
import struct
import zipfile
from functools import cache
from pathlib import Path

from scripts.fuzz import bytes_and_text

codecs.lookup("gbk")  # loads a module of its own, which would look like a way out

_NAMES = (
    "../up.png",
    "/abs.png",
    "a\\b.png",
    "C:x.png",
    "inner.zip",
    "train/a.png",
    "x" * 300,
    "a/" * 200 + "b",
)


@cache
def archives() -> tuple[bytes, ...]:
    """Return good archives: stored and packed, with one folder around the data or none."""
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 30)).save(picture, "PNG")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "kite"}],
    }
    files = {"train/a.png": picture.getvalue(), "train/coco.json": json.dumps(document).encode()}
    return tuple(
        pack({f"{inside}{name}": content for name, content in files.items()}, compression)
        for inside in ("", "data/")
        for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    )


def pack(files: dict[str, bytes], compression: int, links: bool = False) -> bytes:
    """Return an archive of files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content, compression)
    return stream.getvalue()


def change_members(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Return an archive with another member, or with a member of another name or content."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = dice.choice(list(files))
    match dice.randrange(4):
        case 0:
            files[dice.choice((*_NAMES, *bytes_and_text.NAMES)).replace("\0", "")] = files.pop(name)
        case 1:
            files[dice.choice(_NAMES)] = bytes(dice.choice((0, 10, 1 << 20)))
        case 2:
            files[name] = bytes_and_text.change(files[name], (b"",), dice)
        case _:
            return pack(files, zipfile.ZIP_STORED, links=True)
    return pack(files, dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def change_headers(content: bytes, others: tuple[bytes, ...], dice: random.Random) -> bytes:
    """Return an archive that states other sizes, flags or places of its members."""
    data = bytearray(content)
    mark, length = dice.choice(((b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)))
    place = data.find(mark)
    if place >= 0:
        at = place + dice.randrange(4, length - 3)
        value = dice.choice((0, 1, 0xFFFF, 2**31, 2**32 - 1, dice.randrange(2**32)))
        data[at : at + 4] = struct.pack("<I", value)
    return bytes(data)


def read_archive(path: Path) -> object:
    """Read the data in an archive, and the pixels of its images."""
    from aerostat.datasets.dataset import Dataset
    from aerostat.errors import InputError
    from aerostat.images.read import read_image

    data = Dataset.read(path)
    for split in data.splits.values():
        for location in split.images.locations:
            try:
                read_image(location)
            except InputError:
                continue
    return data
