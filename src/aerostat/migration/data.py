"""The data of a config: annotation files, image folders and classes of its splits."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerostat.datasets.dataset import Dataset, read_dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Images, Split
from aerostat.errors import InputError, nearest
from aerostat.migration.table import Draft, Row
from aerostat.openmmlab.config import Config
from aerostat.openmmlab.values import type_name
from aerostat.openmmlab.work_dir import class_names, datasets_in
from aerostat.text import counted, listed, shown

_log = logging.getLogger(__name__)

SPLITS = (("train", "train_dataloader"), ("val", "val_dataloader"), ("test", "test_dataloader"))
MAX_FOLDERS = 6
"""Folders above a config in which relative paths are looked for: those of a checkout of MMDetection."""

_COCO = ("CocoDataset", "YOLOv5CocoDataset", "BaseDetDataset", "")
_VOC = ("VOCDataset", "YOLOv5VOCDataset", "XMLDataset")
_WRAPPERS = ("RepeatDataset", "ConcatDataset", "ClassBalancedDataset", "MultiImageMixDataset")


@dataclass(frozen=True, slots=True)
class Source:
    """Annotations of a split, as a config names them.

    Args:
        annotations: path of the file as the config makes it, absolute or relative.
        images: folder of the images.
    """

    annotations: Path
    images: Path


@dataclass(frozen=True)
class ConfigData:
    """What a config says of its data.

    Args:
        splits: sources by split; a split of a concatenation has several.
        classes: names that are learned; empty for those of the annotation files.
        config: path of the config, beside which relative paths are looked for.
    """

    splits: Mapping[str, tuple[Source, ...]]
    classes: tuple[str, ...]
    config: Path

    def to_dict(self) -> dict[str, Any]:
        """Return splits and classes for JSON."""
        splits = {
            name: [
                {"annotations": str(self.find(source.annotations)), "images": str(self.find(source.images))}
                for source in sources
            ]
            for name, sources in self.splits.items()
        }
        return {"splits": splits, "classes": list(self.classes)}

    def find(self, path: Path) -> Path:
        """Return where a path of the config is found; see `find_path`."""
        return find_path(path, self.config)


def find_path(path: Path, config: Path) -> Path:
    """Return a path where it exists: as it is, below the current folder, or below one above the config.

    Relative paths of MMEngine are relative to the current folder, usually a checkout of MMDetection. Of an
    absolute path that is gone, the longest end is taken that is found there.
    """
    if _exists(path):
        return path
    above = list(config.absolute().parents)[:MAX_FOLDERS]
    if not path.is_absolute():
        return next((folder / path for folder in above if _exists(folder / path)), path)
    parts = path.parts[1:][-MAX_FOLDERS:]
    ends = (Path(*parts[start:]) for start in range(len(parts) - 1))
    places = (folder / end for end in ends for folder in (Path(), above[0]))
    return next((place for place in places if _exists(place)), path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        return False


def data_of(config: Config) -> ConfigData:
    """Return what a config says of its data."""
    splits: dict[str, tuple[Source, ...]] = {}
    for name, key in SPLITS:
        found = tuple(dict.fromkeys(_sources(config.get(key, "dataset"))))
        if found and (name != "test" or found != splits.get("val")):
            splits[name] = found
    return ConfigData(splits, class_names(config.get("train_dataloader", "dataset")), config.path)


def _sources(dataset: Any) -> Iterator[Source]:
    for inner in datasets_in(dataset):
        annotations = inner.get("ann_file")
        if not isinstance(annotations, str) or not annotations:
            continue
        root = inner.get("data_root")
        root = root if isinstance(root, str) else ""
        prefixes = inner.get("data_prefix")
        prefix = ""
        if isinstance(prefixes, dict):
            stated = next(
                (prefixes[key] for key in ("img", "img_path", "sub_data_root") if key in prefixes), ""
            )
            prefix = stated if isinstance(stated, str) else ""
        elif isinstance(prefixes, str):
            prefix = prefixes
        yield Source(Path(root) / annotations, Path(root) / prefix)


# --- rows of the table


def map_data(config: Config, draft: Draft) -> None:
    """Add the rows about data and classes."""
    data = data_of(config)
    for name, sources in data.splits.items():
        for source in sources:
            where = f"{name}: {source.annotations}, images in {source.images}"
            draft.rows.append(Row("taken over", f"{name}_dataloader ann_file, data_prefix", "", where))
    for name, key in SPLITS[:2]:
        if name not in data.splits:
            draft.leave(f"{key}.dataset", None, f"it names no annotation file, so there is no split {name}")
    if data.splits.get("train") and data.splits.get("train") == data.splits.get("val"):
        draft.adapt(
            "val_dataloader with the training data",
            None,
            "validation on training images says nothing about new ones",
        )
    _evaluators(config, data, draft)
    _classes(config, data, draft)
    _kinds(config, draft)
    _filters(config, draft)


def _evaluators(config: Config, data: ConfigData, draft: Draft) -> None:
    """Name an evaluator that has other annotations than its loader."""
    stated = config.get("val_evaluator", "ann_file")
    files = [source.annotations for source in data.splits.get("val", ())]
    if isinstance(stated, str) and files and Path(stated) not in files and "val_evaluator" in config.own_keys:
        draft.adapt(
            "val_evaluator.ann_file",
            stated,
            "a split is scored by its own annotations, those of val_dataloader",
        )


def _classes(config: Config, data: ConfigData, draft: Draft) -> None:
    head = config.get("model", "bbox_head", default={})
    module = head.get("head_module") if isinstance(head, dict) else None
    number = (module if isinstance(module, dict) else head).get("num_classes")
    if data.classes:
        row = Row("taken over", "metainfo.classes", "", f"classes {listed(data.classes, 8)}",
                  "objects of other classes in the files are left out, as there")  # fmt: skip
        draft.rows.append(row)
        if number not in (None, len(data.classes)):
            draft.adapt(
                "bbox_head.num_classes", number, f"the classes say how many there are, {len(data.classes)}"
            )
        for key in ("val_dataloader", "test_dataloader"):
            others = class_names(config.get(key, "dataset"))
            if others and others != data.classes:
                draft.adapt(f"{key} metainfo.classes", ", ".join(others), "all splits have those of training")
        if isinstance(_stated_classes(config), str):
            draft.adapt(
                "metainfo.classes",
                data.classes[0],
                "a text, not a tuple: there each letter is a class; here one",
            )
    else:
        draft.adapt(
            "no metainfo.classes", None,
            "the classes of the annotation files are learned; there only names of COCO's 80 would be",
        )  # fmt: skip


def _stated_classes(config: Config) -> Any:
    for dataset in datasets_in(config.get("train_dataloader", "dataset")):
        metainfo = dataset.get("metainfo")
        if isinstance(metainfo, dict) and "classes" in metainfo:
            return metainfo["classes"]
    return None


def _kinds(config: Config, draft: Draft) -> None:
    for dataset in datasets_in(config.get("train_dataloader", "dataset")):
        kind = type_name(dataset.get("type"))
        if kind == "ClassBalancedDataset":
            draft.leave("ClassBalancedDataset", None, "each image is seen once in an epoch")
        elif kind not in (*_COCO, *_VOC, *_WRAPPERS):
            draft.leave(
                "train_dataloader dataset.type", kind, "the format is recognised from the file itself"
            )
        if dataset.get("indices") is not None:
            draft.leave("train_dataloader dataset.indices", dataset["indices"], "all images are used")


def _filters(config: Config, draft: Draft) -> None:
    for dataset in datasets_in(config.get("train_dataloader", "dataset")):
        chosen = dataset.get("filter_cfg")
        if not isinstance(chosen, dict):
            continue
        if chosen.get("filter_empty_gt", True):
            draft.adapt(
                "filter_cfg.filter_empty_gt",
                True,
                "images without objects stay as background; MMDetection drops them",
            )
        if chosen.get("min_size"):
            draft.adapt(
                "filter_cfg.min_size", chosen["min_size"], "small images stay; MMDetection drops them"
            )
        return


# --- reading


def read_data(data: ConfigData, *, strict: bool = False) -> Dataset:
    """Return the data set of a config.

    Args:
        data: splits and classes.
        strict: refuse data if an image or an object would have to be dropped.

    Raises:
        InputError: a split of training or validation cannot be read, or has none of the classes.
    """
    if "train" not in data.splits:
        raise InputError(f"{data.config} names no training data; name the data set instead of the config.")
    if (whole := _read_at_once(data, strict)) is not None:
        return whole
    splits: dict[str, Split] = {}
    for name, sources in data.splits.items():
        try:
            parts = [_read_source(name, source, data, strict) for source in sources]
        except InputError as error:
            if name == "test" and "val" in splits:
                _log.info("the test split is left out: %s", str(error).removesuffix("."))
                continue
            raise
        splits[name] = _joined(parts, data)
    classes = data.classes or _same_classes(splits, data.config)
    return Dataset(classes, {name: keep_classes(split, classes) for name, split in splits.items()})


def _read_at_once(data: ConfigData, strict: bool) -> Dataset | None:
    """Return the data set as one path and options name it, so that a run can read it again.

    None if that is not possible: a split has several files, a class is missing, or images would come from
    another folder than the config says.
    """
    sources = {name: found[0] for name, found in data.splits.items() if len(found) == 1}
    annotations = {name: data.find(source.annotations).absolute() for name, source in sources.items()}
    folders = {name: data.find(source.images).absolute() for name, source in sources.items()}
    if len(sources) < len(data.splits) or not all(map(_exists, (*annotations.values(), *folders.values()))):
        return None
    try:
        root = Path(os.path.commonpath([*annotations.values(), *folders.values()]))
        if Path.cwd().is_relative_to(root) and len(set(folders.values())) > 1:
            return None  # images would be looked for in all of it
        options = ReadOptions(
            images=next(iter(folders.values())) if len(set(folders.values())) == 1 else None,
            strict=strict,
            splits=annotations,
            only_classes=data.classes or None,
        )
        read = read_dataset(root, options)
    except (InputError, ValueError):  # reading file by file says why, or needs less
        return None
    inside = all(
        image.path.absolute().is_relative_to(folders[name])
        for name, split in read.splits.items()
        for image in split.images
    )
    return read if inside and not read.left_out else None


def _read_source(name: str, source: Source, data: ConfigData, strict: bool) -> Split:
    """Return one source of a split, read by itself: there is no one path that names all of them."""
    annotations, images = data.find(source.annotations), data.find(source.images)
    if not _exists(annotations):
        raise InputError(
            f"{data.config} names {source.annotations} for {name}, and nothing is there; correct data_root, "
            "or name the data set and give the config as `recipe`."
        )
    folder = images if _exists(images) and images.is_dir() else None
    try:
        read = read_dataset(annotations, ReadOptions(images=folder, strict=strict))
    except InputError:
        if len(data.classes) != 1:
            raise
        options = ReadOptions(data.classes, images=folder, strict=strict)  # VIA files may state no class
        read = read_dataset(annotations, options)
    split = next(iter(read.splits.values()))
    return dataclasses.replace(split, name=name)


def _joined(parts: list[Split], data: ConfigData) -> Split:
    """Return the sources of a split as one."""
    if len(parts) == 1:
        return parts[0]
    classes = data.classes or parts[0].classes
    kept = [keep_classes(part, classes) for part in parts]
    images = Images.of([image for part in kept for image in part.images])
    problems = tuple(problem for part in kept for problem in part.problems)
    return dataclasses.replace(kept[0], images=images, problems=problems)


def _same_classes(splits: Mapping[str, Split], config: Path) -> tuple[str, ...]:
    train = splits["train"].classes
    for name, split in splits.items():
        if other := [label for label in split.classes if label not in train]:
            raise InputError(
                f"{config} states no classes, and {name} has {listed(map(repr, other))}, which train lacks; "
                "state metainfo.classes."
            )
    return train


def keep_classes(split: Split, classes: tuple[str, ...]) -> Split:
    """Return a split with the objects of these classes only; labels index `classes`.

    Images that lose all their objects stay, as background.

    Raises:
        InputError: the split has objects, but not one of these classes.
    """
    if split.classes == classes:
        return split
    label_of = np.asarray(
        [classes.index(name) if name in classes else -1 for name in split.classes], np.int64
    )
    instances = split.images.instances
    labels = label_of[instances.labels] if len(instances) else instances.labels
    kept = labels >= 0
    if len(instances) and not kept.any():
        raise InputError(
            f"Expected objects of {listed(map(repr, classes))} in {split.name}, found only "
            f"{listed(map(repr, split.classes))}.{nearest(classes[0], split.classes)}"
        )
    missing = [name for name in classes if name not in split.classes]
    if missing:
        _log.warning(
            f"{split.name} states no class {listed(map(shown, missing))}.{nearest(missing[0], split.classes)}"
        )
    lost = int(len(kept) - kept.sum())
    if lost:
        _log.info(
            f"{split.name}: {counted(lost, 'object')} of classes that the config does not list are left out"
        )
    counts = np.bincount(split.images.places[kept], minlength=len(split))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    chosen = instances.chosen(np.flatnonzero(kept)).relabelled(labels[kept])
    ids = dict(zip(split.classes, split.category_ids, strict=True))
    free = max(ids.values(), default=0) + 1
    category_ids = tuple(ids.get(name, free + place) for place, name in enumerate(classes))
    images = dataclasses.replace(split.images, instances=chosen, offsets=offsets)
    return dataclasses.replace(split, classes=classes, category_ids=category_ids, images=images)
