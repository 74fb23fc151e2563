"""Settings of a config that change nothing: unused variables, and what only MMEngine's runner needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aerostat.migration.table import Draft, Row
from aerostat.openmmlab.config import RUNNER_KEYS, Config
from aerostat.openmmlab.values import type_name
from aerostat.openmmlab.work_dir import datasets_in
from aerostat.text import shown

_LOADER_KEYS = frozenset(
    [
        "batch_size",
        "num_workers",
        "dataset",
        "persistent_workers",
        "pin_memory",
        "sampler",
        "batch_sampler",
        "collate_fn",
        "drop_last",
        "prefetch_factor",
        "timeout",
        "worker_init_fn",
        "num_batch_per_epoch",
    ]
)
_ADAPTED = {
    "work_dir": "a run has its own directory, runs/NAME or the one that is asked for",
    "custom_imports": "nothing is imported; what these modules define is not known here",
    "tta_model": "test-time augmentation with the published scales, merged by NMS, does the same",
    "tta_pipeline": "test-time augmentation with the published scales, merged by NMS, does the same",
    "env_cfg": "threads and processes follow from the machine",
    "visualizer": "a run draws its own curves and pictures",
    "log_processor": "a run writes metrics.jsonl",
    "log_level": "a run writes metrics.jsonl",
    "launcher": "run.devices says how many GPUs are used",
    "experiment_name": "a run is named by its directory",
    "test_evaluator": "evaluation is by the COCO protocol",
}
_REPLACED = {
    "num_classes": "model.bbox_head.num_classes counts there",
    "max_epochs": "train_cfg.max_epochs counts there",
    "base_lr": "optim_wrapper.optimizer.lr counts there",
    "train_pipeline": "train_dataloader.dataset.pipeline counts there",
    "train_pipeline_stage2": "switch_pipeline of PipelineSwitchHook counts there",
    "test_pipeline": "val_dataloader.dataset.pipeline counts there",
    "metainfo": "metainfo of a loader's dataset counts there",
    "METAINFO": "metainfo of a loader's dataset counts there",
    "classes": "metainfo.classes of a loader's dataset counts there",
    "CLASSES": "metainfo.classes of a loader's dataset counts there",
    "data_root": "data_root of a loader's dataset counts there",
    "batch_size": "train_dataloader.batch_size counts there",
    "train_batch_size_per_gpu": "train_dataloader.batch_size counts there",
    "img_scale": "the sizes in the pipelines count there",
    "num_epochs_stage2": "switch_epoch of PipelineSwitchHook counts there",
    "stage2_num_epochs": "switch_epoch of PipelineSwitchHook counts there",
    "load_checkpoint": "load_from counts there",
    "optimizer": "it is a key of MMDetection 2; optim_wrapper counts there",
    "lr_config": "it is a key of MMDetection 2; param_scheduler counts there",
    "data": "it is a key of MMDetection 2; train_dataloader counts there",
    "runner": "it is a key of MMDetection 2; train_cfg counts there",
    "total_epochs": "it is a key of MMDetection 2; train_cfg.max_epochs counts there",
    "evaluation": "it is a key of MMDetection 2; val_evaluator counts there",
    "checkpoint_config": "it is a key of MMDetection 2; default_hooks.checkpoint counts there",
}
_COUNTS: Mapping[str, tuple[str | int, ...]] = {
    "num_classes": ("model", "bbox_head", "num_classes"),
    "max_epochs": ("train_cfg", "max_epochs"),
    "base_lr": ("optim_wrapper", "optimizer", "lr"),
    "batch_size": ("train_dataloader", "batch_size"),
    "train_batch_size_per_gpu": ("train_dataloader", "batch_size"),
    "load_checkpoint": ("load_from",),
}
"""Keys whose value is shown beside an unused variable."""


def map_effects(config: Config, draft: Draft) -> None:
    """Add the rows of what changes nothing there, and of what is not needed here."""
    for name in config.published:
        draft.rows.append(
            Row("taken over", "_base_", shown(name, 60), "", "not on disk: the published values are taken")
        )
    for remark in config.remarks:
        draft.adapt("a reference", None, remark)
    _loaders(config, draft)
    for key, why in _ADAPTED.items():
        if key in config.own_keys and config.get(key) not in (None, [], {}) and _worth_a_row(key, config):
            draft.adapt(key, _short(config.get(key)), why)
    _unused(config, draft)


def _worth_a_row(key: str, config: Config) -> bool:
    """Return whether a setting is worth a line: an evaluator only if it is not COCO's."""
    return key != "test_evaluator" or type_name(config.get(key, "type")) not in ("", "CocoMetric")


def _short(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else None


def _loaders(config: Config, draft: Draft) -> None:
    workers = config.get("train_dataloader", "num_workers")
    if workers is not None and "train_dataloader" in config.own_keys:
        draft.adapt("num_workers", workers, "threads follow from the processors", "data.threads = -1")
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(key)
        if not isinstance(loader, dict) or key not in config.own_keys:
            continue
        for name, value in loader.items():
            if name not in _LOADER_KEYS:
                draft.leave(f"{key}.{name}", value, "a loader has no such setting")
        for dataset in datasets_in(loader.get("dataset")):
            if dataset.get("batch_shapes_cfg"):
                draft.adapt(
                    f"{key} batch_shapes_cfg", None, "validation has a square input; there it fits each batch"
                )


def _unused(config: Config, draft: Draft) -> None:
    seen: set[tuple[str, bool]] = set()
    for entry in config.unused:
        if (entry.name, entry.replaced) in seen:
            continue
        seen.add((entry.name, entry.replaced))
        why = f"line {entry.place.line}"
        if entry.place.file != config.path:
            why += f" of {entry.place.file.name}"
        if entry.replaced and entry.name in RUNNER_KEYS:
            why += ": a later line of the file replaces it"
        else:
            why += ": nothing uses this variable"
        if entry.name in _REPLACED:
            why += f"; {_REPLACED[entry.name]}"
            value = config.get(*_COUNTS[entry.name]) if entry.name in _COUNTS else None
            why += f", {shown(value, 30)}" if value is not None else ""
        draft.rows.append(Row("without effect", entry.name, shown(entry.value, 40), "", why))
