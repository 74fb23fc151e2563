"""What all processes must agree on before they work together."""

from __future__ import annotations

import zlib
from importlib import metadata

import numpy as np

from aerostat.datasets.records import Split
from aerostat.text import counted

PACKAGES = ("aerostat", "torch", "numpy", "opencv-python-headless", "lightning-fabric", "faster-coco-eval")
"""Packages whose versions change what is computed."""


def versions() -> dict[str, str]:
    """Return the versions of `PACKAGES`, by name; ``none`` for a package that is missing."""
    return {name: installed_version(name) or "none" for name in PACKAGES}


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def digest(split: Split | None) -> str:
    """Return the number of images of a split, and a checksum of their names, sizes and labels.

    Args:
        split: None if there is none.
    """
    if split is None:
        return "none"
    images, instances = split.images, split.images.instances
    names = "\n".join((*images.file_names, *split.classes)).encode("utf-8", "surrogateescape")
    check = zlib.crc32(names)
    for column in (images.sizes, images.offsets, instances.boxes_xyxy, instances.labels, instances.crowd):
        check = zlib.crc32(np.ascontiguousarray(column).tobytes(), check)
    return f"{counted(len(split), 'image')} (checksum {check:08x})"
