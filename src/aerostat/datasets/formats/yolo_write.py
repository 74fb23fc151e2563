"""YOLO data sets as they are written: ``data.yaml``, a list of images for each split, and label files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from aerostat.datasets.formats.format import LEFT_OUT
from aerostat.datasets.formats.yolo_paths import IMAGES, LABELS, parts_of
from aerostat.datasets.instances import Floats
from aerostat.datasets.records import ONLY_SPLIT, ImageRecord, Split
from aerostat.errors import InputError
from aerostat.files import file_stem, write_bytes, write_text
from aerostat.geometry import polygons
from aerostat.progress import track
from aerostat.text import shown

_MANY_FILES = 3000
_SAME_BOX = 0.5
"""Pixels by which the box of an outline may differ from the bounds of the outline."""
_MIN_DECIMALS = 20
_MAX_DECIMALS = 40
"""Decimals of a share. With 20 every coordinate from a thousandth of a pixel on comes back to the last bit,
with 40 each that is not below 1e-22 pixels."""


def write_yolo(splits: Mapping[str, Split], folder: Path) -> dict[str, Counter[str]]:
    """Write a data set into a folder; return what was lost of each split.

    Images stay where they are. Each belongs to the place that `image_places` says, where its label file is
    looked for. Objects are written as outlines if each object of the data set has one, else all as boxes:
    tools take a file with both for outlines, and lose the boxes.

    Raises:
        InputError: two images would have one label file.
    """
    places = {name: image_places(split) for name, split in splits.items()}
    outlined = all(map(_is_outlined, splits.values())) and any(
        len(s.images.instances) for s in splits.values()
    )
    lost: dict[str, Counter[str]] = {}
    for name, split in splits.items():
        lost[name] = _lost(split, outlined)
        rows = zip(places[name], split.images, strict=True)
        title = f"writing labels of {name}"
        for place, image in track(rows, title, len(split)) if len(split) >= _MANY_FILES else rows:
            write_bytes(folder / _label_of(place), _lines(image, outlined))
        listed = "".join(f"./{place}\n" for place in places[name])
        write_text(folder / f"{file_stem(_key(name))}.txt", listed)
    classes = next(iter(splits.values())).classes
    if all(line == [name] for name in classes for line in [name.splitlines()]):
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    write_text(folder / "data.yaml", _yaml(splits, classes))
    return lost


def image_places(split: Split) -> list[str]:
    """Return where the images of a split belong in a written data set, relative to its folder.

    Raises:
        InputError: two images would have one label file.
    """
    places = [f"{IMAGES}/{file_stem(_key(split.name))}/{_safe(name)}" for name in split.images.file_names]
    owner: dict[str, str] = {}
    for place, name in zip(places, split.images.file_names, strict=True):
        other = owner.setdefault(_label_of(place), name)
        if other != name:
            raise InputError(
                f"The images {shown(other)} and {shown(name)} of {split.name} would share one label file in "
                "YOLO; rename one of them."
            )
    return places


def _key(split: str) -> str:
    return "train" if split == ONLY_SPLIT else split


def _safe(file_name: str) -> str:
    """Return a name without a way out of its folder, without folders called `images`, on one line."""
    parts = [part for part in parts_of(file_name) if part != ".."]
    kept = [part for part in parts[:-1] if part.lower() != IMAGES] + parts[-1:]
    return "/".join(re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "_", part).strip() or "_" for part in kept)


def _label_of(place: str) -> str:
    """Return the label file of an image at ``images/...``."""
    folder, _, name = place.removeprefix(f"{IMAGES}/").rpartition("/")
    return f"{LABELS}/{folder}/{name.rpartition('.')[0] or name}.txt"


def _is_outlined(split: Split) -> bool:
    """Return whether each object has one outline, and a box around it."""
    instances = split.images.instances
    kept = ~instances.crowd
    if any(kept[list(instances.masks())]) or not (instances.outline_counts[kept] == 1).all():
        return False
    return all(
        np.allclose(box, polygons.bounds(outline), rtol=0, atol=_SAME_BOX)
        for box, outline in _boxes_and_outlines(split)
    )


def _boxes_and_outlines(split: Split) -> Iterator[tuple[Floats, Floats]]:
    instances = split.images.instances
    chosen = instances.chosen(np.flatnonzero(~instances.crowd))
    return zip(chosen.boxes_xyxy, chosen.outlines(), strict=True)


def _lost(split: Split, outlined: bool) -> Counter[str]:
    """Return what label files do not hold of a split, by what it is."""
    instances = split.images.instances
    kept = ~instances.crowd
    lost = Counter(
        {
            LEFT_OUT: int(instances.crowd.sum()),
            "masks": sum(bool(kept[place]) for place in instances.masks()),
            "difficult marks": int((instances.difficult & kept).sum()),
        }
    )
    if outlined:
        lost["boxes that become the bounds of their outlines"] = sum(
            tuple(box.tolist()) != polygons.bounds(outline) for box, outline in _boxes_and_outlines(split)
        )
    else:
        lost["outlines"] = int(((instances.outline_counts > 0) & kept).sum())
    return +lost


def _lines(image: ImageRecord, outlined: bool) -> bytes:
    sides = image.width, image.height
    lines = []
    for instance in image.instances:
        if instance.crowd:
            continue
        if outlined:
            points = instance.polygons[0].tolist()
            shares = [
                _share(value, side) for point in points for value, side in zip(point, sides, strict=True)
            ]
        else:
            x1, y1, x2, y2 = instance.box_xyxy
            (cx, width), (cy, height) = _span(x1, x2, sides[0]), _span(y1, y2, sides[1])
            shares = [cx, cy, width, height]
        lines.append(" ".join((str(instance.label), *shares)))
    return "".join(f"{line}\n" for line in lines).encode()


def _share(value: float, side: int) -> str:
    """Return a coordinate as a share of a side, such that their product rounds to the coordinate again."""
    decimals = _decimals(value, side)
    return _decimal(_scaled(value, side, decimals), decimals)


def _span(start: float, end: float, side: int) -> tuple[str, str]:
    """Return centre and length of a span as shares of a side, exactly those of the rounded ends."""
    decimals = max(_decimals(start, side), _decimals(end, side))
    first, last = _scaled(start, side, decimals), _scaled(end, side, decimals)
    return _decimal(5 * (first + last), decimals + 1), _decimal(last - first, decimals)


def _decimals(value: float, side: int) -> int:
    """Return how many decimals a share needs: those before its first digit, and 18 digits."""
    if value == 0.0:
        return _MIN_DECIMALS
    zeros = math.ceil(math.log10(side) - math.log10(abs(value)))
    return min(max(zeros + 18, _MIN_DECIMALS), _MAX_DECIMALS)


def _scaled(value: float, side: int, decimals: int) -> int:
    """Return value / side in units of the last decimal, rounded."""
    numerator, denominator = value.as_integer_ratio()
    denominator *= side
    scaled: int = (2 * numerator * 10**decimals + denominator) // (2 * denominator)
    return scaled


def _decimal(number: int, decimals: int) -> str:
    digits = str(abs(number)).rjust(decimals + 1, "0")
    text = f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
    return f"-{text}" if number < 0 else text


def _yaml(splits: Mapping[str, Split], classes: Sequence[str]) -> str:
    """Return the text of ``data.yaml``. Without `path` its paths are relative to the file itself."""
    lines = ["# Each image belongs to the place that the lists state; labels stand in labels/."]
    lines += [f"{_quoted(_key(name))}: {_quoted(f'{file_stem(_key(name))}.txt')}" for name in splits]
    lines += [f"nc: {len(classes)}", "names:"]
    lines += [f"  {number}: {_quoted(name)}" for number, name in enumerate(classes)]
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Return a text as YAML takes it whatever it is: plain where that is safe, else in double quotes."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*( [A-Za-z0-9_.-]+)*", text) and text.lower() not in _YAML_WORDS:
        return text
    escaped = "".join(_escaped(letter) for letter in text)
    return f'"{escaped}"'


_YAML_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""Texts that YAML 1.1 takes for other values."""


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter == " " or (letter.isprintable() and letter != "\ufeff"):
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
