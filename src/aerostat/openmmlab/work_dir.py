"""The directory in which MMEngine leaves a training: weights, the dumped config, and logs in JSON lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.openmmlab.config import Config, read_config
from aerostat.openmmlab.values import type_name

LAST_CHECKPOINT = "last_checkpoint"
"""File with the path of the newest weights (MMEngine's CheckpointHook)."""
MAX_LOG_BYTES = 64 << 20
"""Size of one log. A line has some 300 bytes; this is 200,000 of them."""
MAX_LISTED = 10_000
"""Entries of the directory that are looked at."""

_EPOCH = re.compile(r"(?:epoch|iter)_(\d+)\.pth")
_BEST = re.compile(r"best_.*?(\d+)\.pth")
_VALIDATION = {
    "bbox_mAP": "ap",
    "bbox_mAP_50": "ap50",
    "bbox_mAP_75": "ap75",
    "bbox_mAP_s": "ap_small",
    "bbox_mAP_m": "ap_medium",
    "bbox_mAP_l": "ap_large",
}
"""Names of COCO's figures in a log, without their prefix, and in a run's metrics."""


@dataclass(frozen=True)
class WorkDir:
    """A work directory of MMEngine.

    Args:
        path: of the directory.
        best: weights of the best epoch; None if none are kept.
        newest: weights of the last epoch; None if none are kept.
        config_file: the dumped config; None if there is none.
        logs: files with JSON lines, the oldest first.
    """

    path: Path
    best: Path | None
    newest: Path | None
    config_file: Path | None
    logs: tuple[Path, ...] = ()

    @property
    def weights(self) -> Path:
        """The best weights, else the newest.

        Raises:
            InputError: the directory has none.
        """
        found = self.best or self.newest
        if found is None:
            raise InputError(
                f"{self.path} is a work directory without weights: it has no .pth file; train it to the end "
                "of an epoch."
            )
        return found

    @cached_property
    def config(self) -> Config | None:
        """The config; None without a file.

        Raises:
            InputError: it cannot be parsed.
        """
        return None if self.config_file is None else read_config(self.config_file)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the config; empty if it states none."""
        return class_names(self.config.get("train_dataloader", "dataset")) if self.config else ()

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Width and height of the test input in pixels; None if the config states none that can be used."""
        if self.config is None:
            return None
        for key in ("test_dataloader", "val_dataloader"):
            if (size := test_size(self.config.get(key, "dataset"))) is not None:
                return size
        return None

    def records(self) -> list[dict[str, Any]]:
        """Return iterations and validations of the logs in the form of a run's ``metrics.jsonl``.

        A resumed training has several logs; where two have the same epoch, the later one counts.
        """
        return _joined([_records(log) for log in self.logs])


def find_work_dir(path: Path | str) -> WorkDir | None:
    """Return the work directory at a path; None if it is not one.

    Args:
        path: a directory with ``.pth`` files, or with a dumped config beside logs.
    """
    path = Path(path)
    if not path.is_dir():
        return None
    entries = sorted(path.iterdir())[:MAX_LISTED]
    weights = [entry for entry in entries if entry.suffix == ".pth" and entry.is_file()]
    nested = [  # `best_coco/bbox_mAP_epoch_90.pth` of the first versions
        inner
        for entry in entries
        if entry.name.startswith("best_") and entry.is_dir()
        for inner in sorted(entry.glob("*.pth"))
    ]
    logs = [log for entry in entries if entry.is_dir() for log in sorted((entry / "vis_data").glob("*.json"))]
    logs = [log for log in logs if not log.name.startswith("config")]
    config = _config_file(path, entries, logs)
    if not weights and not nested and (config is None or not logs):
        return None
    return WorkDir(path, _best([*weights, *nested]), _newest(path, weights), config, _scalars(logs))


def _scalars(logs: list[Path]) -> tuple[Path, ...]:
    """Return one log of each start of the training: ``scalars.json`` has the same lines as its twin."""
    by_folder: dict[Path, Path] = {}
    for log in logs:
        if log.parent not in by_folder or log.name == "scalars.json":
            by_folder[log.parent] = log
    return tuple(by_folder.values())


def _best(weights: list[Path]) -> Path | None:
    """Return the file that is called the best, of several the latest epoch."""
    found: list[tuple[int, Path]] = []
    for path in weights:
        name = f"{path.parent.name}_{path.name}" if path.parent.name.startswith("best_") else path.name
        if match := _BEST.fullmatch(name):
            found.append((_number(match[1]), path))
    return max(found, default=(0, None), key=lambda entry: (entry[0], str(entry[1])))[1]


def _number(digits: str) -> int:
    return int(digits[-12:])


def _newest(path: Path, weights: list[Path]) -> Path | None:
    """Return what ``last_checkpoint`` names if it is in the directory, else the highest epoch."""
    by_name = {weight.name: weight for weight in weights}
    try:
        with (path / LAST_CHECKPOINT).open(encoding="utf-8") as file:
            said = file.read(4096).strip()
        named = by_name.get(re.split(r"[/\\]", said)[-1])  # the directory may have moved
    except (OSError, UnicodeDecodeError):
        named = None
    if named is not None:
        return named
    numbered = [(_number(m[1]), w) for w in weights if (m := _EPOCH.fullmatch(w.name))]
    if numbered:
        return max(numbered)[1]
    others = [weight for weight in weights if not _BEST.fullmatch(weight.name)]
    return max(others, key=lambda weight: (weight.stat().st_mtime, weight.name), default=None)


def _config_file(path: Path, entries: list[Path], logs: list[Path]) -> Path | None:
    """Return the config that MMEngine dumped: by the directory's name, the only one, or that of the logs."""
    named = path / f"{path.resolve().name}.py"
    if named.is_file():
        return named
    python = [entry for entry in entries if entry.suffix == ".py" and entry.is_file()]
    if len(python) == 1:
        return python[0]
    folders = [entry / "vis_data" for entry in entries if entry.is_dir()]
    dumped = [folder / "config.py" for folder in folders if (folder / "config.py").is_file()]
    return dumped[-1] if dumped else None


# --- what a config says of a data set


def class_names(dataset: Any) -> tuple[str, ...]:
    """Return the class names that the ``metainfo`` of a data set states; empty for none.

    Args:
        dataset: of a loader; data sets within data sets are looked through.

    >>> class_names({"type": "CocoDataset", "metainfo": {"classes": ("balloon",)}})
    ('balloon',)
    """
    for inner in datasets_in(dataset):
        metainfo = inner.get("metainfo")
        found = metainfo.get("classes", metainfo.get("CLASSES")) if isinstance(metainfo, dict) else None
        if isinstance(found, str):  # `('balloon')` is no tuple
            return (found,)
        if isinstance(found, list | tuple) and found and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def datasets_in(dataset: Any) -> list[dict[str, Any]]:
    """Return a data set with those that it wraps: of repetition, concatenation and mixing."""
    found: list[dict[str, Any]] = []
    waiting = [dataset]
    while waiting and len(found) < 1000:
        value = waiting.pop(0)
        if isinstance(value, dict):
            found.append(value)
            waiting.append(value.get("dataset"))
            inner = value.get("datasets")
            waiting += inner if isinstance(inner, list | tuple) else []
    return found


def test_size(dataset: Any) -> tuple[int, int] | None:
    """Return width and height of the network's input that the pipeline of a data set resizes to.

    Sides are rounded up to multiples of 32, because the network's last level has that stride.

    >>> test_size({"pipeline": [{"type": "Resize", "scale": (640, 640), "keep_ratio": True}]})
    (640, 640)
    """
    for inner in datasets_in(dataset):
        steps = inner.get("pipeline")
        steps = [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
        for names, keys in (
            (("Pad",), ("size",)),
            (("LetterResize", "Resize", "YOLOv5KeepRatioResize"), ("scale", "img_scale")),
        ):
            for step in steps:
                size = next((step[key] for key in keys if key in step), None)
                if type_name(step.get("type")) in names and (pair := pair_of_sides(size)):
                    return pair
    return None


def pair_of_sides(value: Any) -> tuple[int, int] | None:
    """Return (width, height) rounded up to multiples of 32; None if these are no sides of an image."""
    sides = (value, value) if isinstance(value, int) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    if not all(type(side) in (int, float) and 1 <= side <= 1 << 14 for side in sides):
        return None
    width, height = (math.ceil(side / 32) * 32 for side in sides)
    return width, height


# --- logs


def _records(log: Path) -> list[dict[str, Any]]:
    """Return the records of one log. Lines that are no JSON are left out: the last one may be cut off."""
    try:
        with log.open("rb") as file:
            lines = file.read(MAX_LOG_BYTES).splitlines()
    except OSError:
        return []
    records: list[dict[str, Any]] = []
    epoch = 0
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(entry, dict):
            continue
        if _number_in(entry, "loss") is not None:
            epoch = int(_number_in(entry, "epoch") or epoch or 1)
            records.append(_iteration(entry, epoch))
        elif (validation := _validation(entry, epoch)) is not None:
            records.append(validation)
    return records


def _number_in(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return value if fine else None


def _iteration(entry: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": "train", "epoch": epoch}
    for key in entry:
        if (key in ("lr", "loss") or key.startswith("loss_")) and _number_in(entry, key) is not None:
            record[key] = entry[key]
    if (memory := _number_in(entry, "memory")) is not None:
        record["memory_mb"] = memory
    return record


def _validation(entry: Mapping[str, Any], epoch: int) -> dict[str, Any] | None:
    """Return a validation; its ``step`` is the epoch. None if the line has no AP."""
    figures = {
        _VALIDATION[name]: _number_in(entry, key)
        for key in entry
        if (name := key.rpartition("/")[2]) in _VALIDATION and _number_in(entry, key) is not None
    }
    if "ap" not in figures:
        return None
    step = _number_in(entry, "step")
    classes = {
        key.rpartition("/")[2].removesuffix("_precision"): entry[key]
        for key in entry
        if key.endswith("_precision") and _number_in(entry, key) is not None
    }
    record = {"kind": "val", "epoch": int(epoch if step is None else step), **figures}
    return {**record, "per_class": classes} if classes else record


def _joined(logs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the records of all starts of a training, without epochs that a later start does again."""
    joined: list[dict[str, Any]] = []
    for records in logs:
        if not records:
            continue
        first = min(record["epoch"] for record in records)
        joined = [record for record in joined if record["epoch"] < first] + records
    return joined
