"""Checks on resume: what must match the checkpoint, and what may differ.

The classes and the training images must match, because they decide which sample stands at which position of
the run. Images in another order are put into the order of the run. A state of a newer form is refused.

Labels may differ, because people correct them. So may the validation images, though AP compares less well
then, and versions of packages, the device, the number of threads and the place of the data. Each difference
is logged with both values. The recipe is the run's own: changes in its `recipe.toml` are named, not followed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.datasets.records import Images, Split
from aerostat.errors import InputError
from aerostat.processes.facts import PACKAGES, digest, versions
from aerostat.text import counted, listed
from aerostat.training.machine import describe_environment
from aerostat.training.recipe import Recipe, read_recipe

MAX_NAMED = 3
"""Files that a message names; the others are counted."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The images of a split and their annotations, without their pixels.

    Args:
        names: of the files, in the order of the split.
        objects: (n,) int32, number of objects on each image.
        checks: (n,) uint32, CRC-32 of each image's size, boxes and labels.
    """

    names: tuple[str, ...]
    objects: NDArray[np.int32]
    checks: NDArray[np.uint32]

    @classmethod
    def of(cls, split: Split) -> Fingerprint:
        """Return the fingerprint of a split."""
        return cls(
            split.images.file_names,
            split.images.instance_counts.astype(np.int32),
            _checks(split.images),
        )

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint that `state` returned."""
        return cls(tuple(json.loads(zlib.decompress(state["names"]))), state["objects"], state["checks"])

    def state(self) -> dict[str, Any]:
        """Return the fingerprint as a checkpoint holds it, about 10 bytes for each image."""
        names = zlib.compress(json.dumps(self.names).encode("utf-8"))
        return {"names": names, "objects": self.objects, "checks": self.checks}


def _checks(images: Images) -> NDArray[np.uint32]:
    """Return the CRC-32 (n,) of each image.

    It is that of width and height, and of x1, y1, x2, y2, label and crowd of each object, all of them
    little-endian float64. Checkpoints hold it, so it stays as it is.
    """
    instances = images.instances
    columns = (instances.boxes_xyxy, instances.labels[:, None], instances.crowd[:, None])
    objects = np.concatenate(columns, axis=1).astype("<f8")
    sizes = images.sizes.astype("<f8")
    offsets = images.offsets.tolist()
    rows = zip(sizes, offsets[:-1], offsets[1:], strict=True)
    checks = [
        zlib.crc32(objects[start:stop].tobytes(), zlib.crc32(size.tobytes())) for size, start, stop in rows
    ]
    return np.asarray(checks, np.uint32)


def made_with(device: torch.device, environment: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what changes a run's numbers apart from data and recipe, for its checkpoint.

    Args:
        device: that computes.
        environment: as `describe_environment` returns it.
    """
    known = environment or describe_environment()
    return {
        **{name: known["packages"][name] for name in PACKAGES},
        "python": known["python"],
        "device": device.type,
        "threads of the processor": torch.get_num_threads(),
    }


def facts(recipe: Recipe, train_split: Split, val_split: Split | None) -> dict[str, str]:
    """Return what all processes of a run must agree on, as text by the words for it.

    Args:
        recipe: resolved.
        train_split, val_split: as this process has read them.
    """
    values = {
        f"recipe field {section}.{key}": str(value)
        for section, fields in recipe.to_dict().items()
        for key, value in fields.items()
    }
    splits = {"training split": digest(train_split), "validation split": digest(val_split)}
    return {**versions(), **splits, **values}


def require_same_classes(state: Mapping[str, Any], classes: Sequence[str], run: Path) -> None:
    """Refuse data of other classes.

    Raises:
        InputError: the classes differ; the sentence names both lists.
    """
    if list(classes) != state["classes"]:
        raise InputError(
            f"{run} was trained on {listed(state['classes'])}, but the data have {listed(classes)}; "
            "name the data that it was trained on."
        )


def in_order_of(state: Mapping[str, Any], split: Split, run: Path, restart: str) -> Split:
    """Return the training split with its images in the order of the run.

    Args:
        state: of the run.
        split: as it is read now.
        run: its directory.
        restart: what to type for a new run from its weights.

    Raises:
        InputError: the images are not those of the run.
    """
    if len(split) != state["train_images"]:
        raise InputError(
            f"{run} was trained on {counted(state['train_images'], 'image')}, but the data have "
            f"{len(split)}; start a new run from its weights with {restart}."
        )
    if not state.get("fingerprint"):
        return split
    names = Fingerprint.read(state["fingerprint"]["train"]).names
    now = split.images.file_names
    if names == now:
        return split
    gone, new = sorted(set(names) - set(now)), sorted(set(now) - set(names))
    if gone or new or len(set(now)) < len(now):
        raise InputError(
            f"{run} was trained on {counted(len(names), 'image')}; the data lack {len(gone)} of them "
            f"({listed(gone, MAX_NAMED)}) and have {len(new)} others ({listed(new, MAX_NAMED)}); name the "
            f"data that it was trained on, or start a new run from its weights with {restart}."
        )
    place = {name: number for number, name in enumerate(now)}
    return split.chosen(place[name] for name in names)


def differences(
    state: Mapping[str, Any],
    *,
    now: Mapping[str, Any],
    train_split: Split,
    val_split: Split | None,
    recipe: Recipe,
    recipe_file: Path,
) -> list[str]:
    """Return what differs from the run so far, with both values, a clause each.

    Args:
        state: of the run.
        now: see `made_with`.
        train_split: see `in_order_of`.
        val_split: None without validation.
        recipe: of the run.
        recipe_file: where the run wrote it; somebody may have changed the file.
    """
    before = state.get("made_with") or {}
    found = [
        f"{key}: {value} before, {now[key]} now" for key, value in before.items() if now.get(key) != value
    ]
    prints = state.get("fingerprint") or {}
    if prints:
        found += _labels(Fingerprint.read(prints["train"]), Fingerprint.of(train_split), "training")
        old = Fingerprint.read(prints["val"]) if prints["val"] else None
        found += _validation(old, Fingerprint.of(val_split) if val_split else None)
    return found + _recipe(recipe, recipe_file)


def _labels(before: Fingerprint, now: Fingerprint, which: str) -> list[str]:
    """Compare two fingerprints of the same images in the same order."""
    changed = np.flatnonzero(before.checks != now.checks)
    if not len(changed):
        return []
    first = [
        f"{now.names[i]} ({counted(int(before.objects[i]), 'object')} before, {now.objects[i]} now)"
        for i in changed[:MAX_NAMED]
    ]
    rest = f" and {len(changed) - MAX_NAMED} more" * (len(changed) > MAX_NAMED)
    return [f"other labels on {counted(len(changed), f'{which} image')}: {', '.join(first)}{rest}"]


def _validation(before: Fingerprint | None, now: Fingerprint | None) -> list[str]:
    if before is None or now is None:
        there = ["none" if each is None else counted(len(each.names), "image") for each in (before, now)]
        return [f"validation images: {there[0]} before, {there[1]} now"] if before is not now else []
    if before.names == now.names:
        return _labels(before, now, "validation")
    gone, new = sorted(set(before.names) - set(now.names)), sorted(set(now.names) - set(before.names))
    if not gone and not new:  # in another order: AP is the same
        return []
    there = [
        f"{len(each)} {what}{f' ({listed(each, MAX_NAMED)})' * bool(each)}"
        for each, what in ((gone, "gone"), (new, "new"))
    ]
    return [
        f"validation images: {len(before.names)} before, {len(now.names)} now, {' and '.join(there)}, so AP "
        "compares less well with what it was"
    ]


def _recipe(recipe: Recipe, file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        written = read_recipe(file).to_dict()
    except InputError as error:
        return [f"recipe.toml is not looked at: {error}"]
    return [
        f"{section}.{key}: {value} in the run, which goes on with it, {written[section][key]} in {file.name}"
        for section, fields in recipe.to_dict().items()
        for key, value in fields.items()
        if written[section][key] != value
    ]
