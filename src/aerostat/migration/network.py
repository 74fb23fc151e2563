"""The network of a config: whether it is RTMDet, its size, what it starts from, and its test settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aerostat.errors import InputError
from aerostat.migration.data import find_path
from aerostat.migration.table import Draft, Row
from aerostat.openmmlab.config import Config
from aerostat.openmmlab.published import PUBLISHED_SIZES, find
from aerostat.openmmlab.values import type_name
from aerostat.text import shown
from aerostat.weights import zoo

_INSTANCE_HEAD = {
    "loss_mask": {"type": "DiceLoss", "loss_weight": 2.0, "eps": 5e-6, "reduction": "mean"},
    "mask_loss_stride": 4,
    "num_prototypes": 8,
    "dyconv_channels": 8,
    "num_dyconvs": 3,
    "pred_kernel_size": 1,
    "share_conv": True,
}
"""What the published head of RTMDet-Ins has in addition (MMDetection 3, configs/rtmdet/rtmdet-ins_*)."""
_INSTANCE_HEADS = ("RTMDetInsHead", "RTMDetInsSepBNHead", "RTMDetInsSepBNHeadModule", "RTMDetInsHeadModule")
_ROTATED_HEADS = ("RotatedRTMDetHead", "RotatedRTMDetSepBNHead", "RTMDetRotatedHead")
_HEADS = ("RTMDetSepBNHead", "RTMDetHead")

_ELSEWHERE = frozenset(
    [
        "type",
        "deepen_factor",
        "widen_factor",
        "use_depthwise",
        "num_classes",
        "init_cfg",
        "frozen_stages",
        "test_cfg",
        "norm_cfg",
        "in_channels",
        "out_channels",
        "feat_channels",
        "num_csp_blocks",
        "inplace",
        "_scope_",
        "share_conv",
        "exp_on_reg",
        "norm_eval",
        "iou_calculator",
        "map_location",
        "debug",
        "batch_augments",
        "multi_label",
        "bbox_coder",
        "pad_size_divisor",
        "pad_mask",
    ]
)
"""Keys of a model that have rows of their own, follow from the size, or change nothing."""


def require_rtmdet(config: Config) -> None:
    """Refuse a config whose model is not RTMDet for upright boxes.

    Raises:
        InputError: naming the model.
    """
    model = config.get("model")
    if not isinstance(model, dict):
        raise InputError(
            f"{config.path} states no model, so it is not the config of a detector; name the config that "
            "was trained."
        )
    kind, head = type_name(model.get("type")), model.get("bbox_head")
    heads = [type_name(head.get("type")), type_name((head.get("head_module") or {}).get("type"))] if (
        isinstance(head, dict) and isinstance(head.get("head_module"), dict | None)
    ) else [""]  # fmt: skip
    if any(name in _ROTATED_HEADS for name in heads):
        raise InputError(
            f"{config.path} is the config of a rotated RTMDet; that is not supported yet, only RTMDet for "
            "upright boxes and RTMDet-Ins are."
        )
    if heads[0] not in (*_HEADS, *_INSTANCE_HEADS) or kind not in ("RTMDet", "YOLODetector"):
        named = " with ".join(filter(None, (kind, heads[0]))) or "no detector"
        raise InputError(f"{config.path} is the config of {shown(named, 80)}; only RTMDet can be migrated.")
    _require_backbone(config, model)


def _require_backbone(config: Config, model: dict[str, Any]) -> None:
    backbone = model.get("backbone")
    kind = type_name(backbone.get("type")) if isinstance(backbone, dict) else ""
    arch = backbone.get("arch", "P5") if isinstance(backbone, dict) else ""
    if kind != "CSPNeXt" or arch != "P5":
        found = f"{kind} {arch}".strip() if kind == "CSPNeXt" else kind or "none"
        raise InputError(
            f"{config.path} has the backbone {shown(found)}; only RTMDet's own, CSPNeXt P5, can be migrated."
        )


def size_of(config: Config) -> str:
    """Return the size of the network.

    Raises:
        InputError: depth and width are not those of a published size.
    """
    backbone = config.get("model", "backbone")
    depth, width = (backbone.get(key, 1.0) for key in ("deepen_factor", "widen_factor"))
    if isinstance(depth, int | float) and isinstance(width, int | float):
        for name, size in PUBLISHED_SIZES.items():
            near = math.isclose(depth, size.depth, abs_tol=0.004) and math.isclose(
                width, size.width, abs_tol=0.004
            )
            if near and bool(backbone.get("use_depthwise", False)) == size.depthwise:
                return name
    known = ", ".join(f"{name} {size.depth} x {size.width}" for name, size in PUBLISHED_SIZES.items())
    raise InputError(
        f"{config.path} has a network of depth {shown(depth)} and width {shown(width)}, which is no "
        f"published size; these are {known}, and nano has use_depthwise=True."
    )


def map_network(config: Config, draft: Draft) -> None:
    """Map the model: size, weights to start from, frozen stages, differences from the published network."""
    size = size_of(config)
    backbone = config.get("model", "backbone")
    factors = f"{backbone.get('deepen_factor', 1.0)} x {backbone.get('widen_factor', 1.0)}"
    draft.set("model.size", size)
    draft.rows.append(Row("taken over", "model.backbone depth x width", factors, f"model.size = {size!r}"))
    _masks(config, draft)
    _weights(config, draft)
    _freezing(backbone, draft)
    _differences(config, size, draft)


def _masks(config: Config, draft: Draft) -> None:
    """Map the head of RTMDet-Ins."""
    head = config.get("model", "bbox_head")
    kind = type_name(head.get("type"))
    if kind not in _INSTANCE_HEADS:
        return
    draft.take("model.masks", True, "model.bbox_head.type", kind)
    stride = head.get("mask_loss_stride", 4)
    if stride in (1, 2, 4, 8):
        draft.take("optim.mask_loss_stride", stride, "model.bbox_head.mask_loss_stride", stride)


# --- weights


def _weights(config: Config, draft: Draft) -> None:
    load_from = config.get("load_from")
    init = config.get("model", "backbone", "init_cfg")
    checkpoint = init.get("checkpoint") if isinstance(init, dict) else None
    if isinstance(load_from, str) and load_from:
        _start_from(load_from, "load_from", config, draft)
        if isinstance(checkpoint, str):
            draft.adapt(
                "model.backbone.init_cfg", checkpoint.rpartition("/")[2], "load_from replaces these weights"
            )
    elif isinstance(checkpoint, str) and checkpoint:
        _start_from(checkpoint, "model.backbone.init_cfg", config, draft)
    else:
        draft.set("model.weights", "")
        draft.adapt(
            "no load_from and no init_cfg",
            None,
            "nothing pretrained is named: training starts from fresh weights",
        )
    if config.get("resume"):
        draft.leave("resume", True, "resume works on a run of aerostat, not on a checkpoint of MMEngine")


def _start_from(source: str, key: str, config: Config, draft: Draft) -> None:
    """Set the weights: a file that is there, else a name of the zoo, else what the config says."""
    if "://" not in source and _is_file(found := find_path(Path(source), config.path)):
        draft.take("model.weights", str(found), key, source, "" if str(found) == source else "found there")
        return
    name = source.replace("\\", "/").rpartition("/")[2]
    for entry in zoo.entries():
        if entry.file_name == name:
            draft.take(
                "model.weights",
                entry.name,
                key,
                name,
                f"the name of these weights here; they are read from the cache or {_HOST}, and empty "
                "weights start fresh",
            )
            return
    if "://" in source:
        draft.take("model.weights", source, key, name, f"read from the cache or fetched from {_host(source)}")
    else:
        draft.take("model.weights", source, key)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        return False


_HOST = "download.openmmlab.com"


def _host(source: str) -> str:
    return source.partition("://")[2].partition("/")[0][:60] or "its address"


def _freezing(backbone: dict[str, Any], draft: Draft) -> None:
    stages = backbone.get("frozen_stages", -1)
    if isinstance(stages, int) and stages >= 4:
        draft.take("model.freeze", "backbone", "model.backbone.frozen_stages", stages)
    elif isinstance(stages, int) and stages >= 0:
        draft.leave(
            "model.backbone.frozen_stages",
            stages,
            "the whole backbone can be frozen, or nothing; nothing is (model.freeze = 'backbone' freezes it)",
        )
    if backbone.get("norm_eval"):
        draft.leave("model.backbone.norm_eval", True, "batch statistics are fixed only in a frozen backbone")


# --- differences from the published network


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values of nested dictionaries with their keys; a list counts as one value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _differences(config: Config, size: str, draft: Draft) -> None:
    """Add a row for each setting of the model that differs from the published network of its size."""
    head = config.get("model", "bbox_head")
    flavour = "mmyolo" if isinstance(head, dict) and "head_module" in head else ""
    name = f"rtmdet_{size}_8xb32-300e_coco"
    values = find(name, flavour)
    assert values is not None
    if isinstance(head, dict) and type_name(head.get("type")) in _INSTANCE_HEADS:
        values["model"]["bbox_head"] = {
            **values["model"]["bbox_head"],
            **_INSTANCE_HEAD,
            "type": head["type"],
        }
    reference = dict(_leaves(values["model"]))
    same = 0
    for key, value in _leaves(config.get("model")):
        parts = set(key.split("."))
        if parts & _ELSEWHERE or "test_cfg" in parts:
            continue
        if _equal(value, reference.get(key)):
            same += 1
        elif value is not None or key in reference:
            draft.leave(f"model.{key}", value, "the network, its input and its losses are the published ones")
    if same:
        draft.adapt(
            f"model: {same} further settings",
            None,
            "network, assignment and losses as published; they are no fields of the recipe",
        )
    for key, value in _leaves(config.get("model")):
        if key.endswith("type") and not _equal(value, reference.get(key)) and not key.endswith(
            "norm_cfg.type"
        ) and key in reference:  # fmt: skip
            draft.leave(f"model.{key}", value, f"aerostat has {type_name(reference[key])} in this place")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return type_name(one) == type_name(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


# --- test settings


def map_test(config: Config, draft: Draft) -> None:
    """Map the settings of post-processing, with which the run validates."""
    test = config.get("model", "test_cfg", default={})
    if not isinstance(test, dict):
        return
    nms = test.get("nms")
    fields = (
        ("score_thr", test.get("score_thr"), "eval.score_threshold"),
        ("nms.iou_threshold", nms.get("iou_threshold") if isinstance(nms, dict) else None, "eval.nms_iou"),
        ("max_per_img", test.get("max_per_img"), "eval.max_detections"),
    )
    for key, value, here in fields:
        if value is not None:
            draft.take(here, value, f"model.test_cfg.{key}")
    if isinstance(nms, dict) and type_name(nms.get("type", "nms")) != "nms":
        draft.leave("model.test_cfg.nms.type", nms.get("type"), "suppression is plain NMS for each class")
    for key, published in (("nms_pre", 30000), ("min_bbox_size", 0), ("multi_label", True)):
        value = test.get(key, published)
        if value not in (published, -1):
            draft.leave(f"model.test_cfg.{key}", value, f"it is {published}, as published")
